#if os(none)
internal import CKernel

typealias TaskPointer = UnsafeMutablePointer<ckernel_task>

/// The scheduler: of the tasks that could run, the most urgent runs; equally urgent ones take turns.
///
/// All that is below "Within the kernel" is called with interrupts masked.
public enum Scheduler {
    /// Sleeps through ticks when nothing is to be done: it is given how many nothing is due for, sleeps until they have passed or an interrupt comes,
    /// and returns how many have really passed that the tick interrupt did not and will not count. Interrupts are masked when it is called.
    public typealias Sleep = @convention(c) (_ ticks: UInt32) -> UInt32

    /// As ``start(ticksPerSecond:)``; the idle task sleeps with `sleep` instead of waiting from tick to tick.
    public static func start(ticksPerSecond: Int = 1000, sleep: @escaping Sleep) -> Never {
        unsafe ckernel().pointee.sleep = sleep
        unsafe ckernel().pointee.idle = { key in Deadlines.sleep(key) }
        start(ticksPerSecond: ticksPerSecond)
    }

    /// Starts the tasks that were made, and never returns. The tick interrupt is to be set up already, masked or not, to call `ckernel_tick`
    /// `ticksPerSecond` times a second (up to four million), and PendSV to be `ckernel_switch`.
    public static func start(ticksPerSecond: Int = 1000) -> Never {
        unsafe ckernel().pointee.ticksPerSecond = UInt32(ticksPerSecond)
        unsafe ckernel().pointee.slice = UInt16(truncatingIfNeeded: max(1, ticksPerSecond / 10))
        ckernel_start()
    }

    /// Whether ``start(ticksPerSecond:)`` was called.
    public static var isRunning: Bool { unsafe ckernel().pointee.isRunning }

    /// Calls `body` while no other task runs; interrupts are handled. It must not wait.
    public static func withLock<Result: ~Copyable>(_ body: () -> Result) -> Result {
        ckernel_lock()
        defer { ckernel_unlock() }
        return body()
    }

    // MARK: Within the kernel

    /// Who would run if all could.
    static var mostUrgent: TaskPointer {
        let state = unsafe ckernel()
        guard unsafe state.pointee.ready != 0 else { return unsafe ckernel_idle_place() }
        return unsafe head(state.pointee.ready.leadingZeroBitCount).pointee.unsafelyUnwrapped
    }

    /// The place of the ring of a priority.
    @inline(__always) static func head(_ priority: Int) -> UnsafeMutablePointer<TaskPointer?> {
        unsafe ckernel_heads() + priority
    }

    @inline(__always) static func bit(_ priority: UInt8) -> UInt32 { 0x8000_0000 &>> UInt32(priority) }

    /// Throws why the caller may not wait.
    @inline(never) static func checkMayWait(_ wait: Wait) throws(KernelError) {
        if wait.raw == 0 { throw .wouldBlock }
        if ckernel_in_interrupt() { throw .inInterrupt }
        let state = unsafe ckernel()
        if unsafe state.pointee.locks != 0 { throw .schedulerLocked }
        if unsafe state.pointee.current.pointee.isCancelled { throw .cancelled }
    }

    /// Has the context switch go to the most urgent task, unless the scheduler is locked.
    @inline(never) static func choose() {
        let state = unsafe ckernel()
        guard unsafe state.pointee.locks == 0 else { return }
        let task = unsafe mostUrgent
        unsafe state.pointee.chosen = task
        if unsafe task != state.pointee.current { ckernel_pend_switch() }
    }

    /// Puts `task` behind those of its priority that could run.
    @inline(never) static func makeReady(_ task: TaskPointer) {
        let priority = unsafe task.pointee.priority
        let state = unsafe ckernel()
        let place = unsafe head(Int(priority))
        unsafe task.pointee.isReady = true
        if let first = unsafe place.pointee {
            let last = unsafe first.pointee.before
            unsafe task.pointee.after = first
            unsafe task.pointee.before = last
            unsafe last.pointee.after = task
            unsafe first.pointee.before = task
        } else {
            unsafe task.pointee.after = task
            unsafe task.pointee.before = task
            unsafe place.pointee = task
            unsafe state.pointee.ready |= bit(priority)
        }
        if unsafe priority < state.pointee.chosen.pointee.priority, unsafe state.pointee.locks == 0 {
            unsafe state.pointee.chosen = task
            ckernel_pend_switch()
        }
    }

