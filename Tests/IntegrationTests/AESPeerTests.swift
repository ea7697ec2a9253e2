import SecureTransport
import Testing

@testable import HubSimulator

/// AES-CBC against the `openssl enc` program.
@Suite(.timeLimit(.minutes(1))) struct AESPeerTests {
    @Test(arguments: [16, 32]) func agreesWithOpenSSLForAllLengths(keyBytes: Int) async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let key = (0..<keyBytes).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
        let vector = (0..<16).map { UInt8(truncatingIfNeeded: $0 &* 91 &+ 5) }
        let plaintexts = (0...48).map { count in (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 59 &+ count) } }
        for (count, plaintext) in plaintexts.enumerated() { try replaceFile("\(directory)/\(count)", with: plaintext) }
        let options = "-aes-\(keyBytes * 8)-cbc -K \(hex(key)) -iv \(hex(vector)) -nosalt"
        let script = """
            cd \(directory)
            for n in $(seq 0 48); do openssl enc \(options) -in $n -out $n.padded || exit 1; done
            for n in 0 16 32 48; do openssl enc \(options) -nopad -in $n -out $n.bare || exit 1; done
            """
        let made = await run("sh", ["-c", script])
        try #require(made.status == 0, "\(made.output)")
        let secret = SecretBytes(key)
        for (count, plaintext) in plaintexts.enumerated() {
            for (name, padding) in [("padded", AES.Padding.pkcs7), ("bare", .none)] {
                if case .none = padding, count % 16 != 0 { continue }
                let theirs = try readFile("\(directory)/\(count).\(name)")
                let ours = try AES.encryptCBC(
                    plaintext.span,
                    key: secret,
                    initializationVector: vector.span,
                    padding: padding
                )
                #expect(ours == theirs, "\(count) \(name)")
                let back = try AES.decryptCBC(
                    theirs.span,
                    key: secret,
                    initializationVector: vector.span,
                    padding: padding
                )
                #expect(back == plaintext, "\(count) \(name)")
            }
        }
    }
}
