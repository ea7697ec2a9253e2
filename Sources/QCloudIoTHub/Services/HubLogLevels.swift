internal import Kernel
internal import MQTTClient

/// How much of its log a device is to upload; each level includes those before it.
public enum HubLogLevel: UInt8, Comparable, Sendable {
    /// Nothing.
    case off
    /// Errors.
    case error
    /// Warnings.
    case warning
    /// What happens.
    case information
    /// All.
    case debug

    /// Whether `a` is less than `b`.
    public static func < (a: HubLogLevel, b: HubLogLevel) -> Bool { a.rawValue < b.rawValue }
}

/// The level of the log that an operator wants of the device: asked for after each connect, and told when it changes. While it is not known, it stays as it was.
public final class HubLogLevels: HubService {
    private static let timeout: Duration = .seconds(2)

    private let productID: [UInt8]
    private let upTopic: [UInt8]
    /// What it needs to hear.
    public let subscription: HubSubscription
    private var outgoing: HubPublish?
    private var askedUntil: Duration?
    private var questions: Int64 = 0
    private var events = HubEvents<HubLogLevel>(limit: 2)
    /// The level that was heard last; `nil` before, when the log stays as it is.
    public private(set) var level: HubLogLevel?
    /// How many questions had no answer in time.
    public private(set) var unansweredCount = 0

    /// The levels for a device.
    public init(_ identity: DeviceIdentity) {
        productID = identity.productID
        upTopic = HubTopic.system("$log/operation", of: identity)
        subscription = HubSubscription(filter: HubTopic.system("$log/operation/result", of: identity), qos: .atMostOnce)
    }

    /// The next level that the log is to have, or `nil` when it stays.
    public func nextLevel() -> HubLogLevel? { events.next() }

    /// There is a connection: the level is asked for.
    public func connected(at now: Duration) {
        questions += 1
        var token = productID
        token.append(UInt8(ascii: "-"))
        token.append(decimal: questions)
        var message = JSONValue.emptyObject
        message.set("type", .string("get_log_level"))
        message.set("clientToken", .string(token))
        do throws(HubServiceError) {
            let payload = try message.message(limit: 1_024)
            outgoing = HubPublish(topic: upTopic, payload: payload, qos: .atMostOnce, request: 0)
            askedUntil = now + Self.timeout
        } catch { unansweredCount += 1 }
    }

    /// There is none any more.
    public func disconnected(at now: Duration) { (outgoing, askedUntil) = (nil, nil) }

    /// Takes a level, whether it was asked for or not.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        guard let message = JSONValue(message: payload), message["type"]?.isText("get_log_level") ?? false,
            message["result"]?.integer ?? 0 == 0, let number = message["log_level"]?.integer,
            (0...4).contains(number), let level = HubLogLevel(rawValue: UInt8(number))
        else { return false }
        askedUntil = nil
        guard level != self.level else { return true }
        self.level = level
        events.append(level)
        return true
    }

    /// When to call ``handleTimeout(at:)``, or `nil` while it waits for nothing.
    public var deadline: Duration? { askedUntil }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public func handleTimeout(at now: Duration) {
        guard let askedUntil, askedUntil <= now else { return }
        self.askedUntil = nil
        unansweredCount += 1
    }

    /// The question, or `nil`.
    public func nextPublish() -> HubPublish? { outgoing.take() }

    /// Whether a topic is the one it publishes on.
    public func publishes(on topic: [UInt8]) -> Bool { topic == upTopic }

    /// The MQTT below did not take the question.
    public func notSent(_ request: HubRequestID, at now: Duration) {
        guard askedUntil.take() != nil else { return }
        unansweredCount += 1
    }
}
