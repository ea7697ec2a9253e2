#if os(none)
internal import CKernel

/// One that waits: a task.
typealias Waiter = ckernel_task

/// What ``ObjectLock/enter()`` returns and ``ObjectLock/leave(_:)`` wants back: whether interrupts were masked.
struct LockKey {
    let mask: UInt32
}

/// The lock of a kernel object: interrupts are masked, and so no other task runs either.
@usableFromInline struct ObjectLock: ~Copyable {
    @usableFromInline init() {}

    @inline(__always) func enter() -> LockKey { LockKey(mask: ckernel_mask()) }

    @inline(__always) func leave(_ key: LockKey) { ckernel_unmask(key.mask) }

    @inline(__always) func withLock<Result>(_ body: () -> Result) -> Result {
        let key = enter()
        defer { leave(key) }
        return body()
    }
}

/// Those whose wait has ended: they are made ready at once.
struct WakeUps {
    @inline(__always) init() {}

    @inline(__always) mutating func add(_ waiter: WaiterPointer, _ outcome: Outcome = .granted) {
        unsafe Scheduler.wake(waiter, outcome)
    }

    @inline(__always) consuming func perform() {}
}

extension KernelObject {
    /// Waits in the list: call it with the lock held, it returns without. Throws what the wait ended with, unless that was a grant.
    ///
    /// `behind` is 32 to stand behind all those who wait with 0. `slot` says what is wanted, and takes what is handed over, in the object's own
    /// terms.
    @inline(never) @safe final func block(
        _ key: LockKey,
        _ wait: Wait,
        behind: UInt8 = 0,
        slot: UnsafeMutableRawPointer? = nil
    ) throws(KernelError) {
        let task = unsafe ckernel().pointee.current
        do throws(KernelError) { try Scheduler.checkMayWait(wait) } catch {
            lock.leave(key)
            throw error
        }
        unsafe task.pointee.rank = task.pointee.priority &+ behind
        unsafe task.pointee.slot = slot
        unsafe task.pointee.object = Unmanaged.passUnretained(self).toOpaque()
        unsafe ckernel().pointee.leave = { waiter, outcome in
            unsafe Unmanaged<KernelObject>.fromOpaque(waiter.pointee.object.unsafelyUnwrapped)._withUnsafeGuaranteedRef
            {
                unsafe $0.take(waiter, Outcome(rawValue: outcome).unsafelyUnwrapped)
            }
        }
        unsafe waiters.insert(task)
        unsafe Scheduler.sleep(task, wait)
        ckernel_unmask_now(key.mask)
        // Here it goes on when the wait is over.
        try unsafe Outcome(rawValue: task.pointee.outcome).unsafelyUnwrapped.check()
    }

    /// Ends the wait of `waiter` if it still waits here.
    final func end(_ waiter: WaiterPointer, _ outcome: Outcome) {
        lock.withLock { if unsafe waiter.pointee.isListed { unsafe take(waiter, outcome) } }
    }

    /// Ends the wait of `waiter`, which waits here; call it under the lock.
    final func take(_ waiter: WaiterPointer, _ outcome: Outcome) {
        unsafe waiters.remove(waiter)
        unsafe Scheduler.wake(waiter, outcome)
        waiterLeft()
    }

    /// Moves `waiter` to where another priority belongs: behind those who have it already. Call it under the lock.
    final func changeRank(of waiter: WaiterPointer, to priority: UInt8) {
        unsafe waiters.remove(waiter)
        unsafe waiter.pointee.rank = waiter.pointee.rank & 32 | priority
        unsafe waiters.insert(waiter)
    }

    /// Ends the wait of everyone who waits now: call it with the lock held, it returns without. No task runs meanwhile, so that none comes to
    /// wait again, but interrupts are masked for one of them at a time.
    @inline(never) final func wakeAll(_ key: LockKey, _ outcome: Outcome = .granted) {
        unsafe ckernel().pointee.locks &+= 1
        while let waiter = unsafe waiters.popFirst() {
            unsafe Scheduler.wake(waiter, outcome)
            lock.leave(key)
            _ = lock.enter()
        }
        unsafe ckernel().pointee.locks &-= 1
        waiterLeft()
        Scheduler.choose()
        lock.leave(key)
    }
}
#endif
