internal import CLinux
internal import CPahoMQTT
internal import Kernel

/// The cloud's own MQTT client: it sees what all devices send, and sends to them. Written on Paho, so that no code of this project's client is at both ends.
///
/// Its session outlives the connection: what devices send before it is back is delivered then.
final class CloudLink: @unchecked Sendable {
    // @unchecked: `client` is set once, before anyone else has this object; Paho locks it.

    typealias OnMessage = @Sendable (_ topic: String, _ payload: [UInt8], _ qos: Int) -> Void

    private enum State: Equatable {
        case connecting
        case ready
        case failed(String)
    }

    /// Paho's callbacks are given a number instead of a pointer: one that comes after ``close()`` finds nobody here.
    private static let links = Guarded<(next: Int, open: [Int: CloudLink])>((1, [:]))

    /// A `#` at the front does not match topics that begin with `$`. Topics that only the hub publishes to are not here.
    private static let filters = [
        "+/+/#", "$hub/event", "$shadow/operation/+/+", "$template/operation/+/+", "$ota/report/#",
        "$gateway/operation/+/+", "$rrpc/txd/#", "$sys/operation/+/+", "$config/operation/+/+", "$config/report/#",
        "$log/operation/+/+", "$resource/up/#", "$thing/up/#",
    ]

    private let login: MosquittoBroker.CloudLogin
    private let onMessage: OnMessage
    private let state = Guarded(State.connecting)
    private var client: MQTTAsync?
    private var number = 0

    private var context: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: number) }

    /// Makes the client. The closure is called on a thread of Paho's and must not wait for other calls of this object.
    init(broker: MosquittoBroker, onMessage: @escaping OnMessage) throws(HubSimulatorError) {
        login = broker.cloudLogin
        self.onMessage = onMessage
        let host = broker.host.contains(":") ? "[\(broker.host)]" : broker.host
        let uri = "tcp://\(host):\(broker.mqttPort.number)"
        var options = cpaho_create_options()
        options.sendWhileDisconnected = 1
        options.maxBufferedMessages = 10_000
        var client: MQTTAsync?
        let code = MQTTAsync_createWithOptions(
            &client,
            uri,
            MosquittoBroker.CloudLogin.clientID,
            MQTTCLIENT_PERSISTENCE_NONE,
            nil,
            &options
        )
        guard code == MQTTASYNC_SUCCESS else { throw .cloudFailed("Paho's code \(code)") }
        self.client = client
        number = Self.links.withLock { links in
            links.next += 1
            links.open[links.next] = self
            return links.next
        }
        MQTTAsync_setCallbacks(
            client,
            context,
            { context, _ in CloudLink.with(context) { $0.state.withLock { $0 = .connecting } } },
            { context, topic, length, message in
                CloudLink.with(context) { $0.receive(topic, length, message) }
                var message = message
                MQTTAsync_freeMessage(&message)
                MQTTAsync_free(topic)
                return 1
            },
            nil
        )
        MQTTAsync_setConnected(client, context) { context, _ in CloudLink.with(context) { $0.subscribe() } }
    }

    /// Connects and subscribes; comes back when messages can flow.
    func connect(timeout: Duration) throws(HubSimulatorError) {
        let isReady = waitUntil(timeout: timeout) {
            // Fails if Paho itself is just trying.
            if state.withLock({ $0 != .ready }) { beginConnecting() }
            return waitUntil(timeout: .seconds(2)) { state.withLock { $0 != .connecting } }
                && state.withLock { $0 == .ready }
        }
        guard !isReady else { return }
        if case .failed(let reason) = state.withLock({ $0 }) { throw .cloudFailed(reason) }
        throw .cloudFailed("no answer")
    }

    private func beginConnecting() {
        state.withLock { $0 = .connecting }
        var options = cpaho_connect_options()
        options.MQTTVersion = MQTTVERSION_3_1_1
        options.cleansession = 0
        options.keepAliveInterval = 30
        options.maxInflight = 1000
        // For a connection that is lost while the broker runs. Paho looks for work of this kind every three seconds only.
        options.automaticReconnect = 1
        options.minRetryInterval = 1
        options.maxRetryInterval = 2
        options.context = context
        options.onFailure = { context, failure in CloudLink.fail(context, failure, "login") }
        login.user.withCString { user in
            login.password.withCString { password in
                options.username = user
                options.password = password
                _ = MQTTAsync_connect(client, &options)
            }
        }
    }

    /// Sends a message, or keeps it until the connection is back. Does not wait.
    func publish(topic: String, payload: [UInt8], qos: Int) throws(HubSimulatorError) {
        let code = MQTTAsync_send(client, topic, Int32(payload.count), payload, Int32(qos), 0, nil)
        guard code == MQTTASYNC_SUCCESS else { throw .cloudFailed("Paho's code \(code) for a message") }
    }

    /// Ends the connection; after it, the closure is not called any more.
    func close() {
        guard Self.links.withLock({ $0.open[number] }) != nil else { return }
        var options = cpaho_disconnect_options()
        MQTTAsync_disconnect(client, &options)
        // What Paho acknowledges meanwhile the broker forgets, so it must still arrive.
        _ = waitUntil(timeout: .milliseconds(500)) { MQTTAsync_isConnected(client) == 0 }
        guard Self.links.withLock({ $0.open.removeValue(forKey: number) }) != nil else { return }
        MQTTAsync_destroy(&client)
    }

    private static func with(_ context: UnsafeMutableRawPointer?, _ body: (CloudLink) -> Void) {
        let number = Int(bitPattern: context)
        if let link = links.withLock({ $0.open[number] }) { body(link) }
    }

    private static func fail(
        _ context: UnsafeMutableRawPointer?,
        _ failure: UnsafeMutablePointer<MQTTAsync_failureData>?,
        _ request: String
    ) {
        let code = failure?.pointee.code ?? 0
        let words = failure?.pointee.message.map { String(cString: $0) } ?? "Paho's code \(code)"
        with(context) { link in link.state.withLock { $0 = .failed("\(request): \(words)") } }
    }

    private func receive(
        _ topic: UnsafeMutablePointer<CChar>?,
        _ length: Int32,
        _ message: UnsafeMutablePointer<MQTTAsync_message>?
    ) {
        guard let topic, let message = message?.pointee else { return }
        let name = UnsafeRawBufferPointer(start: topic, count: length > 0 ? Int(length) : strlen(topic))
        let payload = UnsafeRawBufferPointer(start: message.payload, count: Int(message.payloadlen))
        onMessage(String(decoding: name, as: UTF8.self), Array(payload), Int(message.qos))
    }

    private func subscribe() {
        var filters = Self.filters.map { strdup($0) }
        defer { filters.forEach { free($0) } }
        var levels = [Int32](repeating: 1, count: filters.count)
        var response = cpaho_response_options()
        response.context = context
        response.onSuccess = { context, _ in CloudLink.with(context) { $0.state.withLock { $0 = .ready } } }
        response.onFailure = { context, failure in CloudLink.fail(context, failure, "subscribe") }
        let code = MQTTAsync_subscribeMany(client, Int32(filters.count), &filters, &levels, &response)
        if code != MQTTASYNC_SUCCESS { state.withLock { $0 = .failed("subscribe: Paho's code \(code)") } }
    }
}
