#if os(Linux) || CERTIFICATES
// The configuration of mbedTLS with certificates is the one that has GCM.
internal import CMbedTLS
internal import Kernel

/// AES in Galois/counter mode (NIST SP 800-38D), computed by mbedTLS. It hides and authenticates.
public enum AESGCM {
    /// How many bytes a tag has.
    public static let tagBytes = 16

    /// The ciphertext of `plaintext`, and behind it a tag that authenticates both it and `additionalData`, for a key of 16 or 32 bytes. A nonce, of 12 bytes at
    /// best, must never be used twice with a key: it gives away both plaintexts, and lets anybody forge messages.
    public static func seal(
        _ plaintext: Span<UInt8>,
        key: SecretBytes,
        nonce: Span<UInt8>,
        additionalData: Span<UInt8>
    ) throws(CipherError) -> [UInt8] {
        var sealed = [UInt8](repeating: 0, count: plaintext.count + tagBytes)
        let count = plaintext.count
        let result = unsafe try withContext(key, nonce) { context, nonce in
            unsafe plaintext.withUnsafeBufferPointer { plaintext in
                unsafe additionalData.withUnsafeBufferPointer { data in
                    unsafe sealed.withUnsafeMutableBufferPointer { sealed in
                        guard let start = sealed.baseAddress else { return -1 }
                        return unsafe mbedtls_gcm_crypt_and_tag(
                            context,
                            MBEDTLS_GCM_ENCRYPT,
                            count,
                            nonce.baseAddress,
                            nonce.count,
                            data.baseAddress,
                            data.count,
                            plaintext.baseAddress,
                            start,
                            tagBytes,
                            start + count
                        )
                    }
                }
            }
        }
        precondition(result == 0, "the lengths are those that mbedTLS takes")
        return sealed
    }

    /// The plaintext of what ``seal(_:key:nonce:additionalData:)`` made with the same key, nonce and additional data; else an error, and nothing of it.
    public static func open(
        _ sealed: Span<UInt8>,
        key: SecretBytes,
        nonce: Span<UInt8>,
        additionalData: Span<UInt8>
    ) throws(CipherError) -> [UInt8] {
        guard sealed.count >= tagBytes else { throw .notAuthentic }
        let count = sealed.count - tagBytes
        var plaintext = [UInt8](repeating: 0, count: max(count, 1))
        let result = unsafe try withContext(key, nonce) { context, nonce in
            unsafe sealed.withUnsafeBufferPointer { sealed in
                unsafe additionalData.withUnsafeBufferPointer { data in
                    guard let start = sealed.baseAddress else { return -1 }
                    return unsafe mbedtls_gcm_auth_decrypt(
                        context,
                        count,
                        nonce.baseAddress,
                        nonce.count,
                        data.baseAddress,
                        data.count,
                        start + count,
                        tagBytes,
                        start,
                        &plaintext
                    )
                }
            }
        }
        guard result == 0 else { throw .notAuthentic }
        if count == 0 { plaintext = [] }
        return plaintext
    }

    private static func withContext(
        _ key: SecretBytes,
        _ nonce: Span<UInt8>,
        _ body: (UnsafeMutablePointer<mbedtls_gcm_context>, UnsafeBufferPointer<UInt8>) -> Int32
    ) throws(CipherError) -> Int32 {
        guard key.count == 16 || key.count == 32 else { throw .keyLength(key.count) }
        guard !nonce.isEmpty else { throw .initializationVectorLength(nonce.count) }
        var context = unsafe mbedtls_gcm_context()
        unsafe mbedtls_gcm_init(&context)
        defer { unsafe mbedtls_gcm_free(&context) }
        let result = key.withBytes { key in
            unsafe key.withUnsafeBufferPointer {
                unsafe mbedtls_gcm_setkey(&context, MBEDTLS_CIPHER_ID_AES, $0.baseAddress, UInt32($0.count * 8))
            }
        }
        precondition(result == 0, "the key has a length that mbedTLS takes")
        return unsafe nonce.withUnsafeBufferPointer { unsafe body(&context, $0) }
    }
}
#endif
