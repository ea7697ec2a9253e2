/// What a ``Timer`` calls when its time has come.
public protocol TimerHandler: AnyObject {
    /// Called on the timer's loop, once per expiry; the timer may be started again or stopped from here.
    func timerFired(_ timer: Timer)
}

/// A one-shot or periodic timer of an ``EventLoop``.
///
/// A running timer keeps its handler alive; a stopped or expired one does not. The handler, or who starts the timer, keeps the timer: one that nobody
/// has a reference to is stopped. Use it on its loop only.
@safe
public final class Timer {
    /// The loop that runs this timer.
    public let loop: EventLoop
    /// Zero for a one-shot timer.
    var period = Duration.zero
    var handler: (any TimerHandler)?
    private var node = TimerNode()

    /// A stopped timer.
    public init(on loop: EventLoop) { self.loop = loop }

    deinit { if isRunning { unsafe loop.timers.remove(place) } }

    /// When it fires next, in the loop's time; `nil` while it does not run.
    public var deadline: Duration? { isRunning ? unsafe place.pointee.dueAt : nil }

    /// Whether the timer runs.
    public var isRunning: Bool { unsafe place.pointee.isRunning }

    /// Starts, or starts again, so that `handler` is called at `deadline`, and then each `period` unless that is zero.
    ///
    /// A period is counted from the deadline before, so that a late call does not make later ones late. Expiries that a
    /// long handler has missed altogether are skipped, not made up for: from a call that is a whole period late on, periods count anew.
    public func start(at deadline: Duration, every period: Duration = .zero, handler: any TimerHandler) {
        let place = unsafe self.place
        if unsafe place.pointee.isRunning { unsafe loop.timers.remove(place) }
        unsafe place.pointee.dueAt = deadline
        unsafe place.pointee.timer = Unmanaged.passUnretained(self)
        self.period = period
        self.handler = handler
        unsafe loop.timers.insert(place)
    }

    /// As ``start(at:every:handler:)``, `delay` from now.
    public func start(after delay: Duration, every period: Duration = .zero, handler: any TimerHandler) {
        start(at: loop.now + delay, every: period, handler: handler)
    }

    /// Stops the timer; does nothing if it does not run.
    public func stop() {
        if isRunning { unsafe loop.timers.remove(place) }
        handler = nil
    }

    /// The place of the node, which does not move while the timer lives.
    @inline(__always) private var place: UnsafeMutablePointer<TimerNode> {
        unsafe withUnsafeMutablePointer(to: &node) { unsafe $0 }
    }
}

/// The part of a timer that its queue knows. Pointers to it are used instead of references, which would be counted at each step.
@safe struct TimerNode {
    /// When it fires next, while it runs.
    var dueAt = Duration.zero
    var order: UInt64 = 0
    // Its place in the queue: its first child, its next sibling, and the sibling before or else the parent.
    var child: UnsafeMutablePointer<TimerNode>?
    var next: UnsafeMutablePointer<TimerNode>?
    var previous: UnsafeMutablePointer<TimerNode>?
    var timer: Unmanaged<Timer>?
    var isRunning = false

    func precedes(_ other: TimerNode) -> Bool { dueAt < other.dueAt || dueAt == other.dueAt && order < other.order }
}

/// The running timers of one loop, the earliest first, those of the same deadline in the order of their start.
///
/// It is a pairing heap that lies in the timers themselves, so that starting one allocates nothing: to insert costs a
/// comparison, to remove O(log n) of them, amortized.
@safe struct TimerQueue {
    typealias Node = UnsafeMutablePointer<TimerNode>

    private(set) var first: Node?
    private(set) var startCount: UInt64 = 0

    var deadline: Duration? { unsafe first?.pointee.dueAt }

    mutating func insert(_ node: Node) {
        startCount &+= 1
        unsafe node.pointee.order = startCount
        unsafe node.pointee.isRunning = true
        unsafe first = meld(first, node)
    }

    mutating func remove(_ node: Node) {
        var heir: Node?
        if let child = unsafe node.pointee.child { unsafe heir = meldedSiblings(from: child) }
        if let previous = unsafe node.pointee.previous {
            let next = unsafe node.pointee.next
            if unsafe previous.pointee.child == node {
                unsafe previous.pointee.child = next
            } else {
                unsafe previous.pointee.next = next
            }
            unsafe next?.pointee.previous = previous
            unsafe node.pointee.next = nil
            unsafe node.pointee.previous = nil
            if unsafe heir != nil { unsafe first = meld(first, heir) }
        } else {
            unsafe first = heir
        }
        unsafe node.pointee.child = nil
        unsafe node.pointee.isRunning = false
    }

    /// Makes one heap of two, whose roots have no siblings.
    @inline(never) private func meld(_ a: Node?, _ b: Node?) -> Node? {
        guard let a = unsafe a else { return unsafe b }
        guard let b = unsafe b else { return unsafe a }
        let isBefore = unsafe b.pointee.precedes(a.pointee)
        let parent = unsafe isBefore ? b : a
        let child = unsafe isBefore ? a : b
        let sibling = unsafe parent.pointee.child
        unsafe child.pointee.next = sibling
        unsafe sibling?.pointee.previous = child
        unsafe child.pointee.previous = parent
        unsafe parent.pointee.child = child
        return unsafe parent
    }

    /// The heap of `child` and the siblings behind it: melded by twos, and those from the last to the first.
    @inline(never) private func meldedSiblings(from child: Node) -> Node? {
        var pairs: Node?
        var rest: Node? = unsafe child
        while let a = unsafe rest {
            let b = unsafe a.pointee.next
            unsafe rest = b?.pointee.next
            unsafe a.pointee.next = nil
            unsafe b?.pointee.next = nil
            let pair = unsafe meld(a, b)
            unsafe pair?.pointee.next = pairs
            unsafe pairs = pair
        }
        var heap: Node?
        while let pair = unsafe pairs {
            unsafe pairs = pair.pointee.next
            unsafe pair.pointee.next = nil
            unsafe heap = meld(heap, pair)
        }
        unsafe heap?.pointee.previous = nil
        return unsafe heap
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
        while let node = unsafe timers.first, unsafe node.pointee.dueAt <= now, unsafe node.pointee.order <= limit {
            unsafe timers.remove(node)
            guard let timer = unsafe node.pointee.timer?.takeUnretainedValue() else { continue }
            let handler = timer.handler
            if timer.period > .zero {
                unsafe node.pointee.dueAt += timer.period
                if unsafe node.pointee.dueAt <= now { unsafe node.pointee.dueAt = now + timer.period }
                unsafe timers.insert(node)
            } else {
                timer.handler = nil
            }
            handler?.timerFired(timer)
        }
    }

    /// Stops all timers.
    func stopTimers() {
        while let timer = unsafe timers.first?.pointee.timer?.takeUnretainedValue() { timer.stop() }
    }
}
