internal import Kernel
internal import MQTTClient

/// Messages for all devices of a product that are online.
public final class HubBroadcasts: HubService {
    /// What it needs to hear.
    public let subscription: HubSubscription
    private var messages: HubEvents<[UInt8]>

    /// The broadcasts for a device; up to `limit` wait until they are asked for, then the oldest give way.
    public init(_ identity: DeviceIdentity, limit: Int = 4) {
        messages = HubEvents(limit: max(1, limit))
        subscription = HubSubscription(filter: HubTopic.system("$broadcast/rxd", of: identity), qos: .atLeastOnce)
    }

    /// The next message, at most 8 KiB, or `nil` when there is none.
    public func nextMessage() -> [UInt8]? { messages.next() }

    /// How many messages nobody has asked for in time.
    public var droppedCount: Int { messages.droppedCount }

    /// Takes a message.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        messages.append([UInt8](copying: payload))
        return true
    }

    /// It waits for nothing.
    public var deadline: Duration? { nil }
    /// Does nothing.
    public func connected(at now: Duration) {}
    /// Does nothing: who is not online misses what is said.
    public func disconnected(at now: Duration) {}
    /// Does nothing.
    public func handleTimeout(at now: Duration) {}
    /// It says nothing.
    public func nextPublish() -> HubPublish? { nil }
    /// It publishes on none.
    public func publishes(on topic: [UInt8]) -> Bool { false }
    /// Does nothing.
    public func notSent(_ request: HubRequestID, at now: Duration) {}
}
