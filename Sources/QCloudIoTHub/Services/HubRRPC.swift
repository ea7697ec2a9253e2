internal import Kernel
internal import MQTTClient

/// A call from an application, which waits for its answer.
public struct HubRRPCRequest: HubTimedRequest, Equatable, Sendable {
    /// What the call is known by at the hub.
    public let processID: [UInt8]
    /// What the application says.
    public let payload: [UInt8]
    /// Until when it can be answered, by the local clock.
    public let deadline: Duration
    let id: HubRequestID
}

/// Calls from applications, synchronous ones: each is told once, and answered within 4 s or not at all.
public final class HubRRPC: HubService {
    /// How long the hub waits for an answer.
    public static let timeout: Duration = .seconds(4)
    /// A call's number at the hub has up to so many bytes.
    private static let processIDBytes = 64

    private let prefix: [UInt8]
    private let upPrefix: [UInt8]
    private let limit: Int
    /// What it needs to hear.
    public let subscription: HubSubscription
    private var requests = HubRequests<HubRRPCRequest>()
    private var outgoing: [HubPublish] = []
    private var events: HubEvents<HubRRPCRequest>
    private var lastID: HubRequestID = 0
    private var isConnected = false
    /// How many calls were not told: too many were open.
    public private(set) var refusedCount = 0
    /// How many calls were not answered in time.
    public private(set) var expiredCount = 0

    /// The calls for a device. Of those that are not answered yet, there are up to `limit`; more are left to their timeout.
    public init(_ identity: DeviceIdentity, limit: Int = 8) {
        self.limit = max(1, limit)
        events = HubEvents(limit: self.limit)
        var prefix = HubTopic.system("$rrpc/rxd", of: identity)
        prefix.append(UInt8(ascii: "/"))
        self.prefix = prefix
        upPrefix = HubTopic.system("$rrpc/txd", of: identity)
        prefix.append(UInt8(ascii: "+"))
        subscription = HubSubscription(filter: prefix, qos: .atMostOnce)
    }

    /// The next call, or `nil` when there is none.
    public func nextRequest() -> HubRRPCRequest? { events.next() }

    /// Answers a call, with anything of up to 16 KiB.
    ///
    /// Throws ``HubServiceError/tooLate`` after the deadline, ``HubServiceError/alreadyAnswered`` the second time, and
    /// ``HubServiceError/notConnected`` without a connection: it can be tried again then.
    public func answer(_ request: HubRRPCRequest, _ payload: [UInt8], at now: Duration) throws(HubServiceError) {
        guard now < request.deadline else { throw .tooLate }
        guard isConnected else { throw .notConnected }
        guard payload.count <= HubLimits.messageBytes else {
            throw .tooLarge(bytes: payload.count, limit: HubLimits.messageBytes)
        }
        guard requests.remove({ $0.id == request.id }) != nil else { throw .alreadyAnswered }
        var topic = upPrefix
        topic.append(UInt8(ascii: "/"))
        topic.append(request.processID.span)
        outgoing.append(HubPublish(topic: topic, payload: payload, qos: .atMostOnce, request: request.id))
    }

    /// There is a connection.
    public func connected(at now: Duration) { isConnected = true }

    /// There is none; calls may still be answered when there is one again, until their deadline.
    public func disconnected(at now: Duration) {
        isConnected = false
        outgoing = []
    }

    /// Takes a call.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        handleTimeout(at: now)
        let count = topic.count - prefix.count
        guard count > 0, count <= Self.processIDBytes else { return false }
        let processID = [UInt8](copying: topic.extracting(droppingFirst: prefix.count))
        // Delivered twice, or a number that is used again too early.
        for request in requests.all where request.processID == processID { return false }
        guard requests.count < limit else {
            refusedCount += 1
            return false
        }
        lastID = lastID &+ 1
        let request = HubRRPCRequest(
            processID: processID,
            payload: [UInt8](copying: payload),
            deadline: now + Self.timeout,
            id: lastID
        )
        requests.append(request)
        events.append(request)
        return true
    }

    /// When to call ``handleTimeout(at:)``, or `nil` while no call is open.
    public var deadline: Duration? { requests.deadline }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public func handleTimeout(at now: Duration) {
        while requests.removeExpired(at: now) != nil { expiredCount += 1 }
    }

    /// The next answer, or `nil` when there is none.
    public func nextPublish() -> HubPublish? { outgoing.isEmpty ? nil : outgoing.removeFirst() }

    /// Whether a topic is one that it publishes on.
    public func publishes(on topic: [UInt8]) -> Bool { topic.starts(with: upPrefix) }

    /// The MQTT below did not take an answer: the caller sees a timeout.
    public func notSent(_ request: HubRequestID, at now: Duration) { expiredCount += 1 }
}
