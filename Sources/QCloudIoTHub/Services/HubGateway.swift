internal import Kernel
internal import MQTTClient

/// How a gateway is dealt with.
public struct HubGatewayConfiguration: Sendable {
    /// How long the hub has to answer.
    public var timeout: Duration = .seconds(10)
    /// How many requests wait at once.
    public var maximumRequests = 10
    /// How many sub-devices there may be.
    public var maximumSubDevices = 500
    /// Whether sub-devices that were online are said to be so again after a reconnect, when the hub has forgotten it.
    public var restoresSubDevices = true
    /// The time between two such messages.
    public var restoreInterval: Duration = .milliseconds(100)

    /// The configuration as it is described.
    public init() {}
}

/// A gateway: says which devices behind it are online, and binds them to itself. The topics of one that is online can be used on the gateway's connection.
///
/// The hub's answers have no token: at most one request of a kind is open per sub-device.
public final class HubGateway: HubService {
    /// What is told to the user.
    public enum Event: Equatable, Sendable {
        /// The hub has answered for each sub-device that a request names; of a query, which are bound.
        case completed(HubRequestID, [HubSubDeviceResult])
        /// It has not.
        case failed(HubRequestID, HubServiceError)
        /// After a reconnect, a sub-device is online again: subscribe to its topics again.
        case restored(HubSubDevice)
        /// After a reconnect, a sub-device could not be brought online again; it is offline.
        case lost(HubSubDevice, HubServiceError)
        /// In the console, sub-devices were bound to the gateway, or taken from it, which makes them offline.
        case changed(isBound: Bool, [HubSubDevice])
        /// All sub-devices were taken from it.
        case unboundAll
        /// Devices nearby are to be looked for, or no longer.
        case search(isOn: Bool)
    }

    enum Operation: Equatable {
        case online
        case offline
        case bind
        case unbind
        case describe

        var type: StaticString {
            switch self {
            case .online: "online"
            case .offline: "offline"
            case .bind: "bind"
            case .unbind: "unbind"
            case .describe: "describe_sub_devices"
            }
        }
    }

    struct Request: HubTimedRequest {
        let id: HubRequestID
        let operation: Operation
        /// The sub-devices that it names and are not answered for.
        var open: [HubSubDevice]
        var results: [HubSubDeviceResult] = []
        let deadline: Duration
        /// Whether it is the gateway's own, after a reconnect.
        let isRestoring: Bool
    }

    let configuration: HubGatewayConfiguration
    let upTopic: [UInt8]
    /// What it needs to hear.
    public let subscription: HubSubscription
    var requests = HubRequests<Request>()
    var outgoing: [HubPublish] = []
    var events: HubEvents<Event>
    private var lastID: HubRequestID = 0
    var isConnected = false
    /// The sub-devices that are online, as far as the hub was told and has agreed.
    public internal(set) var online: [HubSubDevice] = []
    /// Those that were, and are to be again.
    var toRestore: [HubSubDevice] = []
    var restoreAt: Duration?

    /// A gateway.
    public init(_ identity: DeviceIdentity, configuration: HubGatewayConfiguration = HubGatewayConfiguration()) {
        self.configuration = configuration
        upTopic = HubTopic.system("$gateway/operation", of: identity)
        subscription = HubSubscription(
            filter: HubTopic.system("$gateway/operation/result", of: identity),
            qos: .atLeastOnce
        )
        events = HubEvents(limit: configuration.maximumRequests + configuration.maximumSubDevices)
    }

    /// The next thing for the user, or `nil` when there is nothing. Ask after each call, and after each message.
    public func nextEvent() -> Event? { events.next() }

    // MARK: Requests

    /// Says that a sub-device is online, which is bound to the gateway.
    public func setOnline(_ device: HubSubDevice, at now: Duration) throws(HubServiceError) -> HubRequestID {
        guard !online.contains(device) else { throw .sameState }
        guard online.count < configuration.maximumSubDevices else {
            throw .tooManySubDevices(limit: configuration.maximumSubDevices)
        }
        return try ask(.online, device, device.message, at: now)
    }

    /// Says that a sub-device is offline.
    public func setOffline(_ device: HubSubDevice, at now: Duration) throws(HubServiceError) -> HubRequestID {
        guard online.contains(device) || toRestore.contains(device) else { throw .unknownSubDevice }
        toRestore.removeAll { $0 == device }
        return try ask(.offline, device, device.message, at: now)
    }

    /// Binds a sub-device to the gateway.
    public func bind(_ binding: HubBinding, at now: Duration) throws(HubServiceError) -> HubRequestID {
        try ask(.bind, binding.device, binding.message, at: now)
    }

    /// Takes a sub-device from the gateway.
    public func unbind(_ device: HubSubDevice, at now: Duration) throws(HubServiceError) -> HubRequestID {
        try ask(.unbind, device, device.message, at: now)
    }

    /// Asks which sub-devices are bound to the gateway.
    public func describe(at now: Duration) throws(HubServiceError) -> HubRequestID {
        try ask(.describe, nil, nil, at: now)
    }

    /// Nobody waits for the answer any more.
    public func cancel(_ request: HubRequestID) { _ = requests.remove { $0.id == request && !$0.isRestoring } }

    @discardableResult
    func ask(
        _ operation: Operation,
        _ device: HubSubDevice?,
        _ entry: JSONValue?,
        isRestoring: Bool = false,
        at now: Duration
    ) throws(HubServiceError) -> HubRequestID {
        guard isConnected else { throw .notConnected }
        guard requests.count < configuration.maximumRequests else {
            throw .tooManyRequests(limit: configuration.maximumRequests)
        }
        for request in requests.all where request.operation == operation {
            guard let device else { throw .busy }
            if request.open.contains(device) { throw .busy }
        }
        var message = JSONValue.emptyObject
        message.set("type", .string(operation.type))
        if let entry {
            var payload = JSONValue.emptyObject
            payload.set("devices", .array([entry]))
            message.set("payload", payload)
        }
        let text = try message.message(limit: HubLimits.messageBytes)
        lastID = lastID &+ 1
        var open: [HubSubDevice] = []
        if let device { open.append(device) }
        requests.append(
            Request(
                id: lastID,
                operation: operation,
                open: open,
                deadline: now + configuration.timeout,
                isRestoring: isRestoring
            )
        )
        outgoing.append(HubPublish(topic: upTopic, payload: text, qos: .atMostOnce, request: lastID))
        return lastID
    }

    // MARK: Time and what was published

    /// When to call ``handleTimeout(at:)``, or `nil` while it waits for nothing.
    public var deadline: Duration? {
        guard let restoreAt else { return requests.deadline }
        guard let deadline = requests.deadline else { return restoreAt }
        return min(deadline, restoreAt)
    }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public func handleTimeout(at now: Duration) {
        while let request = requests.removeExpired(at: now) { fail(request, .timedOut) }
        if let restoreAt, restoreAt <= now { restoreNext(at: now) }
    }

    /// The next thing to publish, or `nil` when there is nothing.
    public func nextPublish() -> HubPublish? { outgoing.isEmpty ? nil : outgoing.removeFirst() }

    /// Whether a topic is the one it publishes on.
    public func publishes(on topic: [UInt8]) -> Bool { topic == upTopic }

    /// The MQTT below did not take a publish.
    public func notSent(_ request: HubRequestID, at now: Duration) {
        guard let request = requests.remove({ $0.id == request }) else { return }
        fail(request, .notSent)
    }
}
