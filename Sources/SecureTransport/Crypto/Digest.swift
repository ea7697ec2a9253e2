internal import CMbedTLS

/// A hash function of the SHA-2 family (FIPS 180-4).
public enum HashFunction: Sendable {
    /// SHA-256: 32 bytes.
    case sha256
    /// SHA-384: 48 bytes.
    case sha384
    /// SHA-512: 64 bytes.
    case sha512

    init?(_ type: mbedtls_md_type_t) {
        switch type {
        case MBEDTLS_MD_SHA256: self = .sha256
        case MBEDTLS_MD_SHA384: self = .sha384
        case MBEDTLS_MD_SHA512: self = .sha512
        default: return nil
        }
    }

    /// How many bytes its digests have.
    public var digestBytes: Int {
        switch self {
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    /// The digest of `message`.
    public func digest(of message: Span<UInt8>) -> [UInt8] { Digest.digest(type, digestBytes, message) }

    var type: mbedtls_md_type_t {
        switch self {
        case .sha256: MBEDTLS_MD_SHA256
        case .sha384: MBEDTLS_MD_SHA384
        case .sha512: MBEDTLS_MD_SHA512
        }
    }
}

/// Hash functions (FIPS 180-4, RFC 1321), computed by mbedTLS.
public enum Digest {
    /// SHA-256: 32 bytes.
    public static func sha256(_ message: Span<UInt8>) -> [UInt8] { digest(MBEDTLS_MD_SHA256, 32, message) }
    /// SHA-1: 20 bytes. For protocols that demand it; it is no longer collision resistant.
    public static func sha1(_ message: Span<UInt8>) -> [UInt8] { digest(MBEDTLS_MD_SHA1, 20, message) }
    /// MD5: 16 bytes. For protocols that demand it; it is no longer collision resistant.
    public static func md5(_ message: Span<UInt8>) -> [UInt8] { digest(MBEDTLS_MD_MD5, 16, message) }

    static func digest(_ type: mbedtls_md_type_t, _ count: Int, _ message: Span<UInt8>) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: count)
        let result = unsafe message.withUnsafeBufferPointer {
            unsafe mbedtls_md(mbedtls_md_info_from_type(type), $0.baseAddress, $0.count, &digest)
        }
        precondition(result == 0, "this build of mbedTLS lacks a hash function that was asked for")
        return digest
    }
}

/// Keyed hash functions (RFC 2104), computed by mbedTLS.
public enum HMAC {
    /// HMAC-SHA256: 32 bytes.
    public static func sha256(key: SecretBytes, message: Span<UInt8>) -> [UInt8] {
        hmac(MBEDTLS_MD_SHA256, 32, key, message)
    }

    /// HMAC-SHA1: 20 bytes. For protocols that demand it.
    public static func sha1(key: SecretBytes, message: Span<UInt8>) -> [UInt8] {
        hmac(MBEDTLS_MD_SHA1, 20, key, message)
    }

    private static func hmac(
        _ type: mbedtls_md_type_t,
        _ count: Int,
        _ key: SecretBytes,
        _ message: Span<UInt8>
    ) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: count)
        let result = key.withBytes { key in
            unsafe key.withUnsafeBufferPointer { key in
                unsafe message.withUnsafeBufferPointer { message in
                    unsafe mbedtls_md_hmac(
                        mbedtls_md_info_from_type(type),
                        key.baseAddress,
                        key.count,
                        message.baseAddress,
                        message.count,
                        &code
                    )
                }
            }
        }
        precondition(result == 0, "this build of mbedTLS lacks a hash function that was asked for")
        return code
    }
}
