import Kernel
import MQTTClient
import SAL
import Testing

/// MQTT 5.0 and QoS 2 at a real broker.
@Suite(.timeLimit(.minutes(1))) struct MQTTVersion5Tests {
    private func connect(
        _ broker: TestBroker,
        _ name: String,
        _ change: (inout MQTTConfiguration) -> Void = { _ in }
    ) async throws -> MQTTClient {
        try await broker.connect(name) {
            $0.version = .v5_0
            change(&$0)
        }
    }

    @Test(arguments: [MQTTVersion.v3_1_1, .v5_0], [QoS.atMostOnce, .atLeastOnce, .exactlyOnce])
    func messagesArriveInOrderAndOnce(version: MQTTVersion, qos: QoS) async throws {
        try await TestBroker.with { broker in
            let reader = try await broker.connect("reader") { $0.version = version }
            let messages = try await reader.subscribe(to: "order/#", qos: qos, limit: 64)
            #expect(messages.granted == qos)
            let writer = try await broker.connect("writer") { $0.version = version }
            let writing = Task {
                try await writer.perform { writer in
                    for number in 0..<2_000 {
                        let payload = Array("\(number)".utf8)
                        if qos == .atMostOnce {
                            try await writer.publish(payload, to: "order/a", qos: qos)
                        } else {
                            try await writer.enqueue(payload, to: "order/a", qos: qos)
                        }
                    }
                }
            }
            var numbers: [Int] = []
            for await message in messages {
                numbers.append(Int(message.text) ?? -1)
                if numbers.count == 2_000 { break }
            }
            try await writing.value
            #expect(numbers == Array(0..<2_000))
        }
    }

    @Test func propertiesGoThrough() async throws {
        try await TestBroker.with { broker in
            let client = try await connect(broker, "one")
            var options = MQTTSubscriptionOptions(.exactlyOnce)
            options.identifier = 77
            let messages = try await client.subscribe(to: "props/+", options: options)
            var properties = MQTTProperties()
            properties.payloadIsText = true
            properties.contentType = "text/plain"
            properties.responseTopic = "answers"
            properties.correlationData = [1, 2, 3]
            properties.messageExpirySeconds = 100
            properties.userProperties = [MQTTUserProperty("a", "1"), MQTTUserProperty("a", "2")]
            let code = try await client.publish("hi", to: "props/x", qos: .exactlyOnce, properties: properties)
            #expect(code == .success)
            var iterator = messages.makeAsyncIterator()
            let message = try #require(await iterator.next())
            let arrived = message.properties
            #expect(arrived.payloadIsText == true && arrived.contentType == "text/plain")
            #expect(arrived.responseTopic == "answers" && arrived.correlationData == [1, 2, 3])
            #expect(arrived.userProperties == [MQTTUserProperty("a", "1"), MQTTUserProperty("a", "2")])
            #expect(arrived.subscriptionIdentifiers == [77] && (arrived.messageExpirySeconds ?? 0) <= 100)
            #expect(try await client.publish("x", to: "nobody/listens") == .noMatchingSubscribers)
        }
    }

    @Test func aServerGivesANameAndItsLimits() async throws {
        try await TestBroker.with(more: "max_inflight_messages 3\nmax_keepalive 30\nmax_packet_size 1000") { broker in
            let client = try await connect(broker, "x") { $0.clientID = [] }
            let info = try #require(await client.connectionInfo).properties
            #expect(info.assignedClientIdentifier?.isEmpty == false)
            #expect(info.receiveMaximum == 3 && info.serverKeepAliveSeconds == 30 && info.maximumPacketBytes == 1_000)
            await #expect(throws: MQTTError.packetTooLarge(bytes: 2_009, limit: 1_000)) {
                try await client.publish([UInt8](repeating: 0, count: 2_000), to: "a")
            }
            // More than the server takes at a time.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    group.addTask { try await client.publish("\(number)", to: "a", qos: .exactlyOnce) }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func topicAliasesBothWays() async throws {
        try await TestBroker.with { broker in
            let client = try await connect(broker, "one") {
                $0.outgoingTopicAliases = 5
                $0.topicAliasMaximum = 5
            }
            let messages = try await client.subscribe(to: "alias/+", qos: .atLeastOnce)
            for number in 0..<30 { try await client.publish("\(number)", to: "alias/\(number % 7)") }
            var topics: [String] = []
            for await message in messages {
                topics.append(message.topicText)
                if topics.count == 30 { break }
            }
            #expect(topics == (0..<30).map { "alias/\($0 % 7)" })
        }
    }

    @Test func sharedSubscriptionsShareTheMessages() async throws {
        try await TestBroker.with { broker in
            let counts = Guarded([0, 0])
            var clients: [MQTTClient] = []
            for index in 0..<2 {
                let client = try await connect(broker, "worker\(index)")
                await client.onMessage(matching: "$share/group/jobs/+") { _ in counts.withLock { $0[index] += 1 } }
                _ = try await client.requestSubscriptions([("$share/group/jobs/+", MQTTSubscriptionOptions())])
                clients.append(client)
            }
            let writer = try await connect(broker, "writer")
            for number in 0..<20 { try await writer.publish("\(number)", to: "jobs/\(number)") }
            #expect(await eventually { counts.withLock { $0[0] + $0[1] } == 20 })
            #expect(counts.withLock { $0[0] > 0 && $0[1] > 0 })
            for client in clients { await client.disconnect() }
        }
    }

    @Test func requestsAreAnswered() async throws {
        try await TestBroker.with { broker in
            let server = try await connect(broker, "server")
            let serving = Task {
                try await server.serve("double/+") { request in
                    let number = Int(String(decoding: request.payload, as: UTF8.self)) ?? 0
                    return Array("\(2 * number)".utf8)
                }
            }
            let client = try await connect(broker, "client")
            // Until the server is there nobody has subscribed.
            while try await client.publish("0", to: "double/it") == .noMatchingSubscribers {
                try await Task.sleep(for: .milliseconds(5))
            }
            var answers: [String] = []
            for number in 1...5 {
                let answer = try await client.request(Array("\(number)".utf8), to: "double/it", timeout: .seconds(5))
                answers.append(String(decoding: answer.payload, as: UTF8.self))
            }
            #expect(answers == ["2", "4", "6", "8", "10"])
            await #expect(throws: MQTTError.noReply) {
                _ = try await client.request([], to: "nobody/answers", timeout: .milliseconds(100))
            }
            serving.cancel()
            await server.disconnect()
        }
    }

    @Test func aSessionTakenOverIsTold() async throws {
        try await TestBroker.with { broker in
            let first = try await connect(broker, "twin")
            let second = try await connect(broker, "twin")
            let end = await first.states.first { if case .disconnected = $0 { true } else { false } }
            // Mosquitto 2.0.11 says nothing, later ones say why.
            switch end {
            case .disconnected(.closedByServer), .disconnected(.disconnectedByServer(MQTTReason(.sessionTakenOver))):
                break
            default: Issue.record("\(String(describing: end))")
            }
            #expect(await second.isConnected)
        }
    }

    @Test func batchesAndPublishersFromOtherThreads() async throws {
        try await TestBroker.with { broker in
            let client = try await connect(broker, "one") { $0.queue.requests = 100 }
            let count = Guarded(0)
            await client.onMessage(matching: "many") { _ in count.withLock { $0 += 1 } }
            _ = try await client.requestSubscriptions([("many", MQTTSubscriptionOptions())])
            let results = try await client.publish((0..<500).map { MQTTPublish(Array("\($0)".utf8), to: "many") })
            #expect(results.count == 500 && results.allSatisfy { (try? $0.get()) == .success })
            let publisher = MQTTPublisher(client)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask { for number in 0..<500 { try? publisher.publish("\(number)", to: "many") } }
                }
            }
            try await publisher.flush()
            #expect(await eventually { count.withLock { $0 } == 2_500 })
        }
    }

    private struct Reading: Codable, Equatable {
        let sensor: String
        let value: Int
    }

    /// Values become payloads by what a program has for that; what is no such value is told where it is read. (With Foundation: Examples/Sources/readings.)
    @Test func valuesAreCodedAndDecoded() async throws {
        struct NoReading: Error {}
        let words = MQTTCoding(
            encode: { value in
                guard let reading = value as? Reading else { throw NoReading() }
                return Array("\(reading.sensor) \(reading.value)".utf8)
            },
            decode: { _, payload in
                let words = String(decoding: payload, as: UTF8.self).split(separator: " ")
                guard words.count == 2, let value = Int(words[1]) else { throw NoReading() }
                return Reading(sensor: String(words[0]), value: value)
            }
        )
        try await TestBroker.with { broker in
            let client = try await connect(broker, "one")
            let subscription = try await client.subscribe(to: "readings")
            var readings = subscription.values(of: Reading.self, by: words).makeAsyncIterator()
            let reading = Reading(sensor: "boiler", value: -2)
            try await client.publish(reading, to: "readings", by: words, qos: .exactlyOnce)
            try await client.publish("{\"sensor\": 3}", to: "readings")
            try await client.publish([0xFF], to: "readings")
            let first = try #require(await readings.next())
            #expect(try first.value == reading)
            #expect(first.message.topicText == "readings" && first.message.payloadText?.contains("boiler") == true)
            let second = try #require(await readings.next())
            #expect(throws: NoReading.self) { try second.value }
            await #expect(throws: NoReading.self) { try await client.publish("no reading", to: "readings", by: words) }
            #expect(try #require(await readings.next()).message.payloadText == nil)
        }
    }

    /// Tasks on other threads publish and subscribe at the same time: each gets its own answer.
    @Test func aPublishFromEachOfManyTasks() async throws {
        try await TestBroker.with { broker in
            let client = try await connect(broker, "one") { $0.keepAliveSeconds = 1 }
            let messages = try await client.subscribe(to: "tasks/+", limit: 4_000)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<20 {
                    group.addTask {
                        for number in 0..<50 {
                            let qos = QoS(rawValue: UInt8(1 + number % 2)) ?? .atLeastOnce
                            try await client.publish("\(number)", to: "tasks/\(task)", qos: qos)
                        }
                        let own = try await client.subscribe(to: "own/\(task)")
                        #expect(own.granted == .atLeastOnce)
                        try await client.unsubscribe(own)
                    }
                }
                try await group.waitForAll()
            }
            var last: [String: Int] = [:]
            var count = 0
            for await message in messages {
                count += 1
                let number = try #require(Int(message.text))
                // In order for each topic, and none missing.
                #expect(number == (last[message.topicText] ?? -1) + 1)
                last[message.topicText] = number
                if count == 1_000 { break }
            }
            #expect(last.count == 20)
            #expect(await client.waitingCount == 0)
        }
    }

    /// A store that remembers what was made to last.
    private final class WatchedStore: MQTTStore {
        private let state = Guarded((received: Set<UInt16>(), lasting: Set<UInt16>()))
        var lasting: Set<UInt16> { state.withLock { $0.lasting } }
        func load() -> [MQTTStoredMessage] { [] }
        func loadReceived() -> [UInt16] { [] }
        func put(_ number: UInt32, header: Span<UInt8>, packet: Span<UInt8>) {}
        func update(_ number: UInt32, header: Span<UInt8>) {}
        func remove(_ number: UInt32) {}
        func addReceived(_ packetID: UInt16) { state.withLock { _ = $0.received.insert(packetID) } }
        func removeReceived(_ packetID: UInt16) { state.withLock { _ = $0.received.remove(packetID) } }
        func removeAllReceived() { state.withLock { $0.received = [] } }
        func commit() { state.withLock { $0.lasting.formUnion($0.received) } }
    }

    /// What has QoS 2 is kept to be delivered before its reader has it, and not while it waits for one.
    @Test func aMessageIsNotedBeforeItsReaderGetsIt() async throws {
        try await TestBroker.with { broker in
            let store = WatchedStore()
            let client = try MQTTClient(
                toOneOf: [Endpoint(host: "127.0.0.1", port: broker.port)],
                over: LinuxNetwork(loop: broker.loopForClients),
                configuration: MQTTConfiguration(clientID: Array("noted".utf8)),
                store: store
            )
            try await client.connect()
            let messages = try await client.subscribe(to: "noted", qos: .exactlyOnce)
            let writer = try await connect(broker, "writer")
            for number in 0..<3 { try await writer.publish("\(number)", to: "noted", qos: .exactlyOnce) }
            // They come in order: when the one to another topic is here, so are they.
            let last = await client.messages(matching: "last")
            _ = try await client.requestSubscriptions([("last", MQTTSubscriptionOptions(.atMostOnce))])
            try await writer.publish("x", to: "last", qos: .exactlyOnce)
            var lastIterator = last.makeAsyncIterator()
            _ = await lastIterator.next()
            #expect(store.lasting.isEmpty)
            var iterator = messages.makeAsyncIterator()
            for _ in 0..<3 {
                _ = await iterator.next()
                #expect(store.lasting.count == 3)
            }
            await client.disconnect()
        }
    }

    @Test func aConnectionLivesAsLongAsItsBody() async throws {
        try await TestBroker.with { broker in
            let code = try await MQTTClient.withConnection(
                to: Endpoint(host: "127.0.0.1", port: broker.port),
                over: LinuxNetwork(loop: broker.loopForClients),
                configuration: MQTTConfiguration(clientID: Array("scoped".utf8))
            ) { client in try await client.publish("x", to: "scoped") }
            #expect(code == .success)
        }
    }
}
