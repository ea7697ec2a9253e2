import SecureTransport
import Testing

func hex(_ bytes: [UInt8]) -> String { bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }

/// The bytes of pairs of hexadecimal digits; white space is left out.
func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap { $0.hexDigitValue.map { UInt8($0) } }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

@Suite struct CryptoTests {
    /// RFC 1321, A.5.
    @Test(arguments: [
        ("", "d41d8cd98f00b204e9800998ecf8427e"), ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"), ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
        (String(repeating: "1234567890", count: 8), "57edf4a22be3c955ac49da2e2107b67a"),
    ])
    func md5AgreesWithTheStandard(message: String, digest: String) {
        #expect(hex(Digest.md5(Array(message.utf8).span)) == digest)
    }

    /// RFC 3174, 7.3, whose messages are repeated strings.
    @Test(arguments: [
        ("abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        ), ("a", 1_000_000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        (
            "0123456701234567012345670123456701234567012345670123456701234567", 10,
            "dea356a2cddd90c7a7ecedc5ebb563934f460452"
        ),
    ])
    func sha1AgreesWithTheStandard(text: String, count: Int, digest: String) {
        #expect(hex(Digest.sha1(Array(String(repeating: text, count: count).utf8).span)) == digest)
    }

    /// FIPS 180-2, B.1 to B.3.
    @Test(arguments: [
        ("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ), ("a", 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ])
    func sha256AgreesWithTheStandard(text: String, count: Int, digest: String) {
        #expect(hex(Digest.sha256(Array(String(repeating: text, count: count).utf8).span)) == digest)
    }

    /// The keys and messages that RFC 2202 (3) and RFC 4231 (4) share: their test cases 1 to 5.
    private static let shared: [(key: [UInt8], message: [UInt8])] = [
        (.init(repeating: 0x0b, count: 20), Array("Hi There".utf8)),
        (Array("Jefe".utf8), Array("what do ya want for nothing?".utf8)),
        (.init(repeating: 0xaa, count: 20), .init(repeating: 0xdd, count: 50)),
        (Array(1...25), .init(repeating: 0xcd, count: 50)),
        (.init(repeating: 0x0c, count: 20), Array("Test With Truncation".utf8)),
    ]
    private static let keyFirst = Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)

    /// RFC 2202, section 3.
    @Test func hmacWithSHA1AgreesWithTheStandard() {
        let longKey = [UInt8](repeating: 0xaa, count: 80)
        let cases =
            Self.shared + [
                (longKey, Self.keyFirst),
                (longKey, Array("Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data".utf8)),
            ]
        let codes = [
            "b617318655057264e28bc0b6fb378c8ef146be00", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            "125d7342b9ac11cd91a39af48aa17b4f63f175d3", "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
            "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04", "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
        ]
        for (input, code) in zip(cases, codes) {
            #expect(hex(HMAC.sha1(key: SecretBytes(input.key), message: input.message.span)) == code)
        }
    }

    /// RFC 4231, section 4; of case 5 the standard gives the first half only.
    @Test func hmacWithSHA256AgreesWithTheStandard() {
        let longKey = [UInt8](repeating: 0xaa, count: 131)
        let longMessage =
            "This is a test using a larger than block-size key and a larger than block-size data. "
            + "The key needs to be hashed before being used by the HMAC algorithm."
        let cases = Self.shared + [(longKey, Self.keyFirst), (longKey, Array(longMessage.utf8))]
        let codes = [
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b", "a3b6167473100ee06e0c796c2955552b",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ]
        for (input, code) in zip(cases, codes) {
            #expect(hex(HMAC.sha256(key: SecretBytes(input.key), message: input.message.span)).hasPrefix(code))
        }
    }

    /// RFC 4648, section 10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func base64AgreesWithTheStandard(bytes: String, text: String) {
        let (bytes, text) = (Array(bytes.utf8), Array(text.utf8))
        #expect(Base64.encode(bytes.span) == text)
        #expect(Base64.decode(text.span) == bytes)
        let unpadded = text.filter { $0 != UInt8(ascii: "=") }
        #expect(Base64.decode(unpadded.span) == bytes)
    }

    /// All 64 characters in order (RFC 4648, table 1).
    @Test func base64HasTheStandardAlphabet() {
        let bytes = bytes(
            "00108310518720928b30d38f41149351559761969b71d79f8218a39259a7a29aabb2dbafc31cb3d35db7e39ebbf3dfbf"
        )
        let text = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        #expect(Base64.encode(bytes.span) == text)
        #expect(Base64.decode(text.span) == bytes)
    }

    @Test(arguments: ["A", "AAAA=", "A===", "AA=A", "AA\nAA", "AA AA", "????", "AAAAA", "Zm9v\0", "-_-_"])
    func refusesWhatIsNotBase64(text: String) { #expect(Base64.decode(Array(text.utf8).span) == nil) }

    @Test func secretsAreNotPrinted() {
        let secret = SecretBytes(Array("hunter2".utf8))
        #expect(!"\(secret)".contains("104") && !String(reflecting: secret).contains("hunter"))
        #expect(secret.count == 7)
    }
}
