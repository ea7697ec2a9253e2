#if os(Linux) || TLS
internal import CMbedTLS
internal import Kernel

/// A configuration of a client or a server in the form that mbedTLS works with; parsed once, used by any number of streams of any loop.
///
/// mbedTLS keeps the addresses of what a configuration is made of: they are allocated here, and live as long as this.
@safe
final class TLSContext: @unchecked Sendable {
    // @unchecked: nothing changes after `init` but the random number generator, the tickets' keys and the cache, which mbedTLS locks
    // (MBEDTLS_THREADING_C).
    let config: UnsafeMutablePointer<mbedtls_ssl_config> = .allocate(capacity: 1)
    let isServer: Bool
    /// Whether it is DTLS, over datagrams.
    let isDatagram: Bool
    /// The name that the server's certificate must be for, if not the host's.
    let serverName: [UInt8]?
    let sessions: TLSSessionStore?
    /// The longest datagram that is sent.
    let datagramBytes: Int
    /// How many bytes the connection IDs of this end have; `nil` for none.
    let connectionIDBytes: Int?
    /// Whether a client logs in with a pre-shared key.
    private(set) var hasPresharedKey = false
    /// What a session that may be resumed depends on, beside the server.
    private(set) var fingerprint: [UInt8] = []

    private let random: SecureRandom
    private let suites: UnsafeMutableBufferPointer<Int32>
    #if os(Linux) || CERTIFICATES
    private let protocols: ProtocolList
    let verification: TLSVerification
    private let certificates = Certificates()
    #endif
    #if !hasFeature(Embedded)
    let preSharedKeys: (@Sendable ([UInt8]) -> SecretBytes?)?
    private let server: ServerState?
    #endif

