#if !hasFeature(Embedded)
internal import Kernel
public import SAL

/// How the connection of an ``MQTTClient`` is doing.
public enum MQTTConnectionState: Equatable, Sendable {
    /// The server accepted the connection.
    case connected(sessionPresent: Bool)
    /// The connection broke, or an attempt failed, for this reason; it is tried again.
    case waiting(after: MQTTError)
    /// It is over, for this reason, until the next ``MQTTClient/connect()``.
    case disconnected(MQTTError)
}

/// An MQTT 3.1.1 client. It lives on the loop of its network: calls that are made there cost no thread switch.
///
/// Publishes with QoS 1 return when the server has acknowledged them. When the connection breaks the client connects again
/// by itself, subscribes again if the server has lost the session, and sends again what was not acknowledged. Messages
/// of one connection are delivered in the order of their arrival.
public actor MQTTClient {
    private var core: ClientCore { coreOnLoop.value }
    private nonisolated let coreOnLoop: LoopConfined<ClientCore>
    private nonisolated let loop: EventLoop

    /// What happens to the connection, for one reader; the newest 64 changes are kept.
    public nonisolated let states: AsyncStream<MQTTConnectionState>

    /// The loop that the client lives on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    /// A client for the server at `endpoint`, not connected yet. `prepare` may change the configuration before each
    /// attempt to connect, such as for a login that is valid for a short time; it is called on the loop.
    public init(
        to endpoint: Endpoint,
        over network: any Network,
        configuration: MQTTConfiguration,
        reconnects: Bool = true,
        prepare: (@Sendable (inout MQTTConfiguration) -> Void)? = nil
    ) {
        loop = network.loop
        let (stream, continuation) = AsyncStream.makeStream(
            of: MQTTConnectionState.self,
            bufferingPolicy: .bufferingNewest(64)
        )
        states = stream
        coreOnLoop = LoopConfined(
            ClientCore(
                connection: MQTTConnection(to: endpoint, over: network, configuration: configuration),
                reconnects: reconnects,
                states: continuation,
                prepare: prepare
            )
        )
    }

    deinit {
        // The connection and its handler keep each other alive until they part.
        let box = coreOnLoop
        loop.execute { box.value.connection.disconnect() }
    }

    /// Connects; returns when the server has accepted, throws when the attempt failed. There is one attempt: later
    /// breaks of the connection are mended by the client itself.
    public func connect() async throws(MQTTError) {
        let box = coreOnLoop
        let loop = self.loop
        let isCancelled = LoopConfined(Flag())
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: ClientCore.Signal) in
                // The cancellation may have come before the attempt.
                if isCancelled.value.isSet { return continuation.resume(returning: .failure(.cancelled)) }
                core.connect(continuation)
            }
        } onCancel: {
            loop.execute {
                isCancelled.value.isSet = true
                if !box.value.connection.isConnected { box.value.connection.disconnect() }
            }
        }
        if Task.isCancelled, case .failure = result { throw .cancelled }
        try result.get()
    }

    /// Says goodbye and closes. What still waits for an acknowledgement fails with ``MQTTError/disconnected``; subscriptions end.
    public func disconnect() { core.connection.disconnect() }

    /// Whether the server has accepted the connection.
    public var isConnected: Bool { core.connection.isConnected }

    /// Publishes a message. With QoS 1 this returns when the server has acknowledged it, however often the connection
    /// breaks meanwhile; with QoS 0 when it is on its way.
    public func publish(
        _ payload: [UInt8],
        to topic: String,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false
    ) async throws(MQTTError) {
        _ = try await answer { connection throws(MQTTError) in
            try connection.publish(topic: topic.utf8.span, payload: payload.span, qos: qos, isRetained: isRetained)
        }
    }

    /// Publishes text, as ``publish(_:to:qos:isRetained:)-([UInt8],_,_,_)`` publishes bytes.
    public func publish(
        _ text: String,
        to topic: String,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false
    ) async throws(MQTTError) {
        try await publish(Array(text.utf8), to: topic, qos: qos, isRetained: isRetained)
    }

    /// Subscribes to a topic filter; the result is a sequence of the messages. Up to `limit` messages wait for their reader;
    /// while more arrive the client reads nothing from the server, so read them or let go of the sequence, which unsubscribes.
    public func subscribe(
        to filter: String,
        qos: QoS = .atLeastOnce,
        limit: Int = 256
    ) async throws(MQTTError) -> MQTTSubscription {
        // The buffer is there first: retained messages may arrive together with the answer.
        let buffer = SubscriptionBuffer(filter: Array(filter.utf8), limit: limit)
        core.subscriptions.append(buffer)
        do {
            let granted = try await answer { connection throws(MQTTError) in
                try connection.subscribe(to: filter.utf8.span, qos: qos)
            }
            return MQTTSubscription(
                client: self,
                buffer: LoopConfined(buffer),
                loop: loop,
                filter: filter,
                granted: granted ?? qos
            )
        } catch {
            core.subscriptions.removeAll { $0 === buffer }
            throw error
        }
    }

    /// Ends a subscription; its sequence ends.
    public func unsubscribe(_ subscription: MQTTSubscription) async throws(MQTTError) {
        guard remove(subscription.buffer.value) else { return }
        _ = try await answer { connection throws(MQTTError) in
            try connection.unsubscribe(from: subscription.filter.utf8.span)
        }
    }

    /// Lets go of a subscription that nobody reads any more.
    func abandon(_ buffer: SubscriptionBuffer) {
        guard remove(buffer) else { return }
        let filterIsInUse = core.subscriptions.contains { $0.filter == buffer.filter }
        // Without room for the request the server goes on sending; what no filter matches is dropped.
        let filter = buffer.filter
        if !filterIsInUse { _ = try? core.connection.unsubscribe(from: filter.span) }
    }

    private func remove(_ buffer: SubscriptionBuffer) -> Bool {
        guard let index = core.subscriptions.firstIndex(where: { $0 === buffer }) else { return false }
        core.subscriptions.remove(at: index)
        buffer.finish()
        core.connection.resumeReceiving()
        return true
    }

    func messages(of buffer: LoopConfined<SubscriptionBuffer>) async -> [MQTTMessage] {
        let loop = self.loop
        let reader = LoopConfined(SubscriptionReader())
        return await withTaskCancellationHandler {
            defer { core.connection.resumeReceiving() }
            return await withCheckedContinuation { continuation in
                reader.value.continuation = continuation
                buffer.value.read(reader.value)
            }
        } onCancel: {
            loop.execute { buffer.value.cancel(reader.value) }
        }
    }

    private func answer(to request: (MQTTConnection) throws(MQTTError) -> UInt16?) async throws(MQTTError) -> QoS? {
        let pending = PendingRequest()
        let box = LoopConfined(pending)
        let loop = self.loop
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                pending.start(continuation)
                core.send(pending, request)
            }
        } onCancel: {
            loop.execute { box.value.cancel() }
        }
        return try result.get()
    }
}

