#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// The side of an ``MQTTClient`` that lives on the loop: it turns the connection's callbacks into continuations.
final class ClientCore: MQTTConnectionHandler {
    typealias Answer = CheckedContinuation<Result<QoS?, MQTTError>, Never>
    typealias Signal = CheckedContinuation<Result<Void, MQTTError>, Never>

    let connection: MQTTConnection
    var subscriptions: [SubscriptionBuffer] = []
    private let states: AsyncStream<MQTTConnectionState>.Continuation
    private let prepare: (@Sendable (inout MQTTConfiguration) -> Void)?
    private var answers: [UInt16: Answer] = [:]
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

    func wait(for packetID: UInt16, _ answer: Answer) { answers[packetID] = answer }

    func cancelWait(for packetID: UInt16) {
        answers.removeValue(forKey: packetID)?.resume(returning: .failure(.cancelled))
    }

    private func answer(_ packetID: UInt16, _ result: Result<QoS?, MQTTError>) {
        answers.removeValue(forKey: packetID)?.resume(returning: result)
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
        let pending = answers
        answers = [:]
        for (_, answer) in pending { answer.resume(returning: .failure(error)) }
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

/// The messages of one subscription that wait for their reader. Confined to the loop.
final class SubscriptionBuffer {
    typealias Reader = CheckedContinuation<[MQTTMessage], Never>

    let filter: [UInt8]
    private let limit: Int
    private var messages: [MQTTMessage] = []
    private var reader: Reader?
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
            reader.resume(returning: [message])
        } else {
            messages.append(message)
        }
    }

    /// Gives the reader all that is there; waits for a message if there is none. No messages: the end.
    func read(_ reader: Reader) {
        if messages.isEmpty && !isFinished {
            self.reader?.resume(returning: [])
            self.reader = reader
        } else {
            reader.resume(returning: messages)
            messages = []
        }
    }

    func finish() {
        isFinished = true
        reader?.resume(returning: [])
        reader = nil
    }

    func cancelRead() {
        reader?.resume(returning: [])
        reader = nil
    }
}
#endif
