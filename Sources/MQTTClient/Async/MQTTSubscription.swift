#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// The messages of a subscription, in the order of their arrival. For one reader at a time.
///
/// The sequence ends when the client is disconnected or unsubscribes, or the reading task is cancelled.
public final class MQTTSubscription: AsyncSequence, Sendable {
    /// The topic filter.
    public let filter: String
    private let client: MQTTClient
    let buffer: LoopConfined<MessageBuffer>
    let grantedCode = Guarded<UInt8?>(nil)
    private let loop: EventLoop

    init(client: MQTTClient, buffer: LoopConfined<MessageBuffer>, loop: EventLoop, filter: String) {
        self.client = client
        self.buffer = buffer
        self.loop = loop
        self.filter = filter
    }

    deinit {
        let (client, buffer) = (client, buffer)
        loop.execute { client.assumeIsolated { $0.abandon(buffer.value) } }
    }

    /// The guarantee that the server granted; `nil` for ``MQTTClient/messages(matching:limit:whenFull:)``.
    public var granted: QoS? { grantedCode.withLock { $0 }.flatMap { QoS(rawValue: $0) } }

    /// How many messages were dropped since the reader was too slow.
    public var droppedCount: Int {
        get async { await loop.call { [buffer] in buffer.value.droppedCount } }
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
                // Its memory is used again.
                batch = []
                batch = await subscription.client.read(subscription.buffer)
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
