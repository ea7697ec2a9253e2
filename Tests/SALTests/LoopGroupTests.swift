import Kernel
import SAL
import Testing

/// Servers on several loops.
@Suite(.timeLimit(.minutes(1))) struct LoopGroupTests {
    @Test func connectionsAreDealtOutAndStayOnTheirLoops() async throws {
        let group = EventLoopGroup(count: 3)
        var options = SocketOptions()
        options.sharesPort = true
        var address = ConnectionTests.loopback
        var listeners: [Listener] = []
        for loop in group.loops {
            let listener = try await Listener.open(at: address, over: LinuxNetwork(loop: loop, options: options))
            address = try #require(listener.localAddress)
            listeners.append(listener)
        }
        let port = address.port
        let served = Guarded([0, 0, 0])
        let serving = Task { [listeners] in
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for (index, listener) in listeners.enumerated() {
                    tasks.addTask {
                        for try await connection in listener.connections {
                            served.withLock { $0[index] += 1 }
                            guard connection.loop === group.loops[index] else { throw SocketError.closed }
                            guard let bytes = try await connection.read() else { continue }
                            try await connection.write(bytes)
                            await connection.close()
                        }
                    }
                }
                try await tasks.waitForAll()
            }
        }
        for number in 0..<60 {
            let network = LinuxNetwork(loop: group.next())
            let client = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port), over: network)
            try await client.write([UInt8(number)])
            #expect(try await client.read() == [UInt8(number)])
            await client.close()
        }
        for listener in listeners { await listener.close() }
        try await serving.value
        let counts = served.withLock { $0 }
        #expect(counts.reduce(0, +) == 60 && counts.allSatisfy { $0 > 0 }, "\(counts)")
        group.shutDown(within: .seconds(1))
    }
}
