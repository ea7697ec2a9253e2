/// A queue of messages between tasks, first in, first out, of fixed capacity.
///
/// A message is moved from its sender to its receiver. Interrupt handlers may send and receive with ``Wait/noWait``.
public final class MessageQueue<Message>: BlockingQueue, @unchecked Sendable {
    /// A queue for `capacity` messages, at least one.
    public init(capacity: Int) {
        super.init(
            capacity: capacity,
            itemBytes: MemoryLayout<Message>.stride,
            alignment: MemoryLayout<Message>.alignment,
            itemsDiffer: false
        )
    }

    deinit { if !_isPOD(Message.self) { flush() } }

    /// Sends `message`; waits for a place if the queue is full.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    @inlinable public func send(_ message: sending Message, _ wait: Wait = .forever) throws(KernelError) {
        try send(message, priority: 0, wait)
    }

    /// Receives the oldest message; waits for one if there is none.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    @inlinable public func receive(_ wait: Wait = .forever) throws(KernelError) -> sending Message {
        try receiveMessage(wait)
    }

    /// Gives each receiver that waits now a copy of `message`; if none waits, sends it, or throws ``KernelError/wouldBlock`` if the queue is full.
    @inlinable public func sendAll(_ message: Message) throws(KernelError) where Message: Sendable {
        try sendAll(message, priority: 0)
    }

    /// Drops all messages. Nobody is woken but the senders who wait for a place.
    @inlinable public func flush() { flush(of: Message.self) }
}

/// A queue of messages between tasks whose most urgent message goes first, and of equally urgent ones the oldest.
public final class PriorityMessageQueue<Message>: PriorityBlockingQueue, @unchecked Sendable {
    /// A queue for `capacity` messages, from 1 to 65,536.
    public init(capacity: Int) {
        super.init(
            capacity: capacity,
            itemBytes: MemoryLayout<Message>.stride,
            alignment: MemoryLayout<Message>.alignment,
            itemsDiffer: false
        )
    }

    deinit { if !_isPOD(Message.self) { flush() } }

    /// Sends `message`; waits for a place if the queue is full.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    @inlinable public func send(
        _ message: sending Message,
        priority: Priority,
        _ wait: Wait = .forever
    ) throws(KernelError) {
        try send(message, priority: priority.rawValue, wait)
    }

    /// Receives the most urgent message; waits for one if there is none.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    @inlinable public func receive(_ wait: Wait = .forever) throws(KernelError) -> sending Message {
        try receiveMessage(wait)
    }

    /// Gives each receiver that waits now a copy of `message`; if none waits, sends it, or throws ``KernelError/wouldBlock`` if the queue is full.
    @inlinable public func sendAll(_ message: Message, priority: Priority) throws(KernelError) where Message: Sendable {
        try sendAll(message, priority: priority.rawValue)
    }

    /// Drops all messages. Nobody is woken but the senders who wait for a place.
    @inlinable public func flush() { flush(of: Message.self) }
}
