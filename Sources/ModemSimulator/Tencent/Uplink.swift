internal import CLinux
internal import CPahoMQTT
internal import Kernel

/// The MQTT connection of a simulated firmware: Eclipse Paho, so that no code of this project's client is at both ends.
///
/// What happens is told as events, on threads of Paho's.
final class Uplink: @unchecked Sendable {
    // @unchecked: `client` is used on the thread of the simulated modem only; Paho's callbacks read what never changes.

    /// Who logs in, and where.
    struct Target: Sendable {
        var host: String
        var port: UInt16
        var isSecure: Bool
        var clientID: String
        var userName: String
        var password: String
        var key: [UInt8]
        var keepAlive: Int32
        var cleanSession: Bool
    }

    enum Event: Sendable {
        case connected
        /// With the number that the firmware has for the reason.
        case refused(Int)
        case lost
        case published(Int)
        case subscribed(Int, isGranted: Bool)
        case unsubscribed(Int, isDone: Bool)
        case failed(Int)
        case message(topic: [UInt8], payload: [UInt8])
    }

    /// Paho's callbacks are given numbers instead of pointers: one that comes after ``close()`` finds nobody here.
    private static let open = Guarded<(next: Int, uplinks: [Int: Uplink])>((1, [:]))

    private let target: Target
    private let onEvent: @Sendable (Event) -> Void
    private var client: MQTTAsync?
    private var number = 0

