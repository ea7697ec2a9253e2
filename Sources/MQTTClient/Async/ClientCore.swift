#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// The side of an ``MQTTClient`` that lives on the loop: it turns the connection's callbacks into continuations.
final class ClientCore: MQTTConnectionHandler {
    typealias Signal = CheckedContinuation<Result<Void, MQTTError>, Never>

    let connection: MQTTConnection
    var subscriptions: [SubscriptionBuffer] = []
    private let states: AsyncStream<MQTTConnectionState>.Continuation
    private let prepare: (@Sendable (inout MQTTConfiguration) -> Void)?
    private var requests: [UInt16: PendingRequest] = [:]
    private var connectWaiters: [Signal] = []
    private let reconnects: Bool

    init(
        connection: MQTTConnection,
        reconnects: Bool,
        states: AsyncStream<MQTTConnectionState>.Continuation,
        prepare: (@Sendable (inout MQTTConfiguration) -> Void)?
    ) {
        self.connection = connection
        self.reconnects = reconnects
        self.states = states
        self.prepare = prepare
    }

    func connect(_ waiter: Signal) {
        if connection.isConnected { return waiter.resume(returning: .success(())) }
        connectWaiters.append(waiter)
        // The first attempt is the caller's: it learns how it went. Later ones are ours.
        guard connection.isIdle else { return }
        connection.reconnects = false
        connection.connect(handler: self)
    }

    /// Sends a request, and keeps who waits for its answer: both at once, since the answer may arrive in the next turn of the loop.
    func send(_ pending: PendingRequest, _ request: (MQTTConnection) throws(MQTTError) -> UInt16?) {
        do throws(MQTTError) {
            guard let packetID = try request(connection) else { return pending.finish(.success(nil)) }
            requests[packetID] = pending
        } catch { pending.finish(.failure(error)) }
    }

    private func answer(_ packetID: UInt16, _ result: Result<QoS?, MQTTError>) {
        requests.removeValue(forKey: packetID)?.finish(result)
    }

    // MARK: MQTTConnectionHandler

    func willConnect(_ configuration: inout MQTTConfiguration) { prepare?(&configuration) }

    func connected(sessionPresent: Bool) {
        connection.reconnects = reconnects
        states.yield(.connected(sessionPresent: sessionPresent))
        let waiters = connectWaiters
        connectWaiters = []
        for waiter in waiters { waiter.resume(returning: .success(())) }
    }

    func disconnected(_ error: MQTTError, retryAt: Duration?) {
        guard retryAt == nil else {
            states.yield(.waiting(after: error))
            return
        }
        states.yield(.disconnected(error))
        let waiters = connectWaiters
        connectWaiters = []
        for waiter in waiters { waiter.resume(returning: .failure(error)) }
        let pending = requests
        requests = [:]
        for (_, request) in pending { request.finish(.failure(error)) }
        for buffer in subscriptions { buffer.finish() }
        subscriptions = []
    }

    func received(_ message: MQTTMessage) -> Bool {
        // Each subscription whose filter matches gets it; it waits until all of them have room.
        for buffer in subscriptions where buffer.matches(message) && buffer.isFull { return false }
        for buffer in subscriptions where buffer.matches(message) { buffer.append(message) }
        return true
    }

    func published(packetID: UInt16) { answer(packetID, .success(nil)) }

    func subscribed(packetID: UInt16, granted: QoS?) {
        answer(packetID, granted.map { .success($0) } ?? .failure(.subscriptionRefused))
    }

    func unsubscribed(packetID: UInt16) { answer(packetID, .success(nil)) }

    func subscriptionLost(filter: [UInt8]) {
        for buffer in subscriptions where buffer.filter == filter { buffer.finish() }
        subscriptions.removeAll { $0.filter == filter }
    }
}

/// Who waits for the answer to a request. Confined to the loop.
final class PendingRequest {
    typealias Continuation = CheckedContinuation<Result<QoS?, MQTTError>, Never>
    private var continuation: Continuation?
    private var isCancelled = false

    func start(_ continuation: Continuation) {
        if isCancelled { return continuation.resume(returning: .failure(.cancelled)) }
        self.continuation = continuation
    }

    func finish(_ result: Result<QoS?, MQTTError>) {
        continuation?.resume(returning: result)
        continuation = nil
    }

    func cancel() {
        isCancelled = true
        finish(.failure(.cancelled))
    }
}

/// Something that has happened or not. Confined to the loop.
final class Flag {
    var isSet = false
}

/// Who waits for the messages of a subscription, once. Confined to the loop.
final class SubscriptionReader {
    var continuation: CheckedContinuation<[MQTTMessage], Never>?
    /// The cancellation may come before the read.
    var isCancelled = false

    func resume(_ messages: [MQTTMessage]) {
        continuation?.resume(returning: messages)
        continuation = nil
    }
}

/// The messages of one subscription that wait for their reader. Confined to the loop.
final class SubscriptionBuffer {
    let filter: [UInt8]
    private let limit: Int
    private var messages: [MQTTMessage] = []
    private var reader: SubscriptionReader?
    private var isFinished = false

    init(filter: [UInt8], limit: Int) {
        self.filter = filter
        self.limit = limit
    }

    var isFull: Bool { messages.count >= limit }

    func matches(_ message: MQTTMessage) -> Bool {
        let topic = message.topic
        let filter = filter
        return TopicFilter.matches(filter.span, topic: topic.span)
    }

    func append(_ message: MQTTMessage) {
        if let reader {
            self.reader = nil
            reader.resume([message])
        } else {
            messages.append(message)
        }
    }

    /// Gives the reader all that is there; waits for a message if there is none. No messages: the end.
    func read(_ reader: SubscriptionReader) {
        if reader.isCancelled {
            reader.resume([])
        } else if messages.isEmpty && !isFinished {
            self.reader?.resume([])
            self.reader = reader
        } else {
            reader.resume(messages)
            messages = []
        }
    }

    func finish() {
        isFinished = true
        reader?.resume([])
        reader = nil
    }

    func cancel(_ reader: SubscriptionReader) {
        reader.isCancelled = true
        guard self.reader === reader else { return }
        reader.resume([])
        self.reader = nil
    }
}
#endif
