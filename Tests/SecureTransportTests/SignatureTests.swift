import Kernel
import SecureTransport
import Testing

/// Random numbers, signatures and sealed messages, each beside published numbers or OpenSSL's.
@Suite(.timeLimit(.minutes(1))) struct SignatureTests {
    // MARK: ECDSA and RSA

    /// RFC 6979, A.2.5: P-256, whose nonces are made from the key and the message.
    private static let vectorKey = bytes(
        """
        30770201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721
        a00a06082a8648ce3d030107a14403420004
        60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6
        7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299
        """
    )

    @Test(
        arguments: [
            (
                .sha256, "sample", "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
                "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
            ),
            (
                .sha384, "sample", "0eafea039b20e9b42309fb1d89e213057cbf973dc0cfc8f129edddc800ef7719",
                "4861f0491e6998b9455193e34e7b0d284ddd7149a74b95b9261f13abde940954"
            ),
            (
                .sha512, "test", "461d93f31b6540894788fd206c07cfa0cc35f46fa3c91816fff1040ad1581a04",
                "39af9f15de0db8d97e72719c74820d304ce5226e32dedae67519e840d1194e55"
            ),
        ] as [(HashFunction, String, String, String)]
    )
    func ecdsaAgreesWithTheStandard(hash: HashFunction, message: String, r: String, s: String) throws {
        let key = try PrivateKey(SecretBytes(Self.vectorKey), random: .system)
        let message = Array(message.utf8)
        let signature = try key.sign(message.span, hash: hash)
        #expect(signature == Self.der(bytes(r), bytes(s)))
    }

    private static func der(_ numbers: [UInt8]...) -> [UInt8] {
        let parts = numbers.flatMap { number in
            // Without leading zeros, but for one in front of a high bit.
            let digits = Array(number.drop { $0 == 0 })
            let value = digits[0] >= 0x80 ? [0] + digits : digits
            return [0x02, UInt8(value.count)] + value
        }
        return [0x30, UInt8(parts.count)] + parts
    }

    @Test(arguments: ["good-ec", "good-rsa2048"], [HashFunction.sha256, .sha384, .sha512])
    func openSSLVerifiesOurSignaturesAndWeItsOwn(name: String, hash: HashFunction) async throws {
        let directory = TestPKI.directory
        let key = try PrivateKey(SecretBytes(TestPKI.bytes("\(name).key")), random: .system)
        let publicKey = try PublicKey(TestPKI.bytes("\(name).pub"))
        let message = TestPKI.bytes("root.crt")
        let ours = try key.sign(message.span, hash: hash)
        func verifies(_ signature: [UInt8], _ message: [UInt8]) -> Bool {
            publicKey.verify(signature.span, of: message.span, hash: hash)
        }
        #expect(verifies(ours, message))
        let stem = "\(directory)/signature-\(name)-\(hash)"
        let text = hex(ours)
        let check = await Shell.run(
            "printf \(text) | xxd -r -p > \(stem) && openssl dgst -\(hash) -verify \(directory)/\(name).pub -signature \(stem) \(directory)/root.crt"
        )
        #expect(check.output.contains("Verified OK"), "\(check.output)")
        let made = await Shell.run(
            "openssl dgst -\(hash) -sign \(directory)/\(name).key \(directory)/root.crt | xxd -p | tr -d '\\n'"
        )
        let theirs = bytes(made.output)
        #expect(verifies(theirs, message))
        // RSA signatures of this kind are always the same.
        if name == "good-rsa2048" { #expect(theirs == ours) }

        var wrong = theirs
        wrong[wrong.count - 1] ^= 1
        #expect(!verifies(wrong, message))
        var other = message
        other[0] ^= 1
        #expect(!verifies(theirs, other) && !verifies([], message))
        let nothing: [UInt8] = []
        let isVerified = publicKey.verify(theirs.span, digest: nothing.span, hash: hash)
        #expect(!isVerified)
        #expect(throws: SignatureError.digestLength(0)) { try key.sign(digest: nothing.span, hash: hash) }
    }

    @Test func whatIsNoKeyIsRefused() {
        #expect(throws: SignatureError.self) { try PrivateKey(SecretBytes([1, 2, 3]), random: .system) }
        #expect(throws: SignatureError.self) { try PublicKey(Array("no key".utf8)) }
        let encrypted = SecretBytes(TestPKI.bytes("client-encrypted.key"))
        #expect(throws: SignatureError.self) { try PrivateKey(encrypted, random: .system) }
        #expect(throws: Never.self) {
            try PrivateKey(encrypted, password: SecretBytes(Array("secret".utf8)), random: .system)
        }
    }

    // MARK: Keys that are elsewhere

    @Test(arguments: ["good-ec", "good-rsa2048"])
    func aServersKeyMayBeElsewhere(name: String) async throws {
        let key = try PrivateKey(SecretBytes(TestPKI.bytes("\(name).key")), random: .system)
        let asked = Guarded<[HashFunction]>([])
        let certificate = TLSCertificate(chain: TestPKI.bytes("\(name).crt")) { digest, hash in
            asked.withLock { $0.append(hash) }
            return try? key.sign(digest: digest.span, hash: hash)
        }
        if !TLSLibrary.hasExternalECKeys, name == "good-ec" {
            return #expect(TLSContextProbe.part(certificate) == .privateKey)
        }
        let outcome = try await TLSPair.meet(
            TLSConfiguration(trust: TestPKI.trust),
            TLSServerConfiguration(certificates: [certificate])
        )
        #expect(outcome.wasEchoed, "\(outcome)")
        #expect(asked.withLock { $0.count } == 1)
    }

    /// What a key that is elsewhere does.
    enum Answer: Sendable { case none, empty, long, foreign, right }

    @Test(arguments: [Answer.none, .empty, .long, .foreign, .right])
    func aClientsKeyMayBeElsewhereAndMayFail(answer: Answer) async throws {
        let key = try PrivateKey(SecretBytes(TestPKI.bytes("client-rsa.key")), random: .system)
        var server = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        server.clientCertificates = .required(TestPKI.trust)
        var client = TLSConfiguration(trust: TestPKI.trust)
        client.identity = .certificate(
            TLSCertificate(chain: TestPKI.bytes("client-rsa.crt")) { digest, hash in
                switch answer {
                case .none: return nil
                case .empty: return []
                case .long: return [UInt8](repeating: 1, count: 100_000)
                case .foreign:
                    let other = digest.map { $0 ^ 1 }
                    return try? key.sign(digest: other.span, hash: hash)
                case .right: return try? key.sign(digest: digest.span, hash: hash)
                }
            }
        )
        let outcome = try await TLSPair.meet(client, server)
        switch answer {
        case .none, .empty, .long: #expect(outcome.client == .signingFailed)
        case .foreign:
            // A signature of something else the server notices.
            #expect(outcome.server == .wrongSignature && outcome.client == .alertReceived(.decryptError))
        case .right:
            #expect(outcome.wasEchoed && outcome.serverAgreement?.peerCertificate?.subject == "CN=client-rsa")
        }
    }

    // MARK: AES-GCM

    /// The examples of the specification that was submitted to NIST (McGrew, Viega: The Galois/Counter Mode of Operation, appendix B), cases 1 to 4, 13, 14 and 16.
    @Test(
        arguments: [
            (
                "00000000000000000000000000000000", "000000000000000000000000", "", "", "",
                "58e2fccefa7e3061367f1d57a4e7455a"
            ),
            (
                "00000000000000000000000000000000", "000000000000000000000000", "00000000000000000000000000000000", "",
                "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"
            ),
            (
                "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
                "",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
                "4d5c2af327cd64a62cf35abd2ba6fab4"
            ),
            (
                "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
                "5bc94fbc3221a5db94fae95ae7121a47"
            ),
            (
                "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
                "",
                "530f8afbc74536b9a963b4f1c4cb738b"
            ),
            (
                "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
                "00000000000000000000000000000000", "", "cea7403d4d606b6e074ec5d3baf39d18",
                "d0d1c8a799996bf0265b98b5d48ab919"
            ),
            (
                "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
                "76fc6ece0f4e1768cddf8853bb2d551b"
            ),
        ] as [(String, String, String, String, String, String)]
    )
    func gcmAgreesWithTheSpecification(
        key: String,
        nonce: String,
        plaintext: String,
        data: String,
        ciphertext: String,
        tag: String
    ) throws {
        let key = SecretBytes(bytes(key))
        let (nonce, plaintext, data) = (bytes(nonce), bytes(plaintext), bytes(data))
        let sealed = try AESGCM.seal(plaintext.span, key: key, nonce: nonce.span, additionalData: data.span)
        #expect(sealed == bytes(ciphertext) + bytes(tag))
        #expect(try AESGCM.open(sealed.span, key: key, nonce: nonce.span, additionalData: data.span) == plaintext)
        // Whatever is changed, nothing is opened.
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 0x10
            #expect(throws: CipherError.notAuthentic) {
                try AESGCM.open(changed.span, key: key, nonce: nonce.span, additionalData: data.span)
            }
        }
        let other = data + [0]
        #expect(throws: CipherError.notAuthentic) {
            try AESGCM.open(sealed.span, key: key, nonce: nonce.span, additionalData: other.span)
        }
        let short = Array(sealed.dropFirst(sealed.count - 15))
        #expect(throws: CipherError.notAuthentic) {
            try AESGCM.open(short.span, key: key, nonce: nonce.span, additionalData: data.span)
        }
    }

    @Test func gcmRefusesWhatItCannotUse() {
        let some: [UInt8] = [1, 2, 3]
        let nothing: [UInt8] = []
        #expect(throws: CipherError.keyLength(3)) {
            try AESGCM.seal(some.span, key: SecretBytes(some), nonce: some.span, additionalData: nothing.span)
        }
        #expect(throws: CipherError.initializationVectorLength(0)) {
            try AESGCM.seal(
                some.span,
                key: SecretBytes([UInt8](repeating: 0, count: 16)),
                nonce: nothing.span,
                additionalData: nothing.span
            )
        }
    }

    @Test func secretsAreComparedWhole() {
        func same(_ a: [UInt8], _ b: [UInt8]) -> Bool { constantTimeEqual(a.span, b.span) }
        let secret = Array("0123456789abcdef".utf8)
        #expect(same(secret, Array("0123456789abcdef".utf8)) && same([], []))
        for index in secret.indices {
            var other = secret
            other[index] ^= 1
            #expect(!same(secret, other))
        }
        #expect(!same(secret, Array(secret.dropLast())))
    }
}
