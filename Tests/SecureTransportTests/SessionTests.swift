import Kernel
import NetworkSimulator
import SAL
import SecureTransport
import Testing

/// Sessions that are resumed, protocols that are agreed on, keys that both ends have.
@Suite(.timeLimit(.minutes(1))) struct SessionTests {
    static let good = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])

    @Test func aSecondConnectionResumesTheFirstsSession() async throws {
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            let configuration = TLSConfiguration(trust: TestPKI.trust)
            let client = try TLSPair.client(here, configuration, notes)
            let server = try TLSPair.server(there, Self.good, notes)
            var resumed: [Bool?] = []
            for host in ["localhost", "localhost", "hub.example", "localhost"] {
                let outcome = try await TLSPair.meet(here, there, client, server, notes, host: host)
                #expect(outcome.wasEchoed)
                resumed.append(outcome.clientAgreement?.isResumed)
                #expect(outcome.clientAgreement?.peerCertificate?.subject == "CN=good-ec")
            }
            // A session is offered to the name only that it was made with.
            #expect(resumed == [false, true, false, true])
            #expect(configuration.sessions?.count == 2)
        }
    }

    @Test func sessionsSurviveARestartOfTheClient() async throws {
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            let server = try TLSPair.server(there, Self.good, notes)
            var configuration = TLSConfiguration(trust: TestPKI.trust)
            let before = TLSSessionStore()
            configuration.sessions = before
            let first = try TLSPair.client(here, configuration, notes)
            _ = try await TLSPair.meet(here, there, first, server, notes)
            let saved = before.save()
            let after = TLSSessionStore()
            #expect(after.load(saved) && after.count == 1)
            configuration.sessions = after
            let second = try TLSPair.client(here, configuration, notes)
            #expect(try await TLSPair.meet(here, there, second, server, notes).clientAgreement?.isResumed == true)
            // Who trusts others, or checks more, does not take it over.
            configuration.verification.pinnedKeys = [[UInt8](repeating: 0, count: 32)]
            let pinned = try TLSPair.client(here, configuration, notes)
            #expect(try await TLSPair.meet(here, there, pinned, server, notes).client != nil)
        }
        for bytes in [[], [2], [1, 0, 0, 0, 9], [1, 255, 255, 255, 255, 0]] as [[UInt8]] {
            let store = TLSSessionStore()
            #expect(!store.load(SecretBytes(bytes)) && store.count == 0)
        }
    }

    @Test func aServerThatHasForgottenTheSessionMakesANewOne() async throws {
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            let client = try TLSPair.client(here, TLSConfiguration(trust: TestPKI.trust), notes)
            var configuration = Self.good
            for seconds in [86_400, 86_400, 0, 0] {
                // Another server each time, with other keys for its tickets.
                configuration.sessionSeconds = seconds
                let server = try TLSPair.server(there, configuration, notes)
                let outcome = try await TLSPair.meet(here, there, client, server, notes)
                #expect(outcome.wasEchoed && outcome.clientAgreement?.isResumed == false)
            }
        }
    }

    @Test func withoutAStoreNothingIsResumed() async throws {
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            var configuration = TLSConfiguration(trust: TestPKI.trust)
            configuration.sessions = nil
            let client = try TLSPair.client(here, configuration, notes)
            let server = try TLSPair.server(there, Self.good, notes)
            for _ in 0..<2 {
                #expect(try await TLSPair.meet(here, there, client, server, notes).clientAgreement?.isResumed == false)
            }
        }
    }

    @Test func aStoreKeepsNoMoreThanItsLimit() async throws {
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            var configuration = TLSConfiguration(trust: TestPKI.trust)
            configuration.sessions = TLSSessionStore(limit: 2)
            let client = try TLSPair.client(here, configuration, notes)
            let server = try TLSPair.server(there, Self.good, notes)
            var resumed: [Bool?] = []
            for host in ["localhost", "hub.example", "a.wild.example", "hub.example", "localhost"] {
                resumed.append(
                    try await TLSPair.meet(here, there, client, server, notes, host: host).clientAgreement?.isResumed
                )
            }
            #expect(resumed == [false, false, false, true, false] && configuration.sessions?.count == 2)
        }
    }

    @Test(
        arguments: [
            (["mqtt", "h2"], ["h2", "mqtt"], "h2"), (["mqtt"], [], nil), ([], ["mqtt"], nil), (["a"], ["b"], "none"),
        ] as [([String], [String], String?)]
    )
    func protocolsAreAgreedOn(client: [String], server: [String], agreed: String?) async throws {
        var clientConfiguration = TLSConfiguration(trust: TestPKI.trust)
        clientConfiguration.applicationProtocols = client
        var serverConfiguration = Self.good
        serverConfiguration.applicationProtocols = server
        let outcome = try await TLSPair.meet(clientConfiguration, serverConfiguration)
        if agreed == "none" {
            #expect(outcome.client == .alertReceived(TLSAlert(rawValue: 120)), "\(outcome)")
            #expect(outcome.server != nil && !outcome.wasEchoed)
        } else {
            #expect(outcome.wasEchoed)
            #expect(outcome.clientAgreement?.applicationProtocol == agreed)
            #expect(outcome.serverAgreement?.applicationProtocol == agreed)
        }
    }

    static func key(_ identity: String, _ key: [UInt8], _ suites: TLSSuites = .secure) -> TLSConfiguration {
        TLSConfiguration(identity: .preSharedKey(identity: Array(identity.utf8), key: SecretBytes(key)), suites: suites)
    }

    @Test func clientsWithKeysAreKnownByThem() async throws {
        let keys: [String: [UInt8]] = ["one": Array(1...16), "two": Array(2...33)]
        let server = TLSServerConfiguration { identity in
            keys[String(decoding: identity, as: UTF8.self)].map { SecretBytes($0) }
        }
        for (identity, key) in keys {
            let outcome = try await TLSPair.meet(Self.key(identity, key), server)
            #expect(outcome.wasEchoed && outcome.serverAgreement?.peerIdentity == Array(identity.utf8), "\(outcome)")
        }
        let wrong = try await TLSPair.meet(Self.key("one", Array(3...18)), server)
        #expect(wrong.client != nil && wrong.server != nil && !wrong.wasEchoed)
        let unknown = try await TLSPair.meet(Self.key("three", Array(1...16)), server)
        #expect(unknown.client == .alertReceived(.unknownPSKIdentity) && unknown.server == .unknownIdentity)
    }

    @Test func aServerMayHaveBothCertificatesAndKeys() async throws {
        var server = TLSServerConfiguration(certificates: [
            TestPKI.certificate("good-ec"), TestPKI.certificate("good-rsa2048"),
        ])
        server.preSharedKeys = { _ in SecretBytes(Array(1...16)) }
        #expect(try await TLSPair.meet(TLSConfiguration(trust: TestPKI.trust), server).wasEchoed)
        #expect(try await TLSPair.meet(Self.key("any", Array(1...16)), server).wasEchoed)
    }

    @Test func legacySuitesAreForThoseWhoNameThem() async throws {
        var server = TLSServerConfiguration { _ in SecretBytes(Array(1...16)) }
        let secure = try #require(try await TLSPair.meet(Self.key("a", Array(1...16)), server).clientAgreement)
        #expect(secure.suite == "TLS-ECDHE-PSK-WITH-CHACHA20-POLY1305-SHA256" && secure.version == "TLSv1.2")
        server.suites = .legacyPreSharedKey
        #expect(try await TLSPair.meet(Self.key("a", Array(1...16), .legacyPreSharedKey), server).wasEchoed)
        // A client with a certificate and a server with keys only.
        let outcome = try await TLSPair.meet(TLSConfiguration(trust: TestPKI.trust), server)
        #expect(outcome.client == .alertReceived(.handshakeFailure) && outcome.server == .nothingInCommon)
    }

    @Test(arguments: [("a.wild.example", "CN=named"), ("hub.example", "CN=good-ec"), ("127.0.0.1", "CN=good-ec")])
    func theServerHasACertificateForEachName(host: String, subject: String) async throws {
        var server = Self.good
        server.certificatesByName = ["a.wild.example": [TestPKI.certificate("named")]]
        let outcome = try await TLSPair.meet(TLSConfiguration(trust: TestPKI.trust), server, host: host)
        #expect(outcome.wasEchoed && outcome.clientAgreement?.peerCertificate?.subject == subject, "\(outcome)")
    }

    @Test func suitesHaveNames() throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let client = try SecureNetwork(over: LinuxNetwork(loop: loop), TLSConfiguration(trust: TestPKI.trust))
        #expect(client.suites.contains("TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"))
        #expect(!client.suites.contains { $0.contains("PSK") || $0.contains("CBC") })
        let server = try SecureServerNetwork(
            over: LinuxNetwork(loop: loop),
            TLSServerConfiguration { _ in nil }
        )
        #expect(server.suites.contains("TLS-PSK-WITH-AES-128-GCM-SHA256"))
    }

    /// A stream that is secure already is a stream as any other.
    @Test func secureStreamsGoOverSecureStreams() async throws {
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            let outer = try SecureNetwork(over: here, Self.key("tunnel", Array(1...16)))
            let client = try SecureNetwork(over: outer, TLSConfiguration(trust: TestPKI.trust)) { error, _ in
                notes.outcome.client = error
            }
            let outerServer = try SecureServerNetwork(
                over: there,
                TLSServerConfiguration { _ in SecretBytes(Array(1...16)) }
            )
            let server = try SecureServerNetwork(over: outerServer, Self.good) { error, _ in
                notes.outcome.server = error
            }
            let outcome = try await TLSPair.meet(here, there, client, server, notes)
            #expect(outcome.wasEchoed, "\(outcome)")
            #expect(outcome.clientAgreement?.peerCertificate?.subject == "CN=good-ec")
        }
    }

    @Test func recordsAreNoLongerThanTheClientAsks() async throws {
        var client = TLSConfiguration(trust: TestPKI.trust)
        client.recordLimit = .bytes512
        #expect(try await TLSPair.meet(client, Self.good).wasEchoed)
    }
}

