#if !hasFeature(Embedded)
internal import Kernel
public import SAL

/// How the connection of an ``MQTTClient`` is doing.
@nonexhaustive
public enum MQTTConnectionState: Equatable, Sendable {
    /// The first attempt has begun.
    case connecting
    /// The server accepted the connection.
    case connected(MQTTConnectionInfo)
    /// The connection broke, or an attempt failed, for this reason; it is tried again after the delay.
    case waiting(after: MQTTError, for: Duration)
    /// It is over, for this reason, until the next ``MQTTClient/connect(retries:)``.
    case disconnected(MQTTError)
    /// After a reconnect, a server without the session refused what it had granted before.
    case subscriptionLost(filter: String, MQTTReasonCode)
}

/// An MQTT client for 3.1.1 and 5.0. It lives on the loop of its network: calls that are made there cost no thread switch.
///
/// Publishes with QoS 1 and 2 return when the server has acknowledged them. When the connection breaks the client connects again
/// by itself, subscribes again if the server has lost the session, and sends again what was not acknowledged. Messages are sent in the order of the calls, and
/// delivered to each reader in the order of their arrival; with QoS 1 and a broken connection, one that was not acknowledged comes again, before those
/// that follow it.
public actor MQTTClient {
    var core: ClientCore { coreOnLoop.value }
    nonisolated let coreOnLoop: LoopConfined<ClientCore>
    nonisolated let loop: EventLoop

    /// What happens to the connection: its state now, if it was ever asked to connect, and each change from now on. Every reader has a sequence of its own; the newest
    /// 64 changes wait for it. It ends when nobody has the client any more.
    public nonisolated var states: AsyncStream<MQTTConnectionState> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: MQTTConnectionState.self,
            bufferingPolicy: .bufferingNewest(64)
        )
        let (box, loop) = (coreOnLoop, self.loop)
        let reader = LoopConfined(StateReader(continuation))
        // It runs behind what comes next, however soon nobody reads any more.
        continuation.onTermination = { _ in loop.execute { box.value.removeStateReader(reader.value) } }
        loop.execute { box.value.addStateReader(reader.value) }
        return stream
    }

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
        let connection = MQTTConnection(to: endpoint, over: network, configuration: configuration)
        self.init(connection, reconnects, prepare)
    }

    /// A client for the servers at `endpoints`, of which there is at least one: when one fails, the next is tried, in an order that each client has for itself.
    /// What was kept in `store` by an earlier process is taken up, and sent at the first connect; throws if it cannot be read. Create it on the network's loop, or before that
    /// runs anything else of this client.
    public init(
        toOneOf endpoints: [Endpoint],
        over network: any Network,
        configuration: MQTTConfiguration,
        reconnects: Bool = true,
        store: (any MQTTStore)? = nil,
        prepare: (@Sendable (inout MQTTConfiguration) -> Void)? = nil
    ) throws(MQTTError) {
        let connection = try MQTTConnection(
            toOneOf: endpoints,
            over: network,
            configuration: configuration,
            store: store
        )
        self.init(connection, reconnects, prepare)
    }

    private init(
        _ connection: MQTTConnection,
        _ reconnects: Bool,
        _ prepare: (@Sendable (inout MQTTConfiguration) -> Void)?
    ) {
        loop = connection.network.loop
        coreOnLoop = LoopConfined(ClientCore(connection: connection, reconnects: reconnects, prepare: prepare))
    }

    deinit {
        // The connection and its handler keep each other alive until they part.
        let box = coreOnLoop
        loop.execute {
            box.value.connection.disconnect()
            box.value.endStates()
        }
    }

    // MARK: Connecting

    /// Connects, calls `body`, and says goodbye when that returns or throws: the connection lives no longer than this call.
    public nonisolated static func withConnection<Result: Sendable>(
        to endpoint: Endpoint,
        over network: any Network,
        configuration: MQTTConfiguration,
        _ body: (MQTTClient) async throws -> Result
    ) async throws -> Result {
        let client = MQTTClient(to: endpoint, over: network, configuration: configuration)
        try await client.connect()
        let result: Result
        do { result = try await body(client) } catch {
            await client.disconnect()
            throw error
        }
        await client.disconnect()
        return result
    }

    /// Connects; returns when the server has accepted, throws when the attempt failed. There is one attempt, unless it `retries` as it does
    /// after later breaks of the connection, which are mended by the client itself.
    public func connect(retries: Bool = false) async throws(MQTTError) {
        let box = coreOnLoop
        let loop = self.loop
        let isCancelled = LoopConfined(Flag())
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: ClientCore.Signal) in
                // The cancellation may have come before the attempt.
                if isCancelled.value.isSet { return continuation.resume(returning: .failure(.cancelled)) }
                core.connect(retries: retries, continuation)
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

    /// Says goodbye and closes; the server does not publish the will, unless `reason` is ``MQTTReasonCode/disconnectWithWill`` (5.0). What still
    /// waits for an acknowledgement fails with ``MQTTError/disconnected``; subscriptions end when what has arrived is read.
    public func disconnect(_ reason: MQTTReasonCode = .success) { core.connection.disconnect(reason) }

    /// Says goodbye as ``disconnect(_:)`` does, with properties: another expiry interval of the session, which must have been over zero before; a reason string,
    /// user properties (5.0).
    public func disconnect(_ reason: MQTTReasonCode, properties: MQTTProperties) throws(MQTTError) {
        try core.connection.disconnect(reason, properties: properties)
    }

    /// Authenticates again on this connection (MQTT 5.0, 4.12.1); returns when the server is content.
    public func reauthenticate() async throws(MQTTError) {
        let result = await withCheckedContinuation { (continuation: ClientCore.Signal) in
            core.reauthenticate(continuation)
        }
        try result.get()
    }

    /// Whether the server has accepted the connection.
    public var isConnected: Bool { core.connection.isConnected }

    /// What the server said when it accepted the connection; `nil` before.
    public var connectionInfo: MQTTConnectionInfo? { core.info }

    /// How many publishes, subscriptions and unsubscriptions wait for their acknowledgement.
    public var waitingCount: Int { core.connection.waitingCount }

    /// How many messages were dropped because the queue was full, or they had waited for too long.
    public var droppedCount: Int { core.connection.droppedCount }

    /// How many messages have arrived that no subscription, reader or function was there for.
    public var unmatchedCount: Int { core.unmatchedCount }

    // MARK: Publishing

    /// Publishes a message. With QoS 1 and 2 this returns when the server has acknowledged it, however often the connection
    /// breaks meanwhile; with QoS 0 when it is on its way. In 5.0 the result may be that nobody has subscribed.
    /// While the queue is full it waits, unless the configuration says otherwise.
    @discardableResult
    public func publish(
        _ payload: [UInt8],
        to topic: String,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false,
        properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTError) -> MQTTReasonCode {
        // One function and no more: each call of another that is `async` would cost as much as the rest.
        let core = self.core
        let wait = core.takeWait()
        defer { core.waits.append(wait) }
        var isPublished = false
        if core.lineCount == 0 {
            isPublished = try core.publishIfRoom(payload, topic, qos, isRetained, properties, wait)
        }
        if !isPublished {
            try await core.inLine { () throws(MQTTError) in
                try core.publish(payload, topic, qos, isRetained, properties, wait)
            }
        }
        guard qos != .atMostOnce else { return .success }
        await wait.place.wait(isolation: self)
        return try wait.answer().code
    }

    /// Calls `body` on the client's loop: what it asks of the client there costs no switch of threads, or of tasks.
    public func perform<Result: Sendable>(
        _ body: @Sendable (isolated MQTTClient) async throws -> Result
    ) async rethrows -> Result {
        // Without the preference, the runtime switches tasks that are on the loop already.
        try await withTaskExecutorPreference(loop) { try await body(self) }
    }

    /// Publishes text, as ``publish(_:to:qos:isRetained:properties:)-([UInt8],_,_,_,_)`` publishes bytes.
    @discardableResult
    public func publish(
        _ text: String,
        to topic: String,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false,
        properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTError) -> MQTTReasonCode {
        try await publish(Array(text.utf8), to: topic, qos: qos, isRetained: isRetained, properties: properties)
    }

    private var waitsForRoom: Bool { core.connection.configuration.queue.whenFull == .wait }

    /// Has a message published, and returns when it is in the queue; if there is a store, when it is kept there. Nobody is told when the server has it.
    public func enqueue(
        _ payload: [UInt8],
        to topic: String,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false,
        properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTError) {
        let core = self.core
        func attempt() throws(MQTTError) -> MQTTRequestID? {
            try core.connection.publish(
                topic: topic.utf8.span,
                payload: payload.span,
                qos: qos,
                isRetained: isRetained,
                properties: properties
            )
        }
        var number: MQTTRequestID?
        var isDone = false
        if core.lineCount == 0 {
            do throws(MQTTError) {
                number = try attempt()
                isDone = true
            } catch {
                guard case .queueFull = error, waitsForRoom else { throw error }
            }
        }
        if !isDone { number = try await core.inLine(attempt) }
        guard qos != .atMostOnce else { return }
        if number == nil { throw .droppedFromQueue }
        try await kept(core)
    }

    /// Waits until what was asked for in this turn is kept in the store, if there is one.
    private func kept(_ core: ClientCore) async throws(MQTTError) {
        guard core.connection.hasStore else { return }
        let result = await withCheckedContinuation { (continuation: ClientCore.Signal) in
            core.connection.whenKept { continuation.resume(returning: $0) }
        }
        try result.get()
    }

    /// Publishes several messages with one call, which returns when the server has acknowledged all of them, or they have failed: a result for each.
    public func publish(_ batch: [MQTTPublish]) async throws(MQTTError) -> [Result<MQTTReasonCode, MQTTError>] {
        guard !batch.isEmpty else { return [] }
        let core = self.core
        let group = RequestGroup(count: batch.count)
        for (index, message) in batch.enumerated() {
            func attempt() throws(MQTTError) {
                let number = try core.connection.publish(
                    topic: message.topic.span,
                    payload: message.payload.span,
                    qos: message.qos,
                    isRetained: message.isRetained,
                    properties: message.properties
                )
                if let number {
                    core.waiters.add(number, .group(group, index: index))
                } else {
                    group.finish(index, message.qos == .atMostOnce ? .success(.success) : .failure(.droppedFromQueue))
                }
            }
            do throws(MQTTError) {
                if core.lineCount == 0 {
                    do throws(MQTTError) {
                        try attempt()
                        continue
                    } catch {
                        guard case .queueFull = error, waitsForRoom else { throw error }
                    }
                }
                try await core.inLine(attempt)
            } catch { group.finish(index, .failure(error)) }
        }
        await Resumer.wait(on: self) { group.whenFinished($0) }
        return group.results
    }

    // MARK: Subscribing

    /// Subscribes to a topic filter; the result is a sequence of the messages. Up to `limit` messages wait for their reader, then
    /// `whenFull` counts. What has waited together is given to the reader together, and is acknowledged to the server when the reader asks for more than that, so what was
    /// not dealt with comes again after a crash (with QoS 2 and a store, it does not). Let go of the sequence to unsubscribe.
    public func subscribe(
        to filter: String,
        qos: QoS = .atLeastOnce,
        limit: Int = 256,
        whenFull: MQTTBufferPolicy = .wait
    ) async throws(MQTTError) -> MQTTSubscription {
        try await subscribe(to: filter, options: MQTTSubscriptionOptions(qos), limit: limit, whenFull: whenFull)
    }

    /// Subscribes to a topic filter with options, as ``subscribe(to:qos:limit:whenFull:)`` does.
    public func subscribe(
        to filter: String,
        options: MQTTSubscriptionOptions,
        limit: Int = 256,
        whenFull: MQTTBufferPolicy = .wait
    ) async throws(MQTTError) -> MQTTSubscription {
        let core = self.core
        // The buffer is there first: retained messages may arrive together with the answer.
        let subscription = messages(matching: filter, limit: limit, whenFull: whenFull)
        subscription.buffer.value.isSubscribed = true
        do throws(MQTTError) {
            let answer = try await ask(core) { () throws(MQTTError) -> MQTTRequestID in
                try core.connection.subscribe(to: filter.utf8.span, options: options)
            }
            let code = answer.codes.first ?? 0
            guard code < 0x80 else { throw .subscriptionRefused(MQTTReason(MQTTReasonCode(rawValue: code))) }
            subscription.grantedCode.withLock { $0 = code }
            return subscription
        } catch {
            subscription.buffer.value.isSubscribed = false
            _ = core.remove(subscription.buffer.value)
            throw error
        }
    }

    /// The messages that match a topic filter, whoever has subscribed to them: of a session that the server has kept, for instance. Ask for them before
    /// ``connect(retries:)``, so that nothing is missed.
    public func messages(
        matching filter: String,
        limit: Int = 256,
        whenFull: MQTTBufferPolicy = .wait
    ) -> MQTTSubscription {
        let buffer = MessageBuffer(filter: Array(filter.utf8), limit: limit, policy: whenFull)
        core.buffers.append(buffer)
        return MQTTSubscription(client: self, buffer: LoopConfined(buffer), loop: loop, filter: filter)
    }

    /// Has `body` called, on the client's loop, for each message that matches a topic filter, until it is taken away with ``removeHandler(_:)``. The message is acknowledged
    /// when `body` returns.
    @discardableResult
    public func onMessage(
        matching filter: String,
        _ body: @escaping @Sendable (MQTTMessage) -> Void
    ) -> MQTTHandlerID {
        let id = (core.listeners.last?.id ?? 0) + 1
        core.listeners.append(ClientCore.Listener(id: id, filter: Array(filter.utf8), body: body))
        return MQTTHandlerID(id: id)
    }

    /// Takes away a function of ``onMessage(matching:_:)``.
    public func removeHandler(_ handler: MQTTHandlerID) { core.listeners.removeAll { $0.id == handler.id } }

    /// Asks the server for the messages of several topic filters with one packet; returns for each the granted QoS or the refusal. Read them by
    /// ``messages(matching:limit:whenFull:)`` or ``onMessage(matching:_:)``.
    public func requestSubscriptions(
        _ subscriptions: [(filter: String, options: MQTTSubscriptionOptions)]
    ) async throws(MQTTError) -> [Result<QoS, MQTTError>] {
        let core = self.core
        let answer = try await ask(core) { () throws(MQTTError) -> MQTTRequestID in
            try core.connection.subscribe(to: subscriptions.map { (Array($0.filter.utf8), $0.options) })
        }
        return answer.codes.map { code in
            QoS(rawValue: code).map { .success($0) }
                ?? .failure(.subscriptionRefused(MQTTReason(MQTTReasonCode(rawValue: code))))
        }
    }

    /// Ends a subscription; its sequence ends when what has arrived is read.
    public func unsubscribe(_ subscription: MQTTSubscription) async throws(MQTTError) {
        let (core, buffer) = (core, subscription.buffer.value)
        guard core.buffers.contains(where: { $0 === buffer }) else { return }
        try await unsubscribe(from: subscription.filter)
        core.buffers.removeAll { $0 === buffer }
        buffer.end()
    }

    /// Ends the subscription to a topic filter. `properties` are user properties of the request (5.0).
    public func unsubscribe(
        from filter: String,
        properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTError) {
        let core = self.core
        let answer = try await ask(core) { () throws(MQTTError) -> MQTTRequestID in
            try core.connection.unsubscribe(from: filter.utf8.span, properties: properties)
        }
        if let code = answer.codes.first, code >= 0x80 {
            throw .unsubscriptionRefused(MQTTReason(MQTTReasonCode(rawValue: code)))
        }
    }

    /// Lets go of a subscription that nobody reads any more.
    func abandon(_ buffer: MessageBuffer) {
        let wasInUse = core.remove(buffer)
        guard wasInUse, buffer.isSubscribed else { return }
        let filterIsInUse = core.buffers.contains { $0.filter == buffer.filter }
        // Without room for the request the server goes on sending; what no filter matches is dropped.
        let filter = buffer.filter
        if !filterIsInUse { _ = try? core.connection.unsubscribe(from: filter.span) }
    }

    /// Makes a request, when there is room for it, and waits for the answer.
    func ask(
        _ core: ClientCore,
        _ request: () throws(MQTTError) -> MQTTRequestID
    ) async throws(MQTTError) -> MQTTAnswer {
        let wait = core.takeWait()
        defer { core.waits.append(wait) }
        func attempt() throws(MQTTError) { core.waiters.add(try request(), .task(wait)) }
        do throws(MQTTError) { try attempt() } catch {
            guard case .queueFull = error, waitsForRoom else { throw error }
            try await core.inLine(attempt)
        }
        await wait.place.wait(isolation: self)
        return try wait.answer()
    }

    /// The next messages of a subscription, once there are any; no messages: the end.
    func read(_ buffer: LoopConfined<MessageBuffer>) async -> [MQTTMessage] {
        let (core, buffer) = (self.core, buffer.value)
        core.readOn(buffer)
        if let reader = buffer.beginReading(on: loop) {
            await reader.place.wait(isolation: self)
            guard buffer.endReading(reader) else { return [] }
        } else if Task.isCancelled {
            return []
        }
        return core.take(buffer)
    }
}

/// What a function that is told of messages is known by.
public struct MQTTHandlerID: Sendable {
    let id: UInt64
}

/// Something that has happened or not. Confined to the loop.
final class Flag {
    var isSet = false
}
#endif
