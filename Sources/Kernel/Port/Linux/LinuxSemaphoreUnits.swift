#if os(Linux)
internal import Synchronization

/// The count of a semaphore, which is taken and given without the lock while nobody waits.
struct SemaphoreUnits: ~Copyable {
    /// The count, ``contested`` or ``ended``. It leaves and enters the last two under the lock only.
    private let word: Atomic<Int32>

    /// Somebody waits: the count is 0, and a post must take the lock.
    private static var contested: Int32 { -1 }
    private static var ended: Int32 { -2 }

    init(_ count: Int32) { word = Atomic(count) }

    var count: Int32 { max(0, word.load(ordering: .relaxed)) }

    /// Takes a unit if there is one.
    func take() -> Bool {
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

    /// Adds a unit; `false` if that takes the lock.
    func give(_ limit: Int32) throws(KernelError) -> Bool {
        var current = word.load(ordering: .relaxed)
        while current >= 0 {
            guard current < limit else { throw .overflow }
            let (exchanged, now) = word.weakCompareExchange(
                expected: current,
                desired: current + 1,
                ordering: .releasing
            )
            if exchanged { return true }
            current = now
        }
        return false
    }

    // MARK: Under the lock

    /// Takes a unit, or sees to it that posts look for waiters.
    func takeOrContest() -> Bool {
        while !take() {
            let (exchanged, now) = word.compareExchange(expected: 0, desired: Self.contested, ordering: .relaxed)
            if exchanged || now == Self.contested { return false }
        }
        return true
    }

    /// Adds a unit where nobody waits any more; `false` if there are too many.
    func add(_ limit: Int32) -> Bool {
        var current = word.load(ordering: .relaxed)
        while true {
            // Since the caller saw it contested, others may have taken the lock, and given and taken units without it.
            guard current < limit else { return false }
            let (exchanged, now) = word.weakCompareExchange(
                expected: current,
                desired: max(current, 0) + 1,
                ordering: .releasing
            )
            if exchanged { return true }
            current = now
        }
    }

    /// Nobody waits any more.
    func uncontest() { word.store(0, ordering: .releasing) }

    /// From now on all calls come to the lock.
    func end() { word.store(Self.ended, ordering: .releasing) }
}
#endif
