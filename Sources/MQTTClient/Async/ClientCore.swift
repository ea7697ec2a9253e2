#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// The side of an ``MQTTClient`` that lives on the loop: it turns the connection's callbacks into continuations.
final class ClientCore: MQTTConnectionHandler {
    typealias Signal = CheckedContinuation<Result<Void, MQTTError>, Never>

    /// A function that is told of messages.
    struct Listener {
        let id: UInt64
        let filter: [UInt8]
        let body: @Sendable (MQTTMessage) -> Void
    }

    let connection: MQTTConnection
    var buffers: [MessageBuffer] = []
    var listeners: [Listener] = []
    // Neither calls anybody, so accesses need not be tracked at run time.
    @safe @exclusivity(unchecked) var waiters = RequestWaiters()
    /// Places to wait in that nobody uses.
    @safe @exclusivity(unchecked) var waits: [RequestWait] = []
    /// What the server has said at the last connect.
    private(set) var info: MQTTConnectionInfo?
    /// How many messages have come that nobody was there for.
    private(set) var unmatchedCount = 0
    private var state: MQTTConnectionState?
    private var stateReaders: [StateReader] = []
    private let prepare: (@Sendable (inout MQTTConfiguration) -> Void)?
    private var connectWaiters: [Signal] = []
    private let reconnects: Bool
    /// How many buffers still have a message that several have got, by its packet identifier.
    private var shares: [UInt16: Int] = [:]
    private var authenticationWaiters: [Signal] = []
    /// Requests that wait for room in the queue stand in line.
    private lazy var line = Kernel.Semaphore(1, limit: 1)
    private lazy var room = Kernel.Semaphore(0, limit: 1)
    private(set) var lineCount = 0
    var roomHandlers: [() -> Void] = []
    var replies: [UInt64: ReplyWaiter] = [:]
    var replyTopic: [UInt8]?

    init(
        connection: MQTTConnection,
        reconnects: Bool,
        prepare: (@Sendable (inout MQTTConfiguration) -> Void)?
    ) {
        self.connection = connection
        self.reconnects = reconnects
        self.prepare = prepare
        connection.handlerNotesDeliveries = true
    }

    func connect(retries: Bool, _ waiter: Signal) {
        if connection.isConnected { return waiter.resume(returning: .success(())) }
        connectWaiters.append(waiter)
        // The first attempt is the caller's: it learns how it went. Later ones are ours.
        guard connection.isIdle else { return }
        connection.reconnects = retries && reconnects
        change(to: .connecting)
        connection.connect(handler: self)
    }

    func answer(_ number: MQTTRequestID, _ result: RequestResult) { waiters.remove(number).finish(result) }

    /// A place to wait in for the answer to a request; it goes back to `waits`.
    func takeWait() -> RequestWait {
        let wait = waits.popLast() ?? RequestWait(self, on: connection.network.loop)
        wait.place.begin()
        return wait
    }

    /// Publishes, and has `wait` finished with the answer if there will be one.
    func publish(
        _ payload: [UInt8],
        _ topic: String,
        _ qos: QoS,
        _ isRetained: Bool,
        _ properties: MQTTProperties,
        _ wait: RequestWait
    ) throws(MQTTError) {
        let number = try connection.publish(
            topic: topic.utf8.span,
            payload: payload.span,
            qos: qos,
            isRetained: isRetained,
            properties: properties
        )
        if let number {
            waiters.add(number, .task(wait))
        } else {
            wait.finish(qos == .atMostOnce ? .success(MQTTAnswer()) : .failure(.droppedFromQueue))
        }
    }

    /// Publishes; `false` if there is no room and one is to wait for it.
    func publishIfRoom(
        _ payload: [UInt8],
        _ topic: String,
        _ qos: QoS,
        _ isRetained: Bool,
        _ properties: MQTTProperties,
        _ wait: RequestWait
    ) throws(MQTTError) -> Bool {
        do throws(MQTTError) {
            try publish(payload, topic, qos, isRetained, properties, wait)
            return true
        } catch {
            guard case .queueFull = error, connection.configuration.queue.whenFull == .wait else { throw error }
            return false
        }
    }

