/// A gate that opens when it has been counted down to zero, and stays open until ``reset(_:)``.
public final class CountdownLatch: KernelObject, @unchecked Sendable {
    private var left: UInt32

    /// A latch that opens after `count` calls of ``countDown()``; at once if that is 0.
    public init(_ count: UInt32) { left = count }

    /// How many calls of ``countDown()`` are left.
    public var count: UInt32 { lock.withLock { left } }

    /// Waits until it opens.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func wait(_ wait: Wait = .forever) throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        if left == 0 { return lock.leave(key) }
        try block(key, wait)
    }

    /// Counts one down; at zero everyone who waits goes on. Throws ``KernelError/overflow`` if it is open already. For interrupt handlers too.
    public func countDown() throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        guard left > 0 else {
            lock.leave(key)
            throw .overflow
        }
        left -= 1
        if left == 0 { wakeAll(key) } else { lock.leave(key) }
    }

    /// Sets what is left; who waits goes on waiting, unless that is 0.
    public func reset(_ count: UInt32) throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        left = count
        if count == 0 { wakeAll(key) } else { lock.leave(key) }
    }
}

#if !hasFeature(Embedded)
extension CountdownLatch {
    /// Awaits that it opens.
    public nonisolated(nonsending) func wait(_ wait: Wait = .forever) async throws(KernelError) {
        try await suspend(wait) { _ in left == 0 }
    }
}
#endif