/// The messages of a subscription, in the order of their arrival. For one reader at a time.
///
/// The sequence ends when the client is disconnected or unsubscribes, or the reading task is cancelled.
public final class MQTTSubscription: AsyncSequence, Sendable {
    /// The topic filter.
    public let filter: String
    /// The guarantee that the server granted.
    public let granted: QoS
    private let client: MQTTClient
    let buffer: LoopConfined<SubscriptionBuffer>
    private let loop: EventLoop

    init(
        client: MQTTClient,
        buffer: LoopConfined<SubscriptionBuffer>,
        loop: EventLoop,
        filter: String,
        granted: QoS
    ) {
        self.client = client
        self.buffer = buffer
        self.loop = loop
        self.filter = filter
        self.granted = granted
    }

    deinit {
        let (client, buffer) = (client, buffer)
        loop.execute { client.assumeIsolated { $0.abandon(buffer.value) } }
    }

    /// Reads the messages; what one hop to the client's loop brings is kept for the next calls.
    public struct Iterator: AsyncIteratorProtocol {
        let subscription: MQTTSubscription
        private var batch: [MQTTMessage] = []
        private var next = 0

        init(_ subscription: MQTTSubscription) { self.subscription = subscription }

        /// The next message; `nil` at the end.
        public mutating func next() async -> MQTTMessage? {
            if next == batch.count {
                batch = await subscription.client.messages(of: subscription.buffer)
                next = 0
            }
            guard next < batch.count else { return nil }
            defer { next += 1 }
            return batch[next]
        }
    }

    /// A reader of the messages.
    public func makeAsyncIterator() -> Iterator { Iterator(self) }
}
#endif
