#if os(Linux)
internal import CKernel
internal import CLinux
internal import Synchronization

/// One that waits: a thread, which has one of these for all its life, or one wait of a Swift task.
@safe struct Waiter: ~Copyable {
    var next: WaiterPointer?
    var previous: WaiterPointer?
    var nextLeader: WaiterPointer?
    var previousLeader: WaiterPointer?
    /// The place in the list: the priority, 0 the highest, and 32 more where the object puts some behind all others.
    var rank: UInt8
    var isListed = false
    var isLeader = false
    /// Set under the lock of the object; read by the waiter once `word` is 1.
    var outcome = Outcome.waiting
    /// What the waiter wants, and where it wants it, in the terms of the object.
    var slot: UnsafeMutableRawPointer?
    /// Whether the task was cancelled before it was listed.
    var isCancelled = false
    /// What a Swift task waits for.
    var object: Unmanaged<KernelObject>?
    /// What a Swift task goes on with.
    var continuation: UnsafeContinuation<Void, Never>?
    /// The futex that a thread sleeps on: 0 it waits, 1 the wait is over, 2 it sleeps.
    let word = Atomic<UInt32>(0)

    init(priority: UInt8) { rank = priority }

    /// The calling thread's.
    static var ofThisThread: WaiterPointer {
        let thread = unsafe ckernel_this_thread()
        if let waiter = unsafe thread.pointee.waiter { return unsafe waiter.assumingMemoryBound(to: Waiter.self) }
        let waiter = WaiterPointer.allocate(capacity: 1)
        _ = ThreadEnd.isPrepared
        unsafe waiter.initialize(to: Waiter(priority: ckernel_priority(thread)))
        unsafe thread.pointee.waiter = UnsafeMutableRawPointer(waiter)
        return unsafe waiter
    }
}

extension Waiter {
    /// Sleeps until the wait is over; `false` if the deadline passed before.
    func park(until deadline: Int64) -> Bool {
        for _ in 0..<Self.spins {
            if word.load(ordering: .acquiring) == 1 { return true }
            ckernel_pause()
        }
        if !word.compareExchange(expected: 0, desired: 2, ordering: .acquiring).exchanged,
            word.load(ordering: .acquiring) == 1
        {
            return true
        }
        if deadline == .max {
            while word.load(ordering: .acquiring) != 1 { word.futexWait(while: 2) }
            return true
        }
        while word.load(ordering: .acquiring) != 1 {
            if word.futexWait(while: 2, until: deadline) { return word.load(ordering: .acquiring) == 1 }
        }
        return true
    }

    /// How often a thread looks before it sleeps: about as long as the system takes to put it to sleep. Where there is one processor,
    /// whoever could end the wait does not run meanwhile.
    private static let spins = sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1 ? 200 : 0
}

/// What is done when a thread ends.
enum ThreadEnd {
    /// Makes the system call ``ended(_:)`` for threads that hold or have something.
    static let isPrepared: Bool = {
        unsafe ckernel_at_thread_end { thread in unsafe ThreadEnd.ended(thread) }
        return true
    }()

    private static func ended(_ thread: UnsafeMutablePointer<ckernel_thread>) {
        unsafe Mutex.releaseAll(heldBy: thread)
        if let waiter = unsafe thread.pointee.waiter {
            unsafe thread.pointee.waiter = nil
            unsafe waiter.assumingMemoryBound(to: Waiter.self).deinitialize(count: 1).deallocate()
        }
    }
}

/// Those whose wait has ended, to be woken when the object's lock has been left.
@safe struct WakeUps {
    private var first: WaiterPointer?
    private var last: WaiterPointer?

    /// Ends the wait of `waiter`, which is in no list any more; call it under the lock.
    mutating func add(_ waiter: WaiterPointer, _ outcome: Outcome = .granted) {
        unsafe waiter.pointee.outcome = outcome
        unsafe waiter.pointee.next = nil
        if let last = unsafe last { unsafe last.pointee.next = waiter } else { unsafe first = waiter }
        unsafe last = waiter
    }

    /// Wakes them; call it without the lock.
    consuming func perform() {
        while let waiter = unsafe first {
            // From the store on, a thread's waiter is the thread's again.
            unsafe first = waiter.pointee.next
            if let continuation = unsafe waiter.pointee.continuation {
                unsafe waiter.pointee.word.store(1, ordering: .releasing)
                unsafe ckernel_resume(unsafeBitCast(continuation, to: UnsafeMutableRawPointer.self))
            } else {
                if unsafe waiter.pointee.word.exchange(1, ordering: .acquiringAndReleasing) == 2 {
                    unsafe waiter.pointee.word.futexWake(1)
                }
            }
        }
    }
}
#endif