/// Loops that are shut down with secure streams on them.
@Suite(.timeLimit(.minutes(1))) struct SecureShutdownTests {
    @Test func aLoopThatIsShutDownSaysGoodbyeFirst() async throws {
        let (loop, serverLoop) = (EventLoop.start(), EventLoop.start())
        let server = try SecureServerNetwork(over: LinuxNetwork(loop: serverLoop), SessionTests.good)
        let listener = try await Listener.open(at: SocketAddress(address: .loopbackIPv4, port: 0), over: server)
        let port = try #require(listener.localAddress?.port)
        let client = try SecureNetwork(over: LinuxNetwork(loop: loop), TLSConfiguration(trust: TestPKI.trust))
        let connection = try await Connection.open(to: Endpoint(host: "localhost", port: port), over: client)
        let accepted = try #require(try await listener.accept(.seconds(10)))
        try await connection.write([UInt8](repeating: 5, count: 100_000))
        loop.shutDown(within: .seconds(10))
        #expect(try await accepted.read(exactly: 100_000, .seconds(10)).count == 100_000)
        // An end in order, not one that was cut.
        #expect(try await accepted.read(.seconds(10)) == nil)
        serverLoop.shutDown(within: .seconds(1))
    }
}

/// The conformance suite over TLS: on real sockets, and on simulated hosts.
@Suite(.timeLimit(.minutes(3))) struct SecureConformanceTests {
    private func setup(
        _ client: any Network & DatagramNetwork,
        _ server: any ServerNetwork,
        _ address: IPAddress,
        _ host: String
    ) throws -> ConformanceCheck.Setup {
        let secure = try SecureNetwork(over: client, TLSConfiguration(trust: TestPKI.trust))
        var setup = ConformanceCheck.Setup(
            subject: Both(secure, client),
            server: try SecureServerNetwork(over: server, SessionTests.good),
            serverAddress: address,
            serverHost: host
        )
        // A stream that ends without a goodbye was cut, whatever cut it.
        setup.tellsResets = false
        return setup
    }

    /// Streams of one network, datagrams of another.
    final class Both: Network, DatagramNetwork {
        private let streams: any Network
        private let datagrams: any DatagramNetwork

        init(_ streams: any Network, _ datagrams: any DatagramNetwork) {
            self.streams = streams
            self.datagrams = datagrams
        }

        var loop: EventLoop { streams.loop }
        var capabilities: NetworkCapabilities { streams.capabilities }
        func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
            streams.connect(to: endpoint, deadline: deadline, handler: handler)
        }
        func openDatagrams(
            to endpoint: Endpoint,
            deadline: Duration,
            handler: any DatagramHandler
        ) -> any DatagramSocket { datagrams.openDatagrams(to: endpoint, deadline: deadline, handler: handler) }
    }

    @Test(arguments: ConformanceCheck.all)
    func secureStreamsConformOverLinux(_ check: ConformanceCheck) async throws {
        let (loop, serverLoop) = (EventLoop.start(), EventLoop.start())
        defer { for loop in [loop, serverLoop] { loop.shutDown(within: .seconds(1)) } }
        try await check.run(
            setup(LinuxNetwork(loop: loop), LinuxNetwork(loop: serverLoop), .loopbackIPv4, "127.0.0.1")
        )
    }

    @Test(arguments: ConformanceCheck.all)
    func secureStreamsConformOverABadWay(_ check: ConformanceCheck) async throws {
        if check.name.contains("datagram") { return }
        var conditions = Conditions(latency: .milliseconds(30), loss: 0.02)
        conditions.pieces = .random
        try await TLSPair.withHosts(conditions) { here, there in
            var setup = try setup(here, there, there.address, "127.0.0.1")
            setup.bulkBytes = 50_000
            setup.patience = .seconds(600)
            try await check.run(setup)
        }
    }
}
