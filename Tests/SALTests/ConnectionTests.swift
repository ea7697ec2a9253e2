import CLinux
import Kernel
import NetworkSimulator
import Testing

@testable import SAL

/// The async face of streams, over real sockets.
@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
    let loop = EventLoop.start()
    var network: LinuxNetwork { LinuxNetwork(loop: loop) }

    static let loopback = SocketAddress(address: .v4(0x7F00_0001), port: 0)

    private func withPair(_ body: (Connection, Connection) async throws -> Void) async throws {
        let listener = try await Listener.open(at: Self.loopback, over: network)
        let port = try #require(listener.localAddress?.port)
        let client = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port), over: network)
        let server = try #require(try await listener.accept(.seconds(10)))
        try await body(client, server)
        await client.close()
        await server.close()
        await listener.close()
        loop.stop()
    }

    @Test func readsAndWritesByAwait() async throws {
        try await withPair { client, server in
            try await client.write("hello")
            #expect(try await server.read() == Array("hello".utf8))
            try await server.write([1, 2, 3, 4, 5])
            #expect(try await client.read(upTo: 2) == [1, 2])
            #expect(try await client.read(exactly: 3) == [3, 4, 5])
            let (here, there) = (await client.localAddress, await server.peerAddress)
            #expect(here != nil && here == there)
        }
    }

    @Test func iteratesUntilThePeerEnds() async throws {
        try await withPair { client, server in
            async let sum: Int = {
                var sum = 0
                for try await bytes in server.received { sum += bytes.count }
                return sum
            }()
            for _ in 0..<100 { try await client.write([UInt8](repeating: 7, count: 1_000)) }
            await client.finishWriting()
            #expect(try await sum == 100_000)
            // The other direction is open still.
            try await server.write("done")
            #expect(try await client.read() == Array("done".utf8))
            await server.close()
            #expect(try await client.read() == nil)
            await #expect(throws: SocketError.closed) { try await client.write([1]) }
        }
    }

    @Test func aReadThatTimesOutOrIsCancelledLosesNothing() async throws {
        try await withPair { client, server in
            await #expect(throws: SocketError.timedOut) { _ = try await server.read(.milliseconds(10)) }
            await #expect(throws: SocketError.timedOut) { _ = try await server.read(.noWait) }
            let reading = Task { try await server.read() }
            try await loop.sleep(for: .milliseconds(10))
            reading.cancel()
            await #expect(throws: SocketError.cancelled) { _ = try await reading.value }
            try await client.write("all")
            #expect(try await server.read() == Array("all".utf8))
        }
    }

    @Test func aDeadlineHoldsForAllOfARead() async throws {
        try await withPair { client, server in
            // Bytes trickle in, each in less than the time that the whole may take.
            let trickle = Task {
                for _ in 0..<100 {
                    try await client.write([1])
                    try await Task.sleep(for: .milliseconds(10))
                }
            }
            let start = loop.now
            await #expect(throws: SocketError.timedOut) {
                _ = try await server.read(exactly: 1_000, .milliseconds(100))
            }
            #expect(loop.now - start < .seconds(5))
            trickle.cancel()
            _ = await trickle.result
        }
    }

    @Test func readersHaveTheirTurns() async throws {
        try await withPair { client, server in
            async let one = server.read(upTo: 1)
            async let two = server.read(upTo: 1)
            async let three = server.read(upTo: 1)
            try await client.write([5, 5, 5])
            let all = try await [one, two, three]
            #expect(all == [[5], [5], [5]])
        }
    }

    @Test func writesOfSeveralTasksStayWhole() async throws {
        try await withPair { client, server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 1...8 {
                    group.addTask { try await client.write([UInt8](repeating: UInt8(number), count: 400_000)) }
                }
                for _ in 1...8 {
                    let piece = try await server.read(exactly: 400_000)
                    #expect(piece.allSatisfy { $0 == piece[0] })
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func aSlowReaderStopsTheWriterAndMemoryStaysBounded() async throws {
        // With small buffers of the system's, what is written and not read is in ours.
        var options = SocketOptions()
        options.sendBufferBytes = 16_384
        options.receiveBufferBytes = 16_384
        let network = LinuxNetwork(loop: loop, options: options)
        let listener = try await Listener.open(at: Self.loopback, over: network)
        let port = try #require(listener.localAddress?.port)
        let client = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port), over: network)
        let server = try #require(try await listener.accept(.seconds(10)))
        let bytes = [UInt8](repeating: 9, count: 65_536)
        let written = Guarded(0)
        let writing = Task {
            for _ in 0..<200 {
                try await client.write(bytes)
                written.withLock { $0 += bytes.count }
            }
        }
        var stoppedAt = -1
        while stoppedAt != written.withLock({ $0 }) || stoppedAt == 0 {
            stoppedAt = written.withLock { $0 }
            try await Task.sleep(for: .milliseconds(100))
        }
        // The stream's, the connection's, one read of the loop, the system's two, and the write that is under way.
        #expect(stoppedAt <= 262_144 + 2 * 65_536 + 4 * 32_768 + 65_536, "\(stoppedAt) bytes")
        var read = 0
        while read < 200 * 65_536 { read += try await server.read()?.count ?? 200 * 65_536 }
        #expect(read == 200 * 65_536)
        try await writing.value
        await client.close()
        await server.close()
        await listener.close()
        loop.stop()
    }

    @Test func aWriteThatIsCancelledInBetweenDamagesTheStream() async throws {
        try await withPair { client, _ in
            let writing = Task { try await client.write([UInt8](repeating: 1, count: 64 << 20)) }
            try await loop.sleep(for: .milliseconds(50))
            writing.cancel()
            await #expect(throws: SocketError.cancelled) { try await writing.value }
            await #expect(throws: SocketError.streamDamaged(code: 0)) { try await client.write([1]) }
            await client.abort()
        }
    }

    @Test func aResetIsAnErrorAndAnEndIsNone() async throws {
        try await withPair { client, server in
            try await client.write([1])
            #expect(try await server.read() == [1])
            await client.abort()
            await #expect(throws: SocketError.reset(code: ECONNRESET)) { _ = try await server.read() }
            await #expect(throws: SocketError.closed) { _ = try await client.read(exactly: 1) }
        }
    }

    @Test func droppingTheLastReferenceClosesInOrder() async throws {
        try await withPair { _, _ in
            let listener = try await Listener.open(at: Self.loopback, over: network)
            let port = try #require(listener.localAddress?.port)
            do {
                let dropped = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port), over: network)
                try await dropped.write("last words")
            }
            let server = try #require(try await listener.accept(.seconds(10)))
            #expect(try await server.read(exactly: 10, .seconds(10)) == Array("last words".utf8))
            #expect(try await server.read(.seconds(10)) == nil)
        }
    }

    @Test func saysWhatWasTriedWhenThereIsNoConnection() async throws {
        let port = Peer().port
        let resolver = Resolver { _ in [.v4(0x7F00_0002), .v6(high: 0, low: 1, scope: 0), .v4(0x7F00_0003)] }
        let network = LinuxNetwork(loop: loop, resolver: resolver)
        do {
            _ = try await Connection.open(to: Endpoint(host: "hub.example", port: port), over: network)
            Issue.record("it connected")
        } catch {
            #expect(error.cause == .refused(code: ECONNREFUSED))
            // The families have turns.
            #expect(
                error.attempts.map { "\($0.address)" } == ["127.0.0.2:\(port)", "[::1]:\(port)", "127.0.0.3:\(port)"]
            )
            #expect(error.description.hasPrefix("cannot connect to hub.example:\(port): nobody listens there"))
            #expect(error.description.contains("127.0.0.2:\(port) (nobody listens there"))
        }
        loop.stop()
    }

    @Test func connectingCanBeCancelled() async throws {
        let gate = Gate()
        let network = LinuxNetwork(
            loop: loop,
            resolver: Resolver { _ in
                gate.wait(); return []
            }
        )
        let opening = Task { try await Connection.open(to: Endpoint(host: "hub.example", port: 1), over: network) }
        try await loop.sleep(for: .milliseconds(20))
        opening.cancel()
        let result = await opening.result
        #expect(throws: ConnectError.self) { _ = try result.get() }
        if case .failure(let error as ConnectError) = result { #expect(error.cause == .cancelled) }
        gate.open()
        loop.stop()
    }
}
