#if os(Linux)
internal import CKernel
internal import Synchronization

/// What ``ObjectLock/enter()`` returns and ``ObjectLock/leave(_:)`` wants back; bare metal has the interrupt mask in it.
struct LockKey {}

/// The lock of one kernel object, held for a few instructions: a word, taken by one atomic operation and given back by another.
@usableFromInline struct ObjectLock: ~Copyable {
    /// 0 free, 1 held, 2 held and somebody may sleep.
    private let word = Atomic<UInt32>(0)

    func enter() -> LockKey {
        if !word.weakCompareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged { contend() }
        return LockKey()
    }

    func leave(_: LockKey) {
        if word.exchange(0, ordering: .releasing) == 2 { word.futexWake(1) }
    }

    func withLock<Result>(_ body: () -> Result) -> Result {
        let key = enter()
        defer { leave(key) }
        return body()
    }

    @inline(never) private func contend() {
        // The holder needs it for some ten nanoseconds, unless the system has taken its processor away. Who looks less often leaves the word's
        // cache line to who works with it: two threads at one queue then take turns of many messages each.
        var pauses = 8
        while pauses <= 256 {
            for _ in 0..<pauses { ckernel_pause() }
            if word.load(ordering: .relaxed) == 0,
                word.weakCompareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged
            {
                return
            }
            pauses *= 2
        }
        while word.exchange(2, ordering: .acquiring) != 0 { word.futexWait(while: 2) }
    }
}
#endif
