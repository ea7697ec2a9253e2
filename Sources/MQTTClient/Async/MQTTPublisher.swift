#if !hasFeature(Embedded)
internal import Kernel

/// Publishes from any thread or task, without waiting: messages are gathered, and go to the client's loop together, so that thousands cost one switch of
/// threads. Use ``flush()`` to learn that the server has them.
public final class MQTTPublisher: Sendable {
    private struct Shared {
        /// The messages one after another: length of the topic (2), length of the payload (4), flags, topic, payload.
        var bytes: [UInt8] = []
        var isScheduled = false
    }

    /// How many bytes may wait to be taken by the loop.
    public let byteLimit: Int
    private let shared = Guarded(Shared())
    private let core: LoopConfined<MQTTPublisherCore>
    private let client: MQTTClient

    /// A publisher for `client`; `byteLimit` bytes may wait in it.
    public init(_ client: MQTTClient, byteLimit: Int = 1_048_576) {
        self.client = client
        self.byteLimit = byteLimit
        core = LoopConfined(MQTTPublisherCore(client.coreOnLoop.value))
    }

    /// Has a message published. Throws ``MQTTError/queueFull(limit:)`` when too much waits: call ``flush()`` then, or later again.
    public func publish(
        _ payload: Span<UInt8>,
        to topic: Span<UInt8>,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false
    ) throws(MQTTError) {
        guard TopicFilter.isValidName(topic) else { throw .invalidTopicName }
        let mustSchedule = try shared.withLock { shared throws(MQTTError) -> Bool in
            guard shared.bytes.count + payload.count + topic.count <= byteLimit || shared.bytes.isEmpty else {
                throw .queueFull(limit: byteLimit)
            }
            shared.bytes.appendInteger(UInt16(topic.count))
            shared.bytes.appendInteger(UInt16(truncatingIfNeeded: payload.count >> 16))
            shared.bytes.appendInteger(UInt16(truncatingIfNeeded: payload.count))
            shared.bytes.append(qos.rawValue << 1 | (isRetained ? 1 : 0))
            shared.bytes.append(topic)
            shared.bytes.append(payload)
            defer { shared.isScheduled = true }
            return !shared.isScheduled
        }
        if mustSchedule { schedule() }
    }

    /// Has text published, as ``publish(_:to:qos:isRetained:)-(Span<UInt8>,_,_,_)`` does bytes.
    public func publish(
        _ text: String,
        to topic: String,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false
    ) throws(MQTTError) {
        try publish(text.utf8.span, to: topic.utf8.span, qos: qos, isRetained: isRetained)
    }

    private func schedule() {
        client.loop.execute { [shared, core] in
            core.value.take { spare in
                shared.withLock { shared in
                    swap(&shared.bytes, &spare)
                    shared.isScheduled = false
                }
            }
        }
    }

    /// Returns when the server has acknowledged all messages that were published before; throws the first error that one of them met since the last call.
    public func flush() async throws(MQTTError) {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Void, MQTTError>, Never>) in
            client.loop.execute { [core] in core.value.whenDone { continuation.resume(returning: $0) } }
        }
        try result.get()
    }
}

/// The side of an ``MQTTPublisher`` that lives on the loop.
final class MQTTPublisherCore {
    private let core: ClientCore
    /// What was taken over and waits for room; what of it is published already.
    private var bytes: [UInt8] = []
    private var position = 0
    private var underWay = 0
    private var failure: MQTTError?
    private var waiters: [(Result<Void, MQTTError>) -> Void] = []
    /// Messages lie with the publisher, which could not be taken over yet.
    private var owed: ((inout [UInt8]) -> Void)?

    init(_ core: ClientCore) { self.core = core }

    /// Takes over what `exchange` puts in place of an empty buffer.
    func take(_ exchange: @escaping (inout [UInt8]) -> Void) {
        guard position == bytes.count else {
            owed = exchange
            return
        }
        bytes.removeAll(keepingCapacity: true)
        position = 0
        exchange(&bytes)
        publish()
    }

    private func publish() {
        let bytes = self.bytes
        let span = bytes.span
        while position < span.count {
            let topicStart = position + 7
            let topicEnd = topicStart + (Int(span[position]) << 8 | Int(span[position + 1]))
            var count = 0
            for index in 2..<6 { count = count << 8 | Int(span[position + index]) }
            let flags = span[position + 6]
            do throws(MQTTError) {
                let number = try core.connection.publish(
                    topic: span.extracting(topicStart..<topicEnd),
                    payload: span.extracting(topicEnd..<(topicEnd + count)),
                    qos: QoS(rawValue: flags >> 1) ?? .atMostOnce,
                    isRetained: flags & 1 != 0
                )
                if let number {
                    core.waiters.add(number, .publisher(self))
                    underWay += 1
                }
            } catch {
                if case .queueFull = error, !core.connection.isIdle {
                    core.roomHandlers.append { [weak self] in self?.publish() }
                    return
                }
                if failure == nil { failure = error }
            }
            position = topicEnd + count
        }
        if let exchange = owed {
            owed = nil
            return take(exchange)
        }
        tellIfDone()
    }

    func finished(_ result: RequestResult) {
        underWay -= 1
        if case .failure(let error) = result, failure == nil { failure = error }
        tellIfDone()
    }

    func whenDone(_ body: @escaping (Result<Void, MQTTError>) -> Void) {
        waiters.append(body)
        tellIfDone()
    }

    private func tellIfDone() {
        guard underWay == 0, position == bytes.count, owed == nil, !waiters.isEmpty else { return }
        let (told, result) = (waiters, failure.map { Result<Void, MQTTError>.failure($0) } ?? .success(()))
        waiters = []
        failure = nil
        for waiter in told { waiter(result) }
    }
}
#endif
