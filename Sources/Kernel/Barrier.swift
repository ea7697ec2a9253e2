/// A meeting point: whoever arrives waits until all have arrived, then all go on, and the next round may begin at once.
public final class Barrier: KernelObject, @unchecked Sendable {
    private var size: UInt32

    /// A barrier for `parties`, at least one.
    public init(_ parties: UInt32) {
        precondition(parties > 0, "a barrier for one party at least")
        size = parties
    }

    /// How many meet.
    public var parties: UInt32 { lock.withLock { size } }

    /// How many of this round have arrived.
    public var arrived: UInt32 { lock.withLock { waiters.count } }

    /// Arrives, and waits for the others; returns `true` to the last one only, which does not wait. Who gives up has not arrived.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    @discardableResult
    public func wait(_ wait: Wait = .forever) throws(KernelError) -> Bool {
        let key = lock.enter()
        try checkAlive(key)
        if waiters.count + 1 >= size {
            wakeAll(key)
            return true
        }
        try block(key, wait)
        return false
    }

    /// Changes how many meet, from this round on; if as many have arrived already, they go on.
    public func reset(_ parties: UInt32) throws(KernelError) {
        precondition(parties > 0, "a barrier for one party at least")
        let key = lock.enter()
        try checkAlive(key)
        size = parties
        if waiters.count >= parties { wakeAll(key) } else { lock.leave(key) }
    }
}

#if !hasFeature(Embedded)
extension Barrier {
    /// As the `wait(_:)` that blocks; awaits the others.
    @discardableResult
    public nonisolated(nonsending) func wait(_ wait: Wait = .forever) async throws(KernelError) -> Bool {
        var isLast = false
        try await suspend(wait) { wakeUps in
            guard waiters.count + 1 >= size else { return false }
            isLast = true
            while let waiter = unsafe waiters.popFirst() { unsafe wakeUps.add(waiter) }
            return true
        }
        return isLast
    }
}
#endif
