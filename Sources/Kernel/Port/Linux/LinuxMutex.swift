#if os(Linux)
internal import CKernel
internal import Glibc
internal import Synchronization

/// A recursive mutex with priority inheritance.
///
/// It belongs to the thread that locked it. While another waits, the owner runs at the highest priority of those who wait, by way of other mutexes
/// too, until it unlocks or they give up: the system does that (futexes of `FUTEX_LOCK_PI`), for threads with a real-time policy. Threads of
/// equal priority get it in the order of their arrival. When an owner ends without unlocking it, the mutex is free, and all who waited get
/// ``KernelError/ownerDied``.
///
/// A Swift task awaits it with `withLock(_:_:)`, whose body does not suspend; a lock that is held over an `await` is a ``Semaphore`` of one unit.
/// Threads that lock it meanwhile may go before a task that is just being woken; it then waits again, behind the others.
@safe public final class Mutex: KernelObject, @unchecked Sendable {
    /// 0, or the owner's thread as the system wants it.
    private let word = Atomic<UInt32>(0)
    private let isSealed = Atomic(false)
    /// How often an owner died.
    private let deaths = Atomic<UInt32>(0)
    /// How many Swift tasks wait, or are about to.
    private let awaiting = Atomic<UInt32>(0)
    /// How often the owner has locked it beyond the first time; the owner's, as is the next.
    private var nesting: UInt16 = 0
    /// The mutex that the owner had locked before this one.
    private var heldBefore: UnsafeMutableRawPointer?
    /// The threads that wait in the system; under the lock.
    private var contenders: UnsafeMutablePointer<Contender>?

    /// A thread that waits in the system.
    @safe private struct Contender {
        /// The first member, whose place the system is told: it looks at it again when ``ckernel_interrupt(_:)`` tells it to.
        var deadline: timespec
        let thread: UInt32
        var outcome = Outcome.waiting
        var next: UnsafeMutablePointer<Contender>?
        var previous: UnsafeMutablePointer<Contender>?
    }

    /// A mutex that is free.
    public override init() {
        _ = ThreadEnd.isPrepared
        super.init()
    }

    deinit {
        let thread = unsafe ckernel_this_thread()
        let owner = word.load(ordering: .relaxed) & ownerBits
        if owner == 0 { return }
        precondition(unsafe owner == thread.pointee.tid, "a mutex is held, and nobody has a reference to it")
        unsafe drop(from: thread)
    }

    /// Whether the caller's thread holds it.
    public var isHeld: Bool { unsafe owner == ckernel_this_thread().pointee.tid }

    private var owner: UInt32 { word.load(ordering: .relaxed) & ownerBits }

    /// Locks it, once more if the caller holds it already: then up to 65,535 times.
    @available(*, noasync, message: "use withLock in async code")
    public func lock(_ wait: Wait = .forever) throws(KernelError) {
        let thread = unsafe ckernel_this_thread()
        if unsafe tryLock(thread) { return }
        try unsafe lockSlowly(thread, wait)
    }

    /// Unlocks it, as often as it was locked.
    @available(*, noasync, message: "use withLock in async code")
    public func unlock() throws(KernelError) {
        let thread = unsafe ckernel_this_thread()
        guard unsafe owner == thread.pointee.tid else { throw .notOwner }
        if nesting > 0 {
            nesting -= 1
            return
        }
        unsafe drop(from: thread)
        unsafe release(thread.pointee.tid)
    }

    /// Calls `body` with the mutex locked.
    @available(*, noasync, message: "await it in async code")
    public func withLock<Result: ~Copyable>(_ wait: Wait = .forever, _ body: () -> Result) throws(KernelError) -> Result
    {
        try lock(wait)
        defer { unlockHeld() }
        return body()
    }

    /// As `withLock(_:_:)`; awaits the mutex.
    public nonisolated(nonsending) func withLock<Result: ~Copyable>(
        _ wait: Wait = .forever,
        _ body: () -> Result
    ) async throws(KernelError) -> Result {
        let limit: Wait = wait.raw > 0 && wait != .forever ? .until(KernelClock.now + .nanoseconds(wait.raw)) : wait
        let before = deaths.load(ordering: .relaxed)
        while !tryLockHere() {
            if isSealed.load(ordering: .relaxed) { throw .destroyed }
            guard limit != .noWait else { throw .wouldBlock }
            awaiting.add(1, ordering: .sequentiallyConsistent)
            defer { awaiting.subtract(1, ordering: .relaxed) }
            // Who unlocks it either sees that somebody awaits it, or leaves it free for this look.
            try await suspend(limit) { _ in owner == 0 }
            guard deaths.load(ordering: .relaxed) == before else { throw .ownerDied }
        }
        defer { unlockHeld() }
        return body()
    }

    private func tryLockHere() -> Bool { unsafe tryLock(ckernel_this_thread()) }

    private func unlockHeld() {
        do throws(KernelError) { try unlock() } catch { preconditionFailure("a mutex was unlocked within withLock") }
    }

    private func tryLock(_ thread: UnsafeMutablePointer<ckernel_thread>) -> Bool {
        guard !isSealed.load(ordering: .relaxed),
            unsafe word.compareExchange(expected: 0, desired: thread.pointee.tid, ordering: .acquiring).exchanged
        else { return false }
        unsafe keep(for: thread)
        return true
    }

