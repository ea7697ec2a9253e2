internal import Kernel
internal import MQTTClient

/// The services of a device: gives each what comes for it, and has what they publish. Only services that are added are in an image.
///
/// It does no I/O: whoever has the MQTT subscribes to ``subscriptions``, tells what happens, and publishes what ``nextPublish()`` has after each
/// call, and after each request to a service.
public final class HubServices {
    private struct Entry {
        let service: any HubService
        let subscription: HubSubscription
        var isGranted = false
    }

    private var entries: [Entry] = []
    /// Whether there is a connection.
    public private(set) var isConnected = false
    /// How many messages came for a service that could not use them: no JSON, answers that come late or twice, or that nobody has asked for.
    public private(set) var unusedMessages = 0

    /// No services yet.
    public init() {}

    /// Adds a service; its subscription is to be asked for.
    public func add(_ service: any HubService) {
        entries.append(Entry(service: service, subscription: service.subscription))
    }

    /// What is to be subscribed to, one by one: the hub takes one filter per packet.
    public var subscriptions: [HubSubscription] {
        var all: [HubSubscription] = []
        for entry in entries { all.append(entry.subscription) }
        return all
    }

    // MARK: Inputs

    /// The hub has accepted the connection. What it has granted before counts again: MQTT clients subscribe anew by themselves.
    public func connected(at now: Duration) {
        if isConnected { disconnected(at: now) }
        isConnected = true
        for entry in entries where entry.isGranted { entry.service.connected(at: now) }
    }

    /// The connection is lost.
    public func disconnected(at now: Duration) {
        guard isConnected else { return }
        isConnected = false
        for entry in entries where entry.isGranted { entry.service.disconnected(at: now) }
    }

    /// The hub has granted a subscription.
    public func granted(_ filter: [UInt8], at now: Duration) {
        for index in entries.indices where !entries[index].isGranted && entries[index].subscription.filter == filter {
            entries[index].isGranted = true
            if isConnected { entries[index].service.connected(at: now) }
        }
    }

    /// The hub has refused a subscription, or has done so after a reconnect.
    public func refused(_ filter: [UInt8], at now: Duration) {
        for index in entries.indices where entries[index].isGranted && entries[index].subscription.filter == filter {
            entries[index].isGranted = false
            if isConnected { entries[index].service.disconnected(at: now) }
        }
    }

    /// A message has arrived; returns whether it is for one of the services.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        for entry in entries where TopicFilter.matches(entry.subscription.filter.span, topic: topic) {
            if !entry.service.receive(topic: topic, payload: payload, at: now) { unusedMessages += 1 }
            return true
        }
        return false
    }

    /// When to call ``handleTimeout(at:)``, or `nil` while nothing waits.
    public var deadline: Duration? {
        var earliest: Duration?
        for entry in entries {
            guard let deadline = entry.service.deadline else { continue }
            if earliest.map({ deadline < $0 }) ?? true { earliest = deadline }
        }
        return earliest
    }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public func handleTimeout(at now: Duration) {
        for entry in entries {
            guard let deadline = entry.service.deadline, deadline <= now else { continue }
            entry.service.handleTimeout(at: now)
        }
    }

    // MARK: Outputs

    /// The next thing to publish, or `nil` when there is nothing.
    public func nextPublish() -> HubPublish? {
        for entry in entries {
            if let publish = entry.service.nextPublish() { return publish }
        }
        return nil
    }

    /// The MQTT below has not taken a publish.
    public func notSent(_ publish: HubPublish, at now: Duration) {
        for entry in entries where entry.service.publishes(on: publish.topic) {
            entry.service.notSent(publish.request, at: now)
        }
    }
}
