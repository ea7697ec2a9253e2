public import Kernel
internal import MQTTClient

/// The configuration that a product has for its devices: JSON, which the device asks for, or is sent when it changes.
public final class HubRemoteConfiguration: HubService {
    /// What is told to the user.
    public enum Event: Equatable, Sendable {
        /// The configuration that was asked for.
        case completed(HubRequestID, JSONValue)
        /// It was not to be had; ``HubResult`` names the hub's reasons.
        case failed(HubRequestID, HubServiceError)
        /// The configuration has changed.
        case changed(JSONValue)
    }

    private let upTopic: [UInt8]
    private let timeout: Duration
    /// What it needs to hear.
    public let subscription: HubSubscription
    private var request: (id: HubRequestID, deadline: Duration)?
    private var outgoing: HubPublish?
    private var events = HubEvents<Event>(limit: 4)
    private var lastID: HubRequestID = 0
    private var isConnected = false

    /// The configuration for a device; the hub has `timeout` to answer.
    public init(_ identity: DeviceIdentity, timeout: Duration = .seconds(5)) {
        self.timeout = timeout
        upTopic = HubTopic.system("$config/operation", of: identity)
        subscription = HubSubscription(
            filter: HubTopic.system("$config/operation/result", of: identity),
            qos: .atMostOnce
        )
    }

    /// The next thing for the user, or `nil` when there is nothing.
    public func nextEvent() -> Event? { events.next() }

    /// Asks for the configuration. Throws ``HubServiceError/busy`` while another question waits: the answers have no token.
    public func get(at now: Duration) throws(HubServiceError) -> HubRequestID {
        guard isConnected else { throw .notConnected }
        guard request == nil else { throw .busy }
        var message = JSONValue.emptyObject
        message.set("type", .string("get"))
        let payload = try message.message(limit: HubLimits.messageBytes)
        lastID = lastID &+ 1
        request = (lastID, now + timeout)
        outgoing = HubPublish(topic: upTopic, payload: payload, qos: .atMostOnce, request: lastID)
        return lastID
    }

    /// Nobody waits for the answer any more.
    public func cancel(_ id: HubRequestID) { if request?.id == id { request = nil } }

    /// There is a connection.
    public func connected(at now: Duration) { isConnected = true }

    /// There is none any more.
    public func disconnected(at now: Duration) {
        isConnected = false
        outgoing = nil
        fail(.disconnected)
    }

    /// Takes an answer, or a new configuration.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        guard let message = JSONValue(message: payload), let type = message["type"] else { return false }
        let isReply = type.isText("reply")
        guard isReply || type.isText("push") else { return false }
        let result = Self.content(of: message)
        if !isReply {
            guard case .success(let content) = result else { return false }
            events.append(.changed(content))
            return true
        }
        guard let request = request.take() else { return false }
        switch result {
        case .success(let content): events.append(.completed(request.id, content))
        case .failure(let error): events.append(.failed(request.id, error))
        }
        return true
    }

    /// The object in a message, which may stand there as text.
    private static func content(of message: JSONValue) -> Result<JSONValue, HubServiceError> {
        // In a push it may be missing.
        if let result = message["result"] {
            guard let code = result.integer else { return .failure(.json(.malformed(at: 0))) }
            guard code == 0 else { return .failure(.rejected(HubResult(rawValue: code))) }
        }
        switch message["payload"] {
        case .object(let members): return .success(.object(members))
        case .string(let text):
            do throws(JSONError) {
                let value = try JSONValue(parsing: text.span)
                return value.isObject ? .success(value) : .failure(.notAnObject)
            } catch { return .failure(.json(error)) }
        case .null, .bool, .number, .array, nil: return .failure(.notAnObject)
        }
    }

    /// When to call ``handleTimeout(at:)``, or `nil` while it waits for nothing.
    public var deadline: Duration? { request?.deadline }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public func handleTimeout(at now: Duration) {
        guard let request, request.deadline <= now else { return }
        fail(.timedOut)
    }

    /// The question, or `nil`.
    public func nextPublish() -> HubPublish? { outgoing.take() }

    /// Whether a topic is the one it publishes on.
    public func publishes(on topic: [UInt8]) -> Bool { topic == upTopic }

    /// The MQTT below did not take the question.
    public func notSent(_ id: HubRequestID, at now: Duration) { if request?.id == id { fail(.notSent) } }

    private func fail(_ error: HubServiceError) {
        guard let request = request.take() else { return }
        events.append(.failed(request.id, error))
    }
}