    /// What a client does.
    init(_ configuration: TLSConfiguration, isDatagram: Bool = false) throws(SecureTransportError) {
        isServer = false
        self.isDatagram = isDatagram
        serverName = configuration.serverName
        sessions = configuration.sessions
        random = configuration.random
        datagramBytes = configuration.datagramBytes
        connectionIDBytes = isDatagram && configuration.usesConnectionID ? 0 : nil
        var hasKey = false
        if case .preSharedKey = configuration.identity { hasKey = true }
        unsafe suites = Self.suiteList(
            hasCertificates: !hasKey,
            hasKeys: hasKey,
            isLegacy: configuration.suites == .legacyPreSharedKey,
            isDatagram: isDatagram
        )
        #if os(Linux) || CERTIFICATES
        protocols = ProtocolList(configuration.applicationProtocols)
        verification = configuration.verification
        #endif
        #if !hasFeature(Embedded)
        preSharedKeys = nil
        server = nil
        #endif
        unsafe mbedtls_ssl_config_init(config)
        try setUp(configuration.minimumVersion)
        unsafe mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED)
        if let limit = configuration.recordLimit {
            try check(unsafe mbedtls_ssl_conf_max_frag_len(config, limit.rawValue), .other)
        }
        switch configuration.identity {
        case .preSharedKey(let identity, let key): try setKey(identity, key)
        #if os(Linux) || CERTIFICATES
        case .anonymous: try setTrust(configuration.trust)
        case .certificate(let certificate):
            let own = try load(certificate)
            try check(unsafe mbedtls_ssl_conf_own_cert(config, own.chain, own.privateKey), .certificateChain)
            try setTrust(configuration.trust)
        #endif
        }
        if sessions != nil { fingerprint = Self.fingerprint(of: configuration) + [isDatagram ? 1 : 0] }
    }

    #if !hasFeature(Embedded)
    /// What a server does.
    init(_ configuration: TLSServerConfiguration, isDatagram: Bool = false) throws(SecureTransportError) {
        isServer = true
        self.isDatagram = isDatagram
        verification = configuration.verification
        serverName = nil
        sessions = nil
        random = configuration.random
        datagramBytes = configuration.datagramBytes
        connectionIDBytes = isDatagram && configuration.connectionIDBytes > 0 ? configuration.connectionIDBytes : nil
        preSharedKeys = configuration.preSharedKeys
        protocols = ProtocolList(configuration.applicationProtocols)
        unsafe suites = Self.suiteList(
            hasCertificates: !configuration.certificates.isEmpty,
            hasKeys: configuration.preSharedKeys != nil,
            isLegacy: configuration.suites == .legacyPreSharedKey,
            isDatagram: isDatagram
        )
        let server = ServerState()
        self.server = server
        unsafe mbedtls_ssl_config_init(config)
        try setUp(configuration.minimumVersion)
        for certificate in configuration.certificates {
            let own = try load(certificate)
            try check(unsafe mbedtls_ssl_conf_own_cert(config, own.chain, own.privateKey), .certificateChain)
        }
        for (name, named) in configuration.certificatesByName {
            for certificate in named { certificates.named[name, default: []].append(try load(certificate)) }
        }
        if !certificates.named.isEmpty {
            unsafe mbedtls_ssl_conf_sni(config, chooseCertificate, Unmanaged.passUnretained(certificates).toOpaque())
        }
        switch configuration.clientCertificates {
        case .none: unsafe mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_NONE)
        case .optional(let trust):
            // What is shown must be good, which the verification sees to.
            unsafe mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_OPTIONAL)
            try setTrust(trust)
        case .required(let trust):
            unsafe mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED)
            try setTrust(trust)
        }
        if preSharedKeys != nil {
            unsafe mbedtls_ssl_conf_psk_cb(config, findKey, Unmanaged.passUnretained(self).toOpaque())
        }
        if isDatagram {
            try check(unsafe cmbedtls_cookie_setup(server.cookies, random.context), .other)
            unsafe cmbedtls_use_cookies(config, server.cookies)
        }
        let seconds = configuration.sessionSeconds
        guard seconds > 0 else { return }
        try check(unsafe cmbedtls_ticket_setup(server.tickets, random.context, UInt32(clamping: seconds)), .other)
        unsafe cmbedtls_use_tickets(config, server.tickets)
        unsafe mbedtls_ssl_cache_set_max_entries(server.cache, Int32(clamping: configuration.sessionCount))
        unsafe mbedtls_ssl_cache_set_timeout(server.cache, Int32(clamping: seconds))
        unsafe cmbedtls_use_cache(config, server.cache)
    }
    #endif

    private func setUp(_ minimum: TLSVersion) throws(SecureTransportError) {
        let needsTLS13 = minimum == .tls13
        if needsTLS13, isDatagram || cmbedtls_has_tls13() == 0 { throw .badConfiguration(.version, code: 0) }
        try check(
            unsafe cmbedtls_defaults(config, isServer ? 1 : 0, isDatagram ? 1 : 0, needsTLS13 ? 1 : 0),
            .other
        )
        unsafe cmbedtls_use_drbg(config, random.context)
        #if os(Linux) || DTLS
        if let connectionIDBytes {
            guard cmbedtls_has_connection_ids() == 1 else { throw .badConfiguration(.connectionID, code: 0) }
            try check(unsafe cmbedtls_use_connection_ids(config, connectionIDBytes), .connectionID)
        }
        #endif
        unsafe mbedtls_ssl_conf_ciphersuites(config, suites.baseAddress)
        #if os(Linux) || CERTIFICATES
        if !protocols.isEmpty {
            try check(unsafe cmbedtls_use_protocols(config, protocols.names.baseAddress), .applicationProtocols)
        }
        #endif
    }

    #if !hasFeature(Embedded)
    /// The names of the suites that are offered or agreed to, the best first, as ``TLSAgreement/suite`` has them.
    var suiteNames: [String] {
        unsafe suites.compactMap { number in
            guard number != 0, let name = unsafe mbedtls_ssl_get_ciphersuite_name(number) else { return nil }
            let text = unsafe String(cString: name)
            return text == "unknown" ? nil : text
        }
    }
    #endif

    deinit {
        unsafe mbedtls_ssl_config_free(config)
        unsafe config.deallocate()
        unsafe suites.deallocate()
    }

    /// An ID that nobody can guess, for a session.
    func makeConnectionID() -> [UInt8]? {
        guard let connectionIDBytes else { return nil }
        return try? random.bytes(connectionIDBytes)
    }

    private func check(_ code: Int32, _ part: SecureTransportError.ConfigurationPart) throws(SecureTransportError) {
        switch code {
        case 0: return
        case MBEDTLS_ERR_SSL_ALLOC_FAILED, MBEDTLS_ERR_X509_ALLOC_FAILED, MBEDTLS_ERR_PK_ALLOC_FAILED:
            throw .outOfMemory
        default: throw .badConfiguration(part, code: code)
        }
    }

    private func setKey(_ identity: [UInt8], _ key: SecretBytes) throws(SecureTransportError) {
        guard !identity.isEmpty, key.count > 0 else { throw .badConfiguration(.preSharedKey, code: 0) }
        let result = key.withBytes { key in
            unsafe key.withUnsafeBufferPointer {
                unsafe mbedtls_ssl_conf_psk(config, $0.baseAddress, $0.count, identity, identity.count)
            }
        }
        try check(result, .preSharedKey)
        hasPresharedKey = true
    }

    #if os(Linux) || CERTIFICATES
    private func load(_ certificate: TLSCertificate) throws(SecureTransportError) -> OwnCertificate {
        let own = OwnCertificate()
        certificates.own.append(own)
        try check(unsafe Certificates.parse(certificate.chain, into: own.chain), .certificateChain)
        switch certificate.privateKey {
        case .bytes(let key, let password):
            try check(unsafe parsePrivateKey(key, password, random, into: own.privateKey), .privateKey)
            try check(
                unsafe cmbedtls_key_matches(own.chain, own.privateKey, random.context),
                .keyDoesNotMatchCertificate
            )
        case .signer(let signer):
            own.signer = signer
            let me = unsafe Unmanaged.passUnretained(own).toOpaque()
            try check(unsafe cmbedtls_use_signer(own.privateKey, own.chain, me, sign), .privateKey)
        }
        return own
    }

    private func setTrust(_ trust: TLSTrust) throws(SecureTransportError) {
        unsafe cmbedtls_use_profile(config, certificates.profile)
        switch trust {
        case .anchors(let bytes): try check(unsafe Certificates.parse(bytes, into: certificates.anchors), .anchors)
        #if !hasFeature(Embedded)
        case .system:
            // A few that mbedTLS cannot read are no reason to trust none.
            let result = unsafe mbedtls_x509_crt_parse_file(certificates.anchors, "/etc/ssl/certs/ca-certificates.crt")
            try check(min(result, 0), .anchors)
        #endif
        }
        #if !hasFeature(Embedded)
        if !verification.revocationLists.isEmpty {
            let revocationLists = verification.revocationLists
            let lists = terminatedIfPEM(revocationLists.span)
            try check(unsafe mbedtls_x509_crl_parse(certificates.revoked, lists, lists.count), .revocationLists)
            unsafe mbedtls_ssl_conf_ca_chain(config, certificates.anchors, certificates.revoked)
            return
        }
        #endif
        unsafe mbedtls_ssl_conf_ca_chain(config, certificates.anchors, nil)
    }
    #endif

    /// The suites, the best first, and a zero behind them.
    private static func suiteList(
        hasCertificates: Bool,
        hasKeys: Bool,
        isLegacy: Bool,
        isDatagram: Bool
    ) -> UnsafeMutableBufferPointer<Int32> {
        // A client with a pre-shared key offers nothing else: some servers would choose a certificate suite and then fail.
        var numbers: [Int32] = []
        // TLS 1.3's, which are good with both.
        if !isDatagram, cmbedtls_has_tls13() == 1 { numbers += [0x1301, 0x1303, 0x1302] }
        #if os(Linux) || CERTIFICATES
        if hasCertificates {
            numbers += [
                MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ]
            // What all of CoAP's peers have (RFC 7252, 9.1.3.3); a forged datagram passes with a chance of 1 in 2^64.
            if isDatagram { numbers.append(MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8) }
        }
        #endif
        if hasKeys {
            numbers += [
                MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256,
                MBEDTLS_TLS_PSK_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,
                MBEDTLS_TLS_PSK_WITH_AES_128_CCM,
            ]
            if isDatagram { numbers.append(MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8) }
            if isLegacy { numbers += [MBEDTLS_TLS_PSK_WITH_AES_128_CBC_SHA, MBEDTLS_TLS_PSK_WITH_AES_256_CBC_SHA] }
        }
        // Of a suite that this build of mbedTLS has not, it takes no notice.
        let list = UnsafeMutableBufferPointer<Int32>.allocate(capacity: numbers.count + 1)
        for (index, number) in (numbers + [0]).enumerated() { unsafe list[index] = number }
        return unsafe list
    }

    /// Two clients of one fingerprint trust the same, and are the same.
    private static func fingerprint(of configuration: TLSConfiguration) -> [UInt8] {
        var parts: [UInt8] = []
        func add(_ bytes: [UInt8]) { parts += Digest.sha256(bytes.span) }
        switch configuration.identity {
        case .preSharedKey(let identity, let key):
            add([1])
            add(identity)
            parts += key.withBytes { Digest.sha256($0) }
        #if os(Linux) || CERTIFICATES
        case .anonymous: add([0])
        case .certificate(let certificate):
            add([2])
            add(certificate.chain)
        #endif
        }
        #if os(Linux) || CERTIFICATES
        switch configuration.trust {
        case .anchors(let anchors): add(anchors)
        #if !hasFeature(Embedded)
        case .system: add([])
        #endif
        }
        for key in configuration.verification.pinnedKeys { add(key) }
        for name in configuration.applicationProtocols {
            #if hasFeature(Embedded)
            for index in 0..<name.utf8CodeUnitCount { parts.append(unsafe name.utf8Start[index]) }
            #else
            add(Array(name.utf8))
            #endif
        }
        #endif
        #if !hasFeature(Embedded)
        add(configuration.verification.revocationLists)
        #endif
        add(configuration.serverName ?? [])
        add([configuration.suites == .secure ? 0 : 1])
        return Digest.sha256(parts.span)
    }
}

