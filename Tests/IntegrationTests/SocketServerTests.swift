import Kernel
import SAL
import Testing

/// A process that serves, and what becomes of it.
@Suite(.timeLimit(.minutes(2))) struct SocketServerTests {
    private func start(descriptors: Int) async throws -> (TestProgram, UInt16) {
        let server = try TestProgram(programBesideTests("socket-server"), ["\(descriptors)"])
        #expect(await server.prints("port="))
        let digits = server.output.split(separator: "port=").first?.prefix { $0.isNumber } ?? ""
        return (server, try #require(UInt16(digits)))
    }

    private func connect(_ port: UInt16, _ loop: EventLoop) async throws -> Connection {
        try await Connection.open(to: Endpoint(host: "127.0.0.1", port: port), over: LinuxNetwork(loop: loop))
    }

    @Test func aServerWithoutDescriptorsPausesAndRecovers() async throws {
        let (server, port) = try await start(descriptors: 40)
        let loop = EventLoop.start()
        var clients: [Connection] = []
        for number in UInt8(0)..<60 {
            let client = try await connect(port, loop)
            try await client.write([number])
            clients.append(client)
        }
        #expect(await server.prints("failing=true no sockets are left"))
        // The first are served on, the last wait in line.
        #expect(try await clients[0].read(.seconds(10)) == [0])
        await #expect(throws: SocketError.timedOut) { _ = try await clients[59].read(.milliseconds(200)) }
        for client in clients[..<40] { await client.close() }
        for number in 40..<60 {
            let echo = try await clients[number].read(.seconds(10))
            #expect(echo == [UInt8(number)])
        }
        loop.stop()
    }

    @Test func anIdleConnectionTakesLessThanAKilobyte() async throws {
        let (server, port) = try await start(descriptors: 4_000)
        let loop = EventLoop.start()
        var clients: [Connection] = []
        for _ in 0..<500 { clients.append(try await connect(port, loop)) }
        #expect(await server.prints("connections=500 "))
        let line = try #require(server.output.split(separator: "\n").last { $0.hasPrefix("connections=500 ") })
        let heap = try #require(Int(line.split(separator: "heap=").last ?? ""))
        // The handler's own bytes included.
        #expect(heap / 500 < 1_024, "\(heap / 500) bytes each")
        for client in clients { await client.abort() }
        #expect(await server.prints("connections=0 "))
        loop.stop()
    }
}
