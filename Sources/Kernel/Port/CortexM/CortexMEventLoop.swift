#if os(none)
/// Something that a bare-metal loop asks in each turn whether it has work, such as a UART's receive FIFO.
public protocol Pollable: AnyObject {
    /// Does what is ready, without waiting.
    func poll()
}

/// The loop of a bare-metal image: it polls what is registered, runs the timers, and sleeps until an interrupt.
public final class EventLoop {
    var timers = TimerQueue()
    var endOfTurnHandlers: [any EndOfTurnHandler] = []
    private var pollables: [any Pollable] = []
    private let clock: () -> Duration
    private let sleep: () -> Void
    private var isStopping = false

    /// A loop whose time is what `clock` says: monotonic, from any origin. `sleep` waits for an interrupt, and must return at once if
    /// one that brings work has come since the turn began: check with interrupts masked, then wait.
    public init(clock: @escaping () -> Duration, sleep: @escaping () -> Void) {
        self.clock = clock
        self.sleep = sleep
    }

    /// The time of the loop's clock.
    public var now: Duration { clock() }

    /// Calls `pollable` in every turn from now on.
    public func register(_ pollable: any Pollable) { pollables.append(pollable) }

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
        for pollable in pollables { pollable.poll() }
        fireTimers()
        runEndOfTurn()
    }
}
#endif
