#if os(Linux)
internal import CKernel
internal import CLinux
internal import Synchronization

/// What an ``EventLoop`` calls when a file descriptor is ready.
public protocol ReadinessHandler: AnyObject {
    /// Called on the loop with the bits that `epoll_wait` reported.
    func ready(_ events: EventLoop.Readiness)
}

/// What is open on a loop, such as a socket: the loop keeps it until it leaves, and closes it when the loop is shut down.
package protocol LoopMember: AnyObject {
    /// Its place among the members; the loop's business.
    var loopPlace: Int { get set }

    /// Asks it to close, in order or at once; it leaves when it has.
    func loopEnds(atOnce: Bool)
}

/// One thread around `epoll`: file descriptors, timers, and the Swift jobs of the actors and tasks that live on it.
///
/// The loop is a serial executor, so that an actor whose `unownedExecutor` it is runs on the loop's thread and may
/// touch whatever is confined to the loop, and a task executor (`Task(executorPreference: loop)`).
@safe
public final class EventLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
    // @unchecked: everything below `lock` is guarded by it, everything else is touched on the loop's thread only.

    /// The readiness bits of `epoll`.
    public struct Readiness: OptionSet, Sendable {
        /// The bits as `epoll_event.events` has them.
        public let rawValue: UInt32
        /// Readiness from its bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// There is something to read, or a connection to accept.
        public static let readable = Readiness(rawValue: 0x001)
        /// There is room to write, or a connect has ended.
        public static let writable = Readiness(rawValue: 0x004)
        /// An error is pending on the descriptor.
        public static let error = Readiness(rawValue: 0x008)
        /// The peer is gone in both directions.
        public static let hangUp = Readiness(rawValue: 0x010)
    }

    /// Names a registered file descriptor; worthless after ``deregister(_:)``.
    public struct Registration: Sendable {
        let slot: Int
        let generation: UInt32
        let fileDescriptor: Int32
    }

    private struct Slot {
        var handler: (any ReadinessHandler)?
        var generation: UInt32 = 0
    }

    // No call of these two, or of the list of jobs, comes back to them, so accesses need not be tracked at run time.
    @safe @exclusivity(unchecked) var timers = TimerQueue()
    @safe @exclusivity(unchecked) var turnEnds = EndOfTurnQueue()
    private let epoll: Int32
    private let wakeUp: Int32
    private var slots: [Slot] = []
    private var freeSlots: [Int] = []
    private let events: UnsafeMutableBufferPointer<epoll_event> = .allocate(capacity: 256)
    private var members: [any LoopMember] = []
    private var shutDownTimer: ShutDown?
    @safe @exclusivity(unchecked) private var jobs: [UnownedJob] = []
    @safe @exclusivity(unchecked) private var runningJobs: [UnownedJob] = []
    private static let jobsPerTurn = 256

    private let virtualTime: VirtualTime?
    private let lock = ObjectLock()
    private var sentJobs: [UnownedJob] = []
    private var sentWork: [@Sendable () -> Void] = []
    private var isRunning = false
    private var isAwake = false
    private var isStopping = false
    private var hasEnded = false
    /// The same, for use on the loop.
    private(set) var isOver = false

    /// Where streams of this loop read into: what is not taken at once, they copy. Use it on the loop only.
    public let readBuffer: UnsafeMutableRawBufferPointer = .allocate(byteCount: 65_536, alignment: 16)
    /// What the datagram sockets of this loop share, to receive several at once.
    package var receiveBatch: AnyObject?

    /// A loop that nobody runs yet; see ``run()`` and ``start()``.
    public convenience init() { self.init(virtualTime: nil) }

    private init(virtualTime: VirtualTime?) {
        self.virtualTime = virtualTime
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        precondition(epoll >= 0 && wakeUp >= 0, "no file descriptors left for an event loop")
        var event = unsafe epoll_event()
        unsafe event.events = Readiness.readable.rawValue
        unsafe event.data.u64 = UInt64.max
        _ = unsafe epoll_ctl(epoll, EPOLL_CTL_ADD, wakeUp, &event)
    }

    deinit {
        CLinux.close(epoll)
        CLinux.close(wakeUp)
        unsafe readBuffer.deallocate()
        unsafe events.deallocate()
    }

    /// A new loop with a thread of its own, which ends after ``stop()``.
    public static func start() -> EventLoop {
        let loop = EventLoop()
        loop.startThread()
        return loop
    }

    /// A new loop whose time stands still while there is something to do, and then jumps to the next timer; it runs after ``startThread()``.
    package static func makeVirtual() -> EventLoop { EventLoop(virtualTime: VirtualTime()) }

    /// Runs the loop on a thread of its own, which ends after ``stop()``.
    package func startThread() {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        // Not the caller's policy: a real-time thread that starts a loop does not make it one.
        var parameters = sched_param()
        unsafe pthread_attr_setinheritsched(&attributes, Int32(PTHREAD_EXPLICIT_SCHED))
        unsafe pthread_attr_setschedpolicy(&attributes, SCHED_OTHER)
        unsafe pthread_attr_setschedparam(&attributes, &parameters)
        var thread = pthread_t()
        let argument = unsafe Unmanaged.passRetained(self).toOpaque()
        let result = unsafe pthread_create(
            &thread,
            &attributes,
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<EventLoop>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            },
            argument
        )
        unsafe pthread_attr_destroy(&attributes)
        precondition(result == 0, "no thread for an event loop")
    }

    /// The time of the loop's clock: CLOCK_MONOTONIC, or its own if that is virtual.
    public var now: Duration {
        guard let virtualTime else { return KernelClock.now }
        return .nanoseconds(virtualTime.nanoseconds.load(ordering: .relaxed))
    }

    /// Whether the caller runs on the loop's thread.
    public var isOnLoop: Bool {
        unsafe ckernel_this_thread().pointee.loop == UnsafeMutableRawPointer(Unmanaged.passUnretained(self).toOpaque())
    }

    /// The loop that the caller runs on.
    static var current: EventLoop? {
        guard let loop = unsafe ckernel_this_thread().pointee.loop else { return nil }
        return unsafe Unmanaged<EventLoop>.fromOpaque(loop).takeUnretainedValue()
    }

    /// The loop whose timers end the waits of tasks that run on none.
    static let deadlines = EventLoop.start()

    /// Makes the calling thread the loop's own while `body` runs.
    private func onThisThread(_ body: () -> Void) {
        lock.withLock {
            precondition(!isRunning, "the loop runs already: on another thread, or further up in this call")
            isRunning = true
        }
        defer { lock.withLock { isRunning = false } }
        let thread = unsafe ckernel_this_thread()
        let outer = unsafe thread.pointee.loop
        unsafe thread.pointee.loop = UnsafeMutableRawPointer(Unmanaged.passUnretained(self).toOpaque())
        body()
        unsafe thread.pointee.loop = outer
    }

    /// Traps unless the caller runs on the loop's thread.
    public func preconditionOnLoop() { precondition(isOnLoop, "called off the loop that owns this object") }

    // MARK: Running

    /// Runs the loop on the calling thread until ``stop()``.
    public func run() {
        onThisThread {
            lock.withLock { isAwake = true }
            while turn() {}
        }
        isOver = true
        lock.withLock {
            hasEnded = true
            // Whoever asks for something from now on need not see to it: the turn that follows does it.
            isAwake = true
        }
        turnAfterEnd()
    }

    /// Calls `begin` on the calling thread, and runs the loop there for a turn and then for as long as `condition` holds, which is asked after each turn, or
    /// until ``stop()``: for code that waits for one thing after another. Traps if the loop runs already.
    public func run(after begin: () -> Void, while condition: () -> Bool) {
        onThisThread {
            lock.withLock { isAwake = true }
            begin()
            repeat { doWork() } while condition() && waitForWork()
        }
    }

    /// Does one turn on the calling thread, without waiting for anything: for tests that turn a loop themselves.
    package func runOneTurn() {
        onThisThread { _ = turn(mayWait: false) }
    }

    /// Does what is to be done on a loop that has ended, whose sockets and timers are no more: so nothing that asks for it waits for ever.
    private func turnAfterEnd() {
        onThisThread {
            runJobs()
            abortMembers()
            endTurn()
            stopTimers()
            // Much of what the loop keeps alive keeps the loop alive in turn.
            slots = []
            freeSlots = []
            members = []
            shutDownTimer = nil
        }
        let isIdle = lock.withLock {
            isAwake = !(sentJobs.isEmpty && sentWork.isEmpty && jobs.isEmpty)
            return !isAwake
        }
        if !isIdle { Self.deadlines.execute { [self] in turnAfterEnd() } }
    }

    /// Closes the sockets that are open on the loop, as their own `close()` does: what they took is sent, and their handlers are told. Those
    /// which have not closed `time` from now are aborted. Then ``run()`` ends. May be called from any thread.
    public func shutDown(within time: Duration) {
        execute { [self] in
            guard shutDownTimer == nil else { return }
            shutDownTimer = ShutDown(self, after: time)
            for member in members { member.loopEnds(atOnce: false) }
            if members.isEmpty { stop() }
        }
    }

    fileprivate func abortMembers() { for member in members { member.loopEnds(atOnce: true) } }

    /// Keeps `member` until it leaves.
    package func join(_ member: any LoopMember) {
        member.loopPlace = members.count
        members.append(member)
    }

    /// Lets go of `member`, if it has joined.
    package func leave(_ member: any LoopMember) {
        let place = member.loopPlace
        guard members.indices.contains(place), members[place] === member else { return }
        let last = members.removeLast()
        if last !== member {
            members[place] = last
            last.loopPlace = place
        }
        if members.isEmpty, shutDownTimer != nil { stop() }
    }

    /// Ends ``run()`` after the current turn. What is open is aborted, what it took perhaps not sent: see ``shutDown(within:)``. May be called from
    /// any thread.
    public func stop() {
        let wakeUp = lock.withLock {
            isStopping = true
            return takeWakeUp()
        }
        perform(wakeUp)
    }

    /// Runs `work` on the loop, in the order of the calls. May be called from any thread. When the loop has ended, it still runs, on a thread of
    /// the library's own, and finds all sockets closed.
    public func execute(_ work: @escaping @Sendable () -> Void) {
        let wakeUp = lock.withLock {
            sentWork.append(work)
            return takeWakeUp()
        }
        perform(wakeUp)
    }

    /// Runs a job of Swift concurrency on the loop.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isOnLoop { return jobs.append(job) }
        let wakeUp = lock.withLock {
            sentJobs.append(job)
            return takeWakeUp()
        }
        perform(wakeUp)
    }

    /// Traps unless the caller runs on the loop: the check behind `assumeIsolated`.
    public func checkIsolated() { preconditionOnLoop() }

    /// Whether the caller runs on the loop.
    public func isIsolatingCurrentContext() -> Bool? { isOnLoop }

    /// What takes a loop out of its sleep.
    private enum WakeUp { case needless, event, turnAfterEnd }

    /// The wake-up that the caller, who holds `lock`, owes.
    private func takeWakeUp() -> WakeUp {
        defer { isAwake = true }
        return isAwake ? .needless : hasEnded ? .turnAfterEnd : .event
    }

    private func perform(_ wakeUp: WakeUp) {
        switch wakeUp {
        case .needless: break
        case .event: eventfd_write(self.wakeUp, 1)
        case .turnAfterEnd: Self.deadlines.execute { [self] in turnAfterEnd() }
        }
    }

    private func turn(mayWait: Bool = true) -> Bool {
        doWork()
        return waitForWork(mayWait: mayWait)
    }

    private func doWork() {
        runJobs()
        fireTimers()
        endTurn()
    }

    /// Waits for sockets and other threads, and tells the handlers of sockets; `false` if the loop is to stop.
    private func waitForWork(mayWait: Bool = true) -> Bool {
        let (stopping, idle) = lock.withLock {
            let idle = sentJobs.isEmpty && sentWork.isEmpty && jobs.isEmpty
            if idle { isAwake = false }
            return (isStopping, idle)
        }
        if stopping { return false }
        if idle, mayWait, let virtualTime, let deadline = timers.deadline {
            // Nothing else is to be done before that: so it is that time now.
            virtualTime.advance(to: deadline)
            poll(timeout: 0)
        } else {
            poll(timeout: idle && mayWait ? idleTime : 0)
        }
        return true
    }

    private func runJobs() {
        let work = lock.withLock {
            isAwake = true
            jobs.append(contentsOf: sentJobs)
            sentJobs.removeAll(keepingCapacity: true)
            defer { sentWork = [] }
            return sentWork
        }
        for item in work { item() }
        // What these jobs enqueue runs in this turn too, up to a limit: then the sockets have theirs.
        let executor = unsafe asUnownedSerialExecutor()
        let taskExecutor = unsafe asUnownedTaskExecutor()
        var left = Self.jobsPerTurn
        while !jobs.isEmpty, left > 0 {
            swap(&jobs, &runningJobs)
            left -= runningJobs.count
            for job in runningJobs { unsafe job.runSynchronously(isolatedTo: executor, taskExecutor: taskExecutor) }
            runningJobs.removeAll(keepingCapacity: true)
        }
    }

    /// How long nothing is to be done, in nanoseconds: rounded up, so that the timer is due when the wait ends; below 0 for ever.
    private var idleTime: Int64 {
        guard let deadline = timers.deadline else { return -1 }
        return KernelClock.units(deadline - now)
    }

    private func poll(timeout: Int64) {
        let count = unsafe ckernel_epoll_wait(epoll, events.baseAddress.unsafelyUnwrapped, Int32(events.count), timeout)
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let event = unsafe events[index]
            if unsafe event.data.u64 == UInt64.max {
                var value: eventfd_t = 0
                unsafe eventfd_read(wakeUp, &value)
                continue
            }
            let slot = unsafe Int(event.data.u64 >> 32)
            let generation = unsafe UInt32(truncatingIfNeeded: event.data.u64)
            // Its registration may have ended, and the slot been taken again, earlier in this very batch.
            guard slots[slot].generation == generation, let handler = slots[slot].handler else { continue }
            unsafe handler.ready(Readiness(rawValue: event.events))
        }
    }

    // MARK: File descriptors

    /// Calls `handler` whenever `fileDescriptor` is ready for one of `interest` (level-triggered), or has failed.
    public func register(
        _ fileDescriptor: Int32,
        for interest: Readiness,
        handler: any ReadinessHandler
    ) throws(SystemError) -> Registration {
        if isOver { throw SystemError(code: ESHUTDOWN) }
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = slots.count
            slots.append(Slot())
        }
        slots[slot].handler = handler
        let registration = Registration(
            slot: slot,
            generation: slots[slot].generation,
            fileDescriptor: fileDescriptor
        )
        let result = control(EPOLL_CTL_ADD, registration, interest)
        guard result == 0 else {
            release(slot)
            throw SystemError(code: result)
        }
        return registration
    }

    /// Changes what `registration` waits for.
    public func modify(_ registration: Registration, for interest: Readiness) {
        _ = control(EPOLL_CTL_MOD, registration, interest)
    }

    /// Ends `registration`; its handler is not called again. Call it before the descriptor is closed.
    public func deregister(_ registration: Registration) {
        guard slots.indices.contains(registration.slot),
            slots[registration.slot].generation == registration.generation
        else { return }
        _ = control(EPOLL_CTL_DEL, registration, [])
        release(registration.slot)
    }

    private func control(_ operation: Int32, _ registration: Registration, _ interest: Readiness) -> Int32 {
        var event = unsafe epoll_event()
        unsafe event.events = interest.rawValue
        unsafe event.data.u64 = UInt64(registration.slot) << 32 | UInt64(registration.generation)
        return unsafe epoll_ctl(epoll, operation, registration.fileDescriptor, &event) == 0 ? 0 : clinux_errno()
    }

    private func release(_ slot: Int) {
        slots[slot].handler = nil
        slots[slot].generation &+= 1
        freeSlots.append(slot)
    }
}

/// The clock of a loop whose time jumps.
private final class VirtualTime: Sendable {
    /// It begins at some time, as clocks do.
    let nanoseconds = Atomic<Int64>(1_000_000_000)

    func advance(to time: Duration) {
        let time = KernelClock.units(time)
        if time > nanoseconds.load(ordering: .relaxed) { nanoseconds.store(time, ordering: .relaxed) }
    }
}

/// Ends the patience of a loop that is shut down.
private final class ShutDown: TimerHandler {
    private let loop: EventLoop
    private let timer: Timer

    init(_ loop: EventLoop, after time: Duration) {
        self.loop = loop
        timer = Timer(on: loop)
        timer.start(after: time, handler: self)
    }

    func timerFired(_ timer: Timer) { loop.abortMembers() }
}

/// What a call of the operating system reported.
public struct SystemError: Error, Equatable, Sendable {
    /// The value of `errno`.
    public let code: Int32
    /// An error from a value of `errno`.
    public init(code: Int32) { self.code = code }
}
#endif
