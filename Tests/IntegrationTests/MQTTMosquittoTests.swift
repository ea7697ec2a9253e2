import CLinux
import Kernel
import MQTTClient
import SAL
import Testing

@testable import HubSimulator

/// The client at a broker that lets everybody do everything.
@Suite(.timeLimit(.minutes(1))) struct MQTTMosquittoTests {
    @Test func aRetainedMessageComesWithTheSubscription() async throws {
        try await TestBroker.with { broker in
            let client = try await broker.connect("one")
            try await client.publish("kept", to: "a/b", isRetained: true)
            try await client.publish("not kept", to: "a/c")
            let subscription = try await client.subscribe(to: "a/+")
            var messages = subscription.makeAsyncIterator()
            let first = try #require(await messages.next())
            #expect(first.text == "kept" && first.isRetained && first.topicText == "a/b")
            try await client.publish("live", to: "a/b", isRetained: true)
            let second = try #require(await messages.next())
            #expect(second.text == "live" && !second.isRetained)
        }
    }

    @Test(arguments: [
        ("a/#", ["a", "a/b", "a/b/c"]), ("+/b", ["a/b"]), ("#", ["a", "a/b", "a/b/c", "/x"]), ("+/+", ["a/b", "/x"]),
        ("a/b", ["a/b"]), ("/+", ["/x"]),
    ])
    func wildcardsMatchWhatTheStandardSays(filter: String, expected: [String]) async throws {
        try await TestBroker.with { broker in
            let client = try await broker.connect("one")
            let subscription = try await client.subscribe(to: filter)
            for topic in ["a", "a/b", "a/b/c", "/x"] { try await client.publish("", to: topic) }
            // Messages of one connection keep their order, so an answer to this one shows that no other comes.
            try await client.unsubscribe(subscription)
            var topics: [String] = []
            for await message in subscription { topics.append(message.topicText) }
            #expect(topics == expected)
        }
    }

    @Test func theWillIsPublishedWhenTheConnectionBreaksAndNotAfterAGoodbye() async throws {
        try await TestBroker.with { broker in
            let watcher = try await broker.connect("watcher")
            let wills = try await watcher.subscribe(to: "wills/#")
            for (name, isProper) in [("polite", true), ("rude", false)] {
                let client = try await broker.connect(name) {
                    $0.will = .init(topic: Array("wills/\(name)".utf8), payload: Array("gone".utf8), qos: .atLeastOnce)
                }
                if isProper {
                    await client.disconnect()
                } else {
                    // A second login ends the first connection, which for the broker broke (MQTT 3.1.1, 3.1.4).
                    _ = try await broker.connect(name)
                }
            }
            try await watcher.publish("end", to: "wills/end")
            var messages = wills.makeAsyncIterator()
            let first = await messages.next()
            #expect(first?.topicText == "wills/rude")
            #expect(first?.text == "gone")
            #expect(await messages.next()?.text == "end")
        }
    }

    @Test func aSessionThatIsNotCleanIsThereAgain() async throws {
        try await TestBroker.with { broker in
            let first = try await broker.connect("keeper") { $0.cleanStart = false }
            _ = try await first.subscribe(to: "mail")
            #expect(await first.connectionInfo?.sessionPresent == false)
            await first.disconnect()
            let second = try await broker.connect("keeper") { $0.cleanStart = false }
            #expect(await second.connectionInfo?.sessionPresent == true)
            await second.disconnect()
            let third = try await broker.connect("keeper") { $0.cleanStart = true }
            #expect(await third.connectionInfo?.sessionPresent == false)
        }
    }

    /// Each reader of the states gets what is, and what comes.
    @Test func everyReaderOfTheStatesGetsThemAll() async throws {
        try await TestBroker.with { broker in
            let client = MQTTClient(
                to: Endpoint(host: "127.0.0.1", port: broker.port),
                over: LinuxNetwork(loop: broker.loopForClients),
                configuration: MQTTConfiguration(clientID: Array("states".utf8))
            )
            var early = client.states.makeAsyncIterator()
            try await client.connect()
            var late = client.states.makeAsyncIterator()
            let connected = MQTTConnectionState.connected(try #require(await client.connectionInfo))
            #expect(await early.next() == .connecting)
            #expect(await early.next() == connected)
            #expect(await late.next() == connected)
            await client.disconnect()
            #expect(await early.next() == .disconnected(.disconnected))
            #expect(await late.next() == .disconnected(.disconnected))
        }
    }

    /// Who reads the states of a client that nobody has any more comes to the end.
    @Test func statesEndWithTheClient() async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        var client: MQTTClient? = MQTTClient(
            to: Endpoint(host: "127.0.0.1", port: 1),
            over: LinuxNetwork(loop: loop),
            configuration: MQTTConfiguration(clientID: Array("gone".utf8))
        )
        let states = try #require(client?.states)
        client = nil
        for await _ in states {}
    }

    @Test func twoSubscriptionsThatMatchEachGetTheMessageOnce() async throws {
        try await TestBroker.with { broker in
            let client = try await broker.connect("one")
            let wide = try await client.subscribe(to: "a/#")
            let narrow = try await client.subscribe(to: "a/b")
            let other = try await client.subscribe(to: "c")
            for number in 0..<10 { try await client.publish("\(number)", to: "a/b") }
            try await client.publish("end", to: "c")
            var ends = other.makeAsyncIterator()
            #expect(await ends.next()?.text == "end")
            for subscription in [wide, narrow] { try await client.unsubscribe(subscription) }
            for subscription in [wide, narrow] {
                var texts: [String] = []
                for await message in subscription { texts.append(message.text) }
                #expect(texts == (0..<10).map { "\($0)" })
            }
        }
    }

    @Test func aSlowReaderLosesNothingAndHoldsTheBrokerBack() async throws {
        try await TestBroker.with { broker in
            let reader = try await broker.connect("reader")
            let subscription = try await reader.subscribe(to: "flood", limit: 16)
            let writer = try await broker.connect("writer")
            let writing = Task {
                await withTaskGroup(of: Void.self) { group in
                    // One lane keeps the order; many in flight make it fast.
                    for number in 0..<10_000 {
                        if number >= 200 { await group.next() }
                        group.addTask { _ = try? await writer.publish("\(number)", to: "flood") }
                    }
                }
            }
            var numbers: [Int] = []
            for await message in subscription {
                numbers.append(Int(message.text) ?? -1)
                if numbers.count % 1_000 == 0 { await offPool { _ = usleep(20_000) } }
                if numbers.count == 10_000 { break }
            }
            await writing.value
            #expect(Set(numbers) == Set(0..<10_000))
        }
    }

    @Test func aSlowReaderKeepsTheOrder() async throws {
        try await TestBroker.with { broker in
            let reader = try await broker.connect("reader")
            let subscription = try await reader.subscribe(to: "flood", limit: 16)
            let flood = (0..<10_000).map { "\($0)\n" }.joined()
            try replaceFile("\(broker.directory)/flood", with: Array(flood.utf8))
            let command = "mosquitto_pub -h 127.0.0.1 -p \(broker.port) -q 1 -t flood -l < \(broker.directory)/flood"
            let writer = try TestProgram("sh", ["-c", command])
            var numbers: [Int] = []
            for await message in subscription {
                numbers.append(Int(message.text) ?? -1)
                if numbers.count % 1_000 == 0 { await offPool { _ = usleep(20_000) } }
                if numbers.count == 10_000 { break }
            }
            #expect(await writer.wait() == 0)
            #expect(numbers == Array(0..<10_000))
        }
    }

    @Test func aPublishIsCancelledWhileTheBrokerStandsStill() async throws {
        try await TestBroker.with { broker in
            let client = try await broker.connect("one")
            broker.signal(SIGSTOP)
            let publish = Task { () async -> Result<Void, MQTTError> in
                do throws(MQTTError) {
                    try await client.publish("x", to: "a")
                    return .success(())
                } catch { return .failure(error) }
            }
            await offPool { _ = usleep(100_000) }
            publish.cancel()
            await #expect(throws: MQTTError.cancelled) { try await publish.value.get() }
            broker.signal(SIGCONT)
            try await client.publish("y", to: "a")
        }
    }

    @Test func keepAliveFindsABrokerThatStandsStill() async throws {
        try await TestBroker.with { broker in
            let client = try await broker.connect("one") {
                $0.keepAliveSeconds = 1
                $0.pingTimeout = .seconds(1)
            }
            #expect(await client.connectionInfo?.sessionPresent == false)
            broker.signal(SIGSTOP)
            let start = ContinuousClock.now
            let end = await client.states.first { if case .disconnected = $0 { true } else { false } }
            #expect(end == .disconnected(.keepAliveTimedOut))
            #expect(ContinuousClock.now - start < .seconds(4))
            broker.signal(SIGCONT)
        }
    }

    @Test func connectGivesUpOnABrokerThatStandsStill() async throws {
        try await TestBroker.with { broker in
            broker.signal(SIGSTOP)
            await #expect(throws: MQTTError.connectTimedOut) {
                _ = try await broker.connect("one") { $0.connectTimeout = .milliseconds(300) }
            }
            broker.signal(SIGCONT)
        }
    }

    /// A cancellation may come before, in and after each step of a read or a request: none may leave its task waiting.
    @Test func noCancellationIsLost() async throws {
        try await TestBroker.with { broker in
            let client = try await broker.connect("one")
            let subscription = try await client.subscribe(to: "a/b")
            for round in 0..<500 {
                let reading = Task { for await _ in subscription {} }
                let publishing = Task { try? await client.publish("x", to: "a/c") }
                for _ in 0..<round % 7 { await Task.yield() }
                reading.cancel()
                publishing.cancel()
                await reading.value
                _ = await publishing.value
            }
            // What was cancelled does not end what comes after it.
            let next = Task { () -> MQTTMessage? in
                for await message in subscription { return message }
                return nil
            }
            try await client.publish("y", to: "a/b")
            #expect(await next.value.map { Array($0.payload) } == Array("y".utf8))
            await client.disconnect()
        }
    }

    /// In a process of its own, whose memory nobody else uses.
    @Test func aThousandConnectionsLeaveNothingBehind() async {
        await #expect(processExitsWith: .success) {
            try await TestBroker.with { broker in
                for _ in 0..<50 { await (try broker.connect("one")).disconnect() }
                let before = heapInUse()
                for _ in 0..<1_000 { await (try broker.connect("one")).disconnect() }
                #expect(await eventually { heapInUse() - before < 65_536 }, "grew by \(heapInUse() - before) bytes")
                #expect(await eventually { socketsTo(broker.port) == 0 }, "\(socketsTo(broker.port)) are open")
            }
        }
    }
}

