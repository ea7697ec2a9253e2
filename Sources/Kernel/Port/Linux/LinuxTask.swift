#if os(Linux)
internal import CKernel
internal import Glibc
internal import Synchronization

/// A task of the kernel: a thread that can be waited for, delayed, suspended and cancelled.
///
/// It runs until its body returns; dropping the last reference does not end it.
@safe
public final class KernelTask: @unchecked Sendable {
    // @unchecked: `core` is guarded; the rest does not change, is atomic, or the thread's own.

    /// How the system shares the processors out.
    public enum Scheduling: Sendable {
        /// Fairly; the priority then matters only where tasks wait for the same thing.
        case fair
        /// By priority, before all threads that are not real-time (SCHED_FIFO, 80 for the highest priority to 49); needs CAP_SYS_NICE.
        case realTime
    }

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

    /// What it is called; the system shows the first 15 bytes.
    public let name: String
    private let scheduling: Scheduling
    /// Until it is called, by the task's own thread.
    private var body: (@Sendable () -> Void)?
    private let finished = Completion()
    /// What it waits for in a delay.
    private let alarm = KernelObject()
    /// 1 while it is suspended: a futex.
    private let suspension = Atomic<UInt32>(0)
    private let core = Guarded(Core())

    @safe private struct Core {
        var priority = Priority.normal
        var isCancelled = false
        var hasEnded = false
        var isDelayed = false
        var thread: UnsafeMutablePointer<ckernel_thread>?
        var handle: pthread_t?
        var object: KernelObject?
        var waiter: WaiterPointer?
        var mutex: Mutex?
    }

    /// Starts a task with at least `stackBytes` of stack, or the system's usual where that is 0. Throws ``KernelError/refusedBySystem`` when there
    /// is no thread, or no permission for real-time scheduling.
    public init(
        _ name: String = "task",
        priority: Priority = .normal,
        stackBytes: Int = 0,
        scheduling: Scheduling = .fair,
        body: @escaping @Sendable () -> Void
    ) throws(KernelError) {
        self.name = name
        self.scheduling = scheduling
        self.body = body
        core.withLock { $0.priority = priority }
        try startThread(stackBytes: stackBytes)
    }

    /// The task that the caller is; `nil` on threads that are none.
    public static var current: KernelTask? {
        guard let task = unsafe ckernel_this_thread().pointee.task else { return nil }
        return unsafe Unmanaged<KernelTask>.fromOpaque(task).takeUnretainedValue()
    }

    /// What it does now.
    public var state: State {
        core.withLock { (core) -> State in
            if core.hasEnded { return .ended }
            if suspension.load(ordering: .relaxed) != 0 { return .suspended }
            if core.isDelayed { return .delayed }
            return core.object != nil || core.mutex != nil ? .waiting : .ready
        }
    }

    /// How urgent it is, without what it inherits from those who wait for its mutexes. A change takes effect at once, for a task that waits
    /// or is suspended too.
    public var priority: Priority {
        get { core.withLock { $0.priority } }
        set { setPriority(newValue) }
    }

    /// Whether ``cancel()`` was called.
    public var isCancelled: Bool { core.withLock { $0.isCancelled } }

    /// Asks it to end: what it waits for throws ``KernelError/cancelled``, now and from now on. Its body is to return then.
    public func cancel() {
        core.withLock {
            $0.isCancelled = true
            Self.cancelWait($0)
        }
    }

    /// Suspends it until ``resume()``: at once if it waits or is the caller, else at its next call of the kernel, since a thread that is stopped
    /// anywhere could hold a lock of the system's. A wait goes on meanwhile, and what it is granted is not lost.
    public func suspend() throws(KernelError) {
        if core.withLock({ $0.hasEnded }) { throw .wrongState }
        suspension.store(1, ordering: .releasing)
        if KernelTask.current === self { stayWhileSuspended() }
    }

    /// Lets it go on; throws ``KernelError/wrongState`` if it was not suspended.
    public func resume() throws(KernelError) {
        guard suspension.exchange(0, ordering: .acquiringAndReleasing) == 1 else { throw .wrongState }
        suspension.futexWake(1)
    }

    /// Waits until it has ended.
    @available(*, noasync, message: "await it in async code")
    public func join(_ wait: Wait = .forever) throws(KernelError) {
        if KernelTask.current === self { throw .deadlock }
        try finished.wait(wait)
    }

    /// Awaits its end.
    public nonisolated(nonsending) func join(_ wait: Wait = .forever) async throws(KernelError) {
        try await finished.wait(wait)
    }

    /// Cuts its delay short; throws ``KernelError/wrongState`` if it is in none.
    public func abortDelay() throws(KernelError) {
        let isDelayed = core.withLock { (core) -> Bool in
            guard core.isDelayed, let waiter = unsafe core.waiter else { return false }
            unsafe alarm.end(waiter, .granted)
            return true
        }
        if !isDelayed { throw .wrongState }
    }

    /// Stops the calling task or thread for a time; yields if that is ``Wait/noWait``. Returns `false` if it was cut short.
    @available(*, noasync, message: "await Task.sleep in async code")
    @discardableResult
    public static func delay(_ time: Wait) throws(KernelError) -> Bool {
        if time == .noWait {
            yield()
            return true
        }
        let task = current
        let alarm = task?.alarm ?? KernelObject()
        do throws(KernelError) {
            try alarm.block(alarm.lock.enter(), time)
            return false
        } catch {
            guard error == .timedOut else { throw error }
            return true
        }
    }

