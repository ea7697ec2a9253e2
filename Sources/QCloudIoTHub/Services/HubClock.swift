internal import Kernel
internal import MQTTClient

/// What the hub's clock has said.
public struct HubTimeSample: Equatable, Sendable {
    /// The time at ``receivedAt``, in milliseconds since 1970-01-01T00:00:00Z.
    public let milliseconds: Int64
    /// When the answer came, by the local clock.
    public let receivedAt: Duration
    /// How long question and answer were on their way: the time is wrong by at most half of it.
    public let roundTrip: Duration

    /// The time at another moment of the local clock, in milliseconds since 1970-01-01T00:00:00Z.
    public func time(at now: Duration) -> Int64 { milliseconds + HubClock.milliseconds(now - receivedAt) }
}

/// Asks the hub for the time. The answers have no token: so there is one question at a time, and after one without an answer a pause, in which a late
/// answer is not taken for that to the next.
public final class HubClock: HubService {
    /// What is told to the user.
    public enum Event: Equatable, Sendable {
        /// The answer.
        case completed(HubRequestID, HubTimeSample)
        /// There is none.
        case failed(HubRequestID, HubServiceError)
    }

    private struct Request {
        let id: HubRequestID
        let sentAt: Duration
        let deadline: Duration
    }

    /// How long the hub has to answer; an answer that took longer would say too little.
    public static let timeout: Duration = .seconds(2)
    /// After a question without answer, the next one waits until this has passed, or until there is a new connection.
    public static let pause: Duration = .seconds(10)

    private let upTopic: [UInt8]
    /// What it needs to hear.
    public let subscription: HubSubscription
    private var request: Request?
    private var outgoing: HubPublish?
    private var events = HubEvents<Event>(limit: 4)
    private var lastID: HubRequestID = 0
    private var isConnected = false
    private var quietUntil: Duration?

    /// The hub's clock for a device.
    public init(_ identity: DeviceIdentity) {
        upTopic = HubTopic.system("$sys/operation", of: identity)
        subscription = HubSubscription(filter: HubTopic.system("$sys/operation/result", of: identity), qos: .atMostOnce)
    }

    /// The next thing for the user, or `nil` when there is nothing.
    public func nextEvent() -> Event? { events.next() }

    /// Asks. Throws ``HubServiceError/busy`` while another question waits, and in the pause after one without answer.
    public func ask(at now: Duration) throws(HubServiceError) -> HubRequestID {
        guard isConnected else { throw .notConnected }
        guard request == nil, quietUntil.map({ now >= $0 }) ?? true else { throw .busy }
        var message = JSONValue.emptyObject
        message.set("type", .string("get"))
        message.set("resource", .array([.string("time")]))
        let payload = try message.message(limit: 1_024)
        lastID = lastID &+ 1
        quietUntil = nil
        request = Request(id: lastID, sentAt: now, deadline: now + Self.timeout)
        outgoing = HubPublish(topic: upTopic, payload: payload, qos: .atMostOnce, request: lastID)
        return lastID
    }

    /// Nobody waits for the answer any more; it may still come.
    public func cancel(_ id: HubRequestID) {
        guard let request, request.id == id else { return }
        quietUntil = request.deadline
        self.request = nil
    }

    /// There is a connection.
    public func connected(at now: Duration) {
        isConnected = true
        // What was asked on another connection is not answered on this one.
        quietUntil = nil
    }

    /// There is none any more.
    public func disconnected(at now: Duration) {
        isConnected = false
        outgoing = nil
        fail(.disconnected)
    }

    /// Takes the answer.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        guard let message = JSONValue(message: payload), message["type"]?.isText("get") ?? false,
            let request, now < request.deadline, let sum = Self.sum(message)
        else { return false }
        self.request = nil
        let roundTrip = now - request.sentAt
        let sample = HubTimeSample(
            milliseconds: (sum + Self.milliseconds(roundTrip)) / 2,
            receivedAt: now,
            roundTrip: roundTrip
        )
        events.append(.completed(request.id, sample))
        return true
    }

    /// When the hub has received the question, plus when it has answered, in milliseconds. Without either, the seconds count.
    private static func sum(_ message: JSONValue) -> Int64? {
        if let arrival = message["ntptime1"]?.integer, let departure = message["ntptime2"]?.integer {
            return arrival > 0 && departure >= arrival ? arrival + departure : nil
        }
        guard let seconds = message["time"]?.integer, seconds > 0, seconds < 1 << 40 else { return nil }
        return seconds * 2_000
    }

    /// When to call ``handleTimeout(at:)``, or `nil` while it waits for nothing.
    public var deadline: Duration? { request?.deadline }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public func handleTimeout(at now: Duration) {
        guard let request, request.deadline <= now else { return }
        quietUntil = now + Self.pause
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

    static func milliseconds(_ duration: Duration) -> Int64 {
        Int64(truncatingIfNeeded: duration.attoseconds / 1_000_000_000_000_000)
    }
}
