#if !hasFeature(Embedded)
public import MQTTClient

/// How the connection of a ``HubMessaging`` is doing.
public enum HubConnectionState<Failure: Error & Sendable>: Sendable {
    /// The first attempt has begun.
    case connecting
    /// The hub has accepted the connection.
    case connected
    /// The connection is lost, or an attempt has failed; it is tried again.
    case waiting(after: Failure)
    /// It is over until the next connect.
    case disconnected(Failure)
    /// After a reconnect, the hub has refused what it had granted before.
    case subscriptionLost(filter: String)
}

/// The MQTT that a device of the hub needs, whoever speaks it: this project's client, or the firmware of a modem.
public protocol HubMessaging: Sendable {
    /// Every way to fail.
    associatedtype Failure: Error, Sendable
    /// The messages of a subscription.
    associatedtype Messages: AsyncSequence, Sendable where Messages.Element == MQTTMessage, Messages.Failure == Never

    /// How the connection is doing: now, and each change from now on.
    var connectionStates: AsyncStream<HubConnectionState<Failure>> { get }

    /// Connects; returns when the hub has accepted, throws when the attempt has failed.
    func connect() async throws(Failure)

    /// Publishes; with QoS 1 this returns when the hub has the message.
    func publish(_ payload: [UInt8], topic: String, qos: QoS) async throws(Failure)

    /// Subscribes; the result is the messages from now on.
    func messages(of filter: String, qos: QoS) async throws(Failure) -> Messages

    /// Says goodbye and closes.
    func disconnect() async
}

extension MQTTClient: HubMessaging {
    /// How the connection is doing: ``states``, without what only this client knows.
    public nonisolated var connectionStates: AsyncStream<HubConnectionState<MQTTError>> {
        states.asHubStates { state in
            switch state {
            case .connecting: .connecting
            case .connected: .connected
            case .waiting(let error, _): .waiting(after: error)
            case .disconnected(let error): .disconnected(error)
            case .subscriptionLost(let filter, _): .subscriptionLost(filter: filter)
            }
        }
    }

    /// Connects, with one attempt.
    public func connect() async throws(MQTTError) { try await connect(retries: false) }

    /// Publishes without properties.
    public func publish(_ payload: [UInt8], topic: String, qos: QoS) async throws(MQTTError) {
        _ = try await publish(payload, to: topic, qos: qos)
    }

    /// Subscribes without options.
    public func messages(of filter: String, qos: QoS) async throws(MQTTError) -> MQTTSubscription {
        try await subscribe(to: filter, qos: qos)
    }

    /// Says goodbye and closes.
    public func disconnect() async { disconnect(.success) }
}

extension AsyncStream where Element: Sendable {
    /// The same sequence in the words of a hub's device. It ends with its reader.
    func asHubStates<Failure: Error & Sendable>(
        _ translate: @escaping @Sendable (Element) -> HubConnectionState<Failure>
    ) -> AsyncStream<HubConnectionState<Failure>> {
        let (stream, source) = AsyncStream<HubConnectionState<Failure>>.makeStream(
            bufferingPolicy: .bufferingNewest(64)
        )
        let states = self
        let task = Task {
            for await state in states { source.yield(translate(state)) }
            source.finish()
        }
        source.onTermination = { _ in task.cancel() }
        return stream
    }
}
#endif