#if os(Linux) || CERTIFICATES
/// The names of protocols as mbedTLS wants them: zero-terminated, and so their list.
@safe private final class ProtocolList {
    let names: UnsafeMutableBufferPointer<UnsafePointer<CChar>?>
    let isEmpty: Bool

    #if hasFeature(Embedded)
    init(_ protocols: [StaticString]) {
        isEmpty = protocols.isEmpty
        unsafe names = .allocate(capacity: protocols.count + 1)
        for index in protocols.indices {
            // They end with a zero.
            unsafe names[index] = UnsafeRawPointer(protocols[index].utf8Start).assumingMemoryBound(to: CChar.self)
        }
        unsafe names[protocols.count] = nil
    }

    deinit { unsafe names.deallocate() }
    #else
    init(_ protocols: [String]) {
        isEmpty = protocols.isEmpty
        unsafe names = .allocate(capacity: protocols.count + 1)
        for (index, name) in protocols.enumerated() {
            let bytes = Array(name.utf8CString)
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
            unsafe copy.initialize(from: bytes, count: bytes.count)
            unsafe names[index] = UnsafePointer(copy)
        }
        unsafe names[protocols.count] = nil
    }

    deinit {
        for index in unsafe names.indices { unsafe names[index]?.deallocate() }
        unsafe names.deallocate()
    }
    #endif
}

