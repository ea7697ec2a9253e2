#if os(Linux)
internal import CKernel
internal import Synchronization

extension KernelObject {
    /// Has the calling Swift task wait in the list, unless `attempt`, called under the lock, gets what it wants at once. Its executor is free
    /// meanwhile. Throws what the wait ended with, unless that was a grant.
    @safe nonisolated(nonsending) final func suspend(
        _ wait: Wait,
        behind: UInt8 = 0,
        slot: UnsafeMutableRawPointer? = nil,
        unless attempt: (inout WakeUps) -> Bool
    ) async throws(KernelError) {
        guard wait.raw != 0 else {
            let key = lock.enter()
            try checkAlive(key)
            var wakeUps = WakeUps()
            let done = attempt(&wakeUps)
            lock.leave(key)
            wakeUps.perform()
            if done { return }
            throw .wouldBlock
        }
        let waiter = unsafe AsyncWait(on: self, behind: behind, slot: slot)
        await withTaskCancellationHandler {
            unsafe await withUnsafeContinuation { continuation in
                if unsafe begin(waiter.pointer, continuation, unless: attempt) { waiter.arm(wait) }
            }
        } onCancel: {
            waiter.cancel()
        }
        // Orders what was done before the wait ended and what comes now, for tools that do not see into continuations.
        _ = unsafe waiter.pointer.pointee.word.load(ordering: .acquiring)
        waiter.disarm()
        try unsafe waiter.pointer.pointee.outcome.check()
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
        unsafe continuation.resume()
        return false
    }
}

/// One wait of a Swift task.
@safe
private final class AsyncWait: TimerHandler, @unchecked Sendable {
    // @unchecked: the waiter is touched under the lock of its object; the timer on its loop.
    let object: KernelObject
    let pointer: WaiterPointer
    private var timer: Timer?
    private var armedOn: EventLoop?

    init(on object: KernelObject, behind: UInt8, slot: UnsafeMutableRawPointer?) {
        self.object = object
        unsafe pointer = .allocate(capacity: 1)
        // The priorities of Swift's tasks are 9 (background) to 25 (high), the higher the more urgent.
        let priority = 31 - min(Task.currentPriority.rawValue, 31)
        unsafe pointer.initialize(to: Waiter(priority: priority + behind))
        unsafe pointer.pointee.slot = slot
    }

    deinit { unsafe pointer.deinitialize(count: 1).deallocate() }

    func cancel() {
        let isListed = object.lock.withLock {
            unsafe pointer.pointee.isCancelled = true
            return unsafe pointer.pointee.isListed
        }
        if isListed { unsafe object.end(pointer, .cancelled) }
    }

    /// Has the wait end when its time passes: by the loop that the task runs on, or else by one that is there for that.
    func arm(_ wait: Wait) {
        guard wait != .forever else { return }
        let deadline = Duration.nanoseconds(wait.deadline(from: KernelClock.units))
        if let loop = EventLoop.current { return start(at: deadline, on: loop) }
        let loop = EventLoop.deadlines
        armedOn = loop
        loop.execute { [self] in
            // It may be over already.
            if object.lock.withLock({ unsafe pointer.pointee.isListed }) { start(at: deadline, on: loop) }
        }
    }

    private func start(at deadline: Duration, on loop: EventLoop) {
        let timer = Timer(on: loop)
        armedOn = loop
        self.timer = timer
        timer.start(at: deadline, handler: self)
    }

    /// Lets go of the deadline.
    func disarm() {
        guard let loop = armedOn else { return }
        if loop.isOnLoop { return stop() }
        loop.execute { [self] in stop() }
    }

    private func stop() {
        timer?.stop()
        timer = nil
    }

    func timerFired(_ timer: Timer) {
        self.timer = nil
        unsafe object.end(pointer, .timedOut)
    }
}
#endif
