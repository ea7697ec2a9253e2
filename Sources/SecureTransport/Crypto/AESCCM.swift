internal import CMbedTLS
internal import Kernel

/// AES in counter mode with CBC-MAC (NIST SP 800-38C, RFC 3610), computed by mbedTLS. It hides and authenticates.
///
/// With a tag of 8 bytes and a nonce of 13 it is COSE's AES-CCM-16-64-128 (RFC 9053, 4.2).
public enum AESCCM {
    /// The ciphertext of `plaintext`, and behind it a tag that authenticates both it and `additionalData`, for a key of 16 or 32 bytes. The tag has 4 to 16
    /// bytes, an even number of them. A nonce, of 7 to 13 bytes, must never be used twice with a key: it gives away both plaintexts. The longer it is the
    /// shorter is what can be sealed: up to 65,535 bytes with 13.
    public static func seal(
        _ plaintext: Span<UInt8>,
        key: SecretBytes,
        nonce: Span<UInt8>,
        additionalData: Span<UInt8>,
        tagBytes: Int = 16
    ) throws(CipherError) -> [UInt8] {
        let count = plaintext.count
        try check(count, nonce, additionalData, tagBytes)
        var sealed = [UInt8](repeating: 0, count: count + tagBytes)
        let result = unsafe try withContext(key, nonce) { context, nonce in
            unsafe plaintext.withUnsafeBufferPointer { plaintext in
                unsafe additionalData.withUnsafeBufferPointer { data in
                    unsafe sealed.withUnsafeMutableBufferPointer { sealed in
                        guard let start = sealed.baseAddress else { return -1 }
                        return unsafe mbedtls_ccm_encrypt_and_tag(
                            context,
                            count,
                            nonce.baseAddress,
                            nonce.count,
                            data.baseAddress,
                            data.count,
                            plaintext.baseAddress,
                            start,
                            start + count,
                            tagBytes
                        )
                    }
                }
            }
        }
        precondition(result == 0, "the lengths are those that mbedTLS takes")
        return sealed
    }

    /// The plaintext of what ``seal(_:key:nonce:additionalData:tagBytes:)`` made with the same key, nonce, additional data and length of the tag; else an
    /// error, and nothing of it.
    public static func open(
        _ sealed: Span<UInt8>,
        key: SecretBytes,
        nonce: Span<UInt8>,
        additionalData: Span<UInt8>,
        tagBytes: Int = 16
    ) throws(CipherError) -> [UInt8] {
        let count = sealed.count - tagBytes
        try check(max(count, 0), nonce, additionalData, tagBytes)
        guard count >= 0 else { throw .notAuthentic }
        var plaintext = [UInt8](repeating: 0, count: max(count, 1))
        let result = unsafe try withContext(key, nonce) { context, nonce in
            unsafe sealed.withUnsafeBufferPointer { sealed in
                unsafe additionalData.withUnsafeBufferPointer { data in
                    guard let start = sealed.baseAddress else { return -1 }
                    return unsafe mbedtls_ccm_auth_decrypt(
                        context,
                        count,
                        nonce.baseAddress,
                        nonce.count,
                        data.baseAddress,
                        data.count,
                        start,
                        &plaintext,
                        start + count,
                        tagBytes
                    )
                }
            }
        }
        guard result == 0 else { throw .notAuthentic }
        if count == 0 { plaintext = [] }
        return plaintext
    }

    private static func check(
        _ count: Int,
        _ nonce: Span<UInt8>,
        _ additionalData: Span<UInt8>,
        _ tagBytes: Int
    ) throws(CipherError) {
        precondition((4...16).contains(tagBytes) && tagBytes % 2 == 0, "a tag has 4, 6, 8, 10, 12, 14 or 16 bytes")
        guard (7...13).contains(nonce.count) else { throw .initializationVectorLength(nonce.count) }
        // The length is written in what the nonce leaves of 15 bytes; that of the additional data in two, below 0xFF00.
        guard nonce.count <= 11 || count < 1 << (8 * (15 - nonce.count)) else { throw .tooLong(count) }
        guard additionalData.count < 0xFF00 else { throw .tooLong(additionalData.count) }
    }

    private static func withContext(
        _ key: SecretBytes,
        _ nonce: Span<UInt8>,
        _ body: (UnsafeMutablePointer<mbedtls_ccm_context>, UnsafeBufferPointer<UInt8>) -> Int32
    ) throws(CipherError) -> Int32 {
        guard key.count == 16 || key.count == 32 else { throw .keyLength(key.count) }
        var context = unsafe mbedtls_ccm_context()
        unsafe mbedtls_ccm_init(&context)
        defer { unsafe mbedtls_ccm_free(&context) }
        let result = key.withBytes { key in
            unsafe key.withUnsafeBufferPointer {
                unsafe mbedtls_ccm_setkey(&context, MBEDTLS_CIPHER_ID_AES, $0.baseAddress, UInt32($0.count * 8))
            }
        }
        precondition(result == 0, "the key has a length that mbedTLS takes")
        return unsafe nonce.withUnsafeBufferPointer { unsafe body(&context, $0) }
    }
}
