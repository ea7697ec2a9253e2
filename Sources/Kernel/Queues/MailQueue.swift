/// A queue of mails between tasks, first in, first out: each up to so many bytes, which are copied in and out.
///
/// Interrupt handlers may send and receive with ``Wait/noWait``.
public final class MailQueue: BlockingQueue, @unchecked Sendable {
    /// How many bytes a mail has at most.
    public var mailBytes: Int { itemBytes }

    /// A queue for `capacity` mails, at least one, of up to `mailBytes` bytes each.
    public init(capacity: Int, mailBytes: Int) {
        super.init(capacity: capacity, itemBytes: mailBytes, alignment: 1, itemsDiffer: true)
    }

    /// Sends `mail`; waits for a place if the queue is full. Throws ``KernelError/wrongSize`` if it has more than ``mailBytes``.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func send(_ mail: Span<UInt8>, _ wait: Wait = .forever) throws(KernelError) {
        try send(mail, priority: 0, wait)
    }

    /// Receives the oldest mail into `buffer`, and returns how many bytes it has; waits for one if there is none. Throws
    /// ``KernelError/wrongSize`` if the buffer has room for less than ``mailBytes``.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func receive(into buffer: inout MutableSpan<UInt8>, _ wait: Wait = .forever) throws(KernelError) -> Int {
        try receiveMail(into: &buffer, wait)
    }

    /// Gives each receiver that waits now a copy of `mail`; if none waits, sends it, or throws ``KernelError/wouldBlock`` if the queue is full.
    public func sendAll(_ mail: Span<UInt8>) throws(KernelError) { try sendAll(mail, priority: 0) }

    /// Drops all mails. Nobody is woken but the senders who wait for a place.
    public func flush() { unsafe flush { _ in } }
}

/// A queue of mails between tasks whose most urgent mail goes first, and of equally urgent ones the oldest.
public final class PriorityMailQueue: PriorityBlockingQueue, @unchecked Sendable {
    /// How many bytes a mail has at most.
    public var mailBytes: Int { itemBytes }

    /// A queue for `capacity` mails, from 1 to 65,536, of up to `mailBytes` bytes each.
    public init(capacity: Int, mailBytes: Int) {
        super.init(capacity: capacity, itemBytes: mailBytes, alignment: 1, itemsDiffer: true)
    }

    /// Sends `mail`; waits for a place if the queue is full. Throws ``KernelError/wrongSize`` if it has more than ``mailBytes``.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func send(_ mail: Span<UInt8>, priority: Priority, _ wait: Wait = .forever) throws(KernelError) {
        try send(mail, priority: priority.rawValue, wait)
    }

    /// Receives the most urgent mail into `buffer`, and returns how many bytes it has; waits for one if there is none. Throws
    /// ``KernelError/wrongSize`` if the buffer has room for less than ``mailBytes``.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func receive(into buffer: inout MutableSpan<UInt8>, _ wait: Wait = .forever) throws(KernelError) -> Int {
        try receiveMail(into: &buffer, wait)
    }

    /// Gives each receiver that waits now a copy of `mail`; if none waits, sends it, or throws ``KernelError/wouldBlock`` if the queue is full.
    public func sendAll(_ mail: Span<UInt8>, priority: Priority) throws(KernelError) {
        try sendAll(mail, priority: priority.rawValue)
    }

    /// Drops all mails. Nobody is woken but the senders who wait for a place.
    public func flush() { unsafe flush { _ in } }
}

extension BlockingQueue {
    final func send(_ mail: Span<UInt8>, priority: UInt8, _ wait: Wait) throws(KernelError) {
        guard mail.count <= itemBytes else { throw .wrongSize }
        try unsafe mail.withUnsafeBytes { (bytes) throws(KernelError) in
            var parcel = unsafe Parcel(mail: bytes, priority: priority)
            try send(&parcel, wait)
        }
    }

    final func receiveMail(into buffer: inout MutableSpan<UInt8>, _ wait: Wait) throws(KernelError) -> Int {
        guard buffer.count >= itemBytes else { throw .wrongSize }
        return try unsafe buffer.withUnsafeMutableBytes { (bytes) throws(KernelError) in
            var parcel = unsafe Parcel(mail: UnsafeRawBufferPointer(bytes), priority: 0)
            try receive(&parcel, wait)
            return parcel.count
        }
    }

    final func sendAll(_ mail: Span<UInt8>, priority: UInt8) throws(KernelError) {
        guard mail.count <= itemBytes else { throw .wrongSize }
        try unsafe mail.withUnsafeBytes { (bytes) throws(KernelError) in
            var parcel = unsafe Parcel(mail: bytes, priority: priority)
            _ = try unsafe sendAll(&parcel) { destination in
                if let source = bytes.baseAddress {
                    unsafe destination.copyMemory(from: source, byteCount: bytes.count)
                }
            }
        }
    }
}

extension Parcel {
    /// The bytes of a mail, which an empty one need not have.
    init(mail: UnsafeRawBufferPointer, priority: UInt8) {
        let none = unsafe UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        unsafe self.init(
            UnsafeMutableRawPointer(mutating: mail.baseAddress ?? none),
            count: mail.count,
            priority: priority
        )
    }
}
