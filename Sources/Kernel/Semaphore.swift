/// A counting semaphore.
///
/// ``post()`` is for interrupt handlers too. Where somebody waits, a post hands its unit to the first of them, and the count stays 0: no newcomer
/// overtakes one who waits.
public final class Semaphore: KernelObject, @unchecked Sendable {
    /// The greatest count; a post beyond it throws ``KernelError/overflow``.
    public let limit: Int32
    #if os(none)
    private var units: SemaphoreUnits
    #else
    private let units: SemaphoreUnits
    #endif

    /// A semaphore of `count` units, of at most `limit`.
    public init(_ count: Int32 = 0, limit: Int32 = .max) {
        precondition(count >= 0 && limit > 0 && count <= limit, "a count out of range")
        self.limit = limit
        units = SemaphoreUnits(count)
    }

    /// How many units could be taken now.
    public var count: Int32 { units.count }

    /// Takes a unit; waits for one if there is none.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    @inline(never) public func wait(_ wait: Wait = .forever) throws(KernelError) {
        if units.take() { return }
        let key = lock.enter()
        try checkAlive(key)
        if units.takeOrContest() { return lock.leave(key) }
        try block(key, wait)
    }

    /// Returns a unit: to the first who waits, or to the count.
    @inline(never) public func post() throws(KernelError) {
        if try units.give(limit) { return }
        let key = lock.enter()
        try checkAlive(key)
        var wakeUps = WakeUps()
        if let waiter = unsafe waiters.popFirst() {
            unsafe wakeUps.add(waiter)
            if waiters.isEmpty { units.uncontest() }
        } else if !units.add(limit) {
            lock.leave(key)
            throw .overflow
        }
        lock.leave(key)
        wakeUps.perform()
    }

    /// Gives everyone who waits now a unit; if nobody waits, adds one to the count.
    public func postAll() throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        if !waiters.isEmpty {
            units.uncontest()
            return wakeAll(key)
        }
        lock.leave(key)
        try post()
    }

    override func seal() { units.end() }
}

#if !hasFeature(Embedded)
extension Semaphore {
    /// Takes a unit; awaits one if there is none.
    public nonisolated(nonsending) func wait(_ wait: Wait = .forever) async throws(KernelError) {
        if units.take() { return }
        try await suspend(wait) { _ in units.takeOrContest() }
    }
}
#endif
