import SecureTransport
import Testing

/// AES-CCM, and keys that are made of others.
@Suite struct KeyTests {
    private static let rfc3610 = "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
    private static let nist = "404142434445464748494a4b4c4d4e4f"

    /// RFC 3610, 8, packet vectors 1, 2, 3 and 7; NIST SP 800-38C, appendix C, examples 1 to 3.
    @Test(
        arguments: [
            (
                rfc3610, "00000003020100a0a1a2a3a4a5", "0001020304050607",
                "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
                "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0", 8
            ),
            (
                rfc3610, "00000004030201a0a1a2a3a4a5", "0001020304050607",
                "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "72c91a36e135f8cf291ca894085c87e3cc15c439c9e43a3ba091d56e10400916", 8
            ),
            (
                rfc3610, "00000005040302a0a1a2a3a4a5", "0001020304050607",
                "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
                "51b1e5f44a197d1da46b0f8e2d282ae871e838bb64da8596574adaa76fbd9fb0c5", 8
            ),
            (
                rfc3610, "00000009080706a0a1a2a3a4a5", "0001020304050607",
                "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
                "0135d1b2c95f41d5d1d4fec185d166b8094e999dfed96c048c56602c97acbb7490", 10
            ), (nist, "10111213141516", "0001020304050607", "20212223", "7162015b4dac255d", 4),
            (
                nist, "1011121314151617", "000102030405060708090a0b0c0d0e0f", "202122232425262728292a2b2c2d2e2f",
                "d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd", 6
            ),
            (
                nist, "101112131415161718191a1b", "000102030405060708090a0b0c0d0e0f10111213",
                "202122232425262728292a2b2c2d2e2f3031323334353637",
                "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951", 8
            ),
        ] as [(String, String, String, String, String, Int)]
    )
    func ccmAgreesWithTheSpecification(
        key: String,
        nonce: String,
        data: String,
        plaintext: String,
        sealed: String,
        tagBytes: Int
    ) throws {
        let key = SecretBytes(bytes(key))
        let (nonce, data, plaintext, sealed) = (bytes(nonce), bytes(data), bytes(plaintext), bytes(sealed))
        func open(_ sealed: [UInt8], _ data: [UInt8]) throws(CipherError) -> [UInt8] {
            try AESCCM.open(sealed.span, key: key, nonce: nonce.span, additionalData: data.span, tagBytes: tagBytes)
        }
        #expect(
            try AESCCM.seal(
                plaintext.span,
                key: key,
                nonce: nonce.span,
                additionalData: data.span,
                tagBytes: tagBytes
            ) == sealed
        )
        #expect(try open(sealed, data) == plaintext)
        // Whatever is changed, nothing is opened.
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 0x10
            #expect(throws: CipherError.notAuthentic) { try open(changed, data) }
        }
        #expect(throws: CipherError.notAuthentic) { try open(sealed, data + [0]) }
        #expect(throws: CipherError.notAuthentic) { try open(Array(sealed.prefix(tagBytes - 1)), data) }
    }

    @Test func ccmSealsNothingToATag() throws {
        let key = SecretBytes([UInt8](repeating: 1, count: 32))
        let (nothing, nonce) = ([UInt8](), [UInt8](repeating: 2, count: 13))
        let tag = try AESCCM.seal(nothing.span, key: key, nonce: nonce.span, additionalData: nothing.span)
        #expect(tag.count == 16)
        #expect(try AESCCM.open(tag.span, key: key, nonce: nonce.span, additionalData: nothing.span) == nothing)
    }

    @Test func ccmRefusesWhatItCannotUse() throws {
        func seal(key: Int = 16, nonce: Int = 13, data: Int = 0, _ count: Int) throws(CipherError) -> Int {
            let bytes = [UInt8](repeating: 0, count: max(nonce, data, count))
            return try AESCCM.seal(
                bytes.span.extracting(first: count),
                key: SecretBytes([UInt8](repeating: 0, count: key)),
                nonce: bytes.span.extracting(first: nonce),
                additionalData: bytes.span.extracting(first: data),
                tagBytes: 8
            ).count
        }
        #expect(throws: CipherError.keyLength(15)) { try seal(key: 15, 1) }
        #expect(throws: CipherError.initializationVectorLength(6)) { try seal(nonce: 6, 1) }
        #expect(throws: CipherError.initializationVectorLength(14)) { try seal(nonce: 14, 1) }
        #expect(throws: CipherError.tooLong(65_536)) { try seal(65_536) }
        #expect(throws: CipherError.tooLong(0xFF00)) { try seal(data: 0xFF00, 1) }
        #expect(try seal(65_535) == 65_543)
        #expect(try seal(nonce: 12, 65_536) == 65_544)
    }

    /// RFC 5869, A.1 to A.3.
    @Test(arguments: [
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        ),
        (
            String((0x00...0x4F).flatMap { hex([$0]) }), String((0x60...0xAF).flatMap { hex([$0]) }),
            String((0xB0...0xFF).flatMap { hex([$0]) }),
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            """
            b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c
            59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87
            """
        ),
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        ),
    ])
    func hkdfAgreesWithTheStandard(secret: String, salt: String, info: String, key: String, output: String) {
        let (salt, info, expected) = (bytes(salt), bytes(info), bytes(output))
        let extracted = HKDF.extract(SecretBytes(bytes(secret)), salt: salt.span)
        #expect(extracted.withBytes { hex(copy($0)) } == key)
        for count in [0, 1, 31, 32, 33, expected.count] {
            let output = HKDF.expand(extracted, info: info.span, count: count)
            #expect(output.withBytes { copy($0) } == Array(expected.prefix(count)))
        }
    }

    private func copy(_ span: Span<UInt8>) -> [UInt8] { span.indices.map { span[$0] } }
}