/// The certificates that a configuration is made of.
@safe private final class Certificates {
    let anchors: UnsafeMutablePointer<mbedtls_x509_crt> = .allocate(capacity: 1)
    let profile: UnsafeMutablePointer<mbedtls_x509_crt_profile> = .allocate(capacity: 1)
    var own: [OwnCertificate] = []
    #if !hasFeature(Embedded)
    let revoked: UnsafeMutablePointer<mbedtls_x509_crl> = .allocate(capacity: 1)
    var named: [String: [OwnCertificate]] = [:]
    #endif

    init() {
        unsafe mbedtls_x509_crt_init(anchors)
        unsafe cmbedtls_fill_profile(profile)
        #if !hasFeature(Embedded)
        unsafe mbedtls_x509_crl_init(revoked)
        #endif
    }

    deinit {
        unsafe mbedtls_x509_crt_free(anchors)
        unsafe anchors.deallocate()
        unsafe profile.deallocate()
        #if !hasFeature(Embedded)
        unsafe mbedtls_x509_crl_free(revoked)
        unsafe revoked.deallocate()
        #endif
    }

    /// Parses one certificate or several; the number of those that could not be read counts as an error.
    static func parse(_ bytes: [UInt8], into list: UnsafeMutablePointer<mbedtls_x509_crt>) -> Int32 {
        let bytes = terminatedIfPEM(bytes.span)
        let result = unsafe mbedtls_x509_crt_parse(list, bytes, bytes.count)
        return result > 0 ? MBEDTLS_ERR_X509_INVALID_FORMAT : result
    }
}

/// A certificate chain and its key.
@safe private final class OwnCertificate {
    let chain: UnsafeMutablePointer<mbedtls_x509_crt> = .allocate(capacity: 1)
    let privateKey: UnsafeMutablePointer<mbedtls_pk_context> = .allocate(capacity: 1)
    var signer: TLSCertificate.Signer?