/// How many bytes of the heap are in use.
private func heapInUse() -> Int {
    let info = mallinfo2()
    return Int(info.uordblks) + Int(info.hblkhd)
}

/// How many of this process's descriptors are connections to a port of loopback. Tests beside this one have others.
private func socketsTo(_ port: UInt16) -> Int {
    (0..<1_024).count { (descriptor: Int32) in
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &size) }
        }
        return result == 0 && address.sin_family == AF_INET && address.sin_port == port.bigEndian
    }
}

extension MQTTMessage {
    var text: String { String(decoding: payload, as: UTF8.self) }
}

/// A mosquitto without any rules, in a directory of its own.
final class TestBroker: Sendable {
    let port: UInt16
    let directory: String
    private let program: TestProgram
    private let loop = EventLoop.start()
    private let reserved: ReservedPort
    /// The port for WebSockets, if there is one.
    let webSocketPort: UInt16
    private let reservedForWebSockets: ReservedPort

    /// A client's way to the broker.
    var loopForClients: EventLoop { loop }

    static func with(
        webSockets: Bool = false,
        more: String = "",
        forWebSockets: String = "",
        _ body: (TestBroker) async throws -> Void
    ) async throws {
        let broker = try TestBroker(webSockets: webSockets, more: more, forWebSockets: forWebSockets)
        let port = broker.port
        let isUp = await eventually { ReservedPort.accepts(address: "127.0.0.1", port: port) }
        #expect(isUp, "\(broker.program.output)")
        if webSockets {
            let webSocketPort = broker.webSocketPort
            let isUp = await eventually { ReservedPort.accepts(address: "127.0.0.1", port: webSocketPort) }
            #expect(isUp, "\(broker.program.output)")
        }
        do { try await body(broker) } catch { Issue.record(error) }
        broker.stop()
    }