    /// Lets others run that are as urgent.
    @available(*, noasync, message: "await Task.yield in async code")
    public static func yield() {
        current?.stayWhileSuspended()
        sched_yield()
    }

    // MARK: Within the kernel

    /// Notes what the task waits for, so that others can end it.
    func beginWait(for object: KernelObject, _ waiter: WaiterPointer) {
        core.withLock {
            $0.object = object
            unsafe $0.waiter = waiter
            $0.isDelayed = object === alarm
            // It may have been changed since the wait began.
            if unsafe waiter.pointee.rank & 31 != $0.priority.rawValue {
                unsafe object.changeRank(of: waiter, to: $0.priority.rawValue)
            }
            if $0.isCancelled { Self.cancelWait($0) }
        }
    }

    func beginWait(forMutex mutex: Mutex) {
        core.withLock {
            $0.mutex = mutex
            if $0.isCancelled { Self.cancelWait($0) }
        }
    }

    func endWait() {
        core.withLock {
            $0.object = nil
            unsafe $0.waiter = nil
            $0.mutex = nil
            $0.isDelayed = false
        }
        stayWhileSuspended()
    }

    private static func cancelWait(_ core: borrowing Core) {
        if let object = core.object, let waiter = unsafe core.waiter { unsafe object.end(waiter, .cancelled) }
        if let mutex = core.mutex, let thread = unsafe core.thread {
            mutex.lock.withLock { unsafe mutex.endContention(of: thread.pointee.tid, .cancelled) }
        }
    }

    private func stayWhileSuspended() {
        while suspension.load(ordering: .acquiring) == 1 { suspension.futexWait(while: 1) }
    }

    private func setPriority(_ priority: Priority) {
        core.withLock {
            $0.priority = priority
            guard let thread = unsafe $0.thread else { return }
            unsafe ckernel_set_priority(thread, priority.rawValue)
            if scheduling == .realTime, let handle = $0.handle {
                _ = ckernel_set_realtime(handle, Self.systemPriority(priority))
            }
            if let object = $0.object, let waiter = unsafe $0.waiter {
                unsafe object.changeRank(of: waiter, to: priority.rawValue)
            }
        }
    }

    private static func systemPriority(_ priority: Priority) -> Int32 { 80 - Int32(priority.rawValue) }

    // MARK: The thread

    private func startThread(stackBytes: Int) throws(KernelError) {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let policy = sched_getscheduler(0)
        if policy == SCHED_FIFO || policy == SCHED_RR {
            // A thread has the caller's policy unless it is told another.
            var parameters = sched_param()
            unsafe pthread_attr_setinheritsched(&attributes, Int32(PTHREAD_EXPLICIT_SCHED))
            unsafe pthread_attr_setschedpolicy(&attributes, SCHED_OTHER)
            unsafe pthread_attr_setschedparam(&attributes, &parameters)
        }
        if stackBytes > 0 { unsafe pthread_attr_setstacksize(&attributes, max(stackBytes, leastStackBytes)) }
        let start = Start(task: self)
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread,
            &attributes,
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            },
            Unmanaged.passRetained(start).toOpaque()
        )
        guard result == 0 else {
            unsafe Unmanaged.passUnretained(start).release()
            throw .refusedBySystem
        }
        if start.wasRefused() { throw .refusedBySystem }
    }

    private final class Start: Sendable {
        let task: KernelTask
        /// A futex: 0 until the thread runs, then 1, or 2 if it was refused what was asked for.
        private let result = Atomic<UInt32>(0)

        init(task: KernelTask) { self.task = task }

        func run() {
            let task = self.task
            let goesOn = task.enter()
            result.store(goesOn ? 1 : 2, ordering: .releasing)
            result.futexWake(1)
            if goesOn { task.run() }
        }

        /// Waits for the thread: not as tasks wait, for a cancelled one starts others too.
        func wasRefused() -> Bool {
            while result.load(ordering: .acquiring) == 0 { result.futexWait(while: 0) }
            return result.load(ordering: .relaxed) == 2
        }
    }

    private func enter() -> Bool {
        let thread = unsafe ckernel_this_thread()
        return core.withLock { (core) -> Bool in
            unsafe core.thread = thread
            core.handle = pthread_self()
            unsafe ckernel_set_priority(thread, core.priority.rawValue)
            unsafe thread.pointee.task = Unmanaged.passUnretained(self).toOpaque()
            unsafe ckernel_set_name(name)
            return scheduling == .fair
                || ckernel_set_realtime(pthread_self(), Self.systemPriority(core.priority)) == 0
        }
    }

    private func run() {
        stayWhileSuspended()
        let body = self.body.take()
        body?()
        let thread = unsafe ckernel_this_thread()
        unsafe Mutex.releaseAll(heldBy: thread)
        core.withLock {
            $0.hasEnded = true
            unsafe $0.thread = nil
            $0.handle = nil
        }
        unsafe thread.pointee.task = nil
        do throws(KernelError) { try finished.post() } catch {}
    }
}

/// The least stack that the system gives a thread.
private let leastStackBytes = 16_384
#endif
