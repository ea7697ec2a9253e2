import CLinux
import Kernel
import MQTTClient
import SAL
import Testing

@testable import HubSimulator

/// The client for straight-line code, on a thread that runs its loop by the calls alone.
@Suite(.timeLimit(.minutes(1))) struct MQTTBlockingTests {
    private static func client(_ port: UInt16, _ change: (inout MQTTConfiguration) -> Void = { _ in })
        -> MQTTBlockingClient
    {
        var configuration = MQTTConfiguration(clientID: Array("straight".utf8))
        change(&configuration)
        return MQTTBlockingClient(
            MQTTConnection(
                to: Endpoint(host: "127.0.0.1", port: port),
                over: LinuxNetwork(loop: EventLoop()),
                configuration: configuration
            )
        )
    }

    @Test(arguments: [MQTTVersion.v3_1_1, .v5_0]) func connectsPublishesAndReceives(version: MQTTVersion) async throws {
        try await TestBroker.with { broker in
            let port = broker.port
            let result = await offPool { () -> Result<[String], MQTTError> in
                do throws(MQTTError) {
                    let client = Self.client(port) { $0.version = version }
                    try client.connect()
                    var texts: [String] = []
                    let (topic, other) = (Array("a".utf8), Array("nobody".utf8))
                    let granted = try client.subscribe(to: topic.span, options: MQTTSubscriptionOptions(.exactlyOnce))
                    texts.append("\(granted)")
                    for (number, qos) in [QoS.atMostOnce, .atLeastOnce, .exactlyOnce].enumerated() {
                        let payload = Array("\(number)".utf8)
                        try client.publish(topic: topic.span, payload: payload.span, qos: qos)
                    }
                    let code = try client.publish(topic: other.span, payload: topic.span)
                    texts.append("\(code.rawValue)")
                    while let message = try client.receive(.milliseconds(300)) {
                        texts.append(String(decoding: message.payload, as: UTF8.self))
                    }
                    try client.unsubscribe(from: topic.span)
                    try client.publish(topic: topic.span, payload: topic.span)
                    if try client.receive(.milliseconds(100)) != nil { texts.append("too much") }
                    client.disconnect()
                    return .success(texts)
                } catch { return .failure(error) }
            }
            // In 5.0 the server tells that nobody has subscribed.
            #expect(result == .success(["exactlyOnce", version == .v5_0 ? "16" : "0", "0", "1", "2"]))
        }
    }

    /// What goes wrong is told by the call that it concerns.
    @Test func errorsAreThrownWhereTheyBelong() async throws {
        try await TestBroker.with { broker in
            let port = broker.port
            let errors = await offPool { () -> [MQTTError] in
                var errors: [MQTTError] = []
                func note(_ body: () throws(MQTTError) -> Void) {
                    do throws(MQTTError) { try body() } catch { errors.append(error) }
                }
                let topic = Array("a".utf8)
                let client = Self.client(port)
                note { () throws(MQTTError) in try client.publish(topic: topic.span, payload: topic.span) }
                note { () throws(MQTTError) in try client.connect() }
                let wildcard = Array("a/#".utf8)
                note { () throws(MQTTError) in try client.publish(topic: wildcard.span, payload: topic.span) }
                broker.signal(SIGSTOP)
                note { () throws(MQTTError) in
                    try client.publish(topic: topic.span, payload: topic.span, timeout: .milliseconds(200))
                }
                broker.signal(SIGCONT)
                client.disconnect()
                note { () throws(MQTTError) in _ = try client.receive(.seconds(30)) }
                note { () throws(MQTTError) in try client.wait(.seconds(30)) }
                broker.signal(SIGKILL)
                let lonely = Self.client(1)
                note { () throws(MQTTError) in try lonely.connect() }
                return errors
            }
            let expected: [MQTTError] = [
                .notConnected, .invalidTopicName, .noReply, .notConnected, .notConnected,
                .transport(.refused(code: ECONNREFUSED)),
            ]
            #expect(errors == expected)
        }
    }

    /// When `disconnect` returns there is no socket any more, though nobody runs the loop, and the server has got all.
    @Test func disconnectCloses() async throws {
        try await TestBroker.with { broker in
            let port = broker.port
            let watcher = try await broker.connect("watcher")
            let messages = try await watcher.subscribe(to: "large")
            let closed = await offPool { () -> Bool in
                var configuration = MQTTConfiguration(clientID: Array("straight".utf8))
                configuration.will = MQTTConfiguration.Will(topic: Array("large".utf8), payload: Array("will".utf8))
                let ends = EndCounter(LinuxNetwork(loop: EventLoop()))
                let endpoint = Endpoint(host: "127.0.0.1", port: port)
                let client = MQTTBlockingClient(MQTTConnection(to: endpoint, over: ends, configuration: configuration))
                do throws(MQTTError) {
                    try client.connect()
                    let payload = [UInt8](repeating: 1, count: 200_000)
                    try client.publish(topic: Array("large".utf8).span, payload: payload.span, qos: .atLeastOnce)
                } catch { return false }
                let isOpen = ends.localAddress != nil
                client.disconnect()
                return isOpen && ends.localAddress == nil
            }
            #expect(closed)
            try await watcher.publish("end", to: "large")
            var sizes: [Int] = []
            for await message in messages {
                sizes.append(message.payload.count)
                if message.text == "end" { break }
            }
            #expect(sizes == [200_000, 3])
        }
    }

    /// A connection that breaks comes back while a call runs, which is then done after all.
    @Test func aCallOutlivesABreak() async throws {
        try await TestBroker.with { broker in
            let port = broker.port
            let result = await offPool { () -> Result<Int, MQTTError> in
                do throws(MQTTError) {
                    let client = Self.client(port) {
                        $0.keepAliveSeconds = 1
                        $0.pingTimeout = .milliseconds(300)
                        $0.reconnect.firstDelayMilliseconds = 100
                    }
                    try client.connect()
                    broker.signal(SIGSTOP)
                    // Long enough for the ping to fail.
                    try client.wait(.seconds(2))
                    let isConnected = client.connection.isConnected
                    broker.signal(SIGCONT)
                    let topic = Array("a".utf8)
                    try client.publish(topic: topic.span, payload: topic.span, qos: .exactlyOnce)
                    client.disconnect()
                    return .success(isConnected ? 1 : 0)
                } catch { return .failure(error) }
            }
            #expect(result == .success(0))
        }
    }
}

/// A network that remembers its last stream.
private final class EndCounter: Network, @unchecked Sendable {
    // @unchecked: it is used on one thread.
    private let below: LinuxNetwork
    private var stream: (any ByteStream)?

    init(_ below: LinuxNetwork) { self.below = below }

    var loop: EventLoop { below.loop }
    var localAddress: SocketAddress? { stream?.localAddress }
    var capabilities: NetworkCapabilities { below.capabilities }

    func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let stream = below.connect(to: endpoint, deadline: deadline, handler: handler)
        self.stream = stream
        return stream
    }
}
