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
    public internal(set) var deadline: Duration?
    var period: Duration?
    var handler: (any TimerHandler)?
    var index = -1
    var order: UInt64 = 0

    /// A stopped timer.
    public init(on loop: EventLoop) { self.loop = loop }

    /// Whether the timer runs.
    public var isRunning: Bool { deadline != nil }

    /// Starts, or starts again, so that `handler` is called at `deadline`, and then each `period` if one is given.
    ///
    /// A period is counted from the deadline before, so that a late call does not make later ones late. Expiries that a
    /// long handler has missed altogether are skipped, not made up for.
    public func start(at deadline: Duration, every period: Duration? = nil, handler: any TimerHandler) {
        stop()
        self.deadline = deadline
        self.period = if let period, period > .zero { period } else { nil }
        self.handler = handler
        loop.timers.insert(self)
    }

    /// As ``start(at:every:handler:)``, `delay` from now.
    public func start(after delay: Duration, every period: Duration? = nil, handler: any TimerHandler) {
        start(at: loop.now + delay, every: period, handler: handler)
    }

    /// Stops the timer; does nothing if it does not run.
    public func stop() {
        if index >= 0 { loop.timers.remove(self) }
        deadline = nil
        period = nil
        handler = nil
    }
}

/// The running timers of one loop, the earliest first, those of the same deadline in the order of their start.
struct TimerQueue {
    private var heap: [Timer] = []
    private var starts: UInt64 = 0

    var deadline: Duration? { heap.first?.deadline }

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

    /// Fires every timer that is due at `now`; one that is started again for a time that has passed waits for the
    /// next call, so that no timer can keep the loop from its other work.
    mutating func popDue(at now: Duration, startedUpTo limit: UInt64) -> Timer? {
        guard let first = heap.first, let deadline = first.deadline, deadline <= now, first.order <= limit else {
            return nil
        }
        remove(first)
        return first
    }

    var startCount: UInt64 { starts }

    private func precedes(_ a: Timer, _ b: Timer) -> Bool {
        guard let first = a.deadline, let second = b.deadline else { return false }
        return first == second ? a.order < b.order : first < second
    }

    private mutating func siftUp(from start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard precedes(heap[index], heap[parent]) else { return }
            exchange(index, parent)
            index = parent
        }
    }

    private mutating func siftDown(from start: Int) {
        var index = start
        while true {
            var smallest = index
            for child in (2 * index + 1)..<(2 * index + 3) where child < heap.count {
                if precedes(heap[child], heap[smallest]) { smallest = child }
            }
            guard smallest != index else { return }
            exchange(index, smallest)
            index = smallest
        }
    }

    private mutating func exchange(_ a: Int, _ b: Int) {
        heap.swapAt(a, b)
        heap[a].index = a
        heap[b].index = b
    }
}

extension EventLoop {
    /// Runs the timers that are due; called by the ports once per turn.
    func fireTimers() {
        guard timers.deadline != nil else { return }
        let now = self.now
        let limit = timers.startCount
        while let timer = timers.popDue(at: now, startedUpTo: limit) {
            let handler = timer.handler
            if let period = timer.period, let deadline = timer.deadline {
                var next = deadline + period
                if next <= now { next = now + period }
                timer.deadline = next
                timers.insert(timer)
            } else {
                timer.deadline = nil
                timer.handler = nil
            }
            handler?.timerFired(timer)
        }
    }
}
