internal import CMbedTLS

/// AES in cipher block chaining mode (FIPS 197; NIST SP 800-38A, 6.2), computed by mbedTLS. It hides, and does not authenticate.
public enum AES {
    /// How many bytes a block and an initialization vector have.
    public static let blockBytes = 16

    /// How data fill whole blocks.
    public enum Padding: Sendable {
        /// They must do so by themselves.
        case none
        /// With 1 to 16 bytes, each the number of them (RFC 5652, 6.3).
        case pkcs7
    }

    /// The ciphertext of `plaintext`, for a key of 16 or 32 bytes and an initialization vector of 16 that nobody can foresee.
    public static func encryptCBC(
        _ plaintext: Span<UInt8>,
        key: SecretBytes,
        initializationVector: Span<UInt8>,
        padding: Padding = .pkcs7
    ) throws(CipherError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(plaintext.count + blockBytes)
        for index in plaintext.indices { bytes.append(plaintext[index]) }
        switch padding {
        case .none: break
        case .pkcs7:
            let count = blockBytes - plaintext.count % blockBytes
            for _ in 0..<count { bytes.append(UInt8(truncatingIfNeeded: count)) }
        }
        try crypt(&bytes, MBEDTLS_AES_ENCRYPT, key, initializationVector)
        return bytes
    }

    /// The plaintext of `ciphertext`, for the key and the initialization vector that it was made with.
    ///
    /// That the padding is right says nothing about the key or the data: only a keyed hash over the ciphertext does. To tell a
    /// sender that it was wrong helps an attacker to read what others have sent.
    public static func decryptCBC(
        _ ciphertext: Span<UInt8>,
        key: SecretBytes,
        initializationVector: Span<UInt8>,
        padding: Padding = .pkcs7
    ) throws(CipherError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ciphertext.count)
        for index in ciphertext.indices { bytes.append(ciphertext[index]) }
        try crypt(&bytes, MBEDTLS_AES_DECRYPT, key, initializationVector)
        switch padding {
        case .none: break
        case .pkcs7: bytes.removeLast(try paddingCount(bytes.span))
        }
        return bytes
    }

    private static func crypt(
        _ bytes: inout [UInt8],
        _ mode: Int32,
        _ key: SecretBytes,
        _ initializationVector: Span<UInt8>
    ) throws(CipherError) {
        guard key.count == 16 || key.count == 32 else { throw .keyLength(key.count) }
        guard initializationVector.count == blockBytes else {
            throw .initializationVectorLength(initializationVector.count)
        }
        guard bytes.count % blockBytes == 0 else { throw .notWholeBlocks(bytes.count) }
        // It is changed with each block.
        var vector: [UInt8] = []
        for index in initializationVector.indices { vector.append(initializationVector[index]) }
        let result = key.withBytes { key in
            unsafe key.withUnsafeBufferPointer { key in
                unsafe bytes.withUnsafeMutableBufferPointer { bytes in
                    unsafe cmbedtls_aes_cbc(mode, key.baseAddress, key.count, &vector, bytes.baseAddress, bytes.count)
                }
            }
        }
        precondition(result == 0, "the lengths are those that mbedTLS takes")
    }

    /// How many bytes of padding there are. The time that it takes does not depend on what they are.
    private static func paddingCount(_ bytes: Span<UInt8>) throws(CipherError) -> Int {
        guard bytes.count >= blockBytes else { throw .notWholeBlocks(bytes.count) }
        let count = UInt32(bytes[bytes.count - 1])
        // Each difference of numbers below 2^31 has its top bit set when it is negative.
        var wrong = ((count &- 1) | (UInt32(blockBytes) &- count)) >> 31
        for distance in 1...UInt32(blockBytes) {
            let isPadding = 1 ^ ((count &- distance) >> 31)
            let differs = UInt32(bytes[bytes.count - Int(distance)]) ^ count
            wrong |= isPadding &* differs
        }
        guard wrong == 0 else { throw .badPadding }
        return Int(count)
    }
}

/// Why data cannot be encrypted or decrypted.
@nonexhaustive
public enum CipherError: Error, Equatable, Sendable {
    /// The key has this many bytes, and not as many as the cipher demands.
    case keyLength(Int)
    /// The initialization vector, or the nonce, has this many bytes, and not as many as the cipher demands: AES-CBC one block.
    case initializationVectorLength(Int)
    /// There are this many bytes, which is not a number of whole blocks, or no block where there must be one.
    case notWholeBlocks(Int)
    /// What was decrypted does not end as padding does: a wrong key, or damaged data. No more is told.
    case badPadding
    /// What was to be opened is not what was sealed with this key, nonce and additional data.
    case notAuthentic
    /// The data, or the additional data, have this many bytes, and the cipher, with a nonce of this length, takes fewer.
    case tooLong(Int)
}
