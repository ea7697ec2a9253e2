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

/// A place for a task to wait in for the messages of a subscription; used again and again. Confined to the loop.
final class MessageReader: LoopWaitOwner {
    /// Whoever waits keeps the subscription, and that its buffer.
    private unowned let buffer: MessageBuffer
    let place: LoopWait
    /// Whether it gets nothing: it was cancelled, or another has come.
    var isOver = false

    init(_ buffer: MessageBuffer, on loop: EventLoop) {
        self.buffer = buffer
        place = LoopWait(on: loop)
        place.owner = self
    }

    func waitCancelled() { buffer.end(self) }
}

/// The messages of one subscription that wait for their reader. Confined to the loop.
final class MessageBuffer {
    let filter: [UInt8]
    /// Whether the server was asked for it by this buffer's owner.
    var isSubscribed = false
    private let limit: Int
    private let policy: MQTTBufferPolicy
    // Taking and giving them calls nobody, so accesses need not be tracked at run time.
    @safe @exclusivity(unchecked) private var messages: [MQTTMessage] = []
    private var reader: MessageReader?
    private var spareReader: MessageReader?
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

    func matches(_ topic: Span<UInt8>) -> Bool {
        let filter = filter
        return TopicFilter.matches(filter.span, topic: topic)
    }

    /// Takes a message; returns one that is dropped for it.
    func append(_ message: MQTTMessage) -> MQTTMessage? {
        if isFinished { return message }
        var dropped: MQTTMessage?
        if messages.count >= limit {
            droppedCount += 1
            if policy == .dropNewest { return message }
            dropped = messages.removeFirst()
        }
        messages.append(message)
        reader?.place.finish()
        return dropped
    }

    /// Lets go of what the reader is through with, since it reads on; `release` is called with each.
    func releaseGiven(_ release: (MQTTMessage) -> Void) {
        for message in given { release(message) }
        given.removeAll(keepingCapacity: true)
    }

    /// A place to wait in for messages, or the end; `nil` if there is one already. Who waited there before gets nothing.
    func beginReading(on loop: EventLoop) -> MessageReader? {
        guard messages.isEmpty, !isFinished else { return nil }
        if let reader { end(reader) }
        let reader = spareReader ?? MessageReader(self, on: loop)
        spareReader = nil
        reader.isOver = false
        reader.place.begin()
        self.reader = reader
        return reader
    }

    /// Takes a place back; returns whether its reader gets what has come.
    func endReading(_ reader: MessageReader) -> Bool {
        if self.reader === reader { self.reader = nil }
        spareReader = reader
        return !reader.isOver
    }

    /// Gives the reader all that is there. No messages: the end.
    func take() -> [MQTTMessage] {
        guard given.isEmpty else {
            // Another reader has what is given, and is not through with it.
            let messages = messages
            given += messages
            self.messages.removeAll(keepingCapacity: true)
            return messages
        }
        swap(&given, &messages)
        return given
    }

    /// Ends it. Returns what nobody will read.
    func finish() -> [MQTTMessage] {
        end()
        let rest = given + messages
        given = []
        messages = []
        return rest
    }

    /// Lets the reader have what is there, and then the end.
    func end() {
        isFinished = true
        reader?.place.finish()
    }

    /// Ends the wait of a reader, who gets nothing.
    func end(_ reader: MessageReader) {
        reader.isOver = true
        reader.place.finish()
        if self.reader === reader { self.reader = nil }
    }
}
#endif
