#if !hasFeature(Embedded)
extension MessageQueue {
    /// As the `send(_:_:)` that blocks; awaits a place.
    @inlinable public nonisolated(nonsending) func send(
        _ message: sending Message,
        _ wait: Wait = .forever
    ) async throws(KernelError) {
        try await sendMessage(message, priority: 0, wait)
    }

    /// As the `receive(_:)` that blocks; awaits a message.
    @inlinable public nonisolated(nonsending) func receive(
        _ wait: Wait = .forever
    ) async throws(KernelError) -> sending Message {
        try await receiveOne(wait)
    }

    /// The messages, as they are received; ends when the queue is destroyed or the task is cancelled.
    public var messages: Messages { Messages(queue: self) }

    /// The messages of a queue, as they are received.
    public struct Messages: AsyncSequence, AsyncIteratorProtocol {
        let queue: MessageQueue

        /// Itself.
        public func makeAsyncIterator() -> Messages { self }

        /// The next message; `nil` when the queue is destroyed or the task is cancelled.
        public func next(isolation actor: isolated (any Actor)?) async -> Message? {
            do throws(KernelError) { return try await queue.receive() } catch { return nil }
        }
    }
}

extension PriorityMessageQueue {
    /// As the `send(_:priority:_:)` that blocks; awaits a place.
    @inlinable public nonisolated(nonsending) func send(
        _ message: sending Message,
        priority: Priority,
        _ wait: Wait = .forever
    ) async throws(KernelError) {
        try await sendMessage(message, priority: priority.rawValue, wait)
    }

    /// As the `receive(_:)` that blocks; awaits a message.
    @inlinable public nonisolated(nonsending) func receive(
        _ wait: Wait = .forever
    ) async throws(KernelError) -> sending Message {
        try await receiveOne(wait)
    }
}

extension BlockingQueue {
    @inlinable
    nonisolated(nonsending) final func sendMessage<Message>(
        _ message: sending Message,
        priority: UInt8,
        _ wait: Wait
    ) async throws(KernelError) {
        // Most times there is a place; only a message that waits for one needs memory that outlasts the call.
        if try sendNow(message, priority: priority) { return }
        if wait == .noWait { throw .wouldBlock }
        let place = UnsafeMutablePointer<Message>.allocate(capacity: 1)
        unsafe place.initialize(to: message)
        defer { unsafe place.deallocate() }
        let parcel = unsafe Parcel(place, count: MemoryLayout<Message>.stride, priority: priority)
        do throws(KernelError) { try await send(awaiting: parcel, wait) } catch {
            unsafe place.deinitialize(count: 1)
            throw error
        }
    }

    @inlinable
    nonisolated(nonsending) final func receiveOne<Message>(_ wait: Wait) async throws(KernelError) -> sending Message {
        if let message: Message = try receiveNow() { return message }
        if wait == .noWait { throw .wouldBlock }
        let place = UnsafeMutablePointer<Message>.allocate(capacity: 1)
        defer { unsafe place.deallocate() }
        try await receive(awaiting: unsafe Parcel(place, count: 0), wait)
        nonisolated(unsafe) let message = unsafe place.move()
        return unsafe message
    }

    /// Whether there was a place.
    @inlinable
    final func sendNow<Message>(_ message: Message, priority: UInt8) throws(KernelError) -> Bool {
        do throws(KernelError) { try send(message, priority: priority, .noWait) } catch {
            guard error == .wouldBlock else { throw error }
            return false
        }
        return true
    }

    /// The first message, if there is one.
    @inlinable
    final func receiveNow<Message>() throws(KernelError) -> sending Message? {
        do throws(KernelError) {
            let message: Message = try receiveMessage(.noWait)
            return message
        } catch {
            guard error == .wouldBlock else { throw error }
            return nil
        }
    }

    /// Awaits a place for what is in the parcel.
    @usableFromInline nonisolated(nonsending) final func send(
        awaiting parcel: Parcel,
        _ wait: Wait
    ) async throws(KernelError) {
        let slot = SlotOfParcel(parcel)
        try await suspend(wait, slot: unsafe slot.pointer) { wakeUps in unsafe put(slot.pointer.pointee, &wakeUps) }
    }

    /// Awaits an item for the parcel, and returns how many bytes it has.
    @discardableResult
    @usableFromInline nonisolated(nonsending) final func receive(
        awaiting parcel: Parcel,
        _ wait: Wait
    ) async throws(KernelError) -> Int {
        let slot = SlotOfParcel(parcel)
        try await suspend(wait, slot: unsafe slot.pointer) { wakeUps in unsafe take(&slot.pointer.pointee, &wakeUps) }
        return unsafe slot.pointer.pointee.count
    }
}

/// A parcel that stays where it is while a task awaits.
@safe
private struct SlotOfParcel: ~Copyable {
    let pointer: UnsafeMutablePointer<Parcel>

    init(_ parcel: Parcel) {
        unsafe pointer = .allocate(capacity: 1)
        unsafe pointer.initialize(to: parcel)
    }

    deinit { unsafe pointer.deallocate() }
}
#endif
