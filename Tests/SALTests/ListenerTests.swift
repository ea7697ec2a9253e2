import CLinux
import Kernel
import NetworkSimulator
import SAL
import Testing

/// Servers, Unix-domain streams, and loops that are shut down.
@Suite(.timeLimit(.minutes(1))) struct ListenerTests {
    let loop = EventLoop.start()

    @Test func connectionsComeAsASequence() async throws {
        let listener = try await Listener.open(at: ConnectionTests.loopback, over: LinuxNetwork(loop: loop))
        let port = try #require(listener.localAddress?.port)
        let serving = Task {
            var count = 0
            for try await connection in listener.connections {
                try await connection.write("hello")
                await connection.close()
                count += 1
            }
            return count
        }
        for _ in 0..<20 {
            let client = try await Connection.open(
                to: Endpoint(host: "127.0.0.1", port: port),
                over: LinuxNetwork(loop: loop)
            )
            #expect(try await client.read(exactly: 5) == Array("hello".utf8))
            #expect(try await client.read() == nil)
            await client.close()
        }
        await listener.close()
        #expect(try await serving.value == 20)
        loop.stop()
    }

    @Test func connectionsThatNobodyAsksForWaitInTheSystemsLine() async throws {
        let listener = try await Listener.open(at: ConnectionTests.loopback, over: LinuxNetwork(loop: loop))
        let port = try #require(listener.localAddress?.port)
        var clients: [Connection] = []
        for number in 0..<100 {
            let client = try await Connection.open(
                to: Endpoint(host: "127.0.0.1", port: port),
                over: LinuxNetwork(loop: loop)
            )
            try await client.write([UInt8(number)])
            clients.append(client)
        }
        // More than are accepted ahead; none is lost, and each carries its own.
        for number in 0..<100 {
            let server = try #require(try await listener.accept(.seconds(10)))
            #expect(try await server.read() == [UInt8(number)])
            await server.close()
        }
        await #expect(throws: SocketError.timedOut) { _ = try await listener.accept(.milliseconds(10)) }
        await listener.close()
        #expect(try await listener.accept() == nil)
        loop.stop()
    }

    @Test func anAddressThatIsTakenOrNotOursIsRefused() async throws {
        let network = LinuxNetwork(loop: loop)
        let listener = try await Listener.open(at: ConnectionTests.loopback, over: network)
        let taken = try #require(listener.localAddress)
        await #expect(throws: SocketError.addressInUse(code: EADDRINUSE)) {
            _ = try await Listener.open(at: taken, over: network)
        }
        await #expect(throws: SocketError.addressUnavailable(code: EADDRNOTAVAIL)) {
            _ = try await Listener.open(at: SocketAddress(address: .v4(0x0102_0304), port: 0), over: network)
        }
        await listener.close()
        // It is free again at once, and shared by those who say so.
        var options = SocketOptions()
        options.sharesPort = true
        let sharing = LinuxNetwork(loop: loop, options: options)
        let first = try await Listener.open(at: taken, over: sharing)
        let second = try await Listener.open(at: taken, over: sharing)
        #expect(first.localAddress == second.localAddress)
        await first.close()
        await second.close()
        loop.stop()
    }

    @Test func takesBothFamiliesUnlessToldOtherwise() async throws {
        let any = SocketAddress(address: .v6(high: 0, low: 0, scope: 0), port: 0)
        let network = LinuxNetwork(loop: loop)
        let listener = try await Listener.open(at: any, over: network)
        let port = try #require(listener.localAddress?.port)
        for host in ["127.0.0.1", "::1"] {
            let client = try await Connection.open(to: Endpoint(host: host, port: port), over: network)
            let server = try #require(try await listener.accept(.seconds(10)))
            #expect(await server.peerAddress != nil)
            await client.close()
            await server.close()
        }
        await listener.close()
        var options = SocketOptions()
        options.isDualStack = false
        let only6 = try await Listener.open(at: any, over: LinuxNetwork(loop: loop, options: options))
        let port6 = try #require(only6.localAddress?.port)
        await #expect(throws: ConnectError.self) {
            _ = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port6), over: network)
        }
        await only6.close()
        loop.stop()
    }

    @Test func streamsGoOverPathsOfTheFileSystem() async throws {
        let path = "/tmp/apus-\(getpid())-\(UInt32.random(in: 0 ... .max)).socket"
        let network = LinuxNetwork(loop: loop)
        await #expect(throws: ConnectError.self) {
            _ = try await Connection.open(to: Endpoint(path: path), over: network)
        }
        let listener = try await Listener.open(atPath: path, over: network)
        await #expect(throws: SocketError.addressInUse(code: EADDRINUSE)) {
            _ = try await Listener.open(atPath: path, over: network)
        }
        let client = try await Connection.open(to: Endpoint(path: path), over: network)
        let server = try #require(try await listener.accept(.seconds(10)))
        try await client.write("over a path")
        #expect(try await server.read(exactly: 11) == Array("over a path".utf8))
        #expect(await client.peerAddress == nil)
        await client.close()
        #expect(try await server.read() == nil)
        await listener.close()
        _ = await usage(loop)
        #expect(access(path, F_OK) != 0)
        // A file that an ended process has left is taken over.
        let left = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(left, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        close(left)
        let again = try await Listener.open(atPath: path, over: network)
        await again.close()
        await #expect(throws: SocketError.addressUnavailable(code: ENAMETOOLONG)) {
            _ = try await Listener.open(atPath: "/" + String(repeating: "x", count: 200), over: network)
        }
        loop.stop()
    }

    @Test func aLoopThatIsShutDownSendsWhatWasTakenAndTellsTheEnd() async throws {
        let serverLoop = EventLoop.start()
        let listener = try await Listener.open(at: ConnectionTests.loopback, over: LinuxNetwork(loop: serverLoop))
        let port = try #require(listener.localAddress?.port)
        let probe = Probe()
        let silent = Probe()
        let resolver = Resolver { _ in
            pause()
            return []
        }
        await loop.call { [loop] in
            let network = LinuxNetwork(loop: loop, resolver: resolver)
            let deadline = loop.now + .seconds(60)
            let stream = network.connect(
                to: Endpoint(host: "127.0.0.1", port: port),
                deadline: deadline,
                handler: probe
            )
            probe.onOpen = { _ = stream.send([UInt8](repeating: 3, count: 200_000).span) }
            // One that waits for its name must be told too.
            _ = network.connect(to: Endpoint(host: "hub.example", port: 1), deadline: deadline, handler: silent)
        }
        await probe.wait(on: loop) { $0.isOpen }
        loop.shutDown(within: .seconds(10))
        let server = try #require(try await listener.accept(.seconds(10)))
        #expect(try await server.read(exactly: 200_000, .seconds(10)).count == 200_000)
        #expect(try await server.read(.seconds(10)) == nil)
        while !(probe.isClosed && silent.isClosed) { try await Task.sleep(for: .milliseconds(1)) }
        serverLoop.shutDown(within: .seconds(1))
    }

    @Test func aLoopThatIsShutDownGivesUpWhatDoesNotClose() async throws {
        // The peer takes nothing, so that what was taken cannot go.
        let peer = Peer(receiveBytes: 4_096)
        let probe = Probe()
        await loop.call { [loop] in
            let stream = LinuxNetwork(loop: loop).connect(
                to: Endpoint(host: "127.0.0.1", port: peer.port),
                deadline: loop.now + .seconds(10),
                handler: probe
            )
            probe.onOpen = {
                let piece = [UInt8](repeating: 3, count: 65_536)
                while stream.send(piece.span) > 0 {}
            }
            probe.onWritable = {
                let piece = [UInt8](repeating: 3, count: 65_536)
                while stream.send(piece.span) > 0 {}
            }
        }
        let accepted = await peer.accept()
        await probe.wait(on: loop) { $0.isOpen }
        // Until the system takes no more either.
        try await Task.sleep(for: .milliseconds(300))
        loop.shutDown(within: .milliseconds(100))
        while !probe.isClosed { try await Task.sleep(for: .milliseconds(1)) }
        close(accepted)
    }

    @Test func aLoopThatIsStoppedEndsWhatWaitsOnIt() async throws {
        let serverLoop = EventLoop.start()
        let listener = try await Listener.open(at: ConnectionTests.loopback, over: LinuxNetwork(loop: serverLoop))
        let port = try #require(listener.localAddress?.port)
        let network = LinuxNetwork(loop: loop)
        let client = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port), over: network)
        let server = try #require(try await listener.accept(.seconds(10)))
        let reading = Task { try await client.read() }
        let accepting = Task { try await listener.accept() }
        try await Task.sleep(for: .milliseconds(20))
        loop.stop()
        #expect(try await reading.value == nil)
        await #expect(throws: SocketError.closed) { try await client.write([1]) }
        // The peer is told, and what is opened later fails.
        _ = try? await server.read(.seconds(10))
        await #expect(throws: (any Error).self) {
            _ = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port), over: network)
        }
        await #expect(throws: (any Error).self) {
            _ = try await Connection.open(to: Endpoint(host: "localhost", port: port), over: network)
        }
        serverLoop.stop()
        #expect(try await accepting.value === nil)
    }

    @Test func aCloseThatCannotSendGivesUpAfterItsTime() async throws {
        let peer = Peer(receiveBytes: 4_096)
        var options = SocketOptions()
        options.lingerSeconds = 1
        let network = LinuxNetwork(loop: loop, options: options)
        let client = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: peer.port), over: network)
        let accepted = await peer.accept()
        await #expect(throws: SocketError.timedOut) {
            try await client.write([UInt8](repeating: 1, count: 64 << 20), .milliseconds(100))
        }
        let start = loop.now
        await client.close()
        #expect(loop.now - start >= .milliseconds(900))
        await #expect(throws: SocketError.timedOut) { _ = try await client.read() }
        close(accepted)
        loop.stop()
    }
}
