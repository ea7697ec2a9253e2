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
    public var deadline: Duration? { index >= 0 ? dueAt : nil }
    /// When it fires next, while it runs.
    var dueAt = Duration.zero
    /// Zero for a one-shot timer.
    var period = Duration.zero
    var handler: (any TimerHandler)?
    var index = -1
    var order: UInt64 = 0

    /// A stopped timer.
    public init(on loop: EventLoop) { self.loop = loop }

    /// Whether the timer runs.
    public var isRunning: Bool { index >= 0 }

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
        if index >= 0 { loop.timers.remove(self) }
        handler = nil
    }
}

/// The running timers of one loop, the earliest first, those of the same deadline in the order of their start.
struct TimerQueue {
    private var heap: [Timer] = []
    private var starts: UInt64 = 0

    var deadline: Duration? { heap.first?.dueAt }

    mutating func insert(_ timer: Timer) {
        starts &+= 1
        timer.order = starts
        timer.index = heap.count
        heap.append(timer)
        siftUp(from: timer.index)
    }

    mutating func remove(_ timer: Timer) {
        let index = timer.index
        timer.index = -1
        let last = heap.removeLast()
        guard index < heap.count else { return }
        heap[index] = last
        last.index = index
        siftUp(from: index)
        siftDown(from: last.index)
    }

    /// Takes the earliest timer that is due at `now`, of those that were started up to `limit`: one that is started again for
    /// a time that has passed waits for the next turn, so that no timer can keep the loop from its other work.
    mutating func popDue(at now: Duration, startedUpTo limit: UInt64) -> Timer? {
        guard let first = heap.first, first.dueAt <= now, first.order <= limit else { return nil }
        remove(first)
        return first
    }

    var startCount: UInt64 { starts }

    mutating func removeAll() {
        for timer in heap {
            timer.index = -1
            timer.handler = nil
        }
        heap = []
    }

    private func precedes(_ a: Timer, _ b: Timer) -> Bool {
        a.dueAt == b.dueAt ? a.order < b.order : a.dueAt < b.dueAt
    }

    private mutating func siftUp(from start: Int) {
        var index = start
        let timer = heap[index]
        while index > 0 {
            let parent = heap[(index - 1) / 2]
            guard precedes(timer, parent) else { break }
            place(parent, at: index)
            index = (index - 1) / 2
        }
        place(timer, at: index)
    }

    private mutating func siftDown(from start: Int) {
        var index = start
        let timer = heap[index]
        while true {
            var child = 2 * index + 1
            if child + 1 < heap.count, precedes(heap[child + 1], heap[child]) { child += 1 }
            guard child < heap.count, precedes(heap[child], timer) else { break }
            place(heap[child], at: index)
            index = child
        }
        place(timer, at: index)
    }

    private mutating func place(_ timer: Timer, at index: Int) {
        heap[index] = timer
        timer.index = index
    }
}

extension EventLoop {
    /// Runs the timers that are due; called by the ports once per turn.
    func fireTimers() {
        let limit = timers.startCount
        guard limit > 0 else { return }
        let now = self.now
        while let timer = timers.popDue(at: now, startedUpTo: limit) {
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
}