    /// Notes that the thread holds it.
    private func keep(for thread: UnsafeMutablePointer<ckernel_thread>) {
        unsafe heldBefore = thread.pointee.held
        unsafe thread.pointee.held = Unmanaged.passUnretained(self).toOpaque()
    }

    /// Notes that the thread does not hold it any more: mostly the last one that it locked.
    private func drop(from thread: UnsafeMutablePointer<ckernel_thread>) {
        let this = unsafe Unmanaged.passUnretained(self).toOpaque()
        if unsafe thread.pointee.held == this {
            unsafe thread.pointee.held = heldBefore
            return
        }
        var later = unsafe thread.pointee.held
        while let mutex = unsafe later.map({ unsafe Unmanaged<Mutex>.fromOpaque($0).takeUnretainedValue() }) {
            if unsafe mutex.heldBefore == this {
                unsafe mutex.heldBefore = heldBefore
                return
            }
            unsafe later = mutex.heldBefore
        }
    }

    private func release(_ thread: UInt32) {
        if !word.compareExchange(expected: thread, desired: 0, ordering: .sequentiallyConsistent).exchanged {
            // Changes nothing, but orders what this owner did and what the next one does for tools that do not see what the system orders.
            word.bitwiseOr(0, ordering: .releasing)
            _ = word.futexUnlockPI()
        }
        if awaiting.load(ordering: .sequentiallyConsistent) > 0 { wakeFirst() }
    }

    private func wakeFirst() {
        var wakeUps = WakeUps()
        lock.withLock { if let waiter = unsafe waiters.popFirst() { unsafe wakeUps.add(waiter) } }
        wakeUps.perform()
    }

    @inline(never)
    private func lockSlowly(_ thread: UnsafeMutablePointer<ckernel_thread>, _ wait: Wait) throws(KernelError) {
        if unsafe owner == thread.pointee.tid {
            guard nesting < .max else { throw .overflow }
            nesting += 1
            return
        }
        if isSealed.load(ordering: .relaxed) { throw .destroyed }
        guard wait != .noWait else { throw .wouldBlock }
        let deadline = wait == .forever ? .max : wait.deadline(from: KernelClock.units)
        var contender = unsafe Contender(deadline: timespec(nanoseconds: deadline), thread: thread.pointee.tid)
        try unsafe withUnsafeMutablePointer(to: &contender) { (contender) throws(KernelError) in
            let key = lock.enter()
            try checkAlive(key)
            unsafe list(contender)
            let deathsBefore = deaths.load(ordering: .relaxed)
            lock.leave(key)
            let task = KernelTask.current
            task?.beginWait(forMutex: self)
            let result = unsafe word.futexLockPI(
                until: UnsafeRawPointer(contender).assumingMemoryBound(to: timespec.self)
            )
            task?.endWait()
            let outcome = lock.withLock {
                unsafe unlist(contender)
                return unsafe contender.pointee.outcome
            }
            if result == 0 {
                // See `release(_:)`.
                _ = word.load(ordering: .acquiring)
                unsafe keep(for: thread)
                if outcome == .waiting, deaths.load(ordering: .relaxed) == deathsBefore { return }
                unlockHeld()
                throw outcome == .destroyed ? .destroyed : outcome == .cancelled ? .cancelled : .ownerDied
            }
            if outcome == .destroyed { throw .destroyed }
            if outcome == .cancelled { throw .cancelled }
            switch result {
            case ETIMEDOUT: throw .timedOut
            case EDEADLK: throw .deadlock
            default: throw .refusedBySystem
            }
        }
    }

    private func list(_ contender: UnsafeMutablePointer<Contender>) {
        unsafe contender.pointee.next = contenders
        unsafe contenders?.pointee.previous = contender
        unsafe contenders = contender
    }

    private func unlist(_ contender: UnsafeMutablePointer<Contender>) {
        let (next, previous) = unsafe (contender.pointee.next, contender.pointee.previous)
        unsafe next?.pointee.previous = previous
        if let previous = unsafe previous { unsafe previous.pointee.next = next } else { unsafe contenders = next }
    }

    /// Ends the waits in the system of one thread, or of all; call it under the lock.
    func endContention(of thread: UInt32? = nil, _ outcome: Outcome) {
        var next = unsafe contenders
        while let contender = unsafe next {
            unsafe next = contender.pointee.next
            if let thread, unsafe contender.pointee.thread != thread { continue }
            unsafe contender.pointee.outcome = outcome
            unsafe contender.pointee.deadline = timespec()
            unsafe ckernel_interrupt(contender.pointee.thread)
        }
    }

    override func seal() {
        isSealed.store(true, ordering: .relaxed)
        endContention(.destroyed)
    }

    /// Frees the mutexes of a thread that ends.
    static func releaseAll(heldBy thread: UnsafeMutablePointer<ckernel_thread>) {
        while let held = unsafe thread.pointee.held {
            let mutex = unsafe Unmanaged<Mutex>.fromOpaque(held).takeUnretainedValue()
            unsafe thread.pointee.held = mutex.heldBefore
            mutex.nesting = 0
            mutex.deaths.add(1, ordering: .relaxed)
            unsafe mutex.release(thread.pointee.tid)
            mutex.wakeAll(mutex.lock.enter(), .ownerDied)
        }
    }
}

/// The bits of a priority-inheriting futex that name its owner.
private let ownerBits: UInt32 = 0x3FFF_FFFF
#endif
