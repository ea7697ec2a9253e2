#if os(Linux)
internal import CKernel
internal import Synchronization

extension KernelObject {
    /// Waits in the list: call it with the lock held, it returns without. Throws what the wait ended with, unless that was a grant.
    ///
    /// `behind` is 32 to stand behind all those who wait with 0. `slot` says what is wanted, and takes what is handed over, in the object's own
    /// terms.
    @safe final func block(
        _ key: LockKey,
        _ wait: Wait,
        behind: UInt8 = 0,
        slot: UnsafeMutableRawPointer? = nil
    ) throws(KernelError) {
        guard wait.raw != 0 else {
            lock.leave(key)
            throw .wouldBlock
        }
        let thread = unsafe ckernel_this_thread()
        let waiter = unsafe Waiter.ofThisThread
        unsafe waiter.pointee.rank = ckernel_priority(thread) + behind
        unsafe waiter.pointee.slot = slot
        unsafe waiter.pointee.outcome = .waiting
        unsafe waiter.pointee.word.store(0, ordering: .relaxed)
        unsafe waiters.insert(waiter)
        lock.leave(key)
        let task = KernelTask.current
        unsafe task?.beginWait(for: self, unsafe waiter)
        let deadline = wait == .forever ? .max : wait.deadline(from: KernelClock.units)
        if unsafe !waiter.pointee.park(until: deadline) {
            unsafe end(waiter, .timedOut)
            // Either ended just now, or somebody else is about to end it.
            _ = unsafe waiter.pointee.park(until: .max)
        }
        task?.endWait()
        try unsafe waiter.pointee.outcome.check()
    }

    /// Ends the wait of `waiter` if it still waits here.
    final func end(_ waiter: WaiterPointer, _ outcome: Outcome) {
        var wakeUps = WakeUps()
        lock.withLock {
            guard unsafe waiter.pointee.isListed else { return }
            unsafe waiters.remove(waiter)
            unsafe wakeUps.add(waiter, outcome)
        }
        wakeUps.perform()
    }

    /// Moves `waiter`, if it still waits here, to where another priority belongs: behind those who have it already.
    final func changeRank(of waiter: WaiterPointer, to priority: UInt8) {
        lock.withLock {
            guard unsafe waiter.pointee.isListed else { return }
            unsafe waiters.remove(waiter)
            unsafe waiter.pointee.rank = waiter.pointee.rank & 32 | priority
            unsafe waiters.insert(waiter)
        }
    }

    /// Ends the wait of everyone who waits now: call it with the lock held, it returns without.
    final func wakeAll(_ key: LockKey, _ outcome: Outcome = .granted) {
        var wakeUps = WakeUps()
        while let waiter = unsafe waiters.popFirst() { unsafe wakeUps.add(waiter, outcome) }
        lock.leave(key)
        wakeUps.perform()
    }
}
#endif
