#if os(Linux) || TLS
internal import CMbedTLS
internal import Kernel
internal import SAL

/// One TLS session of mbedTLS, driven by bytes: the only place that holds its context.
///
/// mbedTLS reads from the bytes that ``receive(_:_:)`` was given, and writes straight to the stream below.
@safe
final class TLSEngine {
    /// What came of a step.
    enum Outcome: Equatable {
        case done
        /// It goes on when there are bytes to read, or room to write.
        case blocked
        /// It goes on when what was read is taken.
        case held
        #if !hasFeature(Embedded)
        /// The peer must show first that datagrams reach it: no state was kept.
        case unverified
        /// The client of a server has begun a new handshake.
        case reconnects
        #endif
        /// The peer has said goodbye.
        case ended
    }

    private let context: TLSContext
    private let ssl: UnsafeMutablePointer<mbedtls_ssl_context> = .allocate(capacity: 1)
    private let wantedName: [UInt8]
    #if os(Linux) || CERTIFICATES
    private let wantedAddress: [UInt8]
    private var findings: [CertificateRejection.Finding] = []
    #endif
    /// Where the session is kept for the next time, on a client.
    private let sessionKey: [UInt8]
    private var offered: TLSSession?
    private var input = unsafe UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    private var write: ((Span<UInt8>) -> Int)?
    /// When a flight of datagrams is to be sent again, on datagrams: an earlier and a later moment, and who is told of the later.
    private var retransmission: (intermediate: Duration, final: Duration)?
    private var clock: (() -> Duration)?
    private var schedule: ((Duration?) -> Void)?
    /// What the peer's datagrams are to carry.
    private var connectionID: [UInt8]?
    /// How many bytes are in a record that waits for room below.
    private var blockedCount = 0
    #if !hasFeature(Embedded)
    private var peerNames: [String] = []
    /// The identity that the client of a server has logged in with.
    var peerIdentity: [UInt8]?
    #endif
    /// Whether the handshake has resumed an earlier session.
    private(set) var isResumed = false

    /// A session of `context`: with the server at `host` and `port`, or, of a server, with whoever comes. `write` sends and returns how many bytes were
    /// taken.
    init(
        _ context: TLSContext,
        host: [UInt8] = [],
        port: UInt16 = 0,
        write: @escaping (Span<UInt8>) -> Int
    ) throws(SecureTransportError) {
        self.context = context
        self.write = write
        wantedName = context.serverName ?? host
        #if os(Linux) || CERTIFICATES
        wantedAddress = context.isServer ? [] : Self.octets(of: wantedName)
        #endif
        sessionKey = context.sessions == nil ? [] : context.fingerprint + [UInt8(port >> 8), UInt8(port & 255)] + host
        unsafe mbedtls_ssl_init(ssl)
        let result = unsafe mbedtls_ssl_setup(ssl, context.config)
        guard result == 0 else { throw .outOfMemory }
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe cmbedtls_set_user(ssl, me, sendBytes, receiveBytes)
        #if os(Linux) || CERTIFICATES
        unsafe cmbedtls_set_verify(ssl, verifyCertificate, me)
        #endif
        guard !context.isServer else { return }
        #if os(Linux) || CERTIFICATES
        // An address is no server name (RFC 6066, 3), and mbedTLS would not look for it among the alternative names.
        if wantedAddress.isEmpty {
            guard !wantedName.contains(0) else { throw .badConfiguration(.serverName, code: 0) }
            let result = unsafe cmbedtls_set_hostname(ssl, wantedName + [0])
            guard result == 0 else { throw .badConfiguration(.serverName, code: result) }
        } else {
            unsafe cmbedtls_need_no_hostname(ssl)
        }
        #endif
        offerSession()
    }

    deinit {
        unsafe mbedtls_ssl_free(ssl)
        unsafe ssl.deallocate()
    }

    #if os(Linux) || DTLS
    // MARK: Datagrams

