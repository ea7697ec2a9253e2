import Kernel
import SAL
import SecureTransport
import Testing

/// Who is let in, and why others are not: each check as a row.
@Suite(.timeLimit(.minutes(1))) struct VerificationTests {
    struct Row: Sendable, CustomStringConvertible {
        let certificate: String
        var host = "localhost"
        let problems: CertificateProblems
        var description: String { "\(certificate) for \(host)" }

        init(_ certificate: String, host: String = "localhost", _ problems: CertificateProblems = []) {
            self.certificate = certificate
            self.host = host
            self.problems = problems
        }
    }

    @Test(arguments: [
        Row("good-ec"), Row("good-rsa2048"), Row("by-middle"),
        Row("good-ec", host: "hub.example"), Row("good-ec", host: "127.0.0.1"),
        // Wildcards stand for one label (RFC 6125, 6.4.3).
        Row("good-ec", host: "a.wild.example"), Row("good-ec", host: "wild.example", .wrongName),
        Row("good-ec", host: "a.b.wild.example", .wrongName),
        Row("other", .wrongName), Row("other", host: "127.0.0.1", .wrongName),
        Row("expired", .expired), Row("future", .notYetValid),
        Row("strange", .unknownIssuer), Row("self", .unknownIssuer), Row("without-middle", .unknownIssuer),
        Row("for-clients", [.wrongUse, .wrongName]), Row("for-issuers", .wrongUse),
        Row("loosely", host: "x.allowed.example", .nameConstraints), Row("broken", .unknownIssuer),
        Row("rsa1024", .weakKey), Row("p192", .weakKey), Row("sha1", .weakHash),
    ])
    func eachCheckHasItsName(row: Row) async throws {
        var client = TLSConfiguration(trust: TestPKI.trust)
        client.suites = .secure
        let outcome = try await TLSPair.meet(
            client,
            TLSServerConfiguration(certificates: [TestPKI.certificate(row.certificate)]),
            host: row.host
        )
        guard !row.problems.isEmpty else {
            #expect(outcome.client == nil && outcome.wasEchoed, "\(outcome)")
            return
        }
        #expect(!outcome.wasEchoed)
        guard case .certificateRejected(let rejection)? = outcome.client else {
            // mbedTLS's server refuses to show some certificates by itself: then there is nothing in common.
            #expect(["p192", "for-issuers", "for-clients", "rsa1024"].contains(row.certificate), "\(outcome)")
            return
        }
        #expect(!rejection.problems.isDisjoint(with: row.problems), "\(rejection)")
        #expect(rejection.wanted == row.host)
        #expect(rejection.findings.contains { !$0.problems.isDisjoint(with: row.problems) }, "\(rejection)")
        // The server is told by an alert.
        guard case .alertReceived? = outcome.server else {
            Issue.record("\(outcome)")
            return
        }
    }

    /// What mbedTLS does not look at does not pass: a critical restriction is not read at all.
    @Test func criticalNameConstraintsAreRefused() async throws {
        let outcome = try await TLSPair.meet(
            TLSConfiguration(trust: TestPKI.trust),
            TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        )
        #expect(outcome.wasEchoed)
        // Our own server would not even load it, so OpenSSL shows it.
        #expect(TLSContextProbe.part(TestPKI.certificate("outside")) == .certificateChain)
        let directory = TestPKI.directory
        let server = try await OpenSSLServer(
            "-tls1_2 -rev -cert \(directory)/outside.crt -cert_chain \(directory)/outside.crt -key \(directory)/outside.key"
        )
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let failure = Guarded<SecureTransportError?>(nil)
        let network = try SecureNetwork(over: LinuxNetwork(loop: loop), TLSConfiguration(trust: TestPKI.trust)) {
            error,
            _ in
            failure.withLock { $0 = error }
        }
        await #expect(throws: (any Error).self) {
            _ = try await Connection.open(to: Endpoint(host: "localhost", port: server.port), over: network)
        }
        guard case .certificateUnreadable? = failure.withLock({ $0 }) else {
            Issue.record("\(String(describing: failure.withLock { $0 }))")
            return
        }
    }

    @Test func saysWhichCertificateAndSinceWhen() async throws {
        let outcome = try await TLSPair.meet(
            TLSConfiguration(trust: TestPKI.trust),
            TLSServerConfiguration(certificates: [TestPKI.certificate("expired")])
        )
        guard case .certificateRejected(let rejection)? = outcome.client else {
            Issue.record("\(outcome)")
            return
        }
        #expect(rejection.description == "the certificate of CN=expired is expired (since 2021-01-01)")
        let finding = try #require(rejection.findings.last)
        #expect(finding.certificate.depth == 0 && finding.certificate.issuer == "CN=root")
        #expect(finding.certificate.notAfter == 1_609_459_200 && finding.certificate.notBefore == 1_577_836_800)
    }

    @Test func aRevokedCertificateCountsOnlyWithoutTheList() async throws {
        let server = TLSServerConfiguration(certificates: [TestPKI.certificate("revoked")])
        var client = TLSConfiguration(trust: TestPKI.trust)
        #expect(try await TLSPair.meet(client, server).wasEchoed)
        client.verification.revocationLists = TestPKI.bytes("root.crl")
        guard case .certificateRejected(let rejection)? = try await TLSPair.meet(client, server).client else {
            Issue.record("it was accepted")
            return
        }
        #expect(rejection.problems == .revoked)
        // Others of that issuer go on.
        let good = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        #expect(try await TLSPair.meet(client, good).wasEchoed)
    }

    @Test func theClockMayBeTheEmbeddersOwn() async throws {
        var client = TLSConfiguration(trust: TestPKI.trust)
        let server = TLSServerConfiguration(certificates: [TestPKI.certificate("expired")])
        // The middle of 2020: but the root is younger than that.
        client.verification.clock = { 1_593_561_600 }
        guard case .certificateRejected(let rejection)? = try await TLSPair.meet(client, server).client else {
            Issue.record("it was accepted")
            return
        }
        #expect(rejection.problems == .notYetValid && rejection.findings.map(\.certificate.depth) == [1])
        // A clock that stands at its origin, as firmware's does at first.
        client.verification.clock = { 0 }
        let good = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        guard case .certificateRejected(let early)? = try await TLSPair.meet(client, good).client else {
            Issue.record("it was accepted")
            return
        }
        #expect(early.problems == .notYetValid)
    }

    @Test func aPinnedKeyMustBeThePeersOwn() async throws {
        let server = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        var client = TLSConfiguration(trust: TestPKI.trust)
        let agreement = try #require(try await TLSPair.meet(client, server).clientAgreement)
        let key = try #require(agreement.peerCertificate).keyHash
        client.verification.pinnedKeys = [[UInt8](repeating: 0, count: 32), key]
        #expect(try await TLSPair.meet(client, server).wasEchoed)
        client.verification.pinnedKeys = [[UInt8](repeating: 0, count: 32)]
        guard case .certificateRejected(let rejection)? = try await TLSPair.meet(client, server).client else {
            Issue.record("it was accepted")
            return
        }
        #expect(rejection.problems == .notPinned)
    }

    @Test func theHookHasTheLastWord() async throws {
        var client = TLSConfiguration(trust: TestPKI.trust)
        client.verification.verify = { certificate, problems in
            certificate.subject == "CN=good-ec" ? problems.union(.refused) : problems
        }
        let good = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        guard case .certificateRejected(let rejection)? = try await TLSPair.meet(client, good).client else {
            Issue.record("it was accepted")
            return
        }
        #expect(rejection.problems == .refused)
        // And it may let something pass.
        client.verification.verify = { _, problems in problems.subtracting(.expired) }
        let expired = TLSServerConfiguration(certificates: [TestPKI.certificate("expired")])
        #expect(try await TLSPair.meet(client, expired).wasEchoed)
    }

    // MARK: Clients

    @Test(
        arguments: [
            ("client", true, true), ("strange-client", false, false), ("good-ec", false, false), (nil, false, true),
        ] as [(String?, Bool, Bool)]
    )
    func clientsShowCertificatesIfTheServerAsks(name: String?, passesRequired: Bool, passesOptional: Bool) async throws
    {
        var client = TLSConfiguration(trust: TestPKI.trust)
        if let name { client.identity = .certificate(TestPKI.certificate(name)) }
        var server = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        for (demand, passes) in [
            (TLSServerConfiguration.ClientCertificates.required(TestPKI.trust), passesRequired),
            (.optional(TestPKI.trust), passesOptional),
        ] {
            server.clientCertificates = demand
            let outcome = try await TLSPair.meet(client, server)
            #expect(outcome.wasEchoed == passes, "\(outcome)")
            if passes {
                #expect(outcome.serverAgreement?.peerCertificate?.subject == name.map { "CN=\($0)" })
                continue
            }
            guard case .certificateRejected(let rejection)? = outcome.server else {
                Issue.record("\(outcome)")
                continue
            }
            let problem: CertificateProblems =
                name == nil ? .missing : name == "good-ec" ? .wrongUse : .unknownIssuer
            #expect(
                rejection.problems.contains(problem) || !rejection.problems.isDisjoint(with: problem),
                "\(rejection)"
            )
            guard case .alertReceived? = outcome.client else {
                Issue.record("\(outcome)")
                continue
            }
        }
        server.clientCertificates = .none
        #expect(try await TLSPair.meet(client, server).wasEchoed)
    }

    // MARK: Configurations

    @Test func certificatesAndKeysAreReadInAllForms() throws {
        let pem = TestPKI.certificate("good-ec")
        let der = TLSCertificate(
            chain: TestPKI.bytes("good-ec.der"),
            privateKey: SecretBytes(TestPKI.bytes("good-ec.key.der"))
        )
        let encrypted = TLSCertificate(
            chain: TestPKI.bytes("client.crt"),
            privateKey: SecretBytes(TestPKI.bytes("client-encrypted.key")),
            password: SecretBytes(Array("secret".utf8))
        )
        for certificate in [pem, der, encrypted] { _ = try TLSContextProbe.make(certificate) }
        var wrong = encrypted
        let encryptedKey = SecretBytes(TestPKI.bytes("client-encrypted.key"))
        wrong.privateKey = .bytes(encryptedKey, password: SecretBytes(Array("guess".utf8)))
        #expect(TLSContextProbe.part(wrong) == .privateKey)
        wrong.privateKey = .bytes(encryptedKey, password: nil)
        #expect(TLSContextProbe.part(wrong) == .privateKey)
        var foreign = pem
        foreign.privateKey = .bytes(SecretBytes(TestPKI.bytes("client.key")), password: nil)
        #expect(TLSContextProbe.part(foreign) == .keyDoesNotMatchCertificate)
        var noChain = pem
        noChain.chain = Array("no certificate".utf8)
        #expect(TLSContextProbe.part(noChain) == .certificateChain)
    }

    @Test func whatCannotBeUsedIsNamed() async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let network = LinuxNetwork(loop: loop)
        func part(_ change: (inout TLSConfiguration) -> Void) -> SecureTransportError.ConfigurationPart? {
            var configuration = TLSConfiguration(trust: TestPKI.trust)
            change(&configuration)
            do throws(SecureTransportError) { _ = try SecureNetwork(over: network, configuration) } catch {
                if case .badConfiguration(let part, _) = error { return part }
            }
            return nil
        }
        #expect(part { _ in } == nil)
        #expect(part { $0.trust = .anchors([1, 2, 3]) } == .anchors)
        #expect(part { $0.trust = .anchors(TestPKI.bytes("root.der")) } == nil)
        #expect(part { $0.verification.revocationLists = Array("none".utf8) } == .revocationLists)
        #expect(part { $0.applicationProtocols = [""] } == .applicationProtocols)
        #expect(part { $0.identity = .preSharedKey(identity: [], key: SecretBytes([1])) } == .preSharedKey)
    }
}

enum TLSContextProbe {
    static func make(_ certificate: TLSCertificate) throws(SecureTransportError) -> SecureServerNetwork {
        let loop = EventLoop.start()
        defer { loop.stop() }
        return try SecureServerNetwork(
            over: LinuxNetwork(loop: loop),
            TLSServerConfiguration(certificates: [certificate])
        )
    }

    static func part(_ certificate: TLSCertificate) -> SecureTransportError.ConfigurationPart? {
        do throws(SecureTransportError) { _ = try make(certificate) } catch {
            if case .badConfiguration(let part, _) = error { return part }
        }
        return nil
    }
}
