// Publishes and receives at a broker, and prints how many blocks of the heap that takes once all is warm: mqtt-allocations PORT
// A line for each way: its name, the messages, the blocks; -1 blocks where they cannot be counted.
// With `out` or `in` behind it: publishes a message as large as can be to `large`, or waits for one there, and prints how many bytes of memory that took at most.
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
        switch CommandLine.arguments.dropFirst(2).first {
        case "out": return try await sendLarge(endpoint, loop)
        case "in": return try await receiveLarge(endpoint, loop)
        default: break
        }
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

    /// The largest payload that a packet to `large` can have.
    static let largeBytes = 268_435_455 - 2 - 5 - 2

    static func largeClient(_ endpoint: Endpoint, _ loop: EventLoop) async throws -> MQTTClient {
        var configuration = MQTTConfiguration(clientID: Array(CommandLine.arguments[2].utf8))
        configuration.queue.bytes = 300_000_000
        configuration.maximumPacketBytes = 268_435_460
        let client = MQTTClient(
            to: endpoint,
            over: LinuxNetwork(loop: loop),
            configuration: configuration,
            reconnects: false
        )
        try await client.connect()
        return client
    }

    static func sendLarge(_ endpoint: Endpoint, _ loop: EventLoop) async throws {
        let payload = (0..<largeBytes).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let client = try await largeClient(endpoint, loop)
        let before = resetPeak()
        try await client.publish(payload, to: "large")
        print("out: \(payload.count) bytes, \(memory("VmHWM") - before) at most, \(memory("VmRSS") - before) left")
        await client.disconnect()
    }

    static func receiveLarge(_ endpoint: Endpoint, _ loop: EventLoop) async throws {
        let client = try await largeClient(endpoint, loop)
        let messages = try await client.subscribe(to: "large")
        let before = resetPeak()
        print("ready")
        fflush(nil)
        var iterator = messages.makeAsyncIterator()
        guard let message = await iterator.next() else { fatalError("no message") }
        print("in: \(message.payload.count) bytes, \(memory("VmHWM") - before) at most")
        var wrong = 0
        var index = 0
        for byte in message.payload {
            if byte != UInt8(truncatingIfNeeded: index &* 31 >> 3) { wrong += 1 }
            index += 1
        }
        print("\(wrong) wrong")
        await client.disconnect()
    }

    /// Has the system forget the most memory that was used; returns how many bytes are in use.
    static func resetPeak() -> Int {
        if let file = fopen("/proc/self/clear_refs", "w") {
            fputs("5", file)
            fclose(file)
        }
        return memory("VmRSS")
    }

    /// A line of /proc/self/status, in bytes.
    static func memory(_ name: String) -> Int {
        guard let file = fopen("/proc/self/status", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix("\(name):") else { continue }
            return (text.split(whereSeparator: { " \t\n".contains($0) }).dropFirst().first.flatMap { Int($0) } ?? 0)
                * 1_024
        }
        return 0
    }

    static func report(_ name: String, _ blocks: Int) {
        print("\(name): \(count) messages, \(allocations_count() < 0 ? -1 : blocks) blocks")
    }
}
