#if os(none)
internal import CKernel

/// A task of the kernel.
///
/// It runs until its body returns; dropping the last reference does not end it. A task that is made before ``Scheduler/start(ticksPerSecond:)`` runs from
/// then on.
@safe
public final class KernelTask: @unchecked Sendable {
    // @unchecked: the task's block is touched with interrupts masked; the rest does not change.

    /// What a task does.
    public enum State: Sendable {
        /// It runs, or could.
        case ready
        /// It waits for an object.
        case waiting
        /// It waits in ``KernelTask/delay(_:)``.
        case delayed
        /// It was suspended, and goes on when it is resumed.
        case suspended
        /// Its body has returned.
        case ended
    }

    /// What it is called.
    public let name: StaticString
    /// Until it is called.
    private var body: (() -> Void)?
    private let block: TaskPointer
    private let stackWords: Int
    /// Whether the memory is of the heap.
    private let isOwn: Bool

    /// Starts a task with at least `stackBytes` of stack, which come from the heap like all of it; 256 is the least, and the usual where that is 0 is
    /// 1,024. Throws ``KernelError/refusedBySystem`` when there is no memory.
    public convenience init(
        _ name: StaticString = "task",
        priority: Priority = .normal,
        stackBytes: Int = 0,
        body: @escaping () -> Void
    ) throws(KernelError) {
        Self.reap()
        let bytes = Self.overhead + max(256, stackBytes == 0 ? 1024 : stackBytes)
        guard let memory = unsafe ckernel_allocate(bytes) else { throw .refusedBySystem }
        unsafe self.init(
            name,
            priority: priority,
            memory: UnsafeMutableRawBufferPointer(start: memory, count: bytes),
            isOwn: true,
            body: body
        )
    }

    /// Starts a task in `memory`, which is aligned to 8 bytes, has ``overhead`` bytes and the stack, and is the task's until it has ended.
    public convenience init(
        _ name: StaticString = "task",
        priority: Priority = .normal,
        memory: UnsafeMutableRawBufferPointer,
        body: @escaping () -> Void
    ) {
        unsafe self.init(name, priority: priority, memory: memory, isOwn: false, body: body)
    }

    /// How many bytes of its memory a task needs beside its stack.
    public static var overhead: Int { unsafe MemoryLayout<ckernel_task>.stride }

    private init(
        _ name: StaticString,
        priority: Priority,
        memory: UnsafeMutableRawBufferPointer,
        isOwn: Bool,
        body: @escaping () -> Void
    ) {
        precondition(memory.count >= Self.overhead + 128, "not enough memory for a task")
        self.name = name
        self.body = body
        self.isOwn = isOwn
        stackWords = (memory.count - Self.overhead) / 8 * 2
        // The stack grows downwards, away from the task's block.
        let stack = unsafe memory.baseAddress.unsafelyUnwrapped
        unsafe block = (stack + stackWords * 4).assumingMemoryBound(to: ckernel_task.self)
        unsafe ckernel_prepare(block, stack.assumingMemoryBound(to: UInt32.self), UInt32(stackWords))
        unsafe block.pointee.priority = priority.rawValue
        unsafe block.pointee.basePriority = priority.rawValue
        // While it runs it keeps itself alive.
        unsafe block.pointee.owner = Unmanaged.passRetained(self).toOpaque()
        let key = ckernel_mask()
        unsafe Scheduler.makeReady(block)
        ckernel_unmask(key)
    }

    deinit {
        if let joiners = unsafe block.pointee.joiners { unsafe Unmanaged<KernelObject>.fromOpaque(joiners).release() }
        if isOwn { unsafe ckernel_free(block.pointee.stack) }
    }

    /// The task that the caller is; `nil` before the start and in interrupt handlers.
    public static var current: KernelTask? {
        guard Scheduler.isRunning, !ckernel_in_interrupt(), let owner = unsafe ckernel().pointee.current.pointee.owner
        else { return nil }
        return unsafe Unmanaged<KernelTask>.fromOpaque(owner).takeUnretainedValue()
    }

