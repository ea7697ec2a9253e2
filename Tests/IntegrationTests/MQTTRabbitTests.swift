import CLinux
import Kernel
import MQTTClient
import SAL
import Testing

@testable import HubSimulator

/// The client at RabbitMQ's MQTT plugin, which others have written than Mosquitto's broker, and which does some things of its own. All in one test: the broker takes ten seconds to start.
@Suite(.timeLimit(.minutes(3))) struct MQTTRabbitTests {
    @Test func theClientWorksWithRabbitMQ() async throws {
        let broker = try RabbitBroker()
        defer { broker.stop() }
        try #require(await broker.isUp(), "\(broker.output)")
        try await messagesArriveInOrder(broker)
        try await whatIsPublishedWithQoS2IsTaken(broker)
        try await aRetainedMessageAndAWill(broker)
        try await aSessionIsThereAgain(broker)
        try await sharedSubscriptionsAreReported(broker)
        try await aWrongPasswordIsRefused(broker)
        try await twoClientsWithOneIdentifierAreReported(broker)
        try await overAWebSocket(broker)
    }

    private func messagesArriveInOrder(_ broker: RabbitBroker) async throws {
        let client = try await broker.connect("order")
        let messages = try await client.subscribe(to: "order/+/#", limit: 1_000)
        let results = try await client.publish(
            (0..<300).map {
                MQTTPublish(
                    Array("\($0)".utf8),
                    to: "order/\($0 % 3)/x",
                    qos: $0 % 10 == 0 ? .atMostOnce : .atLeastOnce
                )
            }
        )
        #expect(results.allSatisfy { (try? $0.get()) == .success })
        var last = [-1, -1, -1]
        var count = 0
        for await message in messages {
            let number = try #require(Int(message.text))
            // Those without acknowledgement may overtake, or be overtaken by, the others.
            if message.qos != .atMostOnce {
                #expect(number > last[number % 3])
                last[number % 3] = number
            }
            count += 1
            if count == 300 { break }
        }
        try await client.unsubscribe(messages)
        await client.disconnect()
    }

    /// It has QoS 1 at most: it grants that, and acknowledges a message with QoS 2 as one with QoS 1.
    private func whatIsPublishedWithQoS2IsTaken(_ broker: RabbitBroker) async throws {
        let client = try await broker.connect("two")
        let messages = try await client.subscribe(to: "two", qos: .exactlyOnce)
        #expect(messages.granted == .atLeastOnce)
        try await client.publish("twice", to: "two", qos: .exactlyOnce)
        try await client.publish("once", to: "two", qos: .atLeastOnce)
        var iterator = messages.makeAsyncIterator()
        let first = await iterator.next()
        #expect(first?.text == "twice" && first?.qos == .atLeastOnce)
        #expect(await iterator.next()?.text == "once")
        #expect(await client.isConnected)
        await client.disconnect()
    }

    private func aRetainedMessageAndAWill(_ broker: RabbitBroker) async throws {
        let watcher = try await broker.connect("watcher")
        try await watcher.publish("kept", to: "kept/one", isRetained: true)
        let kept = try await watcher.subscribe(to: "kept/one")
        var iterator = kept.makeAsyncIterator()
        let message = await iterator.next()
        #expect(message?.text == "kept" && message?.isRetained == true)
        let wills = try await watcher.subscribe(to: "wills/+")
        let loop = EventLoop.start()
        let dying = try await broker.connect("dying", loop: loop) {
            $0.will = .init(topic: Array("wills/dying".utf8), payload: Array("gone".utf8), qos: .atLeastOnce)
        }
        // Its sockets are aborted with the loop.
        loop.stop()
        var gone = wills.makeAsyncIterator()
        #expect(await gone.next()?.text == "gone")
        _ = dying
        await watcher.disconnect()
    }

    private func aSessionIsThereAgain(_ broker: RabbitBroker) async throws {
        let keeper = try await broker.connect("keeper") { $0.cleanStart = false }
        let mail = try await keeper.subscribe(to: "mail")
        #expect(await keeper.connectionInfo?.sessionPresent == false)
        await keeper.disconnect()
        let writer = try await broker.connect("writer")
        for number in 0..<20 { try await writer.publish("\(number)", to: "mail") }
        await writer.disconnect()
        let again = MQTTClient(
            to: broker.endpoint,
            over: LinuxNetwork(loop: broker.loop),
            configuration: broker.configuration("keeper") { $0.cleanStart = false },
            reconnects: false
        )
        let messages = await again.messages(matching: "mail")
        try await again.connect()
        #expect(await again.connectionInfo?.sessionPresent == true)
        var texts: [String] = []
        for await message in messages {
            texts.append(message.text)
            if texts.count == 20 { break }
        }
        #expect(texts == (0..<20).map { "\($0)" })
        await again.disconnect()
        _ = mail
    }

    /// It grants them, and then delivers nothing: so they fail unless the server is said to have them.
    private func sharedSubscriptionsAreReported(_ broker: RabbitBroker) async throws {
        let client = try await broker.connect("shared")
        await #expect(throws: MQTTError.unsupportedByServer(.sharedSubscriptions)) {
            _ = try await client.subscribe(to: "$share/group/work")
        }
        await client.disconnect()
    }

    private func aWrongPasswordIsRefused(_ broker: RabbitBroker) async throws {
        let error = await #expect(throws: MQTTError.self) {
            _ = try await broker.connect("stranger") { $0.password = Array("wrong".utf8) }
        }
        #expect(error == .connectionRefused(MQTTReason(.badUserNameOrPassword)))
    }

    /// It closes the older connection without a word.
    private func twoClientsWithOneIdentifierAreReported(_ broker: RabbitBroker) async throws {
        func client() -> MQTTClient {
            MQTTClient(
                to: broker.endpoint,
                over: LinuxNetwork(loop: broker.loop),
                configuration: broker.configuration("twin") {
                    $0.reconnect.firstDelayMilliseconds = 50
                    $0.reconnect.longestDelayMilliseconds = 100
                }
            )
        }
        let (one, other) = (client(), client())
        try await one.connect()
        try await other.connect()
        for await state in one.states {
            guard case .waiting(let error, _) = state, case .closedRepeatedly(let times) = error else { continue }
            #expect(times >= 3)
            break
        }
        await one.disconnect()
        await other.disconnect()
    }

    private func overAWebSocket(_ broker: RabbitBroker) async throws {
        let client = try MQTTClient(
            url: try #require(MQTTURL("ws://127.0.0.1:\(broker.webSocketPort)/ws")),
            loop: broker.loop,
            configuration: broker.configuration("web") { _ in },
            reconnects: false
        )
        try await client.connect()
        let messages = try await client.subscribe(to: "web")
        let payload = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try await client.publish(payload, to: "web")
        var iterator = messages.makeAsyncIterator()
        #expect(await iterator.next().map { Array($0.payload) } == payload)
        await client.disconnect()
    }
}

