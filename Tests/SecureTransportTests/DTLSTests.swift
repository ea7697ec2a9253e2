import Kernel
import NetworkSimulator
import SAL
import SecureTransport
import Testing

/// DTLS between our own two ends, over ways that lose, double and reorder.
@Suite(.timeLimit(.minutes(1))) struct DTLSTests {
    /// A server that echoes, and what it is told.
    final class Server: DatagramHandler, @unchecked Sendable {
        // @unchecked: used on the loop only.
        var socket: SecureDatagramServer?
        var opened_ = 0
        var ends: [SecureTransportError?] = []
        var moves: [SocketAddress] = []
        var agreements: [TLSAgreement] = []
        var received: [[UInt8]] = []

        init(_ host: SimulatedHost, _ configuration: TLSServerConfiguration) throws {
            socket = try SecureDatagramServer(
                at: SocketAddress(address: host.address, port: 5684),
                over: host,
                configuration,
                handler: self
            )
            socket?.sessionChanged = { [unowned self] _, event in
                switch event {
                case .opened(let agreement):
                    opened_ += 1
                    agreements.append(agreement)
                case .moved(let address): moves.append(address)
                case .ended(let error): ends.append(error)
                }
            }
        }

        func opened() {}
        func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
            received.append(datagram.withUnsafeBufferPointer { Array($0) })
            try? socket?.send(datagram, to: peer)
        }
        func closed(_ error: SocketError?) { socket = nil }
    }

    static let endpoint = Endpoint(host: "localhost", port: 5684)
    static let keyServer = TLSServerConfiguration { identity in
        identity == Array("device".utf8) ? SecretBytes(Array(1...16)) : nil
    }
    static let keyClient = SessionTests.key("device", Array(1...16))

    static func open(
        _ here: SimulatedHost,
        _ configuration: TLSConfiguration,
        _ failure: Failure = Failure()
    ) async throws -> DatagramChannel {
        let network = try SecureDatagramNetwork(over: here, configuration) { error, _ in failure.error = error }
        return try await DatagramChannel.open(to: endpoint, over: network, within: .seconds(120))
    }

    final class Failure: @unchecked Sendable {
        // @unchecked: used on the loop only.
        var error: SecureTransportError?
    }

    @Test(arguments: [false, true])
    func datagramsGoBothWays(withCertificates: Bool) async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, withCertificates ? SessionTests.good : Self.keyServer)
            let client = withCertificates ? TLSConfiguration(trust: TestPKI.trust) : Self.keyClient
            let channel = try await Self.open(here, client)
            for size in [1, 100, 1_336] {
                try await channel.send([UInt8](repeating: 7, count: size))
                #expect(try await channel.receive(.seconds(10))?.bytes == [UInt8](repeating: 7, count: size))
            }
            await #expect(throws: SocketError.messageTooLong) {
                try await channel.send([UInt8](repeating: 7, count: 1_400))
            }
            #expect(server.agreements.first?.version == "DTLSv1.2" && server.socket?.sessionCount == 1)
            #expect(server.agreements.first?.peerIdentity == (withCertificates ? nil : Array("device".utf8)))
            await channel.close()
            try await here.loop.sleep(for: .seconds(1))
            // The goodbye has ended the session at once.
            #expect(server.socket?.sessionCount == 0 && server.ends == [nil])
            server.socket?.close()
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64], [false, true])
    func aHandshakeOutlivesABadWay(seed: UInt64, withCertificates: Bool) async throws {
        var conditions = Conditions(latency: .milliseconds(50), loss: 0.3)
        conditions.duplication = 0.2
        conditions.reordering = 0.2
        conditions.jitter = .milliseconds(30)
        let way = conditions
        try await EventLoop.inVirtualTime { loop in
            let network = SimulatedNetwork(loop: loop, seed: seed, conditions: way)
            let (here, there) = (network.addHost("10.0.0.1"), network.addHost("10.0.0.2", names: ["localhost"]))
            let server = try Server(there, withCertificates ? SessionTests.good : Self.keyServer)
            let client = withCertificates ? TLSConfiguration(trust: TestPKI.trust) : Self.keyClient
            // mbedTLS gives up after seven times in two minutes; so bad a way may take a second attempt.
            var opened: DatagramChannel?
            for _ in 0..<3 where opened == nil {
                do throws(any Error) { opened = try await Self.open(here, client) } catch SocketError.timedOut {}
            }
            let channel = try #require(opened)
            // Some of what is sent arrives, nothing twice, nothing changed.
            var echoes = 0
            for number in 0..<100 {
                try await channel.send([UInt8(number)])
                do throws(SocketError) {
                    if let echo = try await channel.receive(.milliseconds(500)) {
                        #expect(echo.bytes.count == 1)
                        echoes += 1
                    }
                } catch {}
            }
            #expect(echoes > 20)
            #expect(Set(server.received).count == server.received.count, "a datagram was taken twice")
            server.socket?.close()
        }
    }

    /// A way that carries 400 bytes at once: certificates go in several datagrams.
    @Test func handshakesFitIntoSmallDatagrams() async throws {
        var conditions = Conditions(latency: .milliseconds(20))
        conditions.datagramBytes = 400
        try await TLSPair.withHosts(conditions) { here, there in
            var configuration = SessionTests.good
            configuration.datagramBytes = 400
            configuration.clientCertificates = .required(TestPKI.trust)
            let server = try Server(there, configuration)
            var client = TLSConfiguration(trust: TestPKI.trust)
            client.identity = .certificate(TestPKI.certificate("client"))
            client.datagramBytes = 400
            let channel = try await Self.open(here, client)
            try await channel.send([UInt8](repeating: 7, count: 300))
            #expect(try await channel.receive(.seconds(10))?.bytes == [UInt8](repeating: 7, count: 300))
            await #expect(throws: SocketError.messageTooLong) {
                try await channel.send([UInt8](repeating: 7, count: 390))
            }
            server.socket?.close()
        }
    }

    @Test func aSilentServerIsGivenUpAtTheDeadline() async throws {
        try await TLSPair.withHosts { here, there in
            let failure = Failure()
            // It takes datagrams, and answers none.
            let silent = try await DatagramChannel.bind(
                at: SocketAddress(address: there.address, port: 5684),
                over: there
            )
            let start = here.loop.now
            await #expect(throws: SocketError.timedOut) { _ = try await Self.open(here, Self.keyClient, failure) }
            #expect(failure.error == .timedOut && here.loop.now - start <= .seconds(121))
            var hellos = 0
            while (try? await silent.receive(.noWait)) != nil { hellos += 1 }
            // Sent again and again, ever more slowly.
            #expect((5...9).contains(hellos), "\(hellos)")
            await silent.close()
        }
    }

    @Test func floodsWithoutACookieKeepNothing() async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, Self.keyServer)
            // A real ClientHello, heard on the way, from a thousand ports that answer nothing.
            let recorder = Recorder(here)
            let network = try SecureDatagramNetwork(over: recorder, Self.keyClient)
            let first = try await DatagramChannel.open(to: Self.endpoint, over: network)
            var hello: [UInt8] = []
            for record in recorder.records {
                if case .sentDatagram(let bytes, _) = record.event, hello.isEmpty { hello = bytes }
            }
            await first.close()
            try await here.loop.sleep(for: .seconds(1))
            let target = SocketAddress(address: there.address, port: 5684)
            for _ in 0..<1_000 {
                let stranger = try await DatagramChannel.bind(
                    at: SocketAddress(address: here.address, port: 0),
                    over: here
                )
                try await stranger.send(hello, to: target)
                // It is asked to come back with a cookie: one datagram, not much larger than what it has sent.
                let answer = try await stranger.receive(.seconds(5))
                #expect((answer?.bytes.count ?? 0) <= hello.count)
                await stranger.close()
            }
            #expect(server.socket?.sessionCount == 0)
            // Somebody real comes through.
            let channel = try await Self.open(here, Self.keyClient)
            try await channel.send([1])
            #expect(try await channel.receive(.seconds(5))?.bytes == [1])
            server.socket?.close()
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func garbageAndReplaysChangeNothing(seed: UInt64) async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, Self.keyServer)
            let recorder = Recorder(here)
            let network = try SecureDatagramNetwork(over: recorder, Self.keyClient)
            let channel = try await DatagramChannel.open(to: Self.endpoint, over: network)
            for number in UInt8(0)..<5 {
                try await channel.send([number])
                #expect(try await channel.receive(.seconds(5))?.bytes == [number])
            }
            // All that was sent, once more, and cut, changed and empty, from the same port.
            let local = try #require(await channel.localAddress)
            var random = Seeded(state: seed)
            for record in recorder.records {
                guard case .sentDatagram(let bytes, _) = record.event else { continue }
                var variants = [bytes, [], Array(bytes.dropLast()), Array(bytes.prefix(5))]
                for _ in 0..<20 {
                    var changed = bytes
                    changed[Int.random(in: 3..<changed.count, using: &random)] ^= UInt8.random(
                        in: 1...255,
                        using: &random
                    )
                    variants.append(changed)
                }
                for variant in variants {
                    there.network.inject(variant, from: local, to: SocketAddress(address: there.address, port: 5684))
                }
            }
            try await here.loop.sleep(for: .seconds(5))
            #expect(server.received.count == 5, "\(server.received)")
            #expect(server.ends.isEmpty, "\(server.ends)")
            try await channel.send([99])
            #expect(try await channel.receive(.seconds(5))?.bytes == [99])
            server.socket?.close()
        }
    }

    /// One datagram of nothing would end a session of mbedTLS's, if it were let.
    @Test func emptyAndBrokenDatagramsEndNoSession() async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, Self.keyServer)
            let channel = try await Self.open(here, Self.keyClient)
            let client = try #require(await channel.localAddress)
            let other = SocketAddress(address: there.address, port: 5684)
            let datagrams: [[UInt8]] = [
                [], [23], [23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0],
                [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40],
            ]
            for bytes in datagrams {
                there.network.inject(bytes, from: other, to: client)
                there.network.inject(bytes, from: client, to: other)
            }
            try await here.loop.sleep(for: .seconds(1))
            try await channel.send([1])
            #expect(try await channel.receive(.seconds(5))?.bytes == [1])
            #expect(server.ends.isEmpty && server.socket?.sessionCount == 1)
            server.socket?.close()
        }
    }

    struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 31
        }
    }

    @Test func wrongKeysAndUnknownIdentitiesFail() async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, Self.keyServer)
            let failure = Failure()
            await #expect(throws: SocketError.self) {
                _ = try await Self.open(here, SessionTests.key("nobody", Array(1...16)), failure)
            }
            #expect(failure.error == .alertReceived(.unknownPSKIdentity))
            await #expect(throws: SocketError.self) {
                _ = try await Self.open(here, SessionTests.key("device", Array(2...17)), failure)
            }
            try await here.loop.sleep(for: .seconds(60))
            #expect(server.socket?.sessionCount == 0 && server.opened_ == 0)
            server.socket?.close()
        }
    }

    @Test func aClientThatRestartsOnItsPortIsLetInAgain() async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, Self.keyServer)
            for round in 1...3 {
                // The port is the same each time, though the session before was never ended.
                let pinned = PinnedPort(here, 40_000)
                let network = try SecureDatagramNetwork(over: pinned, Self.keyClient)
                let channel = try await DatagramChannel.open(to: Self.endpoint, over: network)
                try await channel.send([UInt8(round)])
                #expect(try await channel.receive(.seconds(5))?.bytes == [UInt8(round)])
                here.restart()
                #expect(server.socket?.sessionCount == 1)
            }
            #expect(server.opened_ == 3 && server.ends == [nil, nil])
            server.socket?.close()
        }
    }

    @Test func sessionsThatAreSilentEnd() async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, Self.keyServer)
            let channel = try await Self.open(here, Self.keyClient)
            try await channel.send([1])
            _ = try await channel.receive(.seconds(5))
            try await here.loop.sleep(for: SecureDatagramServer.idleTime + .seconds(5))
            #expect(server.socket?.sessionCount == 0 && server.ends == [nil])
            // The client has heard the goodbye.
            await #expect(throws: SocketError.closed) { _ = try await channel.receive(.seconds(5)) }
            server.socket?.close()
        }
    }

    @Test func sessionsAreResumed() async throws {
        try await TLSPair.withHosts { here, there in
            let server = try Server(there, SessionTests.good)
            let configuration = TLSConfiguration(trust: TestPKI.trust)
            let network = try SecureDatagramNetwork(over: here, configuration)
            for expected in [false, true, true] {
                let probe = AgreementProbe()
                let socket = network.openDatagrams(
                    to: Self.endpoint,
                    deadline: here.loop.now + .seconds(60),
                    handler: probe
                )
                while !probe.isOpen { try await here.loop.sleep(for: .milliseconds(5)) }
                #expect((socket as? SecureDatagramSocket)?.agreement?.isResumed == expected)
                socket.close()
                try await here.loop.sleep(for: .seconds(1))
            }
            server.socket?.close()
        }
    }

    /// A network whose datagram sockets are all bound to one port.
    final class PinnedPort: DatagramNetwork {
        private let host: SimulatedHost
        private let port: UInt16

        init(_ host: SimulatedHost, _ port: UInt16) {
            self.host = host
            self.port = port
        }

        var loop: EventLoop { host.loop }
        var capabilities: NetworkCapabilities { host.capabilities }
        func openDatagrams(
            to endpoint: Endpoint,
            deadline: Duration,
            handler: any DatagramHandler
        ) -> any DatagramSocket {
            let socket = try? host.bindDatagrams(at: SocketAddress(address: host.address, port: port), handler: handler)
            return Directed(socket, SocketAddress(address: .v4(0x7F00_0001), port: endpoint.port))
        }
    }

    /// A bound socket with a peer of its own.
    final class Directed: DatagramSocket {
        private let socket: (any DatagramSocket)?
        private let peer: SocketAddress

        init(_ socket: (any DatagramSocket)?, _ peer: SocketAddress) {
            self.socket = socket
            self.peer = peer
        }

        var handler: (any DatagramHandler)? {
            get { socket?.handler }
            set { socket?.handler = newValue }
        }
        var maximumDatagramBytes: Int { socket?.maximumDatagramBytes ?? 0 }
        func send(_ datagram: Span<UInt8>, to receiver: SocketAddress?) throws(SocketError) {
            try socket?.send(datagram, to: peer)
        }
        func close() { socket?.close() }
    }

    final class AgreementProbe: DatagramHandler {
        var isOpen = false
        func opened() { isOpen = true }
        func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {}
        func closed(_ error: SocketError?) {}
    }
}
