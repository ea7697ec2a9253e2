#if !hasFeature(Embedded)
// TLS on the Cortex-M needs a configuration of mbedTLS that is not chosen yet; until then these files are for hosts.
internal import CMbedTLS

/// A ``TLSConfiguration`` in the form that mbedTLS works with; parsed once, used by any number of streams of any loop.
///
/// mbedTLS keeps the addresses of what a configuration is made of: they are allocated here, and live as long as this.
@safe
final class TLSContext: @unchecked Sendable {
    // @unchecked: nothing changes after `init` but the random number generator, which mbedTLS locks (MBEDTLS_THREADING_C).
    let configuration: TLSConfiguration
    let config: UnsafeMutablePointer<mbedtls_ssl_config> = .allocate(capacity: 1)
    private let entropy: UnsafeMutablePointer<mbedtls_entropy_context> = .allocate(capacity: 1)
    private let random: UnsafeMutablePointer<mbedtls_ctr_drbg_context> = .allocate(capacity: 1)
    private let anchors: UnsafeMutablePointer<mbedtls_x509_crt> = .allocate(capacity: 1)
    private let chain: UnsafeMutablePointer<mbedtls_x509_crt> = .allocate(capacity: 1)
    private let privateKey: UnsafeMutablePointer<mbedtls_pk_context> = .allocate(capacity: 1)
    private let profile: UnsafeMutablePointer<mbedtls_x509_crt_profile> = .allocate(capacity: 1)
    private let suites: UnsafeMutableBufferPointer<Int32>

    init(_ configuration: TLSConfiguration) throws(SecureTransportError) {
        self.configuration = configuration
        let numbers = Self.suiteNumbers(configuration)
        unsafe suites = .allocate(capacity: numbers.count + 1)
        for (index, number) in (numbers + [0]).enumerated() { unsafe suites[index] = number }
        unsafe mbedtls_ssl_config_init(config)
        unsafe mbedtls_entropy_init(entropy)
        unsafe mbedtls_ctr_drbg_init(random)
        unsafe mbedtls_x509_crt_init(anchors)
        unsafe mbedtls_x509_crt_init(chain)
        unsafe mbedtls_pk_init(privateKey)
        unsafe cmbedtls_fill_profile(profile)
        try check(unsafe cmbedtls_seed(random, entropy), .entropy)
        try check(unsafe cmbedtls_defaults_for_tls_client(config), .other)
        unsafe cmbedtls_use_drbg(config, random)
        unsafe mbedtls_ssl_conf_ciphersuites(config, suites.baseAddress)
        unsafe mbedtls_ssl_conf_cert_profile(config, profile)
        unsafe mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED)
        try setIdentity()
        if case .preSharedKey = configuration.identity { return }
        try setTrust()
    }

    deinit {
        unsafe mbedtls_ssl_config_free(config)
        unsafe mbedtls_pk_free(privateKey)
        unsafe mbedtls_x509_crt_free(chain)
        unsafe mbedtls_x509_crt_free(anchors)
        unsafe mbedtls_ctr_drbg_free(random)
        unsafe mbedtls_entropy_free(entropy)
        unsafe config.deallocate()
        unsafe privateKey.deallocate()
        unsafe chain.deallocate()
        unsafe anchors.deallocate()
        unsafe random.deallocate()
        unsafe entropy.deallocate()
        unsafe profile.deallocate()
        unsafe suites.deallocate()
    }

    private func check(_ code: Int32, _ part: SecureTransportError.ConfigurationPart) throws(SecureTransportError) {
        switch code {
        case 0: return
        case MBEDTLS_ERR_SSL_ALLOC_FAILED, MBEDTLS_ERR_X509_ALLOC_FAILED: throw .outOfMemory
        default: throw .badConfiguration(part, code: code)
        }
    }

    private func setIdentity() throws(SecureTransportError) {
        switch configuration.identity {
        case .anonymous: break
        case .preSharedKey(let identity, let key):
            guard !identity.isEmpty, key.count > 0 else { throw .badConfiguration(.preSharedKey, code: 0) }
            let result = key.withBytes { key in
                unsafe key.withUnsafeBufferPointer {
                    unsafe mbedtls_ssl_conf_psk(config, $0.baseAddress, $0.count, identity, identity.count)
                }
            }
            try check(result, .preSharedKey)
        case .certificate(let certificates, let key, let password):
            try check(unsafe Self.parse(certificates, into: chain), .certificateChain)
            let result = key.withBytes { key in
                var bytes = Self.terminated(key)
                defer { unsafe mbedtls_platform_zeroize(&bytes, bytes.count) }
                guard let password else {
                    return unsafe cmbedtls_pk_parse_key(privateKey, bytes, bytes.count, nil, 0, random)
                }
                return password.withBytes { password in
                    unsafe password.withUnsafeBufferPointer {
                        unsafe cmbedtls_pk_parse_key(privateKey, bytes, bytes.count, $0.baseAddress, $0.count, random)
                    }
                }
            }
            try check(result, .privateKey)
            try check(unsafe cmbedtls_key_matches(chain, privateKey, random), .keyDoesNotMatchCertificate)
            try check(unsafe mbedtls_ssl_conf_own_cert(config, chain, privateKey), .certificateChain)
        }
    }

    private func setTrust() throws(SecureTransportError) {
        switch configuration.trust {
        case .anchors(let certificates): try check(unsafe Self.parse(certificates, into: anchors), .anchors)
        case .system:
            // A few that mbedTLS cannot read are no reason to trust none.
            let result = unsafe mbedtls_x509_crt_parse_file(anchors, "/etc/ssl/certs/ca-certificates.crt")
            try check(min(result, 0), .anchors)
        }
        unsafe mbedtls_ssl_conf_ca_chain(config, anchors, nil)
    }

    /// Parses one certificate or several; the number of those that could not be read counts as an error.
    private static func parse(_ bytes: [UInt8], into list: UnsafeMutablePointer<mbedtls_x509_crt>) -> Int32 {
        let bytes = terminated(bytes.span)
        let result = unsafe mbedtls_x509_crt_parse(list, bytes, bytes.count)
        return result > 0 ? MBEDTLS_ERR_X509_INVALID_FORMAT : result
    }

    /// mbedTLS takes PEM only with a zero byte behind it, and DER only without.
    private static func terminated(_ bytes: Span<UInt8>) -> [UInt8] {
        var copy: [UInt8] = []
        copy.reserveCapacity(bytes.count + 1)
        for index in bytes.indices { copy.append(bytes[index]) }
        // DER starts with a SEQUENCE.
        if copy.first != 0x30 { copy.append(0) }
        return copy
    }

    private static func suiteNumbers(_ configuration: TLSConfiguration) -> [Int32] {
        // With a pre-shared key nothing else is offered: some servers would choose a certificate suite and then fail.
        guard case .preSharedKey = configuration.identity else {
            return [
                MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ]
        }
        let secure = [
            MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256,
            MBEDTLS_TLS_PSK_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,
            MBEDTLS_TLS_PSK_WITH_AES_128_CCM,
        ]
        switch configuration.suites {
        case .secure: return secure
        case .legacyPreSharedKey:
            return secure + [MBEDTLS_TLS_PSK_WITH_AES_128_CBC_SHA, MBEDTLS_TLS_PSK_WITH_AES_256_CBC_SHA]
        }
    }
}
#endif
