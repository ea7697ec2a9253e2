/// What a ``Timer`` calls when its time has come.
public protocol TimerHandler: AnyObject {
    /// Called on the timer's loop, once per expiry; the timer may be started again or stopped from here.
    func timerFired(_ timer: Timer)
}

/// A one-shot or periodic timer of an ``EventLoop``.
///
/// A running timer keeps its handler alive; a stopped or expired one does not. Use it on its loop only.
public final class Timer {
    /// The loop that runs this timer.
    public let loop: EventLoop
    /// When it fires next, in the loop's time; `nil` while it does not run.
    public var deadline: Duration? { isRunning ? dueAt : nil }
    /// Whether the timer runs.
    public internal(set) var isRunning = false
    /// When it fires next, while it runs.
    var dueAt = Duration.zero
    /// Zero for a one-shot timer.
    var period = Duration.zero
    var handler: (any TimerHandler)?
    var order: UInt64 = 0
    // Its place in the queue: its first child, its next sibling, and the sibling before or else the parent.
    unowned(unsafe) var child: Timer?
    unowned(unsafe) var next: Timer?
    unowned(unsafe) var previous: Timer?

    /// A stopped timer.
    public init(on loop: EventLoop) { self.loop = loop }

    /// Starts, or starts again, so that `handler` is called at `deadline`, and then each `period` unless that is zero.
    ///
    /// A period is counted from the deadline before, so that a late call does not make later ones late. Expiries that a
    /// long handler has missed altogether are skipped, not made up for.
    public func start(at deadline: Duration, every period: Duration = .zero, handler: any TimerHandler) {
        stop()
        dueAt = deadline
        self.period = period
        self.handler = handler
        loop.timers.insert(self)
    }

    /// As ``start(at:every:handler:)``, `delay` from now.
    public func start(after delay: Duration, every period: Duration = .zero, handler: any TimerHandler) {
        start(at: loop.now + delay, every: period, handler: handler)
    }

    /// Stops the timer; does nothing if it does not run.
    public func stop() {
        if isRunning { loop.timers.remove(self) }
        handler = nil
    }

    func precedes(_ other: Timer) -> Bool { dueAt == other.dueAt ? order < other.order : dueAt < other.dueAt }
}

/// The running timers of one loop, the earliest first, those of the same deadline in the order of their start.
///
/// It is a pairing heap that lies in the timers themselves, so that starting one allocates nothing: to insert costs a
/// comparison, to remove O(log n) of them, amortized. The queue keeps each of its timers alive by a reference of its own.
struct TimerQueue {
    unowned(unsafe) private(set) var first: Timer?
    private(set) var startCount: UInt64 = 0

    var deadline: Duration? { unsafe first?.dueAt }

    mutating func insert(_ timer: Timer) {
        startCount &+= 1
        timer.order = startCount
        timer.isRunning = true
        _ = unsafe Unmanaged.passRetained(timer)
        unsafe first = meld(first, timer)
    }

    mutating func remove(_ timer: Timer) {
        let children = meldedChildren(of: timer)
        if let previous = unsafe timer.previous {
            let next = unsafe timer.next
            if unsafe previous.child === timer { unsafe previous.child = next } else { unsafe previous.next = next }
            unsafe next?.previous = previous
            unsafe first = meld(first, children)
        } else {
            unsafe first = children
        }
        unsafe (timer.child, timer.next, timer.previous) = (nil, nil, nil)
        timer.isRunning = false
        unsafe Unmanaged.passUnretained(timer).release()
    }

    /// Makes one heap of two, whose roots have no siblings.
    private func meld(_ a: Timer?, _ b: Timer?) -> Timer? {
        guard var parent = a else { return b }
        guard var child = b else { return a }
        if child.precedes(parent) { swap(&parent, &child) }
        let sibling = unsafe parent.child
        unsafe child.next = sibling
        unsafe sibling?.previous = child
        unsafe child.previous = parent
        unsafe parent.child = child
        return parent
    }

    /// The heap of all below `timer`: melded by twos, and those from the last to the first.
    private func meldedChildren(of timer: Timer) -> Timer? {
        var pairs: Timer?
        var rest = unsafe timer.child
        while let a = rest {
            let b = unsafe a.next
            rest = unsafe b?.next
            unsafe a.next = nil
            unsafe b?.next = nil
            let pair = meld(a, b)
            unsafe pair?.next = pairs
            pairs = pair
        }
        var heap: Timer?
        while let pair = pairs {
            pairs = unsafe pair.next
            unsafe pair.next = nil
            heap = meld(heap, pair)
        }
        unsafe heap?.previous = nil
        return heap
    }
}

extension EventLoop {
    /// Runs the timers that are due; called by the ports once per turn.
    func fireTimers() {
        // A timer that is started again for a time that has passed waits for the next turn, so that none can keep the loop from its
        // other work.
        let limit = timers.startCount
        guard limit > 0 else { return }
        let now = self.now
        while let timer = unsafe timers.first, timer.dueAt <= now, timer.order <= limit {
            timers.remove(timer)
            let handler = timer.handler
            if timer.period > .zero {
                timer.dueAt += timer.period
                if timer.dueAt <= now { timer.dueAt = now + timer.period }
                timers.insert(timer)
            } else {
                timer.handler = nil
            }
            handler?.timerFired(timer)
        }
    }

    /// Stops all timers.
    func stopTimers() { while let timer = unsafe timers.first { timer.stop() } }
}
