import Kernel
import NetworkSimulator
import SAL
import SecureTransport
import Testing

/// TLS 1.3, where mbedTLS has it. The tests that are for a newer mbedTLS run with it by `make test-mbedtls3`.
@Suite(.timeLimit(.minutes(1))) struct TLS13Tests {
    @Test(.enabled(if: !TLSLibrary.hasTLS13)) func whatIsNotThereIsSaid() throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        var client = TLSConfiguration(trust: TestPKI.trust)
        client.minimumVersion = .tls13
        #expect(throws: SecureTransportError.badConfiguration(.version, code: 0)) {
            try SecureNetwork(over: LinuxNetwork(loop: loop), client)
        }
        var server = SessionTests.good
        server.minimumVersion = .tls13
        #expect(throws: SecureTransportError.badConfiguration(.version, code: 0)) {
            try SecureServerNetwork(over: LinuxNetwork(loop: loop), server)
        }
    }

    @Test(.enabled(if: TLSLibrary.hasTLS13), arguments: [false, true])
    func theTwoEndsSpeakTheNewest(withKey: Bool) async throws {
        let key = Array(UInt8(1)...16)
        var client = withKey ? SessionTests.key("device", key) : TLSConfiguration(trust: TestPKI.trust)
        var server = withKey ? TLSServerConfiguration { _ in SecretBytes(key) } : SessionTests.good
        let newest = try await TLSPair.meet(client, server)
        #expect(newest.wasEchoed && newest.clientAgreement?.version == "TLSv1.3", "\(newest)")
        client.minimumVersion = .tls13
        server.minimumVersion = .tls13
        #expect(try await TLSPair.meet(client, server).wasEchoed)
    }

    @Test(.enabled(if: TLSLibrary.hasTLS13)) func sessionsAreResumedByTicketsThatComeLater() async throws {
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            let client = try TLSPair.client(here, TLSConfiguration(trust: TestPKI.trust), notes)
            let server = try TLSPair.server(there, SessionTests.good, notes)
            var resumed: [Bool?] = []
            for _ in 0..<3 {
                let outcome = try await TLSPair.meet(here, there, client, server, notes)
                #expect(outcome.wasEchoed && outcome.clientAgreement?.version == "TLSv1.3", "\(outcome)")
                resumed.append(outcome.clientAgreement?.isResumed)
            }
            #expect(resumed == [false, true, true])
        }
    }

    @Test(.enabled(if: TLSLibrary.hasTLS13)) func openSSLSpeaksItToUs() async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureServerNetwork(over: LinuxNetwork(loop: loop), SessionTests.good)
        let listener = try await Listener.open(at: SocketAddress(address: .loopbackIPv4, port: 0), over: network)
        let port = try #require(listener.localAddress?.port)
        let serving = Task {
            guard let connection = try await listener.accept(.seconds(20)) else { return }
            try await connection.write(try await connection.read(exactly: 6, .seconds(20)))
            await connection.close()
        }
        let (_, output) = await Shell.run(
            "echo hello | openssl s_client -connect 127.0.0.1:\(port) -tls1_3 -CAfile \(TestPKI.directory)/root.crt -verify_return_error -ign_eof 2>&1"
        )
        #expect(output.contains("New, TLSv1.3") && output.contains("hello"), "\(output)")
        try await serving.value
        await listener.close()
    }

    @Test(.enabled(if: TLSLibrary.hasTLS13)) func weSpeakItToOpenSSL() async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let directory = TestPKI.directory
        let server = try await OpenSSLServer(
            "-tls1_3 -rev -cert \(directory)/good-ec.crt -key \(directory)/good-ec.key"
        )
        let versions = Guarded<[String]>([])
        let client = try SecureNetwork(
            over: LinuxNetwork(loop: loop),
            TLSConfiguration(trust: TestPKI.trust),
            agreed: { agreement, _ in versions.withLock { $0.append("\(agreement.version) \(agreement.isResumed)") } }
        )
        for _ in 0..<2 {
            let connection = try await Connection.open(
                to: Endpoint(host: "localhost", port: server.port),
                over: client,
                within: .seconds(20)
            )
            try await connection.write("hello\n")
            #expect(try await connection.read(exactly: 6, .seconds(20)) == Array("olleh\n".utf8))
            await connection.close()
        }
        #expect(versions.withLock { $0 } == ["TLSv1.3 false", "TLSv1.3 true"])
    }
}