    /// What it does now.
    public var state: State {
        let key = ckernel_mask()
        defer { ckernel_unmask(key) }
        if unsafe block.pointee.hasEnded { return .ended }
        if unsafe block.pointee.isSuspended { return .suspended }
        if unsafe block.pointee.isDelayed { return .delayed }
        return unsafe block.pointee.isListed ? .waiting : .ready
    }

    /// How urgent it is, without what it inherits from those who wait for its mutexes. A change takes effect at once, for a task that waits
    /// or is suspended too.
    public var priority: Priority {
        get { unsafe Priority(rawValue: block.pointee.basePriority) }
        set {
            let key = ckernel_mask()
            unsafe block.pointee.basePriority = newValue.rawValue
            unsafe Mutex.settle(block)
            ckernel_unmask(key)
        }
    }

    /// How many ticks it may run while others of its priority could, before they have their turn: up to 65,535. 0, which it is at first, means
    /// a tenth of a second. It holds from the next turn on.
    public var timeSlice: Int {
        get { unsafe Int(block.pointee.wholeSlice) }
        set { unsafe block.pointee.wholeSlice = UInt16(clamping: newValue) }
    }

    /// How urgent it is now, with what it inherits.
    public var inheritedPriority: Priority { unsafe Priority(rawValue: block.pointee.priority) }

    /// Whether ``cancel()`` was called.
    public var isCancelled: Bool { unsafe block.pointee.isCancelled }

    /// How many bytes of its stack it has never used.
    public var unusedStackBytes: Int {
        let stack = unsafe block.pointee.stack
        var words = 0
        while words < stackWords, unsafe stack[words] == CKERNEL_UNTOUCHED { words += 1 }
        return words * 4
    }

    /// Asks it to end: what it waits for throws ``KernelError/cancelled``, now and from now on. Its body is to return then.
    public func cancel() {
        let key = ckernel_mask()
        unsafe block.pointee.isCancelled = true
        endWait(.cancelled)
        ckernel_unmask(key)
    }

    /// Suspends it until ``resume()``, at once. A wait goes on meanwhile, and what it is granted is not lost.
    public func suspend() throws(KernelError) {
        let key = ckernel_mask()
        defer { ckernel_unmask_now(key) }
        if unsafe block.pointee.hasEnded { throw .wrongState }
        if unsafe block == ckernel().pointee.current, unsafe ckernel().pointee.locks != 0 { throw .schedulerLocked }
        unsafe block.pointee.isSuspended = true
        guard unsafe block.pointee.isReady else { return }
        unsafe Scheduler.makeUnready(block)
        Scheduler.choose()
    }

    /// Lets it go on; throws ``KernelError/wrongState`` if it was not suspended. For interrupt handlers too.
    public func resume() throws(KernelError) {
        let key = ckernel_mask()
        defer { ckernel_unmask(key) }
        guard unsafe block.pointee.isSuspended else { throw .wrongState }
        unsafe block.pointee.isSuspended = false
        if unsafe block.pointee.outcome != Outcome.waiting.rawValue { unsafe Scheduler.makeReady(block) }
    }

    /// Waits until it has ended.
    public func join(_ wait: Wait = .forever) throws(KernelError) {
        if unsafe block == ckernel().pointee.current { throw .deadlock }
        let joiners = self.joiners()
        let key = joiners.lock.enter()
        if unsafe block.pointee.hasEnded { return joiners.lock.leave(key) }
        try joiners.block(key, wait)
    }

    /// Those who join it: most tasks have none.
    private func joiners() -> Joiners {
        let new = Joiners()
        let key = ckernel_mask()
        defer { ckernel_unmask(key) }
        if let present = unsafe block.pointee.joiners {
            return unsafe Unmanaged<Joiners>.fromOpaque(present).takeUnretainedValue()
        }
        unsafe block.pointee.joiners = unsafe Unmanaged.passRetained(new).toOpaque()
        unsafe ckernel().pointee.tell = { joiners in
            let joiners = unsafe Unmanaged<Joiners>.fromOpaque(joiners).takeUnretainedValue()
            joiners.wakeAll(joiners.lock.enter())
        }
        return new
    }