    /// Prepares for datagrams of up to `datagramBytes`. `clock` tells the time; `schedule` is told when ``handshake()`` is to be called again though nothing has come,
    /// or that it is not.
    func useDatagrams(of datagramBytes: Int, clock: @escaping () -> Duration, schedule: @escaping (Duration?) -> Void) {
        self.clock = clock
        self.schedule = schedule
        unsafe mbedtls_ssl_set_mtu(ssl, UInt16(clamping: datagramBytes))
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe mbedtls_ssl_set_timer_cb(ssl, me, setRetransmission, retransmissionState)
        connectionID = context.makeConnectionID()
        offerConnectionID()
    }

    private func offerConnectionID() {
        guard let connectionID else { return }
        _ = unsafe cmbedtls_set_connection_id(ssl, connectionID, connectionID.count)
    }

    /// The ID that the peer's datagrams carry, if the two ends have agreed on that.
    var agreedConnectionID: [UInt8]? { unsafe cmbedtls_uses_connection_ids(ssl) == 1 ? connectionID : nil }

    #if !hasFeature(Embedded)
    /// Says who the client is that the next datagrams come from: its cookie is good for that address only.
    func setPeer(_ address: [UInt8]) { _ = unsafe mbedtls_ssl_set_client_transport_id(ssl, address, address.count) }

    /// Makes the engine what it was at first; `false` if there was no memory for that, after which it is of no use.
    func reset() -> Bool {
        peerIdentity = nil
        findings = []
        peerNames = []
        retransmission = nil
        guard unsafe mbedtls_ssl_session_reset(ssl) == 0 else { return false }
        offerConnectionID()
        return true
    }
    #endif

    /// The longest datagram that can be sent.
    var maximumPayload: Int { unsafe max(0, Int(mbedtls_ssl_get_max_out_record_payload(ssl))) }

    fileprivate func setTimer(_ intermediate: UInt32, _ final: UInt32) {
        guard let clock, final > 0 else {
            retransmission = nil
            schedule?(nil)
            return
        }
        let now = clock()
        let end = now + .milliseconds(Int64(final))
        retransmission = (now + .milliseconds(Int64(intermediate)), end)
        schedule?(end)
    }

    /// -1: there is no timer; then how many of its two moments have passed.
    fileprivate var timerState: Int32 {
        guard let retransmission, let clock else { return -1 }
        let now = clock()
        return now >= retransmission.final ? 2 : now >= retransmission.intermediate ? 1 : 0
    }

    /// How many bytes of a datagram are records that can be authentic: of an encrypted one that is shorter than its tag, mbedTLS 2.28 makes an error that ends the
    /// session, where it must discard the record (RFC 6347, 4.1.2.7).
    private func readable(_ datagram: Span<UInt8>) -> Int {
        var position = 0
        while position + 13 <= datagram.count {
            let isClear = datagram[position + 3] == 0 && datagram[position + 4] == 0
            // Type tls12_cid (RFC 9146, 4): the connection ID stands before the length.
            let header = datagram[position] == 25 ? 13 + (connectionID?.count ?? 0) : 13
            guard position + header <= datagram.count else { return position }
            let length = Int(datagram[position + header - 2]) << 8 | Int(datagram[position + header - 1])
            if !isClear, length < 16 { return position }
            position += header + length
        }
        return datagram.count
    }
    #endif

    // MARK: Sessions

    private func offerSession() {
        guard let saved = context.sessions?.session(for: sessionKey) else { return }
        if unsafe saved.offer(to: ssl) { offered = saved } else { context.sessions?.set(nil, for: sessionKey) }
    }

    /// Of TLS 1.3: a session that is resumed shows no certificate.
    private func noteResumption() {
        #if os(Linux) || CERTIFICATES
        // Nor does one that was begun with a pre-shared key, which it cannot be told from.
        isResumed = unsafe offered != nil && !context.hasPresharedKey && mbedtls_ssl_get_peer_cert(ssl) == nil
        #endif
    }