/// A RabbitMQ in a directory of its own, with MQTT on a port and WebSockets on another.
private final class RabbitBroker: Sendable {
    let loop = EventLoop.start()
    let endpoint: Endpoint
    let webSocketPort: UInt16
    private let ports: [ReservedPort]
    private let directory: String
    private let program: TestProgram
    var output: String { program.output }

    init() throws {
        // MQTT, WebSockets, Erlang's distribution, its port mapper.
        ports = try (0..<4).map { _ in try ReservedPort(address: "127.0.0.1", port: 0) }
        endpoint = Endpoint(host: "127.0.0.1", port: ports[0].number)
        webSocketPort = ports[1].number
        directory = try temporaryDirectory()
        let configuration = """
            listeners.tcp = none
            mqtt.listeners.tcp.1 = 127.0.0.1:\(ports[0].number)
            web_mqtt.tcp.ip = 127.0.0.1
            web_mqtt.tcp.port = \(webSocketPort)

            """
        try replaceFile("\(directory)/rabbitmq.conf", with: Array(configuration.utf8))
        try replaceFile("\(directory)/plugins", with: Array("[rabbitmq_mqtt,rabbitmq_web_mqtt].\n".utf8))
        // As a service it is one process, which can be killed.
        let environment = [
            "PATH=/usr/bin:/bin", "HOME=\(directory)", "RABBITMQ_BASE=\(directory)",
            "RABBITMQ_MNESIA_BASE=\(directory)/data",
            "RABBITMQ_LOG_BASE=\(directory)/log", "RABBITMQ_LOGS=-", "RABBITMQ_NODENAME=apus@localhost",
            "RABBITMQ_CONFIG_FILE=\(directory)/rabbitmq.conf", "RABBITMQ_CONF_ENV_FILE=/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE=\(directory)/plugins", "RABBITMQ_DIST_PORT=\(ports[2].number)",
            "ERL_EPMD_PORT=\(ports[3].number)", "ERL_EPMD_ADDRESS=127.0.0.1", "RUNNING_UNDER_SYSTEMD=1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK=1",
        ]
        program = try TestProgram("env", ["-i"] + environment + ["/usr/lib/rabbitmq/bin/rabbitmq-server"])
    }

    func isUp() async -> Bool {
        let ports = [endpoint.port, webSocketPort]
        return await eventually(within: .seconds(120)) {
            ports.allSatisfy { ReservedPort.accepts(address: "127.0.0.1", port: $0) }
        }
    }

    func stop() {
        loop.stop()
        program.signal(SIGKILL)
        // The port mapper is a process of its own, and ends only when it is asked to.
        let mapper = try? ChildProcess(
            "/usr/bin/epmd",
            arguments: ["-port", "\(ports[3].number)", "-kill"],
            outputPath: "/dev/null"
        )
        _ = mapper?.wait()
        removeDirectory(directory)
    }

    func configuration(_ name: String, _ change: (inout MQTTConfiguration) -> Void) -> MQTTConfiguration {
        var configuration = MQTTConfiguration(clientID: Array(name.utf8))
        configuration.userName = Array("guest".utf8)
        configuration.password = Array("guest".utf8)
        change(&configuration)
        return configuration
    }

    func connect(
        _ name: String,
        loop: EventLoop? = nil,
        _ change: (inout MQTTConfiguration) -> Void = { _ in }
    ) async throws -> MQTTClient {
        let client = MQTTClient(
            to: endpoint,
            over: LinuxNetwork(loop: loop ?? self.loop),
            configuration: configuration(name, change),
            reconnects: false
        )
        try await client.connect()
        return client
    }
}
