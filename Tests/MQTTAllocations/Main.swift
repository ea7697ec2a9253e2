// Publishes and receives at a broker, and prints how many blocks of the heap that takes once all is warm: mqtt-allocations PORT
// A line for each way: its name, the messages, the blocks; -1 blocks where they cannot be counted.
import CAllocations
import Glibc
import Kernel
import MQTTClient
import SAL

/// Publishes messages to itself with callbacks, so many at a time, and calls back when all have arrived and are acknowledged.
final class Echo: MQTTConnectionHandler {
    private static let window = 20
    private let connection: MQTTConnection
    private let qos: QoS
    private let topic = Array("echo".utf8)
    private let payload = [UInt8](repeating: 0x78, count: 64)
    private var toPublish = 0
    private var unanswered = 0
    private var toReceive = 0
    private var isSubscribed = false
    private var completion: CheckedContinuation<Void, any Error>?

    init(_ connection: MQTTConnection, _ qos: QoS) {
        self.connection = connection
        self.qos = qos
    }

    func run(_ count: Int, _ completion: CheckedContinuation<Void, any Error>) {
        self.completion = completion
        (toPublish, toReceive) = (count, count)
        if isSubscribed { publish() } else { connection.connect(handler: self) }
    }

    private func publish() {
        let (topic, payload) = (topic, payload)
        while toPublish > 0, toReceive - toPublish < Self.window, unanswered < Self.window {
            toPublish -= 1
            // What is refused never comes, and the test sees that.
            let request = try? connection.publish(topic: topic.span, payload: payload.span, qos: qos)
            if request != nil { unanswered += 1 }
        }
        guard toPublish == 0, toReceive == 0, unanswered == 0, let completion else { return }
        self.completion = nil
        completion.resume()
    }

    func connected(_ info: MQTTConnectionInfo) {
        let topic = topic
        _ = try? connection.subscribe(to: topic.span, options: MQTTSubscriptionOptions(qos))
    }
    func subscribed(_ request: MQTTRequestID, codes: [UInt8]) {
        isSubscribed = true
        publish()
    }
    func published(_ request: MQTTRequestID, code: MQTTReasonCode) {
        unanswered -= 1
        publish()
    }
    func received(_ message: MQTTMessage) -> MQTTDisposition {
        toReceive -= 1
        publish()
        return .taken
    }
    func disconnected(_ error: MQTTError, retryAt: Duration?) {
        completion?.resume(throwing: error)
        completion = nil
    }
}

@main struct Allocations {
    static let warmUp = 2_000
    static let count = 5_000

    static func main() async throws {
        guard let port = CommandLine.arguments.dropFirst().first.flatMap({ UInt16($0) }) else {
            fatalError("usage: mqtt-allocations PORT")
        }
        let endpoint = Endpoint(host: "127.0.0.1", port: port)
        let loop = EventLoop.start()
        for version in [MQTTVersion.v3_1_1, .v5_0] {
            for qos in [QoS.atMostOnce, .atLeastOnce, .exactlyOnce] {
                var configuration = MQTTConfiguration(clientID: Array("allocations".utf8))
                configuration.version = version
                let name = "\(version == .v5_0 ? "5.0" : "3.1.1") QoS \(qos.rawValue)"
                try await callbacks("callbacks \(name)", endpoint, loop, configuration, qos)
                try await tasks("tasks \(name)", endpoint, loop, configuration, qos)
            }
        }
    }

    static func callbacks(
        _ name: String,
        _ endpoint: Endpoint,
        _ loop: EventLoop,
        _ configuration: MQTTConfiguration,
        _ qos: QoS
    ) async throws {
        let box = await loop.call {
            let connection = MQTTConnection(
                to: endpoint,
                over: LinuxNetwork(loop: loop),
                configuration: configuration,
                reconnects: false
            )
            return LoopConfined((connection: connection, echo: Echo(connection, qos)))
        }
        var blocks = 0
        for messages in [warmUp, count] {
            let before = allocations_count()
            try await withCheckedThrowingContinuation { continuation in
                loop.execute { box.value.echo.run(messages, continuation) }
            }
            blocks = allocations_count() - before
        }
        report(name, blocks)
        await loop.call { box.value.connection.disconnect() }
    }

    static func tasks(
        _ name: String,
        _ endpoint: Endpoint,
        _ loop: EventLoop,
        _ configuration: MQTTConfiguration,
        _ qos: QoS
    ) async throws {
        let client = MQTTClient(
            to: endpoint,
            over: LinuxNetwork(loop: loop),
            configuration: configuration,
            reconnects: false
        )
        try await client.connect()
        let received = try await client.subscribe(to: "echo", qos: qos, limit: 10_000)
        let payload = [UInt8](repeating: 0x78, count: 64)
        var blocks = 0
        for messages in [warmUp, count] {
            let before = allocations_count()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        try await client.perform { client in
                            for _ in 0..<(messages / 20) { try await client.publish(payload, to: "echo", qos: qos) }
                        }
                    }
                }
                group.addTask {
                    await client.perform { _ in
                        var iterator = received.makeAsyncIterator()
                        for _ in 0..<messages { _ = await iterator.next() }
                    }
                }
                try await group.waitForAll()
            }
            blocks = allocations_count() - before
        }
        report(name, blocks)
        await client.disconnect()
    }

    static func report(_ name: String, _ blocks: Int) {
        print("\(name): \(count) messages, \(allocations_count() < 0 ? -1 : blocks) blocks")
    }
}
