#if os(Linux)
internal import CKernel
internal import Synchronization

extension KernelObject {
    /// Has the calling Swift task wait in the list, unless `attempt`, called under the lock, gets what it wants at once. Its executor is free
    /// meanwhile. Throws what the wait ended with, unless that was a grant.
    @inline(__always) @safe final func suspend(
        _ wait: Wait,
        behind: UInt8 = 0,
        slot: UnsafeMutableRawPointer? = nil,
        isolation: isolated (any Actor)? = #isolation,
        unless attempt: (inout WakeUps) -> Bool
    ) async throws(KernelError) {
        guard wait.raw != 0 else {
            var wakeUps = WakeUps()
            let key = lock.enter()
            try checkAlive(key)
            let done = attempt(&wakeUps)
            lock.leave(key)
            wakeUps.perform()
            if done { return }
            throw .wouldBlock
        }
        nonisolated(unsafe) let waiter = WaiterPointer.allocate(capacity: 1)
        // The priorities of Swift's tasks are 9 (background) to 25 (high), the higher the more urgent.
        unsafe waiter.initialize(to: Waiter(priority: 31 - min(Task.currentPriority.rawValue, 31) + behind))
        unsafe waiter.pointee.slot = slot
        var deadline: AsyncDeadline?
        _ = Cancellation.isPrepared
        unsafe waiter.pointee.object = Unmanaged.passUnretained(self)
        let record = unsafe ckernel_add_cancellation_handler(waiter)
        unsafe await withUnsafeContinuation(isolation: isolation) { continuation in
            if unsafe begin(waiter, continuation, unless: attempt), wait != .forever {
                deadline = unsafe AsyncDeadline(wait, of: waiter, on: self)
            }
        }
        unsafe ckernel_remove_cancellation_handler(record)
        // Orders what was done before the wait ended and what comes now, for tools that do not see into continuations.
        _ = unsafe waiter.pointee.word.load(ordering: .acquiring)
        deadline?.end()
        let outcome = unsafe waiter.pointee.outcome
        unsafe waiter.deinitialize(count: 1).deallocate()
        try outcome.check()
    }

    /// Lists the waiter, and returns `true`; or goes on at once.
    private final func begin(
        _ waiter: WaiterPointer,
        _ continuation: UnsafeContinuation<Void, Never>,
        unless attempt: (inout WakeUps) -> Bool
    ) -> Bool {
        var wakeUps = WakeUps()
        let key = lock.enter()
        if isEnded {
            unsafe waiter.pointee.outcome = .destroyed
        } else if attempt(&wakeUps) {
            unsafe waiter.pointee.outcome = .granted
        } else if unsafe waiter.pointee.isCancelled {
            unsafe waiter.pointee.outcome = .cancelled
        } else {
            unsafe waiter.pointee.continuation = continuation
            unsafe waiters.insert(waiter)
            lock.leave(key)
            return true
        }
        lock.leave(key)
        wakeUps.perform()
        unsafe ckernel_resume(unsafeBitCast(continuation, to: UnsafeMutableRawPointer.self))
        return false
    }

    fileprivate final func cancel(_ waiter: WaiterPointer) {
        let isListed = lock.withLock {
            unsafe waiter.pointee.isCancelled = true
            return unsafe waiter.pointee.isListed
        }
        if isListed { unsafe end(waiter, .cancelled) }
    }
}

/// What is done when a task that waits is cancelled.
enum Cancellation {
    static let isPrepared: Bool = {
        unsafe ckernel_at_cancellation { waiter in
            let waiter = unsafe waiter.assumingMemoryBound(to: Waiter.self)
            unsafe waiter.pointee.object?.takeUnretainedValue().cancel(waiter)
        }
        return true
    }()
}

/// Ends one wait of a Swift task when its time passes: by the loop that the task runs on, or else by one that is there for that.
@safe
private final class AsyncDeadline: TimerHandler, @unchecked Sendable {
    // @unchecked: the timer is touched on its loop only, the waiter under `lock` and until `end()` only.
    private let object: KernelObject
    private let loop: EventLoop
    private let lock = ObjectLock()
    private var waiter: WaiterPointer?
    private var timer: Timer?

    init(_ wait: Wait, of waiter: WaiterPointer, on object: KernelObject) {
        self.object = object
        unsafe self.waiter = waiter
        if let current = EventLoop.current, !current.isOver {
            loop = current
            start(at: wait.deadline(on: current))
        } else {
            loop = .deadlines
            let deadline = wait.deadline(on: loop)
            loop.execute { [self] in start(at: deadline) }
        }
    }

    private func start(at deadline: Duration) {
        guard lock.withLock({ unsafe waiter != nil }) else { return }
        let timer = Timer(on: loop)
        self.timer = timer
        timer.start(at: deadline, handler: self)
    }

    func timerFired(_ timer: Timer) {
        self.timer = nil
        lock.withLock { if let waiter = unsafe waiter { unsafe object.end(waiter, .timedOut) } }
    }

    /// Lets go of the wait, which is over.
    func end() {
        lock.withLock { unsafe waiter = nil }
        if loop.isOnLoop { return stop() }
        loop.execute { [self] in stop() }
    }

    private func stop() {
        timer?.stop()
        timer = nil
    }
}
#endif