    private init(webSockets: Bool, more: String, forWebSockets: String) throws {
        reservedForWebSockets = try ReservedPort(address: "127.0.0.1", port: 0)
        webSocketPort = reservedForWebSockets.number
        reserved = try ReservedPort(address: "127.0.0.1", port: 0)
        port = reserved.number
        directory = try temporaryDirectory()
        let configuration = """
            user root
            listener \(port) 127.0.0.1
            allow_anonymous true
            max_queued_messages 20000
            \(more)
            \(webSockets ? "listener \(webSocketPort) 127.0.0.1\nprotocol websockets\n\(forWebSockets)" : "")
            """
        try replaceFile("\(directory)/mosquitto.conf", with: Array(configuration.utf8))
        program = try TestProgram("mosquitto", ["-c", "\(directory)/mosquitto.conf"])
    }

    func stop() {
        loop.stop()
        program.signal(SIGCONT)
        program.signal(SIGKILL)
        removeDirectory(directory)
    }

    func signal(_ number: Int32) { program.signal(number) }

    /// A client that is connected.
    func connect(_ name: String, _ configure: (inout MQTTConfiguration) -> Void = { _ in }) async throws -> MQTTClient {
        var configuration = MQTTConfiguration(clientID: Array(name.utf8))
        configure(&configuration)
        let client = MQTTClient(
            to: Endpoint(host: "127.0.0.1", port: port),
            over: LinuxNetwork(loop: loop),
            configuration: configuration,
            reconnects: false
        )
        try await client.connect()
        return client
    }
}
