#if os(Linux) || CERTIFICATES
internal import CMbedTLS
internal import Kernel

/// A private key that signs: ECDSA (FIPS 186-4, 6; its nonces as RFC 6979 makes them) or RSA (RSASSA-PKCS1-v1_5, RFC 8017, 8.2).
@safe
public final class PrivateKey: @unchecked Sendable {
    // @unchecked: mbedTLS locks what signing changes of an RSA key (MBEDTLS_THREADING_C); of an EC key it changes nothing.
    private let context: UnsafeMutablePointer<mbedtls_pk_context> = .allocate(capacity: 1)
    private let random: SecureRandom

    /// A key from PEM or DER, with the password that it is encrypted with, if it is. Signing takes random numbers, to hide the key from who measures.
    public init(_ bytes: SecretBytes, password: SecretBytes? = nil, random: SecureRandom) throws(SignatureError) {
        self.random = random
        unsafe mbedtls_pk_init(context)
        let result = unsafe parsePrivateKey(bytes, password, random, into: context)
        guard result == 0 else { throw .badKey(code: result) }
    }

    deinit {
        unsafe mbedtls_pk_free(context)
        unsafe context.deallocate()
    }

    /// The signature of a digest that `hash` made: an ECDSA signature in DER (Ecdsa-Sig-Value, RFC 3279, 2.2.3), an RSA signature of the key's length.
    public func sign(digest: Span<UInt8>, hash: HashFunction) throws(SignatureError) -> [UInt8] {
        guard digest.count == hash.digestBytes else { throw .digestLength(digest.count) }
        var signature = [UInt8](repeating: 0, count: 1_024)
        var count = 0
        let result = unsafe digest.withUnsafeBufferPointer {
            unsafe cmbedtls_sign(
                context,
                hash.type,
                $0.baseAddress,
                $0.count,
                &signature,
                signature.count,
                &count,
                random.context
            )
        }
        guard result == 0 else { throw .failed(code: result) }
        return [UInt8](copying: signature.span.extracting(first: count))
    }

    /// The signature of a message, whose digest is made by `hash`.
    public func sign(_ message: Span<UInt8>, hash: HashFunction = .sha256) throws(SignatureError) -> [UInt8] {
        let digest = hash.digest(of: message)
        return try sign(digest: digest.span, hash: hash)
    }
}

/// A public key that verifies what the ``PrivateKey`` to it has signed.
@safe
public final class PublicKey: @unchecked Sendable {
    // @unchecked: as with `PrivateKey`.
    private let context: UnsafeMutablePointer<mbedtls_pk_context> = .allocate(capacity: 1)

    /// A key from its SubjectPublicKeyInfo: PEM or DER.
    public init(_ bytes: [UInt8]) throws(SignatureError) {
        unsafe mbedtls_pk_init(context)
        let bytes = terminatedIfPEM(bytes.span)
        let result = unsafe mbedtls_pk_parse_public_key(context, bytes, bytes.count)
        guard result == 0 else { throw .badKey(code: result) }
    }

    deinit {
        unsafe mbedtls_pk_free(context)
        unsafe context.deallocate()
    }

    /// Whether `signature` is the key's over a digest that `hash` made.
    public func verify(_ signature: Span<UInt8>, digest: Span<UInt8>, hash: HashFunction) -> Bool {
        guard digest.count == hash.digestBytes else { return false }
        return unsafe digest.withUnsafeBufferPointer { digest in
            unsafe signature.withUnsafeBufferPointer { signature in
                unsafe mbedtls_pk_verify(
                    context,
                    hash.type,
                    digest.baseAddress,
                    digest.count,
                    signature.baseAddress,
                    signature.count
                ) == 0
            }
        }
    }

    /// Whether `signature` is the key's over a message, whose digest is made by `hash`.
    public func verify(_ signature: Span<UInt8>, of message: Span<UInt8>, hash: HashFunction = .sha256) -> Bool {
        let digest = hash.digest(of: message)
        return verify(signature, digest: digest.span, hash: hash)
    }
}

/// Why there is no key, or no signature.
@nonexhaustive
public enum SignatureError: Error, Equatable, Sendable {
    /// The key cannot be read, or its password is wrong; mbedTLS's error number.
    case badKey(code: Int32)
    /// The digest has this many bytes, and not as many as the hash function makes.
    case digestLength(Int)
    /// mbedTLS could not sign; its error number.
    case failed(code: Int32)
}

func parsePrivateKey(
    _ key: SecretBytes,
    _ password: SecretBytes?,
    _ random: SecureRandom,
    into context: UnsafeMutablePointer<mbedtls_pk_context>
) -> Int32 {
    key.withBytes { key in
        var bytes = terminatedIfPEM(key)
        defer { bytes.wipe() }
        guard let password else {
            return unsafe cmbedtls_pk_parse_key(context, bytes, bytes.count, nil, 0, random.context)
        }
        return password.withBytes { password in
            unsafe password.withUnsafeBufferPointer {
                unsafe cmbedtls_pk_parse_key(context, bytes, bytes.count, $0.baseAddress, $0.count, random.context)
            }
        }
    }
}

/// A copy as mbedTLS takes it: PEM only with a zero byte behind it, and DER only without.
func terminatedIfPEM(_ bytes: Span<UInt8>) -> [UInt8] {
    var copy: [UInt8] = []
    copy.reserveCapacity(bytes.count + 1)
    copy.append(bytes)
    // DER starts with a SEQUENCE.
    if copy.first != 0x30 { copy.append(0) }
    return copy
}
#endif
