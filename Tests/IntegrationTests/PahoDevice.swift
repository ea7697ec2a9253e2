import CLinux
import CPahoMQTT
import Kernel
import Testing

@testable import HubSimulator

/// A device of the hub that is Eclipse Paho: it logs in with its key, and keeps what it is sent until the test takes it.
final class PahoDevice: @unchecked Sendable {
    // @unchecked: `client` is set once, before anyone else has this object; Paho locks it.

    struct Message: Equatable, Sendable {
        let topic: String
        let payload: [UInt8]
        var text: String { String(decoding: payload, as: UTF8.self) }
        var json: HubJSON? { HubJSON(parsing: payload) }
    }

    private struct State {
        var result: Int32?
        var granted: Int32 = -1
        var messages: [Message] = []
        var isLost = false
    }

    /// What Paho's callbacks are given; kept for ever, since one may come late.
    private final class Box: Sendable {
        static let all = Guarded<[Box]>([])
        let state = Guarded(State())
    }

    let name: HubDeviceName
    private let box = Box()
    private var client: MQTTAsync?

    /// Logs in at the port without TLS.
    init(_ test: TestHub, _ device: RegisteredDevice, isClean: Bool = true) async throws {
        name = HubDeviceName(device.productID, device.deviceName)
        let login = try await Login.signed(device)
        let port = try test.endpoints.mqttPort
        let box = box
        Box.all.withLock { $0.append(box) }
        var created: MQTTAsync?
        MQTTAsync_create(&created, "tcp://127.0.0.1:\(port)", device.clientID, MQTTCLIENT_PERSISTENCE_NONE, nil)
        client = created
        let client = Confined(value: created)
        let code = await offPool {
            MQTTAsync_setCallbacks(
                client.value,
                Self.context(box),
                { context, _ in PahoDevice.with(context) { $0.isLost = true } },
                { context, topic, length, message in
                    PahoDevice.receive(context, topic, length, message)
                    var message = message
                    MQTTAsync_freeMessage(&message)
                    MQTTAsync_free(topic)
                    return 1
                },
                nil
            )
            return Self.connect(client.value, box, login, isClean: isClean)
        }
        try #require(code == 0, "Paho's login failed with \(code)")
    }

    private struct Confined<Value>: @unchecked Sendable { let value: Value }

    deinit {
        var options = cpaho_disconnect_options()
        MQTTAsync_disconnect(client, &options)
        _ = waitUntil(timeout: .milliseconds(500)) { MQTTAsync_isConnected(client) == 0 }
        MQTTAsync_destroy(&client)
    }

    private static func context(_ box: Box) -> UnsafeMutableRawPointer { Unmanaged.passUnretained(box).toOpaque() }

    private static func connect(_ client: MQTTAsync?, _ box: Box, _ login: Login, isClean: Bool) -> Int32 {
        var options = cpaho_connect_options()
        options.MQTTVersion = MQTTVERSION_3_1_1
        options.cleansession = isClean ? 1 : 0
        options.keepAliveInterval = 60
        options.context = context(box)
        options.onSuccess = { context, _ in PahoDevice.with(context) { $0.result = 0 } }
        options.onFailure = { context, failure in
            PahoDevice.with(context) { $0.result = failure?.pointee.code ?? -1 }
        }
        box.state.withLock { $0.result = nil }
        return login.username.withOptionalCString { user in
            login.password.withOptionalCString { password in
                options.username = user
                options.password = password
                let code = MQTTAsync_connect(client, &options)
                return code == MQTTASYNC_SUCCESS ? waitForResult(box) : code
            }
        }
    }

    private static func waitForResult(_ box: Box) -> Int32 {
        _ = waitUntil(timeout: .seconds(10)) { box.state.withLock { $0.result != nil } }
        return box.state.withLock { $0.result ?? -100 }
    }

    private static func with(_ context: UnsafeMutableRawPointer?, _ body: (inout State) -> Void) {
        guard let context else { return }
        Unmanaged<Box>.fromOpaque(context).takeUnretainedValue().state.withLock { body(&$0) }
    }

    private static func receive(
        _ context: UnsafeMutableRawPointer?,
        _ topic: UnsafeMutablePointer<CChar>?,
        _ length: Int32,
        _ message: UnsafeMutablePointer<MQTTAsync_message>?
    ) {
        guard let topic, let message = message?.pointee else { return }
        let name = UnsafeRawBufferPointer(start: topic, count: length > 0 ? Int(length) : strlen(topic))
        let payload = Array(UnsafeRawBufferPointer(start: message.payload, count: Int(message.payloadlen)))
        let arrived = Message(topic: String(decoding: name, as: UTF8.self), payload: payload)
        with(context) { $0.messages.append(arrived) }
    }

    /// Subscribes; returns what the hub grants: the QoS, or 128.
    @discardableResult
    func subscribe(_ filter: String, qos: Int32 = 1) async -> Int {
        await offPool { [self] in
            var response = cpaho_response_options()
            response.context = Self.context(box)
            response.onSuccess = { context, success in
                PahoDevice.with(context) { state in
                    state.granted = success?.pointee.alt.qos ?? -1
                    state.result = 0
                }
            }
            response.onFailure = { context, failure in
                PahoDevice.with(context) { state in
                    state.granted = 128
                    state.result = failure?.pointee.code ?? -1
                }
            }
            box.state.withLock { $0.result = nil }
            guard MQTTAsync_subscribe(client, filter, qos, &response) == MQTTASYNC_SUCCESS else { return -1 }
            _ = Self.waitForResult(box)
            return Int(box.state.withLock { $0.granted })
        }
    }

    func publish(_ topic: String, _ payload: [UInt8], qos: Int32 = 0) {
        MQTTAsync_send(client, topic, Int32(payload.count), payload, qos, 0, nil)
    }

    func publish(_ topic: String, _ json: HubJSON, qos: Int32 = 0) { publish(topic, json.text, qos: qos) }

    /// The oldest message that was not taken yet, or of those on a topic.
    func next(on topic: String? = nil, within timeout: Duration = .seconds(5)) async -> Message? {
        await offPool { [self] in
            var found: Message?
            _ = waitUntil(timeout: timeout) {
                found = box.state.withLock { state in
                    guard let index = state.messages.firstIndex(where: { $0.topic == topic ?? $0.topic }) else {
                        return nil
                    }
                    return state.messages.remove(at: index)
                }
                return found != nil
            }
            return found
        }
    }

    /// Sends a request and takes the next message on the topic of answers.
    func ask(_ topic: String, _ request: HubJSON, answerOn answer: String) async throws -> HubJSON {
        publish(topic, request)
        let message = try #require(await next(on: answer), "no answer to \(request)")
        return try #require(message.json, "no JSON: \(message.text)")
    }

    var isLost: Bool { box.state.withLock { $0.isLost } }
}

extension Optional<String> {
    fileprivate func withOptionalCString<Result>(_ body: (UnsafePointer<CChar>?) -> Result) -> Result {
        guard let self else { return body(nil) }
        return self.withCString { body($0) }
    }
}