    /// Keeps the session for the next time.
    private func keepSession() {
        guard let store = context.sessions, let session = unsafe TLSSession(of: ssl) else { return }
        if let offered, unsafe cmbedtls_is_tls13(ssl) == 0 { isResumed = session.isSame(as: offered) }
        store.set(session, for: sessionKey)
    }

    #if !hasFeature(Embedded)
    // MARK: What was agreed on

    /// What the two ends have agreed on, once the handshake is over.
    var agreement: TLSAgreement {
        TLSAgreement(
            version: unsafe mbedtls_ssl_get_version(ssl).map { unsafe String(cString: $0) } ?? "",
            suite: unsafe mbedtls_ssl_get_ciphersuite(ssl).map { unsafe String(cString: $0) } ?? "",
            applicationProtocol: unsafe mbedtls_ssl_get_alpn_protocol(ssl).map { unsafe String(cString: $0) },
            isResumed: isResumed,
            peerCertificate: unsafe mbedtls_ssl_get_peer_cert(ssl).map { PeerCertificate($0, depth: 0) },
            peerIdentity: peerIdentity
        )
    }

    /// Bytes that both ends can make from what they agreed on, and nobody else (RFC 5705); `nil` where this build of mbedTLS cannot.
    func exportKey(_ label: String, _ context: [UInt8]?, _ count: Int) -> SecretBytes? {
        var key = [UInt8](repeating: 0, count: count)
        defer { key.wipe() }
        let bytes = context ?? []
        let result = unsafe cmbedtls_export(ssl, label, bytes, context == nil ? -1 : bytes.count, &key, count)
        return result == 0 ? SecretBytes(key) : nil
    }
    #endif

    /// Lets go of the stream below: nothing is written any more.
    func detach() {
        write = nil
        clock = nil
        schedule = nil
    }

