internal import CKernel

/// What a wait ended with.
enum Outcome: UInt8 {
    case waiting, granted, timedOut, destroyed, cancelled, ownerDied

    /// Returns if the wait was granted; else throws.
    func check() throws(KernelError) {
        switch self {
        case .granted: return
        case .timedOut: throw .timedOut
        case .destroyed: throw .destroyed
        case .cancelled: throw .cancelled
        case .ownerDied: throw .ownerDied
        case .waiting: preconditionFailure("a wait went on before it ended")
        }
    }
}

typealias WaiterPointer = UnsafeMutablePointer<Waiter>

/// Those that wait for one thing: the highest priority first, those of equal priority in the order of their arrival.
///
/// The list lies in the waiters themselves, so that waiting allocates nothing. The first of each priority also knows the first of the next one,
/// so that to insert takes as many steps as there are priorities in use, however many wait. Touch it under the lock of its object only.
@safe struct WaitList {
    private(set) var first: WaiterPointer?
    private var last: WaiterPointer?
    /// How many wait.
    private(set) var count: UInt32 = 0

    var isEmpty: Bool { unsafe first == nil }

    /// Appends `waiter` behind all of its priority and of higher ones.
    mutating func insert(_ waiter: WaiterPointer) {
        let rank = unsafe waiter.pointee.rank
        unsafe waiter.pointee.isListed = true
        count &+= 1
        // The last leader whose priority is not lower, and the one behind it.
        var leader: WaiterPointer?
        var after = unsafe first
        while let candidate = unsafe after, unsafe candidate.pointee.rank <= rank {
            unsafe leader = candidate
            unsafe after = candidate.pointee.nextLeader
        }
        // Behind the last waiter before that one.
        let before: WaiterPointer?
        if let after = unsafe after {
            unsafe before = after.pointee.previous
            unsafe after.pointee.previous = waiter
        } else {
            unsafe before = last
            unsafe last = waiter
        }
        unsafe waiter.pointee.previous = before
        unsafe waiter.pointee.next = after
        if let before = unsafe before { unsafe before.pointee.next = waiter } else { unsafe first = waiter }
        if let leader = unsafe leader, unsafe leader.pointee.rank == rank {
            unsafe waiter.pointee.isLeader = false
            return
        }
        unsafe waiter.pointee.isLeader = true
        unsafe waiter.pointee.nextLeader = after
        unsafe waiter.pointee.previousLeader = leader
        unsafe leader?.pointee.nextLeader = waiter
        unsafe after?.pointee.previousLeader = waiter
    }

    /// Takes `waiter` out, wherever it stands.
    @inline(never) mutating func remove(_ waiter: WaiterPointer) {
        let next = unsafe waiter.pointee.next
        let previous = unsafe waiter.pointee.previous
        unsafe waiter.pointee.isListed = false
        count &-= 1
        if let next = unsafe next { unsafe next.pointee.previous = previous } else { unsafe last = previous }
        if let previous = unsafe previous { unsafe previous.pointee.next = next } else { unsafe first = next }
        guard unsafe waiter.pointee.isLeader else { return }
        var heir = unsafe waiter.pointee.nextLeader
        let before = unsafe waiter.pointee.previousLeader
        if let next = unsafe next, unsafe !next.pointee.isLeader {
            unsafe next.pointee.isLeader = true
            unsafe next.pointee.nextLeader = heir
            unsafe heir?.pointee.previousLeader = next
            unsafe heir = next
        }
        unsafe heir?.pointee.previousLeader = before
        unsafe before?.pointee.nextLeader = heir
    }

    /// Takes the first out.
    @inline(__always) mutating func popFirst() -> WaiterPointer? {
        guard let waiter = unsafe first else { return nil }
        unsafe remove(waiter)
        return unsafe waiter
    }
}
