internal import Synchronization

/// A counting semaphore.
///
/// ``post()`` is for interrupt handlers too. Where somebody waits, a post hands its unit to the first of them, and the count stays 0: no newcomer
/// overtakes one who waits.
public final class Semaphore: KernelObject, @unchecked Sendable {
    /// The greatest count; a post beyond it throws ``KernelError/overflow``.
    public let limit: Int32
    /// The count, ``contested`` or ``ended``. It leaves and enters the last two under the lock only.
    private let word: Atomic<Int32>

    /// Somebody waits: the count is 0, and a post must take the lock.
    private static var contested: Int32 { -1 }
    private static var ended: Int32 { -2 }

    /// A semaphore of `count` units, of at most `limit`.
    public init(_ count: Int32 = 0, limit: Int32 = .max) {
        precondition(count >= 0 && limit > 0 && count <= limit, "a count out of range")
        self.limit = limit
        word = Atomic(count)
    }

    /// How many units could be taken now.
    public var count: Int32 { max(0, word.load(ordering: .relaxed)) }

    /// Takes a unit; waits for one if there is none.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func wait(_ wait: Wait = .forever) throws(KernelError) {
        if take() { return }
        let key = lock.enter()
        try checkAlive(key)
        if takeOrContest() { return lock.leave(key) }
        try block(key, wait)
    }

    /// Returns a unit: to the first who waits, or to the count.
    public func post() throws(KernelError) {
        var current = word.load(ordering: .relaxed)
        while current >= 0 {
            guard current < limit else { throw .overflow }
            let (exchanged, now) = word.weakCompareExchange(
                expected: current,
                desired: current + 1,
                ordering: .releasing
            )
            if exchanged { return }
            current = now
        }
        let key = lock.enter()
        try checkAlive(key)
        var wakeUps = WakeUps()
        if let waiter = unsafe waiters.popFirst() {
            unsafe wakeUps.add(waiter)
            if waiters.isEmpty { word.store(0, ordering: .releasing) }
        } else {
            word.store(1, ordering: .releasing)
        }
        lock.leave(key)
        wakeUps.perform()
    }

    /// Gives everyone who waits now a unit; if nobody waits, adds one to the count.
    public func postAll() throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        if !waiters.isEmpty {
            word.store(0, ordering: .releasing)
            return wakeAll(key)
        }
        lock.leave(key)
        try post()
    }

    private func take() -> Bool {
        var current = word.load(ordering: .relaxed)
        while current > 0 {
            let (exchanged, now) = word.weakCompareExchange(
                expected: current,
                desired: current - 1,
                ordering: .acquiring
            )
            if exchanged { return true }
            current = now
        }
        return false
    }

    /// Takes a unit, or sees to it that posts look for waiters; call it under the lock.
    private func takeOrContest() -> Bool {
        while !take() {
            let (exchanged, now) = word.compareExchange(expected: 0, desired: Self.contested, ordering: .relaxed)
            if exchanged || now == Self.contested { return false }
        }
        return true
    }

    override func seal() { word.store(Self.ended, ordering: .releasing) }
}

#if !hasFeature(Embedded)
extension Semaphore {
    /// Takes a unit; awaits one if there is none.
    public nonisolated(nonsending) func wait(_ wait: Wait = .forever) async throws(KernelError) {
        if take() { return }
        try await suspend(wait) { _ in takeOrContest() }
    }
}
#endif