    /// Calls `body` while mbedTLS may read from `bytes`; returns how many it has read.
    func receive(_ bytes: Span<UInt8>, _ body: () -> Void) -> Int {
        #if os(Linux) || DTLS
        let bytes = context.isDatagram ? bytes.extracting(first: readable(bytes)) : bytes
        #endif
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe input = buffer
            body()
            let taken = unsafe buffer.count - input.count
            unsafe input = UnsafeBufferPointer(start: nil, count: 0)
            return taken
        }
    }

    func handshake() throws(SecureTransportError) -> Outcome {
        do throws(SecureTransportError) {
            var result = unsafe mbedtls_ssl_handshake(ssl)
            // What is due is sent again before anything is read: then what has come is still there, and may not come twice.
            if unsafe result == MBEDTLS_ERR_SSL_WANT_READ && input.count > 0 {
                result = unsafe mbedtls_ssl_handshake(ssl)
            }
            let outcome = try outcome(result)
            if outcome == .done {
                #if !hasFeature(Embedded)
                if context.isServer, rejection.problems != [] {
                    // Where clients need not show a certificate, mbedTLS lets pass what it has found last.
                    _ = unsafe cmbedtls_send_alert(ssl, TLSAlert.badCertificate.rawValue)
                    throw .certificateRejected(rejection)
                }
                #endif
                if unsafe cmbedtls_is_tls13(ssl) == 1 {
                    noteResumption()
                } else {
                    keepSession()
                }
            }
            return outcome
        } catch {
            // A session that the server chokes on is not offered again.
            if offered != nil { context.sessions?.set(nil, for: sessionKey) }
            throw error
        }
    }

    /// Decrypts the next record, unless there is a rest of the last one, and offers it to `body`, which returns how many bytes it has taken. What it leaves is
    /// offered again by the next call, and no other record is decrypted before.
    func read(_ body: (Span<UInt8>) -> Int) throws(SecureTransportError) -> Outcome {
        var nothing: UInt8 = 0
        var left = unsafe input.count
        var result = unsafe mbedtls_ssl_read(ssl, &nothing, 0)
        // Between messages that are nothing to us it stops, though there is more.
        while unsafe result == MBEDTLS_ERR_SSL_WANT_READ && input.count > 0 && input.count < left {
            left = unsafe input.count
            result = unsafe mbedtls_ssl_read(ssl, &nothing, 0)
        }
        guard result == 0 else { return try outcome(result) }
        var count = 0
        let plaintext = unsafe cmbedtls_plaintext(ssl, &count)
        // Nothing at all is the end of the stream below, which is told to the owner of this in another way.
        guard count > 0 else { return .blocked }
        let taken = body(unsafe Span(_unsafeElements: UnsafeBufferPointer(start: plaintext, count: count)))
        precondition(taken >= 0 && taken <= count, "a handler took more than it was given")
        unsafe cmbedtls_take(ssl, taken)
        return taken == count ? .done : .held
    }

    /// Encrypts up to a record of `bytes` and returns how many; 0 if there was no room below: then `bytes` must start with
    /// the same bytes in the next call, in which mbedTLS sends the record that it has already made of them.
    func write(_ bytes: Span<UInt8>) throws(SecureTransportError) -> Int {
        let count = blockedCount > 0 ? blockedCount : min(bytes.count, 16_384)
        let result = unsafe bytes.withUnsafeBufferPointer { bytes in
            while true {
                let result = unsafe mbedtls_ssl_write(ssl, bytes.baseAddress, count)
                // TLS 1.3 looks at a ticket that has come before it writes.
                guard result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET else { return result }
                keepSession()
            }
        }
        blockedCount = 0
        if result >= 0 { return Int(result) }
        _ = try outcome(result)
        blockedCount = count
        return 0
    }

    func closeNotify() throws(SecureTransportError) -> Outcome { try outcome(unsafe mbedtls_ssl_close_notify(ssl)) }

    #if os(Linux) || CERTIFICATES
    /// What was found of the peer's certificates.
    private var rejection: CertificateRejection {
        // Of a certificate that is not there, or was not looked at, nothing was found.
        let flags = unsafe mbedtls_ssl_get_verify_result(ssl)
        var found = flags == .max ? 0 : flags & 0x0F_FF3F
        for finding in findings { found |= finding.problems.rawValue }
        #if hasFeature(Embedded)
        return CertificateRejection(problems: CertificateProblems(rawValue: found), findings: findings)
        #else
        return CertificateRejection(
            problems: CertificateProblems(rawValue: found),
            findings: findings,
            names: peerNames,
            wanted: String(decoding: wantedName, as: UTF8.self)
        )
        #endif
    }
    #endif

    private func outcome(_ result: Int32) throws(SecureTransportError) -> Outcome {
        switch result {
        case 0: return .done
        case MBEDTLS_ERR_SSL_WANT_READ, MBEDTLS_ERR_SSL_WANT_WRITE: return .blocked
        case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET:
            // TLS 1.3 sends them whenever it likes.
            keepSession()
            return .done
        case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY: return .ended
        #if !hasFeature(Embedded)
        case MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED: return .unverified
        case MBEDTLS_ERR_SSL_CLIENT_RECONNECT: return .reconnects
        case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
            _ = unsafe cmbedtls_send_alert(ssl, TLSAlert.handshakeFailure.rawValue)
            throw .certificateRejected(CertificateRejection(problems: .missing, findings: [], names: [], wanted: ""))
        case MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY: throw .unknownIdentity
        case MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN: throw .nothingInCommon
        #endif
        case MBEDTLS_ERR_SSL_TIMEOUT: throw .timedOut
        case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
            let alert = unsafe cmbedtls_last_alert(ssl)
            throw alert >= 0
                ? .alertReceived(TLSAlert(rawValue: UInt8(truncatingIfNeeded: alert))) : .protocolFailure(code: result)
        #if os(Linux) || CERTIFICATES
        case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED, MBEDTLS_ERR_X509_FATAL_ERROR: throw .certificateRejected(rejection)
        case MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE where rejection.problems != []:
            // mbedTLS looks at what a certificate may be used for after all else.
            throw .certificateRejected(rejection)
        case MBEDTLS_ERR_PK_INVALID_ALG: throw .signingFailed
        case MBEDTLS_ERR_ECP_VERIFY_FAILED, MBEDTLS_ERR_RSA_VERIFY_FAILED:
            // mbedTLS leaves the peer without a word.
            _ = unsafe cmbedtls_send_alert(ssl, TLSAlert.decryptError.rawValue)
            throw .wrongSignature
        #endif
        case _ where Self.isLackOfMemory(result): throw .outOfMemory
        #if os(Linux) || CERTIFICATES
        case -0x2A00 ... -0x2080:
            // The errors of mbedTLS's X.509 parser.
            throw .certificateUnreadable(code: result)
        #endif
        default: throw .protocolFailure(code: result)
        }
    }

    /// Whether a part of mbedTLS got no memory: its error is in the upper bits, that of the big numbers or of ASN.1 below it in the lower seven.
    private static func isLackOfMemory(_ result: Int32) -> Bool {
        switch -result & 0x7F80 {
        // SSL, X.509, keys, curves, digests, ciphers, PEM.
        case 0x7F00, 0x2880, 0x3F80, 0x4D80, 0x5180, 0x6180, 0x1180: true
        default: -result & 0x7F == 0x10 || -result & 0x7F == 0x6A
        }
    }

    // MARK: What mbedTLS calls

    fileprivate func send(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
        let count = unsafe write?(Span(_unsafeElements: bytes)) ?? 0
        // A datagram that could not be sent was lost, as others are.
        return context.isDatagram ? Int32(bytes.count) : count > 0 ? Int32(count) : MBEDTLS_ERR_SSL_WANT_WRITE
    }

    fileprivate func takeInput(_ buffer: UnsafeMutableBufferPointer<UInt8>) -> Int32 {
        let count = unsafe min(buffer.count, input.count)
        guard count > 0, let source = unsafe input.baseAddress, let target = buffer.baseAddress else {
            return MBEDTLS_ERR_SSL_WANT_READ
        }
        unsafe target.update(from: source, count: count)
        // Of a datagram there is no second part.
        unsafe input =
            context.isDatagram
            ? UnsafeBufferPointer(start: nil, count: 0) : UnsafeBufferPointer(rebasing: input[count...])
        return Int32(count)
    }

    #if os(Linux) || CERTIFICATES
    /// Looks at a certificate of the peer's chain, from the last issuer to the peer's own. Returns an error of mbedTLS to end the handshake at once.
    fileprivate func verify(
        _ certificate: UnsafeMutablePointer<mbedtls_x509_crt>,
        _ depth: Int,
        _ flags: inout UInt32
    ) -> Int32 {
        let rules = context.verification
        if let clock = rules.clock {
            let now = clock()
            flags &= ~(CertificateProblems.expired.rawValue | CertificateProblems.notYetValid.rawValue)
            if unsafe now > PeerCertificate.seconds(certificate.pointee.valid_to) {
                flags |= CertificateProblems.expired.rawValue
            }
            if unsafe now < PeerCertificate.seconds(certificate.pointee.valid_from) {
                flags |= CertificateProblems.notYetValid.rawValue
            }
        }
        let isOwn = depth == 0
        if !isOwn, unsafe cmbedtls_has_name_constraints(certificate) == 1 {
            flags |= CertificateProblems.nameConstraints.rawValue
        }
        if isOwn, !wantedAddress.isEmpty,
            unsafe cmbedtls_has_address(certificate, wantedAddress, wantedAddress.count) == 0
        {
            flags |= CertificateProblems.wrongName.rawValue
        }
        if isOwn, !rules.pinnedKeys.isEmpty, unsafe !rules.pinnedKeys.contains(PeerCertificate.keyHash(certificate)) {
            flags |= CertificateProblems.notPinned.rawValue
        }
        #if hasFeature(Embedded)
        let finding = CertificateRejection.Finding(depth: depth, problems: CertificateProblems(rawValue: flags))
        if flags != 0 { findings.append(finding) }
        return 0
        #else
        guard flags != 0 || rules.verify != nil || isOwn && !findings.isEmpty else { return 0 }
        let shown = PeerCertificate(certificate, depth: depth)
        if isOwn { peerNames = shown.names }
        if let verify = rules.verify { flags = verify(shown, CertificateProblems(rawValue: flags)).rawValue }
        if flags != 0 {
            findings.append(
                CertificateRejection.Finding(certificate: shown, problems: CertificateProblems(rawValue: flags))
            )
        }
        // Of a client that need not show one, mbedTLS would let a bad certificate pass.
        return context.isServer && isOwn && !findings.isEmpty ? MBEDTLS_ERR_X509_FATAL_ERROR : 0
        #endif
    }
    #endif

    #if !hasFeature(Embedded)
    /// The engine that a session of mbedTLS belongs to.
    static func of(_ ssl: UnsafeMutablePointer<mbedtls_ssl_context>?) -> TLSEngine? {
        guard let ssl = unsafe ssl else { return nil }
        return unsafe engine(cmbedtls_user(ssl))
    }
    #endif

    #if os(Linux) || CERTIFICATES
    /// The octets of an address in text form; none for a name.
    private static func octets(of host: [UInt8]) -> [UInt8] {
        #if hasFeature(Embedded)
        let address = IPAddress(ipv4: host.span)
        #else
        let address = IPAddress(String(decoding: host, as: UTF8.self))
        #endif
        return switch address {
        case nil: []
        case .v4(let value): (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32($0))) }
        case .v6(let high, let low, _):
            (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> (56 - 8 * UInt64($0 % 8))) }
        }
    }
    #endif
}

