/// What all of the kernel's objects that can be waited for have in common: the list of those who wait, and the end of it.
///
/// Objects are shared: any thread, task or (where a method says so) interrupt handler may use one at any time.
@safe
public class KernelObject: @unchecked Sendable {
    // @unchecked: what is mutable here and in the classes below is touched under `lock`, or atomic.
    @usableFromInline final let lock = ObjectLock()
    final var waiters = WaitList()
    private final var hasEnded = false

    init() {}

    /// Whether ``destroy()`` was called.
    public final var isDestroyed: Bool { lock.withLock { hasEnded } }

    /// Ends the object: everyone who waits for it is woken with ``KernelError/destroyed``, the highest priority first, and every later call
    /// throws that. To drop the last reference is enough where nobody waits.
    public final func destroy() {
        let key = lock.enter()
        hasEnded = true
        seal()
        wakeAll(key, .destroyed)
    }

    /// Closes the ways around the lock, if the object has any; called under the lock.
    func seal() {}

    #if os(none)
    /// Called under the lock when somebody's wait ended otherwise than by what was waited for.
    func waiterLeft() {}
    #endif

    /// Whether the object has been destroyed; call it under the lock.
    final var isEnded: Bool { hasEnded }

    /// Leaves the lock and throws if the object is destroyed.
    final func checkAlive(_ key: LockKey) throws(KernelError) {
        if hasEnded {
            lock.leave(key)
            throw .destroyed
        }
    }
}
