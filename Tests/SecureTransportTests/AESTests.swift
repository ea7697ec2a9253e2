import SecureTransport
import Testing

@Suite struct AESTests {
    private static let vector = bytes("000102030405060708090a0b0c0d0e0f")
    private static let plaintext = bytes(
        """
        6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
        30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710
        """
    )

    /// NIST SP 800-38A, F.2.1 and F.2.2 (AES-128), F.2.5 and F.2.6 (AES-256).
    @Test(arguments: [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            """
            7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2
            73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7
            """
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            """
            f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
            39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b
            """
        ),
    ])
    func agreesWithTheStandard(key: String, ciphertext: String) throws {
        let key = SecretBytes(bytes(key))
        let ciphertext = bytes(ciphertext)
        let (vector, plaintext) = (Self.vector, Self.plaintext)
        #expect(
            try AES.encryptCBC(plaintext.span, key: key, initializationVector: vector.span, padding: .none)
                == ciphertext
        )
        #expect(
            try AES.decryptCBC(ciphertext.span, key: key, initializationVector: vector.span, padding: .none)
                == plaintext
        )
        // With padding there is a block more, and the blocks before are the same.
        let padded = try AES.encryptCBC(plaintext.span, key: key, initializationVector: vector.span)
        #expect(padded.count == 80 && Array(padded[..<64]) == ciphertext)
        #expect(try AES.decryptCBC(padded.span, key: key, initializationVector: vector.span) == plaintext)
    }

    @Test func nothingIsEncryptedToNothingOrToABlockOfPadding() throws {
        let key = SecretBytes([UInt8](repeating: 1, count: 16))
        let (nothing, vector) = ([UInt8](), Self.vector)
        #expect(
            try AES.encryptCBC(nothing.span, key: key, initializationVector: vector.span, padding: .none) == nothing
        )
        #expect(
            try AES.decryptCBC(nothing.span, key: key, initializationVector: vector.span, padding: .none) == nothing
        )
        let block = try AES.encryptCBC(nothing.span, key: key, initializationVector: vector.span)
        #expect(block.count == 16)
        #expect(try AES.decryptCBC(block.span, key: key, initializationVector: vector.span) == nothing)
    }

    @Test(arguments: [0, 1, 15, 17, 24, 31, 33, 64])
    func refusesAKeyOfAnotherLength(count: Int) {
        let key = SecretBytes([UInt8](repeating: 0, count: count))
        let (data, vector) = ([UInt8](repeating: 0, count: 16), Self.vector)
        #expect(throws: CipherError.keyLength(count)) {
            try AES.encryptCBC(data.span, key: key, initializationVector: vector.span)
        }
        #expect(throws: CipherError.keyLength(count)) {
            try AES.decryptCBC(data.span, key: key, initializationVector: vector.span)
        }
    }

    @Test(arguments: [0, 1, 15, 17, 32])
    func refusesAnInitializationVectorOfAnotherLength(count: Int) {
        let key = SecretBytes([UInt8](repeating: 0, count: 32))
        let (data, vector) = ([UInt8](repeating: 0, count: 16), [UInt8](repeating: 0, count: count))
        #expect(throws: CipherError.initializationVectorLength(count)) {
            try AES.encryptCBC(data.span, key: key, initializationVector: vector.span)
        }
        #expect(throws: CipherError.initializationVectorLength(count)) {
            try AES.decryptCBC(data.span, key: key, initializationVector: vector.span)
        }
    }

    @Test(arguments: [1, 15, 17, 31, 33, 100])
    func refusesWhatIsNotWholeBlocks(count: Int) {
        let key = SecretBytes([UInt8](repeating: 0, count: 16))
        let (data, vector) = ([UInt8](repeating: 0, count: count), Self.vector)
        #expect(throws: CipherError.notWholeBlocks(count)) {
            try AES.encryptCBC(data.span, key: key, initializationVector: vector.span, padding: .none)
        }
        for padding in [AES.Padding.none, .pkcs7] {
            #expect(throws: CipherError.notWholeBlocks(count)) {
                try AES.decryptCBC(data.span, key: key, initializationVector: vector.span, padding: padding)
            }
        }
        #expect(throws: CipherError.notWholeBlocks(0)) {
            try AES.decryptCBC([UInt8]().span, key: key, initializationVector: Self.vector.span)
        }
    }

    /// All last bytes, and for each right one a fault at every place of the padding: the error is always the same one.
    @Test func refusesBadPadding() throws {
        let key = SecretBytes(Array("sixteen bytes ok".utf8))
        let vector = Self.vector
        func decrypt(_ plaintext: [UInt8]) throws -> [UInt8] {
            let text = try AES.encryptCBC(plaintext.span, key: key, initializationVector: vector.span, padding: .none)
            return try AES.decryptCBC(text.span, key: key, initializationVector: vector.span)
        }
        for last in 0...255 as ClosedRange<UInt8> {
            // No other byte is what padding would be.
            let plaintext = [UInt8](repeating: 0xA5, count: 31) + [last]
            if last == 1 {
                #expect(try decrypt(plaintext) == Array(plaintext[..<31]))
            } else {
                #expect(throws: CipherError.badPadding, "\(last)") { try decrypt(plaintext) }
            }
        }
        for count in 1...16 {
            let right = [UInt8](repeating: 0xA5, count: 32 - count) + [UInt8](repeating: UInt8(count), count: count)
            #expect(try decrypt(right) == [UInt8](repeating: 0xA5, count: 32 - count))
            for distance in 1...count where count > 1 {
                for change in [1, 0x10, 0x80, 0xFF] as [UInt8] {
                    var wrong = right
                    wrong[32 - distance] ^= change
                    // A changed last byte may be padding of another length: 1 always is.
                    if distance == 1 && wrong[31] == 1 { continue }
                    #expect(throws: CipherError.badPadding, "\(count) \(distance)") { try decrypt(wrong) }
                }
            }
        }
    }
}