    private var context: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: number) }

    /// `nil` if Paho refuses its target.
    init?(_ target: Target, onEvent: @escaping @Sendable (Event) -> Void) {
        self.target = target
        self.onEvent = onEvent
        let host = target.host.contains(":") ? "[\(target.host)]" : target.host
        let uri = "\(target.isSecure ? "ssl" : "tcp")://\(host):\(target.port)"
        var options = cpaho_create_options()
        var client: MQTTAsync?
        let code = MQTTAsync_createWithOptions(
            &client,
            uri,
            target.clientID,
            MQTTCLIENT_PERSISTENCE_NONE,
            nil,
            &options
        )
        guard code == MQTTASYNC_SUCCESS else { return nil }
        self.client = client
        number = Self.open.withLock { open in
            open.next += 1
            open.uplinks[open.next] = self
            return open.next
        }
        MQTTAsync_setCallbacks(
            client,
            context,
            { context, _ in Uplink.tell(context, .lost) },
            { context, topic, length, message in
                Uplink.receive(context, topic, length, message)
                var message = message
                MQTTAsync_freeMessage(&message)
                MQTTAsync_free(topic)
                return 1
            },
            nil
        )
    }

    private static func uplink(_ context: UnsafeMutableRawPointer?) -> Uplink? {
        let number = Int(bitPattern: context)
        return open.withLock { $0.uplinks[number] }
    }

    private static func tell(_ context: UnsafeMutableRawPointer?, _ event: Event) {
        if let uplink = uplink(context) { uplink.onEvent(event) }
    }

    // MARK: The connection

    func connect() {
        var options = cpaho_connect_options()
        options.MQTTVersion = MQTTVERSION_3_1_1
        options.cleansession = target.cleanSession ? 1 : 0
        options.keepAliveInterval = target.keepAlive
        options.connectTimeout = 10
        options.maxInflight = 100
        options.context = context
        options.onSuccess = { context, _ in Uplink.tell(context, .connected) }
        options.onFailure = { context, failure in
            // Those of CONNACK are positive.
            let code = failure?.pointee.code ?? 0
            Uplink.tell(context, .refused(1...5 ~= code ? -112 - Int(code) : Uplink.isSecure(context) ? -703 : -603))
        }
        var ssl = cpaho_ssl_options()
        ssl.sslVersion = MQTT_SSL_VERSION_TLS_1_2
        ssl.enableServerCertAuth = 0
        ssl.verify = 0
        ssl.disableDefaultTrustStore = 1
        ssl.ssl_psk_context = context
        ssl.ssl_psk_cb = { _, identity, identityLimit, key, keyLimit, context in
            guard let uplink = Uplink.uplink(context) else { return 0 }
            let name = uplink.target.clientID.utf8CString
            guard name.count <= Int(identityLimit), uplink.target.key.count <= Int(keyLimit) else { return 0 }
            for (index, character) in name.enumerated() { identity?[index] = character }
            for (index, byte) in uplink.target.key.enumerated() { key?[index] = byte }
            return UInt32(uplink.target.key.count)
        }
        target.userName.withCString { user in
            target.password.withCString { password in
                "PSK".withCString { suites in
                    withUnsafeMutablePointer(to: &ssl) { ssl in
                        options.username = user
                        options.password = password
                        ssl.pointee.enabledCipherSuites = suites
                        if target.isSecure { options.ssl = ssl }
                        if MQTTAsync_connect(client, &options) != MQTTASYNC_SUCCESS { onEvent(.refused(-603)) }
                    }
                }
            }
        }
    }

    private static func isSecure(_ context: UnsafeMutableRawPointer?) -> Bool {
        uplink(context)?.target.isSecure ?? false
    }

    /// Says goodbye and lets go; nothing is told any more.
    func close() {
        guard Self.open.withLock({ $0.uplinks.removeValue(forKey: number) }) != nil else { return }
        var options = cpaho_disconnect_options()
        MQTTAsync_disconnect(client, &options)
        // Paho writes the packet on its own thread.
        for _ in 0..<100 where MQTTAsync_isConnected(client) != 0 { usleep(2_000) }
        MQTTAsync_destroy(&client)
    }

    // MARK: Requests

    /// What Paho gives back with an answer: which request it is of.
    private func response(_ request: Int) -> MQTTAsync_responseOptions {
        var options = cpaho_response_options()
        // The number of the connection, and that of the request.
        options.context = UnsafeMutableRawPointer(bitPattern: number << 32 | request)
        return options
    }

    private static func tell(_ context: UnsafeMutableRawPointer?, _ event: (Int) -> Event) {
        let numbers = Int(bitPattern: context)
        tell(UnsafeMutableRawPointer(bitPattern: numbers >> 32), event(numbers & 0xFFFF_FFFF))
    }

    func publish(_ request: Int, topic: String, payload: [UInt8], qos: Int) {
        var options = response(request)
        options.onSuccess = { context, _ in Uplink.tell(context) { .published($0) } }
        options.onFailure = { context, _ in Uplink.tell(context) { .failed($0) } }
        let code = MQTTAsync_send(client, topic, Int32(payload.count), payload, Int32(qos), 0, &options)
        if code != MQTTASYNC_SUCCESS { onEvent(.failed(request)) }
    }

    func subscribe(_ request: Int, filter: String, qos: Int) {
        var options = response(request)
        options.onSuccess = { context, data in
            let granted = data?.pointee.alt.qos ?? 0
            Uplink.tell(context) { .subscribed($0, isGranted: 0...2 ~= granted) }
        }
        options.onFailure = { context, failure in
            let isRefused = failure?.pointee.code == 0x80
            Uplink.tell(context) { isRefused ? .subscribed($0, isGranted: false) : .failed($0) }
        }
        if MQTTAsync_subscribe(client, filter, Int32(qos), &options) != MQTTASYNC_SUCCESS { onEvent(.failed(request)) }
    }

    func unsubscribe(_ request: Int, filter: String) {
        var options = response(request)
        options.onSuccess = { context, _ in Uplink.tell(context) { .unsubscribed($0, isDone: true) } }
        options.onFailure = { context, _ in Uplink.tell(context) { .unsubscribed($0, isDone: false) } }
        if MQTTAsync_unsubscribe(client, filter, &options) != MQTTASYNC_SUCCESS { onEvent(.failed(request)) }
    }

    private static func receive(
        _ context: UnsafeMutableRawPointer?,
        _ topic: UnsafeMutablePointer<CChar>?,
        _ length: Int32,
        _ message: UnsafeMutablePointer<MQTTAsync_message>?
    ) {
        guard let topic, let message = message?.pointee else { return }
        let name = UnsafeRawBufferPointer(start: topic, count: length > 0 ? Int(length) : strlen(topic))
        let payload = UnsafeRawBufferPointer(start: message.payload, count: Int(message.payloadlen))
        tell(context, .message(topic: Array(name), payload: Array(payload)))
    }
}
