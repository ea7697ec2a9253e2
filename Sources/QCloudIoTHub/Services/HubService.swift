internal import Kernel
public import MQTTClient

/// What a request is known by, within its service.
public typealias HubRequestID = UInt32

/// What a service needs to hear.
public struct HubSubscription: Equatable, Sendable {
    /// The topic filter, UTF-8.
    public let filter: [UInt8]
    /// With which guarantee.
    public let qos: QoS
}

/// What a service says.
public struct HubPublish: Equatable, Sendable {
    /// The topic, UTF-8.
    public let topic: [UInt8]
    /// The payload.
    public let payload: [UInt8]
    /// With which guarantee.
    public let qos: QoS
    /// Whose it is, if somebody waits for what becomes of it.
    public let request: HubRequestID
}

/// The rules of one of the hub's services. It is given messages and time, and says what to publish; ``HubServices`` does that for several. Times
/// count from any origin. What it has for the user, each service has in words of its own.
public protocol HubService: AnyObject {
    /// What it needs to hear.
    var subscription: HubSubscription { get }
    /// When to call ``handleTimeout(at:)``, or `nil` while it waits for nothing.
    var deadline: Duration? { get }
    /// There is a connection, and what it needs to hear comes from now on.
    func connected(at now: Duration)
    /// There is none any more.
    func disconnected(at now: Duration)
    /// Takes a message that matches its subscription; returns whether it was of any use.
    func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool
    /// Acts on a ``deadline`` that has passed; does nothing before it.
    func handleTimeout(at now: Duration)
    /// The next thing to publish, or `nil` when there is nothing.
    func nextPublish() -> HubPublish?
    /// Whether a topic is the one it publishes on.
    func publishes(on topic: [UInt8]) -> Bool
    /// The MQTT below did not take a publish.
    func notSent(_ request: HubRequestID, at now: Duration)
}

extension HubTopic {
    /// A topic of the hub's own: `${name}/${productID}/${deviceName}`.
    static func system(_ name: StaticString, of identity: DeviceIdentity) -> [UInt8] {
        var topic: [UInt8] = []
        topic.append(name)
        topic.append(UInt8(ascii: "/"))
        topic.append(identity.productID.span)
        topic.append(UInt8(ascii: "/"))
        topic.append(identity.deviceName.span)
        return topic
    }
}

/// What waits for no longer than until its deadline.
protocol HubTimedRequest { var deadline: Duration { get } }

/// The requests of a service that wait for their answers, in the order they were made.
struct HubRequests<Request: HubTimedRequest> {
    private(set) var all: [Request] = []

    var count: Int { all.count }

    /// When the next one has waited for too long.
    var deadline: Duration? {
        var earliest: Duration?
        for request in all {
            if earliest.map({ request.deadline < $0 }) ?? true { earliest = request.deadline }
        }
        return earliest
    }

    mutating func append(_ request: Request) { all.append(request) }

    /// Removes the first that `matches`.
    mutating func remove(_ matches: (Request) -> Bool) -> Request? {
        for index in all.indices where matches(all[index]) { return all.remove(at: index) }
        return nil
    }

    /// Removes one that has waited for too long.
    mutating func removeExpired(at now: Duration) -> Request? { remove { $0.deadline <= now } }

    /// Removes all.
    mutating func removeAll() -> [Request] {
        let removed = all
        all = []
        return removed
    }
}

/// What a service has for its user until that asks: a few, of which the oldest give way.
struct HubEvents<Event> {
    private var queue: RingQueue<Event>
    /// How many have given way.
    private(set) var droppedCount = 0

    init(limit: Int) { queue = RingQueue(limit: limit) }

    mutating func append(_ event: Event) {
        if queue.isFull {
            _ = queue.dequeue()
            droppedCount += 1
        }
        _ = queue.enqueue(event)
    }

    mutating func next() -> Event? { queue.dequeue() }
}
