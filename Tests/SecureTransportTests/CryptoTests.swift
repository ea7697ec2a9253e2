import SecureTransport
import Testing

func hex(_ bytes: [UInt8]) -> String { bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }

@Suite struct CryptoTests {
    /// RFC 1321 (A.5), FIPS 180-4 (the message "abc").
    @Test func digestsAgreeWithTheStandards() {
        let message = Array("abc".utf8)
        #expect(hex(Digest.md5(message.span)) == "900150983cd24fb0d6963f7d28e17f72")
        #expect(hex(Digest.sha1(message.span)) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(
            hex(Digest.sha256(message.span)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
    }

    /// RFC 2202 and RFC 4231, test case 2.
    @Test func keyedHashesAgreeWithTheStandards() {
        let key = SecretBytes(Array("Jefe".utf8))
        let message = Array("what do ya want for nothing?".utf8)
        #expect(hex(HMAC.sha1(key: key, message: message.span)) == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
        #expect(
            hex(HMAC.sha256(key: key, message: message.span))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        )
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

    @Test(arguments: ["A", "AAAA=", "A===", "AA=A", "AA\nAA", "AA AA", "????", "AAAAA", "Zm9v\0"])
    func refusesWhatIsNotBase64(text: String) { #expect(Base64.decode(Array(text.utf8).span) == nil) }

    @Test func secretsAreNotPrinted() {
        let secret = SecretBytes(Array("hunter2".utf8))
        #expect(!"\(secret)".contains("104") && !String(reflecting: secret).contains("hunter"))
        #expect(secret.count == 7)
    }
}
