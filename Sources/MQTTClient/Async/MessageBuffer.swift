#if !hasFeature(Embedded)
internal import Kernel

/// What is done about a message for a reader who has as many waiting as there may be.
public enum MQTTBufferPolicy: Sendable {
    /// Nothing more is read from the server until there is room. Nothing is lost, and all subscriptions of the client wait.
    case wait
    /// The oldest message is dropped, and counted.
    case dropOldest
    /// The new message is dropped, and counted.
    case dropNewest
}

/// Who waits for the messages of a subscription, once. Confined to the loop.
final class MessageReader {
    var continuation: Resumer<[MQTTMessage]>?
    /// The cancellation may come before the read.
    var isCancelled = false

    func resume(_ messages: [MQTTMessage]) {
        continuation?.resume(messages)
        continuation = nil
    }
}

/// The messages of one subscription that wait for their reader. Confined to the loop.
final class MessageBuffer {
    let filter: [UInt8]
    /// Whether the server was asked for it by this buffer's owner.
    var isSubscribed = false
    private let limit: Int
    private let policy: MQTTBufferPolicy
    private var messages: [MQTTMessage] = []
    private var reader: MessageReader?
    private var isFinished = false
    /// What the reader has been given, and is not through with.
    private var given: [MQTTMessage] = []
    var droppedCount = 0

    init(filter: [UInt8], limit: Int, policy: MQTTBufferPolicy) {
        self.filter = filter
        self.limit = max(1, limit)
        self.policy = policy
    }

    /// Whether it can take a message, or drop one for it.
    var hasRoom: Bool { messages.count < limit || policy != .wait || isFinished }

    /// Whether the next message goes straight to a reader.
    var hasReader: Bool { reader != nil }

    func matches(_ topic: Span<UInt8>) -> Bool {
        let filter = filter
        return TopicFilter.matches(filter.span, topic: topic)
    }

    /// Takes a message; returns one that is dropped for it.
    func append(_ message: MQTTMessage) -> MQTTMessage? {
        if isFinished { return message }
        if let reader {
            self.reader = nil
            given = [message]
            reader.resume(given)
            return nil
        }
        var dropped: MQTTMessage?
        if messages.count >= limit {
            droppedCount += 1
            if policy == .dropNewest { return message }
            dropped = messages.removeFirst()
        }
        messages.append(message)
        return dropped
    }

    /// Gives the reader all that is there, and tells `gives` before; waits for a message if there is none. No messages: the end. Returns what the reader is through
    /// with, since it reads on.
    func read(_ reader: MessageReader, gives: ([MQTTMessage]) -> Void) -> [MQTTMessage] {
        let done = given
        given = []
        if reader.isCancelled {
            reader.resume([])
        } else if messages.isEmpty && !isFinished {
            self.reader?.resume([])
            self.reader = reader
        } else {
            given = messages
            messages = []
            gives(given)
            reader.resume(given)
        }
        return done
    }

    /// Ends it. Returns what nobody will read.
    func finish() -> [MQTTMessage] {
        isFinished = true
        reader?.resume([])
        reader = nil
        let rest = given + messages
        given = []
        messages = []
        return rest
    }

    /// Lets the reader have what is there, and then the end.
    func end() {
        isFinished = true
        reader?.resume([])
        reader = nil
    }

    func cancel(_ reader: MessageReader) {
        reader.isCancelled = true
        guard self.reader === reader else { return }
        reader.resume([])
        self.reader = nil
    }
}
#endif
