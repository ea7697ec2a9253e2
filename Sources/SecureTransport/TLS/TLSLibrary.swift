#if os(Linux) || TLS
internal import CMbedTLS

/// The mbedTLS that this was built with: what it has differs from version to version.
public enum TLSLibrary {
    #if !hasFeature(Embedded)
    /// Its version, as it tells it when it runs: `2.28.3`.
    public static var version: String {
        let number = mbedtls_version_get_number()
        return "\(number >> 24).\(number >> 16 & 255).\(number >> 8 & 255)"
    }
    #endif

    /// Whether it has TLS 1.3 (from 3.6 on).
    public static var hasTLS13: Bool { cmbedtls_has_tls13() == 1 }
    /// Whether it has connection IDs (RFC 9146; from 3.0 on).
    public static var hasConnectionIDs: Bool { cmbedtls_has_connection_ids() == 1 }
    /// Whether EC keys may be elsewhere, beside RSA keys (before 3.0).
    public static var hasExternalECKeys: Bool { cmbedtls_has_external_ec_keys() == 1 }
}
#endif