/// Connection IDs (RFC 9146), where mbedTLS has them.
@Suite(.timeLimit(.minutes(1))) struct ConnectionIDTests {
    @Test(.enabled(if: !TLSLibrary.hasConnectionIDs)) func whatIsNotThereIsSaid() throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        var client = DTLSTests.keyClient
        client.usesConnectionID = true
        #expect(throws: SecureTransportError.badConfiguration(.connectionID, code: 0)) {
            try SecureDatagramNetwork(over: LinuxNetwork(loop: loop), client)
        }
    }

    @Test(.enabled(if: TLSLibrary.hasConnectionIDs), arguments: [0, 1, 8, 32])
    func aSessionGoesOnFromAnotherAddress(bytes: Int) async throws {
        try await TLSPair.withHosts { here, there in
            var configuration = DTLSTests.keyServer
            configuration.connectionIDBytes = bytes
            let server = try DTLSTests.Server(there, configuration)
            var client = DTLSTests.keyClient
            client.usesConnectionID = true
            let mover = Mover(here)
            let network = try SecureDatagramNetwork(over: mover, client)
            let channel = try await DatagramChannel.open(to: DTLSTests.endpoint, over: network)
            try await channel.send([1])
            #expect(try await channel.receive(.seconds(5))?.bytes == [1])
            // The router has forgotten the port.
            mover.move(to: 50_001)
            try await here.loop.sleep(for: .milliseconds(10))
            try await channel.send([2])
            if bytes == 0 {
                await #expect(throws: SocketError.timedOut) { try await channel.receive(.seconds(5)) }
                server.socket?.close()
                return
            }
            #expect(try await channel.receive(.seconds(5))?.bytes == [2])
            #expect(server.moves == [SocketAddress(address: here.address, port: 50_001)])
            #expect(server.socket?.sessionCount == 1 && server.opened_ == 1)
            // Something old that comes again, from elsewhere, moves nothing.
            for datagram in mover.sent.suffix(2) {
                there.network.inject(
                    datagram,
                    from: SocketAddress(address: here.address, port: 50_002),
                    to: SocketAddress(address: there.address, port: 5684)
                )
            }
            try await channel.send([3])
            #expect(try await channel.receive(.seconds(5))?.bytes == [3])
            #expect(server.moves.count == 1 && server.received == [[1], [2], [3]])
            server.socket?.close()
        }
    }

    /// A network whose datagram sockets can be given another port, as by a router, without their knowing.
    final class Mover: DatagramNetwork, @unchecked Sendable {
        // @unchecked: used on the loop only.
        private let host: SimulatedHost
        private var socket: Moving?
        /// What was sent.
        var sent: [[UInt8]] { socket?.sent ?? [] }

        init(_ host: SimulatedHost) { self.host = host }

        var loop: EventLoop { host.loop }
        var capabilities: NetworkCapabilities { host.capabilities }

        func openDatagrams(to endpoint: Endpoint, deadline: Duration, handler: any DatagramHandler)
            -> any DatagramSocket
        {
            let socket = Moving(host, SocketAddress(address: .v4(0x7F00_0001), port: endpoint.port), handler)
            socket.bind(50_000)
            self.socket = socket
            return socket
        }

        func move(to port: UInt16) { socket?.bind(port) }
    }

    final class Moving: DatagramSocket, DatagramHandler {
        var handler: (any DatagramHandler)?
        private(set) var sent: [[UInt8]] = []
        private let host: SimulatedHost
        private let peer: SocketAddress
        private var below: (any DatagramSocket)?
        private var isOpen = false

        init(_ host: SimulatedHost, _ peer: SocketAddress, _ handler: any DatagramHandler) {
            self.host = host
            self.peer = peer
            self.handler = handler
        }

        func bind(_ port: UInt16) {
            below?.handler = nil
            below?.close()
            below = try? host.bindDatagrams(at: SocketAddress(address: host.address, port: port), handler: self)
        }

        var maximumDatagramBytes: Int { below?.maximumDatagramBytes ?? 0 }
        func send(_ datagram: Span<UInt8>, to receiver: SocketAddress?) throws(SocketError) {
            sent.append(datagram.indices.map { datagram[$0] })
            try below?.send(datagram, to: peer)
        }
        func close() { below?.close() }
        func opened() {
            if !isOpen { handler?.opened() }
            isOpen = true
        }
        func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
            handler?.received(datagram, from: peer, truncated: truncated)
        }
        func closed(_ error: SocketError?) { handler?.closed(error) }
    }
}
