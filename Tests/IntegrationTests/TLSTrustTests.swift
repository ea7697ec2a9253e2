import CLinux
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// Certificates, names and who asks for them, against OpenSSL's own server.
@Suite(.timeLimit(.minutes(1))) struct TLSTrustTests {
    @Test func trustsTheAnchorsAndNobodyElse() async throws {
        try await withCertificate { certificate, other in
            let server = try await TLSServer(certificate.options)
            let good = try await TLSClient(server.port, try trust(certificate))
            try await good.handshake()
            #expect(await good.echoes("hello"))
            await good.close()
            #expect(await good.end() == nil)
            let bad = try await TLSClient(server.port, try trust(other))
            expectRejection(await bad.end(), .unknownIssuer, wanted: "127.0.0.1")
            #expect(bad.error == .security(code: 0))
            #expect(await server.prints("alert unknown ca"), "\(server.output)")
        }
    }

    @Test func comparesTheName() async throws {
        try await withCertificate { certificate, _ in
            let server = try await TLSServer(certificate.options)
            for (name, isGood) in [
                ("localhost", true), ("LOCALHOST", true), ("127.0.0.1", true), ("127.0.0.2", false),
                ("another.example", false), ("localhost.example", false), ("ocalhost", false), ("::1", false),
            ] {
                let client = try await TLSClient(server.port, try trust(certificate, name: name))
                if isGood {
                    try await client.handshake()
                    await client.close()
                    #expect(await client.end() == nil)
                } else {
                    expectRejection(await client.end(), .wrongName, wanted: name)
                }
            }
        }
    }

    @Test(arguments: [
        ("20200101000000Z", "20200102000000Z", CertificateProblems.expired),
        ("20990101000000Z", "20990102000000Z", CertificateProblems.notYetValid),
    ])
    func looksAtTheTime(start: String, end: String, problem: CertificateProblems) async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let certificate = try await TestCertificate(in: directory, name: "localhost", from: start, to: end)
        let server = try await TLSServer(certificate.options)
        let client = try await TLSClient(server.port, try trust(certificate))
        expectRejection(await client.end(), problem, wanted: "127.0.0.1")
    }

    /// The server has a second certificate for the one name, and an alert for all others.
    @Test func asksForTheServerByItsName() async throws {
        try await withCertificate { certificate, other in
            let server = try await TLSServer(
                certificate.options + [
                    "-servername", "localhost", "-servername_fatal", "-cert2", other.path, "-key2", other.keyPath,
                ]
            )
            let named = try await TLSClient(server.port, try trust(other, name: "localhost"))
            try await named.handshake()
            await named.close()
            #expect(await named.end() == nil)
            // An address is no server name.
            let unnamed = try await TLSClient(server.port, try trust(certificate))
            try await unnamed.handshake()
            await unnamed.close()
            #expect(await unnamed.end() == nil)
            let stranger = try await TLSClient(server.port, try trust(certificate, name: "another.example"))
            #expect(await stranger.end() == .alertReceived(TLSAlert(rawValue: 112)))
        }
    }

    @Test func asksForTheHostThatItConnectsToByDefault() async throws {
        try await withCertificate { certificate, other in
            let server = try await TLSServer(
                certificate.options + ["-servername", "localhost", "-cert2", other.path, "-key2", other.keyPath]
            )
            let client = try await TLSClient(server.port, try trust(other), host: "localhost")
            try await client.handshake()
            await client.close()
            #expect(await client.end() == nil)
        }
    }

    @Test func refusesANameThatCannotBeAsked() async throws {
        for name in [[65, 0, 66], [UInt8](repeating: 65, count: 300)] {
            let listener = try RawListener()
            let client = try await TLSClient(
                listener.port,
                TLSConfiguration(trust: .anchors(try readFile("/etc/ssl/certs/ca-certificates.crt")), serverName: name)
            )
            guard case .badConfiguration(.serverName, _) = await client.end() else {
                Issue.record("\(String(describing: client.failure))")
                continue
            }
        }
    }

    @Test func reportsThatAClientCertificateIsDemanded() async throws {
        try await withCertificate { certificate, other in
            let server = try await TLSServer(
                certificate.options + ["-Verify", "1", "-verify_return_error", "-CAfile", other.path]
            )
            let anonymous = try await TLSClient(server.port, try trust(certificate))
            #expect(await anonymous.end() == .alertReceived(.handshakeFailure))
            // One that the server does not trust.
            let stranger = try await TLSClient(server.port, try identity(certificate, trusting: certificate))
            #expect(await stranger.end() == .alertReceived(.unknownCA))
            // And the one that it does.
            let known = try await TLSClient(server.port, try identity(other, trusting: certificate))
            try await known.handshake()
            #expect(await known.echoes("it is me"))
            await known.close()
            #expect(await known.end() == nil)
        }
    }

    private func withCertificate(_ body: (TestCertificate, TestCertificate) async throws -> Void) async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let certificate = try await TestCertificate(in: directory, name: "one")
        try await body(certificate, try await TestCertificate(in: directory, name: "other"))
    }

    private func trust(_ certificate: TestCertificate, name: String? = nil) throws -> TLSConfiguration {
        TLSConfiguration(trust: .anchors(try readFile(certificate.path)), serverName: name.map { Array($0.utf8) })
    }

    private func identity(
        _ certificate: TestCertificate,
        trusting anchor: TestCertificate
    ) throws -> TLSConfiguration {
        TLSConfiguration(
            identity: .certificate(
                TLSCertificate(
                    chain: try readFile(certificate.path),
                    privateKey: SecretBytes(try readFile(certificate.keyPath))
                )
            ),
            trust: .anchors(try readFile(anchor.path))
        )
    }

    private func expectRejection(
        _ failure: SecureTransportError?,
        _ problem: CertificateProblems,
        wanted name: String,
        at location: SourceLocation = #_sourceLocation
    ) {
        guard case .certificateRejected(let rejection) = failure else {
            Issue.record("\(String(describing: failure))", sourceLocation: location)
            return
        }
        #expect(rejection.problems == problem && rejection.names == ["localhost"], sourceLocation: location)
        #expect(rejection.wanted == name, sourceLocation: location)
    }
}

extension TestCertificate {
    /// What OpenSSL's server wants to know of it.
    fileprivate var options: [String] { ["-cert", path, "-key", keyPath] }
}
