#if !hasFeature(Embedded)
internal import CKernel

/// Whom a ``LoopWait`` belongs to.
package protocol LoopWaitOwner: AnyObject {
    /// The task that waits was cancelled; called on the loop. The wait is to be finished.
    func waitCancelled()
}

/// A place for one task at a time to wait in until its loop says that it may go on. It can be used again and again, and then allocates nothing; a cancellation of the
/// task is told on the loop. Use it on its loop only.
@safe
package final class LoopWait: @unchecked Sendable {
    // @unchecked: all is touched on the loop only, but for `use`, which does not change while a cancellation may come.
    private let loop: EventLoop
    /// Who is told of a cancellation; whoever waits keeps it. (A weak reference would make each use of it slow.)
    package unowned var owner: (any LoopWaitOwner)?
    private var continuation: UnsafeContinuation<Void, Never>?
    private var use: UInt = 0
    private var isOver = true
    private let record: UnsafeMutablePointer<ckernel_cancellable> = .allocate(capacity: 1)

    /// A place on `loop`.
    package init(on loop: EventLoop) {
        self.loop = loop
        let owner = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe record.initialize(
            to: ckernel_cancellable(
                cancelled: { unsafe Unmanaged<LoopWait>.fromOpaque($0).takeUnretainedValue().cancel() },
                owner: owner
            )
        )
    }

    deinit { unsafe record.deallocate() }

    /// Begins anew: from now on it can be finished.
    package func begin() {
        use &+= 1
        isOver = false
    }

    /// Has the task that waits, or will wait, go on. Only the first time counts.
    package func finish() {
        guard !isOver else { return }
        isOver = true
        guard let continuation = unsafe continuation else { return }
        unsafe self.continuation = nil
        unsafe ckernel_resume(unsafeBitCast(continuation, to: UnsafeMutableRawPointer.self))
    }

    /// Waits until it is finished. Called once after each ``begin()``, on the loop.
    @inline(__always)
    package func wait(isolation: isolated any Actor) async {
        guard !isOver else { return }
        let handler = unsafe ckernel_add_cancellable(record)
        unsafe await withUnsafeContinuation(isolation: isolation) { continuation in
            // The call may be a turn of the loop, in which it was finished.
            if isOver { return unsafe continuation.resume() }
            unsafe self.continuation = continuation
        }
        unsafe ckernel_remove_cancellation_handler(handler)
    }

    /// Called on any thread.
    private func cancel() {
        let use = use
        loop.execute { [self] in if use == self.use, !isOver { owner?.waitCancelled() } }
    }
}
#endif