    // MARK: States

    private func change(to state: MQTTConnectionState) {
        self.state = state
        for reader in stateReaders { reader.continuation.yield(state) }
    }

    /// Tells a reader the state and its changes.
    func addStateReader(_ reader: StateReader) {
        if let state { reader.continuation.yield(state) }
        stateReaders.append(reader)
    }

    func removeStateReader(_ reader: StateReader) { stateReaders.removeAll { $0 === reader } }

    /// Nothing more will happen: the client is no more.
    func endStates() {
        let readers = stateReaders
        stateReaders = []
        for reader in readers { reader.continuation.finish() }
    }

    // MARK: Waiting for room

    /// Tries `body` until the queue has room, in turn with others who do. Called on the loop.
    nonisolated(nonsending) func inLine<Result>(_ body: () throws(MQTTError) -> Result) async throws(MQTTError)
        -> Result
    {
        lineCount += 1
        defer { lineCount -= 1 }
        do throws(KernelError) { try await line.wait(.forever) } catch { throw .cancelled }
        defer { do throws(KernelError) { try line.post() } catch {} }
        while true {
            do throws(MQTTError) { return try body() } catch {
                guard case .queueFull = error else { throw error }
                guard !connection.isIdle else { throw error }
            }
            do throws(KernelError) { try await room.wait(.forever) } catch { throw .cancelled }
        }
    }

    func hasRoom() {
        // If it is set already, whoever waits looks anew.
        if lineCount > 0 { do throws(KernelError) { try room.post() } catch {} }
        let handlers = roomHandlers
        roomHandlers = []
        for handler in handlers { handler() }
    }

    // MARK: MQTTConnectionHandler

    func willConnect(_ configuration: inout MQTTConfiguration) { prepare?(&configuration) }

    func connected(_ info: MQTTConnectionInfo) {
        self.info = info
        connection.reconnects = reconnects
        change(to: .connected(info))
        let waiters = connectWaiters
        connectWaiters = []
        for waiter in waiters { waiter.resume(returning: .success(())) }
    }

    func disconnected(_ error: MQTTError, retryAt: Duration?) {
        shares = [:]
        let authentications = authenticationWaiters
        authenticationWaiters = []
        for waiter in authentications { waiter.resume(returning: .failure(error)) }
        if let retryAt {
            let delay = retryAt - connection.network.loop.now
            change(to: .waiting(after: error, for: delay))
            return
        }
        change(to: .disconnected(error))
        let connects = connectWaiters
        connectWaiters = []
        for waiter in connects { waiter.resume(returning: .failure(error)) }
        for number in waiters.numbers { answer(number, .failure(error)) }
        for (_, reply) in replies { reply.finish(.failure(error)) }
        replies = [:]
        replyTopic = nil
        for buffer in buffers { buffer.end() }
        buffers = []
        hasRoom()
    }

    func received(_ message: MQTTMessage) -> MQTTDisposition {
        let topic = message.topic
        // Each reader whose filter matches gets it; it waits until all of them have room.
        var matching = 0
        for buffer in buffers where buffer.matches(topic.span) {
            guard buffer.hasRoom else { return .refused }
            matching += 1
        }
        var isHeard = matching > 0
        // What is kept for a reader is noted when the reader gets it.
        if message.receipt.isQoS2, !listeners.isEmpty { connection.noteDeliveries(CollectionOfOne(message.receipt)) }
        if !replies.isEmpty, takeReply(message) { isHeard = true }
        for listener in listeners where TopicFilter.matches(listener.filter.span, topic: topic.span) {
            isHeard = true
            listener.body(message)
        }
        guard matching > 0 else {
            if !isHeard { unmatchedCount += 1 }
            return .taken
        }
        if matching > 1, message.receipt.packetID != 0 { shares[message.receipt.packetID] = matching }
        for buffer in buffers where buffer.matches(topic.span) {
            if let dropped = buffer.append(message) { release(dropped) }
        }
        return .kept
    }

