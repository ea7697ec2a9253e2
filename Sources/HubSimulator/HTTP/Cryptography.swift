internal import CCrypto

/// What the hub computes with OpenSSL.
enum Cryptography {
    enum Digest {
        case md5, sha1, sha256

        fileprivate var function: OpaquePointer? {
            switch self {
            case .md5: EVP_md5()
            case .sha1: EVP_sha1()
            case .sha256: EVP_sha256()
            }
        }
    }

    static func digest(_ digest: Digest, _ bytes: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        EVP_Digest(bytes, bytes.count, &result, &length, digest.function, nil)
        return Array(result.prefix(Int(length)))
    }

    static func hmac(_ digest: Digest, key: [UInt8], _ bytes: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        HMAC(digest.function, key, Int32(key.count), bytes, bytes.count, &result, &length)
        return Array(result.prefix(Int(length)))
    }

    /// Whether two texts are equal, in a time that does not tell where they differ.
    static func areEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
    }

    /// AES-128-CBC with zeros up to a whole block behind the text.
    static func encryptWithZeros(_ text: [UInt8], key: [UInt8], iv: [UInt8]) -> [UInt8] {
        guard key.count == 16, iv.count == 16, let context = EVP_CIPHER_CTX_new() else { return [] }
        defer { EVP_CIPHER_CTX_free(context) }
        let padded = text + [UInt8](repeating: 0, count: (16 - text.count % 16) % 16)
        var result = [UInt8](repeating: 0, count: padded.count + 16)
        var length: Int32 = 0
        EVP_EncryptInit_ex(context, EVP_aes_128_cbc(), nil, key, iv)
        EVP_CIPHER_CTX_set_padding(context, 0)
        EVP_EncryptUpdate(context, &result, &length, padded, Int32(padded.count))
        return Array(result.prefix(Int(length)))
    }

    /// Whether a signature with SHA-256 is that of the certificate's key: RSASSA-PKCS1-v1_5 for an RSA key, ECDSA for one on a curve.
    static func isSigned(_ text: [UInt8], _ signature: [UInt8], certificatePEM: [UInt8]) -> Bool {
        guard let file = BIO_new_mem_buf(certificatePEM, Int32(certificatePEM.count)) else { return false }
        defer { BIO_free(file) }
        guard let certificate = PEM_read_bio_X509(file, nil, nil, nil) else { return false }
        defer { X509_free(certificate) }
        guard let key = X509_get_pubkey(certificate), let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            EVP_PKEY_free(key)
        }
        guard EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, key) == 1 else { return false }
        return EVP_DigestVerify(context, signature, signature.count, text, text.count) == 1
    }
}