    /// Cuts its delay short; throws ``KernelError/wrongState`` if it is in none. For interrupt handlers too.
    public func abortDelay() throws(KernelError) {
        let key = ckernel_mask()
        defer { ckernel_unmask(key) }
        guard unsafe block.pointee.isDelayed else { throw .wrongState }
        unsafe Scheduler.wake(block, .granted)
    }

    /// Stops the calling task for a time; yields if that is ``Wait/noWait``. Returns `false` if it was cut short.
    @inline(never) @discardableResult
    public static func delay(_ time: Wait) throws(KernelError) -> Bool {
        if time == .noWait {
            yield()
            return true
        }
        let task = unsafe ckernel().pointee.current
        let key = ckernel_mask()
        do throws(KernelError) { try Scheduler.checkMayWait(time) } catch {
            ckernel_unmask(key)
            throw error
        }
        unsafe task.pointee.isDelayed = true
        unsafe Scheduler.sleep(task, time)
        ckernel_unmask_now(key)
        let outcome = unsafe Outcome(rawValue: task.pointee.outcome).unsafelyUnwrapped
        if outcome == .cancelled { throw .cancelled }
        return outcome == .timedOut
    }

    /// Lets others run that are as urgent.
    @inline(never) public static func yield() {
        if ckernel_in_interrupt() { return }
        let key = ckernel_mask()
        unsafe Scheduler.giveTurn(ckernel().pointee.current)
        ckernel_unmask_now(key)
    }

    /// Ends its wait or delay, if it is in one; call it with interrupts masked.
    private func endWait(_ outcome: Outcome) {
        if unsafe block.pointee.isListed || block.pointee.isDelayed { unsafe Scheduler.end(block, outcome) }
    }

    /// What a task does before it ends.
    @inline(never) fileprivate static func run(_ block: TaskPointer) {
        guard let owner = unsafe block.pointee.owner else { idle() }
        let body = unsafe Unmanaged<KernelTask>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.body.take() }
        body?()
        if let release = unsafe ckernel().pointee.release { unsafe release(block) }
    }

    /// Ends the task that calls it, which has no references any more.
    fileprivate static func end(_ block: TaskPointer) {
        _ = ckernel_mask()
        unsafe block.pointee.hasEnded = true
        if let joiners = unsafe block.pointee.joiners, let tell = unsafe ckernel().pointee.tell { unsafe tell(joiners) }
        unsafe Scheduler.makeUnready(block)
        // Others let go of it, the idle task or who makes the next one: nobody can free the stack that he stands on.
        unsafe block.pointee.next = ckernel().pointee.ended
        unsafe ckernel().pointee.ended = block
        Scheduler.choose()
        ckernel_unmask_now(0)
    }

    /// Lets go of the tasks that have ended.
    fileprivate static func reap() {
        while true {
            let key = ckernel_mask()
            guard let block = unsafe ckernel().pointee.ended else { return ckernel_unmask(key) }
            unsafe ckernel().pointee.ended = block.pointee.next
            ckernel_unmask(key)
            unsafe Unmanaged<KernelTask>.fromOpaque(block.pointee.owner.unsafelyUnwrapped).release()
        }
    }
}

/// Those who wait for the end of a task.
private final class Joiners: KernelObject, @unchecked Sendable {}

/// The first function of each task.
@_cdecl("ckernel_task_entry") func taskEntry(_ block: UnsafeMutablePointer<ckernel_task>) {
    unsafe KernelTask.run(block)
    unsafe KernelTask.end(block)
}

/// The idle task: it runs when no other could.
private func idle() -> Never {
    while true {
        KernelTask.reap()
        let key = ckernel_mask()
        if unsafe ckernel().pointee.ready != 0 {
            ckernel_unmask(key)
        } else if let idle = unsafe ckernel().pointee.idle {
            idle(key)
        } else {
            ckernel_wait_for_interrupt()
            ckernel_unmask(key)
        }
    }
}
#endif