    init() {
        unsafe mbedtls_x509_crt_init(chain)
        unsafe mbedtls_pk_init(privateKey)
    }

    deinit {
        unsafe cmbedtls_free_key(privateKey)
        unsafe mbedtls_x509_crt_free(chain)
        unsafe privateKey.deallocate()
        unsafe chain.deallocate()
    }
}

/// Has a handshake's digest signed by a key that is elsewhere.
private func sign(
    _ owner: UnsafeMutableRawPointer?,
    _ hash: mbedtls_md_type_t,
    _ digest: UnsafePointer<UInt8>?,
    _ count: Int,
    _ signature: UnsafeMutablePointer<UInt8>?,
    _ capacity: Int
) -> Int32 {
    guard let owner = unsafe owner, let signature = unsafe signature, let hash = HashFunction(hash) else {
        return MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE
    }
    let own = unsafe Unmanaged<OwnCertificate>.fromOpaque(owner).takeUnretainedValue()
    let digest = unsafe [UInt8](copying: Span(_unsafeElements: UnsafeBufferPointer(start: digest, count: count)))
    guard let signed = own.signer?(digest, hash), !signed.isEmpty, signed.count <= capacity else {
        return MBEDTLS_ERR_PK_INVALID_ALG
    }
    for index in signed.indices { unsafe signature[index] = signed[index] }
    return Int32(signed.count)
}
#endif

#if !hasFeature(Embedded)
/// What a server keeps beside its configuration.
@safe private final class ServerState {
    let tickets: UnsafeMutablePointer<mbedtls_ssl_ticket_context> = .allocate(capacity: 1)
    let cache: UnsafeMutablePointer<mbedtls_ssl_cache_context> = .allocate(capacity: 1)
    let cookies: UnsafeMutablePointer<mbedtls_ssl_cookie_ctx> = .allocate(capacity: 1)

    init() {
        unsafe mbedtls_ssl_ticket_init(tickets)
        unsafe mbedtls_ssl_cache_init(cache)
        unsafe mbedtls_ssl_cookie_init(cookies)
    }

    deinit {
        unsafe mbedtls_ssl_cookie_free(cookies)
        unsafe mbedtls_ssl_cache_free(cache)
        unsafe mbedtls_ssl_ticket_free(tickets)
        unsafe cookies.deallocate()
        unsafe cache.deallocate()
        unsafe tickets.deallocate()
    }
}

/// Gives a handshake the certificates for the name that the client asks for.
private func chooseCertificate(
    _ certificates: UnsafeMutableRawPointer?,
    _ ssl: UnsafeMutablePointer<mbedtls_ssl_context>?,
    _ name: UnsafePointer<UInt8>?,
    _ count: Int
) -> Int32 {
    guard let certificates = unsafe certificates else { return 0 }
    let wanted = unsafe String(decoding: UnsafeBufferPointer(start: name, count: count), as: UTF8.self).lowercased()
    let named = unsafe Unmanaged<Certificates>.fromOpaque(certificates).takeUnretainedValue().named[wanted] ?? []
    for own in named {
        let result = unsafe mbedtls_ssl_set_hs_own_cert(ssl, own.chain, own.privateKey)
        if result != 0 { return result }
    }
    return 0
}

/// Gives a handshake the key of the client that wants to log in.
private func findKey(
    _ context: UnsafeMutableRawPointer?,
    _ ssl: UnsafeMutablePointer<mbedtls_ssl_context>?,
    _ identity: UnsafePointer<UInt8>?,
    _ count: Int
) -> Int32 {
    guard let context = unsafe context else { return MBEDTLS_ERR_SSL_INTERNAL_ERROR }
    let name = unsafe Array(UnsafeBufferPointer(start: identity, count: count))
    let lookUp = unsafe Unmanaged<TLSContext>.fromOpaque(context).takeUnretainedValue().preSharedKeys
    guard let key = lookUp?(name), key.count > 0 else { return MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY }
    unsafe TLSEngine.of(ssl)?.peerIdentity = name
    return key.withBytes { key in
        unsafe key.withUnsafeBufferPointer { unsafe mbedtls_ssl_set_hs_psk(ssl, $0.baseAddress, $0.count) }
    }
}
#endif
#endif