    /// Takes `task` out of those that could run; ``choose()`` must follow.
    @inline(never) static func makeUnready(_ task: TaskPointer) {
        let priority = unsafe task.pointee.priority
        let place = unsafe head(Int(priority))
        let after = unsafe task.pointee.after
        unsafe task.pointee.isReady = false
        if unsafe after == task {
            unsafe place.pointee = nil
            unsafe ckernel().pointee.ready &= ~bit(priority)
            return
        }
        let before = unsafe task.pointee.before
        unsafe after.pointee.before = before
        unsafe before.pointee.after = after
        if unsafe place.pointee == task { unsafe place.pointee = after }
    }

    /// Has the caller's task stop until it is woken, or its time passes.
    @inline(never) static func sleep(_ task: TaskPointer, _ wait: Wait) {
        unsafe task.pointee.outcome = Outcome.waiting.rawValue
        if wait.raw != .max { unsafe Deadlines.insert(task, at: wait) }
        unsafe makeUnready(task)
        choose()
    }

    /// Ends the wait or the delay of `task`, which is in the list of no object any more.
    @inline(never) static func wake(_ task: TaskPointer, _ outcome: Outcome) {
        unsafe task.pointee.outcome = outcome.rawValue
        unsafe task.pointee.object = nil
        unsafe task.pointee.mutex = nil
        unsafe task.pointee.isDelayed = false
        if unsafe task.pointee.bucket != noBucket { unsafe Deadlines.remove(task) }
        if unsafe !task.pointee.isSuspended { unsafe makeReady(task) }
    }

    /// Ends the wait or the delay of `task` otherwise than by what was waited for.
    static func end(_ task: TaskPointer, _ outcome: Outcome) {
        if unsafe task.pointee.isListed, let leave = unsafe ckernel().pointee.leave {
            unsafe leave(task, outcome.rawValue)
        } else {
            unsafe wake(task, outcome)
        }
    }

    /// Takes a tick off what `task`, which runs, has left before others of its priority have their turn.
    @inline(never) static func endSlice(_ task: TaskPointer) {
        let key = ckernel_mask()
        var left = unsafe task.pointee.slice
        if left == 0 { left = unsafe task.pointee.wholeSlice }
        if left == 0 { left = unsafe ckernel().pointee.slice }
        unsafe task.pointee.slice = left &- 1
        if left == 1 {
            if unsafe task.pointee.isReady { unsafe giveTurn(task) }
        }
        ckernel_unmask(key)
    }

    /// Lets the next of its priority run instead of `task`, which runs.
    @inline(never) static func giveTurn(_ task: TaskPointer) {
        let state = unsafe ckernel()
        let after = unsafe task.pointee.after
        unsafe head(Int(task.pointee.priority)).pointee = after
        if unsafe state.pointee.chosen == task, unsafe after != task, unsafe state.pointee.locks == 0 {
            unsafe state.pointee.chosen = after
            ckernel_pend_switch()
        }
    }

    /// Gives `task` another priority, wherever it is.
    @inline(never) static func setPriority(_ task: TaskPointer, _ priority: UInt8) {
        guard unsafe task.pointee.priority != priority else { return }
        if unsafe task.pointee.isReady {
            unsafe makeUnready(task)
            unsafe task.pointee.priority = priority
            unsafe makeReady(task)
            choose()
        } else {
            unsafe task.pointee.priority = priority
            if unsafe task.pointee.isListed, let object = unsafe task.pointee.object {
                unsafe Unmanaged<KernelObject>.fromOpaque(object)._withUnsafeGuaranteedRef {
                    unsafe $0.changeRank(of: task, to: priority)
                }
            }
        }
    }
}

@_cdecl("ckernel_choose") func choose() { Scheduler.choose() }

let noBucket: UInt8 = 255
#endif
