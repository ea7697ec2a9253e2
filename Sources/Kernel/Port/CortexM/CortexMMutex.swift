#if os(none)
internal import CKernel

/// A recursive mutex with priority inheritance.
///
/// It belongs to the task that locked it. While another waits, the owner runs at the highest priority of those who wait, by way of other mutexes
/// too, until it unlocks or they give up. When an owner ends without unlocking it, the mutex is free, and all who waited get
/// ``KernelError/ownerDied``.
@safe public final class Mutex: KernelObject, @unchecked Sendable {
    private var owner: TaskPointer?
    /// The mutex that the owner had locked before this one.
    private var heldBefore: UnsafeMutableRawPointer?
    /// How often the owner has locked it beyond the first time.
    private var nesting: UInt16 = 0

    /// A mutex that is free.
    public override init() {
        super.init()
        unsafe ckernel().pointee.release = { task in
            while let held = unsafe task.pointee.held { unsafe Mutex.with(held) { unsafe $0.ended(task) } }
        }
    }

    /// Whether the caller's task holds it.
    public var isHeld: Bool { unsafe owner == ckernel().pointee.current && !ckernel_in_interrupt() }

    /// Locks it, once more if the caller holds it already: then up to 65,535 times.
    public func lock(_ wait: Wait = .forever) throws(KernelError) {
        if ckernel_in_interrupt() { throw .inInterrupt }
        let task = unsafe ckernel().pointee.current
        let key = lock.enter()
        if unsafe owner == nil, !isEnded {
            unsafe take(for: task)
            return lock.leave(key)
        }
        try unsafe lockSlowly(task, key, wait)
    }

    /// Unlocks it, as often as it was locked.
    public func unlock() throws(KernelError) {
        let task = unsafe ckernel().pointee.current
        let key = lock.enter()
        guard unsafe owner == task, !ckernel_in_interrupt() else {
            lock.leave(key)
            throw .notOwner
        }
        if nesting > 0 {
            nesting -= 1
            return lock.leave(key)
        }
        unsafe drop(from: task)
        if waiters.isEmpty { unsafe owner = nil } else { handOver() }
        if unsafe task.pointee.priority != task.pointee.basePriority { unsafe Self.settle(task) }
        lock.leave(key)
    }

    /// Calls `body` with the mutex locked.
    public func withLock<Result: ~Copyable>(_ wait: Wait = .forever, _ body: () -> Result) throws(KernelError) -> Result
    {
        try lock(wait)
        let result = body()
        try unlock()
        return result
    }

    @inline(never)
    private func lockSlowly(_ task: TaskPointer, _ key: LockKey, _ wait: Wait) throws(KernelError) {
        try checkAlive(key)
        if unsafe owner == task {
            guard nesting < .max else {
                lock.leave(key)
                throw .overflow
            }
            nesting += 1
            return lock.leave(key)
        }
        do throws(KernelError) {
            try Scheduler.checkMayWait(wait)
            try unsafe checkNoCycle(task)
        } catch {
            lock.leave(key)
            throw error
        }
        unsafe task.pointee.mutex = Unmanaged.passUnretained(self).toOpaque()
        if let owner = unsafe owner { unsafe Self.raise(owner, to: task.pointee.priority) }
        try block(key, wait)
    }

    @inline(__always) private func take(for task: TaskPointer) {
        unsafe owner = task
        unsafe heldBefore = task.pointee.held
        unsafe task.pointee.held = Unmanaged.passUnretained(self).toOpaque()
    }

    /// Notes that `task` does not hold it any more: mostly the last one that it locked.
    @inline(__always) private func drop(from task: TaskPointer) {
        if unsafe task.pointee.held == Unmanaged.passUnretained(self).toOpaque() {
            unsafe task.pointee.held = heldBefore
        } else {
            unsafe dropFromMiddle(task)
        }
    }

    @inline(never) private func dropFromMiddle(_ task: TaskPointer) {
        let place = unsafe Unmanaged.passUnretained(self).toOpaque()
        var later = unsafe task.pointee.held
        while let mutex = unsafe later {
            unsafe later = Self.with(mutex) { mutex in
                let before = unsafe mutex.heldBefore
                guard unsafe before == place else { return unsafe before }
                unsafe mutex.heldBefore = heldBefore
                return nil
            }
        }
    }

    /// Gives it to the first who waits.
    @inline(never) private func handOver() {
        guard let next = unsafe waiters.popFirst() else { return }
        unsafe next.pointee.mutex = nil
        unsafe take(for: next)
        unsafe Scheduler.wake(next, .granted)
    }

    /// Calls `body` with the mutex at a place, which it holds no reference to: whoever holds or waits for a mutex keeps it.
    @inline(__always) private static func with<Result>(_ place: UnsafeMutableRawPointer, _ body: (Mutex) -> Result)
        -> Result
    {
        unsafe Unmanaged<Mutex>.fromOpaque(place)._withUnsafeGuaranteedRef(body)
    }

    /// The owner of the mutex that `task` waits for.
    private static func owner(before task: TaskPointer) -> TaskPointer? {
        guard let mutex = unsafe task.pointee.mutex else { return nil }
        return unsafe with(mutex) { unsafe $0.owner }
    }

    private func checkNoCycle(_ task: TaskPointer) throws(KernelError) {
        var next = unsafe owner
        while let owner = unsafe next {
            if unsafe owner == task { throw .deadlock }
            unsafe next = Self.owner(before: owner)
        }
    }

    /// Lends `priority` to `task`, and to whom it waits for in turn.
    private static func raise(_ task: TaskPointer, to priority: UInt8) {
        var next: TaskPointer? = unsafe task
        while let task = unsafe next, unsafe priority < task.pointee.priority {
            unsafe Scheduler.setPriority(task, priority)
            unsafe next = owner(before: task)
        }
    }

    /// Gives `task` the priority that is its due: its own, or that of the most urgent who waits for one of its mutexes; and then those whom it
    /// waits for.
    @inline(never) static func settle(_ task: TaskPointer) {
        var next: TaskPointer? = unsafe task
        while let task = unsafe next {
            var priority = unsafe task.pointee.basePriority
            var held = unsafe task.pointee.held
            while let mutex = unsafe held {
                unsafe held = with(mutex) { mutex in
                    if let first = unsafe mutex.waiters.first {
                        priority = min(priority, unsafe first.pointee.priority)
                    }
                    return unsafe mutex.heldBefore
                }
            }
            guard unsafe priority != task.pointee.priority else { return }
            unsafe Scheduler.setPriority(task, priority)
            unsafe next = owner(before: task)
        }
    }

    /// Takes back what one who does not wait any longer had lent.
    override func waiterLeft() {
        if let owner = unsafe owner { unsafe Self.settle(owner) }
    }

    /// The mutex of a task that ends is free, and who waited for it is told.
    private func ended(_ task: TaskPointer) {
        let key = lock.enter()
        unsafe task.pointee.held = heldBefore
        unsafe owner = nil
        nesting = 0
        wakeAll(key, .ownerDied)
    }
}
#endif
