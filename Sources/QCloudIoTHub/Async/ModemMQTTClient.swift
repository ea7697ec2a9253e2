#if !hasFeature(Embedded)
public import ATAdapter
public import Kernel
public import MQTTClient

/// How the connection of a ``ModemMQTTClient`` is doing.
@nonexhaustive
public enum ModemMQTTState: Equatable, Sendable {
    /// The first attempt has begun, or waits for the modem.
    case connecting
    /// The server has accepted the connection.
    case connected
    /// The connection is lost, or an attempt has failed; it is tried again.
    case waiting(after: ModemMQTTError)
    /// It is over until the next ``ModemMQTTClient/connect()``.
    case disconnected(ModemMQTTError)
    /// After a reconnect, a subscription was refused that had been granted before.
    case subscriptionLost(filter: String, ModemMQTTError)
}

/// The messages of a subscription, for one reader, in the order of their arrival. It ends with the connection's last word.
public struct ModemMQTTSubscription: AsyncSequence, Sendable {
    let messages: AsyncStream<MQTTMessage>
    let dropped: Guarded<Int>

    /// How many messages were dropped since the reader was too slow: the firmware has acknowledged them already, and cannot be stopped.
    public var droppedCount: Int { dropped.withLock { $0 } }

    /// A reader of the messages.
    public func makeAsyncIterator() -> AsyncStream<MQTTMessage>.Iterator { messages.makeAsyncIterator() }
}

/// `ModemMQTT` for `async` code. It lives on the modem's loop.
public actor ModemMQTTClient {
    private let core: LoopConfined<Core>
    private nonisolated let loop: EventLoop

    /// The loop that the client lives on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    /// A client for the MQTT of a modem's firmware, not connected yet. `makeModem` is called on `loop`, which must be the modem's.
    public init(
        on loop: EventLoop,
        identity: ModemMQTTIdentity,
        configuration: ModemMQTTConfiguration = ModemMQTTConfiguration(),
        modem makeModem: @escaping @Sendable () throws -> Modem
    ) async throws {
        let made: Result<LoopConfined<Core>, any Error> = await loop.call {
            Result {
                let mqtt = try ModemMQTT(on: makeModem(), identity: identity, configuration: configuration)
                return LoopConfined(Core(mqtt))
            }
        }
        self.loop = loop
        core = try made.get()
    }

    deinit {
        let (core, loop) = (core, loop)
        loop.execute { core.value.mqtt.disconnect() }
    }

    /// What happens to the connection: its state now, and each change from now on. The newest 64 changes wait for a reader.
    public nonisolated var states: AsyncStream<ModemMQTTState> {
        let (stream, source) = AsyncStream.makeStream(of: ModemMQTTState.self, bufferingPolicy: .bufferingNewest(64))
        let core = core
        loop.execute { core.value.add(source) }
        return stream
    }

    /// Whether the server has accepted the connection.
    public var isConnected: Bool { core.value.mqtt.isConnected }

    /// How many messages came, but not whole.
    public var lostMessages: Int { core.value.mqtt.lostMessages }

    /// Connects; returns when the server has accepted, throws when the attempt has failed. It waits until the modem has its network; a task that
    /// is cancelled meanwhile gives it up.
    public func connect() async throws(ModemMQTTError) {
        let core = core.value
        if core.mqtt.isConnected { return }
        try await wait { core.connect($0) }
    }

    /// Ends the connection; what waits fails with `ModemMQTTError.disconnected`. Returns when the modem has been told.
    public func disconnect() async {
        let core = core.value
        await withCheckedContinuation { core.disconnect($0) }
    }

    /// Publishes a message. With QoS 1 it returns when the server has it, however often the connection is lost meanwhile; with QoS 0 when the modem
    /// has sent it. The firmware has no QoS 2.
    public func publish(
        _ payload: [UInt8],
        to topic: String,
        qos: QoS = .atLeastOnce
    ) async throws(ModemMQTTError) {
        let mqtt = core.value.mqtt
        let qos = try ModemMQTTQoS(qos)
        try await ask { () throws(ModemMQTTError) in
            try mqtt.publish(topic: topic.utf8.span, payload: payload.span, qos: qos)
        }
    }

    /// Subscribes to a topic filter. Up to `limit` messages wait for their reader; later ones are dropped, and counted.
    public func subscribe(
        to filter: String,
        qos: QoS = .atLeastOnce,
        limit: Int = 256
    ) async throws(ModemMQTTError) -> ModemMQTTSubscription {
        let core = core.value
        let qos = try ModemMQTTQoS(qos)
        // The reader is there first: messages may come with the answer.
        let (subscription, number) = core.addReader(Array(filter.utf8), limit)
        do throws(ModemMQTTError) {
            try await ask { () throws(ModemMQTTError) in try core.mqtt.subscribe(to: filter.utf8.span, qos: qos) }
        } catch {
            core.removeReader(number)
            throw error
        }
        return subscription
    }

    /// Ends a subscription, and the sequences of its messages.
    public func unsubscribe(from filter: String) async throws(ModemMQTTError) {
        let core = core.value
        try await ask { () throws(ModemMQTTError) in try core.mqtt.unsubscribe(from: filter.utf8.span) }
        core.removeReaders(Array(filter.utf8))
    }

    private func ask(
        _ request: () throws(ModemMQTTError) -> ModemMQTTRequestID
    ) async throws(ModemMQTTError) {
        let core = core.value
        let id = try request()
        try await wait { core.waiters[id] = $0 }
    }

    /// Waits for an answer, or the cancellation of the task.
    private func wait(_ body: (Waiter) -> Void) async throws(ModemMQTTError) {
        let waiter = Waiter(core.value, on: loop)
        body(waiter)
        await waiter.place.wait(isolation: self)
        try waiter.result.get()
    }
}

extension ModemMQTTQoS {
    init(_ qos: QoS) throws(ModemMQTTError) {
        guard let own = ModemMQTTQoS(rawValue: qos.rawValue) else { throw .qosNotSupported }
        self = own
    }
}

extension ModemMQTTClient: HubMessaging {
    /// How the connection is doing: ``states`` in the words that all have.
    public nonisolated var connectionStates: AsyncStream<HubConnectionState<ModemMQTTError>> {
        states.asHubStates { state in
            switch state {
            case .connecting: .connecting
            case .connected: .connected
            case .waiting(let error): .waiting(after: error)
            case .disconnected(let error): .disconnected(error)
            case .subscriptionLost(let filter, _): .subscriptionLost(filter: filter)
            }
        }
    }

    /// Publishes, as ``publish(_:to:qos:)`` does.
    public func publish(_ payload: [UInt8], topic: String, qos: QoS) async throws(ModemMQTTError) {
        try await publish(payload, to: topic, qos: qos)
    }

    /// Subscribes, as ``subscribe(to:qos:limit:)`` does.
    public func messages(of filter: String, qos: QoS) async throws(ModemMQTTError) -> ModemMQTTSubscription {
        try await subscribe(to: filter, qos: qos)
    }
}
#endif
