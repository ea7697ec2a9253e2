#if os(none)
/// The loop of a bare-metal image: it polls what is registered, runs the timers, and sleeps until an interrupt.
public final class EventLoop {
    var timers = TimerQueue()
    private final class Poller {
        let pollable: any EndOfTurnHandler
        let next: Poller?

        init(_ pollable: any EndOfTurnHandler, before next: Poller?) {
            self.pollable = pollable
            self.next = next
        }
    }

    var turnEnds = EndOfTurnQueue()
    private var pollers: Poller?
    private let milliseconds: () -> Int
    private let sleep: () -> Void
    private var isStopping = false

    /// A loop whose time is what `milliseconds` says: monotonic, from any origin. `sleep` waits for an interrupt, and must return at once if
    /// one that brings work has come since the turn began: check with interrupts masked, then wait.
    public init(milliseconds: @escaping () -> Int, sleep: @escaping () -> Void) {
        self.milliseconds = milliseconds
        self.sleep = sleep
    }

    /// The time of the loop's clock.
    public var now: Duration { .milliseconds(milliseconds()) }

    /// Calls `pollable` in every turn from now on, such as a UART that looks into its FIFO.
    public func register(_ pollable: any EndOfTurnHandler) { pollers = Poller(pollable, before: pollers) }

    /// Runs the loop until ``stop()``. It sleeps between turns; the tick interrupt, at least, wakes it.
    public func run() {
        isStopping = false
        while !isStopping {
            turn()
            sleep()
        }
    }

    /// Ends ``run()`` after the current turn.
    public func stop() { isStopping = true }

    /// One turn: polls, fires the timers that are due, and ends the turn.
    public func turn() {
        var rest = pollers
        while let poller = rest {
            poller.pollable.endOfTurn()
            rest = poller.next
        }
        fireTimers()
        endTurn()
    }
}
#endif