    /// A reader is through with a message.
    func release(_ message: MQTTMessage) {
        let packetID = message.receipt.packetID
        guard packetID != 0 else { return }
        if let share = shares[packetID] {
            shares[packetID] = share > 1 ? share - 1 : nil
            if share > 1 { return }
        }
        connection.acknowledge(message.receipt)
    }

    /// Reads on: what was given before is done with.
    func readOn(_ buffer: MessageBuffer) {
        buffer.releaseGiven { release($0) }
        connection.resumeReceiving()
    }

    /// What has come for a reader, who gets it now.
    func take(_ buffer: MessageBuffer) -> [MQTTMessage] {
        let messages = buffer.take()
        connection.noteDeliveries(messages.lazy.map(\.receipt))
        return messages
    }

    /// Ends a buffer whose rest nobody reads; returns whether it was in use.
    func remove(_ buffer: MessageBuffer) -> Bool {
        let index = buffers.firstIndex { $0 === buffer }
        if let index { buffers.remove(at: index) }
        for message in buffer.finish() { release(message) }
        connection.resumeReceiving()
        return index != nil
    }

    func published(_ request: MQTTRequestID, code: MQTTReasonCode) { answer(request, .success(MQTTAnswer(code: code))) }

    func failed(_ request: MQTTRequestID, _ error: MQTTError) { answer(request, .failure(error)) }

    func subscribed(_ request: MQTTRequestID, codes: [UInt8]) { answer(request, .success(MQTTAnswer(codes: codes))) }

    func unsubscribed(_ request: MQTTRequestID, codes: [UInt8]) { answer(request, .success(MQTTAnswer(codes: codes))) }

    func subscriptionLost(filter: [UInt8], code: MQTTReasonCode) {
        let event = MQTTConnectionState.subscriptionLost(filter: String(decoding: filter, as: UTF8.self), code)
        for reader in stateReaders { reader.continuation.yield(event) }
        for buffer in buffers where buffer.filter == filter { buffer.end() }
        buffers.removeAll { $0.filter == filter }
    }

    // MARK: Authentication

    func reauthenticate(_ waiter: Signal) {
        do throws(MQTTError) {
            try connection.reauthenticate()
            authenticationWaiters.append(waiter)
        } catch { waiter.resume(returning: .failure(error)) }
    }

    func reauthenticated() {
        guard !authenticationWaiters.isEmpty else { return }
        authenticationWaiters.removeFirst().resume(returning: .success(()))
    }

    // MARK: Replies

    /// Gives a message to the request that it answers; `false` if it answers none.
    private func takeReply(_ message: MQTTMessage) -> Bool {
        guard let replyTopic, message.topic.elementsEqual(replyTopic),
            let data = message.properties.bytes(of: .correlationData), data.count == 8
        else { return false }
        let number = data.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard let waiter = replies.removeValue(forKey: number) else { return false }
        waiter.finish(.success(message))
        return true
    }
}

/// Who is told the states of a client. Confined to the loop.
final class StateReader {
    let continuation: AsyncStream<MQTTConnectionState>.Continuation
    init(_ continuation: AsyncStream<MQTTConnectionState>.Continuation) { self.continuation = continuation }
}

/// Who waits for the answer to a request over MQTT. Confined to the loop.
final class ReplyWaiter: TimerHandler {
    private var continuation: Resumer<Result<MQTTMessage, MQTTError>?>?
    private let timer: Timer

    init(on loop: EventLoop, timeout: Duration, _ continuation: Resumer<Result<MQTTMessage, MQTTError>?>) {
        self.continuation = continuation
        timer = Timer(on: loop)
        timer.start(after: timeout, handler: self)
    }

    /// `nil`: no answer has come in time.
    func finish(_ result: Result<MQTTMessage, MQTTError>?) {
        timer.stop()
        continuation?.resume(result)
        continuation = nil
    }

    func timerFired(_ timer: Timer) { finish(nil) }
}
#endif