private func engine(_ context: UnsafeMutableRawPointer?) -> TLSEngine? {
    unsafe context.map { unsafe Unmanaged<TLSEngine>.fromOpaque($0).takeUnretainedValue() }
}

private func sendBytes(_ context: UnsafeMutableRawPointer?, _ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    unsafe engine(context)?.send(UnsafeBufferPointer(start: bytes, count: count)) ?? MBEDTLS_ERR_SSL_INTERNAL_ERROR
}

private func receiveBytes(
    _ context: UnsafeMutableRawPointer?,
    _ bytes: UnsafeMutablePointer<UInt8>?,
    _ count: Int
) -> Int32 {
    unsafe engine(context)?.takeInput(UnsafeMutableBufferPointer(start: bytes, count: count))
        ?? MBEDTLS_ERR_SSL_INTERNAL_ERROR
}

#if os(Linux) || DTLS
private func setRetransmission(_ context: UnsafeMutableRawPointer?, _ intermediate: UInt32, _ final: UInt32) {
    unsafe engine(context)?.setTimer(intermediate, final)
}

private func retransmissionState(_ context: UnsafeMutableRawPointer?) -> Int32 {
    unsafe engine(context)?.timerState ?? -1
}

#endif

#if os(Linux) || CERTIFICATES
private func verifyCertificate(
    _ context: UnsafeMutableRawPointer?,
    _ certificate: UnsafeMutablePointer<mbedtls_x509_crt>?,
    _ depth: Int32,
    _ flags: UnsafeMutablePointer<UInt32>?
) -> Int32 {
    guard let certificate = unsafe certificate, let flags = unsafe flags, let engine = unsafe engine(context) else {
        return MBEDTLS_ERR_X509_FATAL_ERROR
    }
    return unsafe engine.verify(certificate, Int(depth), &flags.pointee)
}
#endif
#endif
