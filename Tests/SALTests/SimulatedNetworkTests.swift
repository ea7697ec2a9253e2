import Kernel
import NetworkSimulator
import SAL
import Testing

/// The simulated network itself, and the recorder.
@Suite(.timeLimit(.minutes(1))) struct SimulatedNetworkTests {
    /// Two hosts; the second listens at port 7.
    private static func withHosts<Result: Sendable>(
        seed: UInt64 = 1,
        _ conditions: Conditions = Conditions(),
        _ body: @escaping @Sendable (SimulatedNetwork, SimulatedHost, SimulatedHost) async throws -> Result
    ) async throws -> Result {
        try await EventLoop.inVirtualTime { loop in
            let network = SimulatedNetwork(loop: loop, seed: seed, conditions: conditions)
            return try await body(network, network.addHost("10.0.0.1"), network.addHost("10.0.0.2"))
        }
    }

    private static let there = SocketAddress(address: .v4(0x0A00_0002), port: 7)
    private static let endpoint = Endpoint(host: "10.0.0.2", port: 7)

    @Test func timeJumpsAndADayTakesNoTime() async throws {
        let start = KernelClock.now
        let passed = try await EventLoop.inVirtualTime { loop in
            let begin = loop.now
            for _ in 0..<24 { try await loop.sleep(for: .seconds(3_600)) }
            return loop.now - begin
        }
        #expect(passed == .seconds(86_400))
        #expect(KernelClock.now - start < .seconds(10))
    }

    @Test func latencyIsWhatEverythingTakes() async throws {
        try await Self.withHosts(Conditions(latency: .milliseconds(50))) { network, here, there in
            let listener = try await Listener.open(at: Self.there, over: there)
            let start = here.loop.now
            let client = try await Connection.open(to: Self.endpoint, over: here)
            // There and back.
            #expect(here.loop.now - start == .milliseconds(100))
            let server = try #require(try await listener.accept())
            let sent = here.loop.now
            try await client.write([1])
            _ = try await server.read()
            #expect(here.loop.now - sent == .milliseconds(50))
        }
    }

    /// What arrives, and when, of a thousand datagrams over a bad way.
    private static func trace(seed: UInt64) async throws -> [String] {
        var conditions = Conditions(latency: .milliseconds(20), loss: 0.1)
        conditions.duplication = 0.05
        conditions.reordering = 0.1
        conditions.jitter = .milliseconds(1)
        return try await withHosts(seed: seed, conditions) { network, here, there in
            let server = try await DatagramChannel.bind(at: Self.there, over: there)
            let client = try await DatagramChannel.open(to: Self.endpoint, over: here)
            for number in 0..<1_000 {
                try await client.send([UInt8(truncatingIfNeeded: number), UInt8(number >> 8)])
                try await here.loop.sleep(for: .milliseconds(2))
            }
            var trace: [String] = []
            do throws(SocketError) {
                while let datagram = try await server.receive(.seconds(1)) { trace.append("\(datagram.bytes)") }
            } catch {}
            return trace
        }
    }

    @Test func losesDoublesAndReordersTheSameForTheSameSeed() async throws {
        let first = try await Self.trace(seed: 5)
        #expect(first == (try await Self.trace(seed: 5)))
        #expect(first != (try await Self.trace(seed: 6)))
        let distinct = Set(first).count
        #expect((850...940).contains(distinct), "\(distinct) of 1,000 arrived")
        #expect((20...80).contains(first.count - distinct), "\(first.count - distinct) came twice")
        var early = 0
        var last = -1
        for text in first {
            let number = text.dropFirst().split(separator: ",").first.flatMap { Int($0) } ?? 0
            if number < last, last - number < 100 { early += 1 }
            last = number
        }
        #expect(early > 20, "\(early) came late")
    }

    @Test func datagramsThatAreTooLongForAWayAreTruncated() async throws {
        var conditions = Conditions()
        conditions.datagramBytes = 512
        try await Self.withHosts(conditions) { network, here, there in
            let server = try await DatagramChannel.bind(at: Self.there, over: there)
            let client = try await DatagramChannel.open(to: Self.endpoint, over: here)
            try await client.send([UInt8](repeating: 1, count: 513))
            let datagram = try await server.receive()
            #expect(datagram?.bytes.count == 512 && datagram?.isTruncated == true)
        }
    }

    @Test func aWayThatIsCutEndsStreamsInTheTimeOfTheSender() async throws {
        try await Self.withHosts { network, here, there in
            let listener = try await Listener.open(at: Self.there, over: there)
            let client = try await Connection.open(to: Self.endpoint, over: here)
            let server = try #require(try await listener.accept())
            network.conditions.isCut = true
            let start = here.loop.now
            try await client.write([1])
            await #expect(throws: SocketError.timedOut) { _ = try await client.read() }
            #expect(here.loop.now - start >= network.retransmissionTime)
            // Who only listens is not told.
            await #expect(throws: SocketError.timedOut) { _ = try await server.read(.seconds(100)) }
            await #expect(throws: ConnectError.self) { _ = try await Connection.open(to: Self.endpoint, over: here) }
        }
    }

    @Test func aWayThatIsCutForAWhileLosesNothing() async throws {
        try await Self.withHosts { network, here, there in
            let listener = try await Listener.open(at: Self.there, over: there)
            let client = try await Connection.open(to: Self.endpoint, over: here)
            let server = try #require(try await listener.accept())
            var cut = Conditions()
            cut.isCut = true
            // Only the acknowledgements get lost: nothing may come twice.
            network.setConditions(cut, from: there, to: here)
            let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
            try await client.write(bytes)
            try await here.loop.sleep(for: .seconds(20))
            network.setConditions(nil, from: there, to: here)
            #expect(try await server.read(exactly: bytes.count) == bytes)
            await client.close()
            #expect(try await server.read() == nil)
        }
    }

    @Test func aHostThatRestartsIsToldWhoSendsToIt() async throws {
        try await Self.withHosts { network, here, there in
            let listener = try await Listener.open(at: Self.there, over: there)
            let client = try await Connection.open(to: Self.endpoint, over: here)
            let server = try #require(try await listener.accept())
            there.restart()
            await #expect(throws: SocketError.deviceRestarted) { _ = try await server.read() }
            await #expect(throws: SocketError.timedOut) { _ = try await client.read(.seconds(60)) }
            try await client.write([1])
            await #expect(throws: SocketError.reset(code: 0)) { _ = try await client.read(.seconds(60)) }
        }
    }

    @Test func bandwidthIsALimit() async throws {
        var conditions = Conditions()
        conditions.bytesPerSecond = 10_000
        try await Self.withHosts(conditions) { network, here, there in
            let listener = try await Listener.open(at: Self.there, over: there)
            let client = try await Connection.open(to: Self.endpoint, over: here)
            let server = try #require(try await listener.accept())
            let start = here.loop.now
            async let written: Void = client.write([UInt8](repeating: 1, count: 200_000))
            _ = try await server.read(exactly: 200_000)
            try await written
            let took = here.loop.now - start
            #expect(took >= .seconds(20) && took < .seconds(40), "\(took)")
        }
    }

    @Test func theRecorderNotesWhatHappensInOrder() async throws {
        let text = try await Self.withHosts { network, here, there in
            let recorder = Recorder(here)
            let listener = try await Listener.open(at: Self.there, over: there)
            let client = try await Connection.open(to: Self.endpoint, over: recorder)
            let server = try #require(try await listener.accept())
            try await client.write([0xCA, 0xFE])
            _ = try await server.read()
            try await server.write([1, 2, 3])
            _ = try await client.read()
            await server.close()
            #expect(try await client.read() == nil)
            await client.close()
            let socket = try await DatagramChannel.open(to: Self.endpoint, over: recorder)
            try await socket.send([9])
            await #expect(throws: SocketError.refused(code: 0)) { _ = try await socket.receive() }
            #expect(recorder.records.allSatisfy { $0.time >= .seconds(1) } && recorder.dropped == 0)
            return recorder.records.map { $0.description.drop { $0 != "#" } }.joined(separator: "\n")
        }
        #expect(
            text == """
                #1 connecting to 10.0.0.2:7
                #1 open
                #1 sent 2: ca fe
                #1 received 3: 01 02 03
                #1 the peer has ended
                #1 closing
                #1 closed
                #2 connecting to 10.0.0.2:7
                #2 open
                #2 sent 1: 09
                #2 closed: nobody listens there; is the server running, and is the port right?
                """
        )
    }
}
