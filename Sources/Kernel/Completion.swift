/// Something that happens once: whoever waits goes on when it has, and nobody waits after that, until ``reset()``.
public final class Completion: KernelObject, @unchecked Sendable {
    private var isDone = false

    /// A completion that has not happened yet.
    public override init() { super.init() }

    /// Whether it has happened.
    public var isCompleted: Bool { lock.withLock { isDone } }

    /// Waits until it has happened.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func wait(_ wait: Wait = .forever) throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        if isDone { return lock.leave(key) }
        try block(key, wait)
    }

    /// Says that it has happened; everyone who waits goes on. For interrupt handlers too. A second time does nothing.
    public func post() throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        isDone = true
        wakeAll(key)
    }

    /// Makes it something that has not happened yet.
    public func reset() { lock.withLock { isDone = false } }
}

#if !hasFeature(Embedded)
extension Completion {
    /// Awaits that it happens.
    public nonisolated(nonsending) func wait(_ wait: Wait = .forever) async throws(KernelError) {
        try await suspend(wait) { _ in isDone }
    }
}
#endif
