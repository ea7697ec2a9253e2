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

    /// A loop for a task of the kernel, whose time is ``KernelClock``. Between turns the task waits for `work`, until the next timer is due at most:
    /// interrupt handlers and other tasks that have work for the loop post it.
    public convenience init(wokenBy work: Semaphore) {
        let reference = Reference()
        self.init(
            milliseconds: { Int(truncatingIfNeeded: KernelClock.units * 1000 / Int64(KernelClock.ticksPerSecond)) },
            sleep: {
                let deadline = unsafe reference.loop?._withUnsafeGuaranteedRef { $0.timers.deadline }
                do throws(KernelError) {
                    try work.wait(deadline.map(Wait.until) ?? .forever)
                    // One turn does the work of all posts so far.
                    while true { try work.wait(.noWait) }
                } catch {}
            }
        )
        unsafe reference.loop = Unmanaged.passUnretained(self)
    }

    /// The loop, for a closure that it owns.
    @safe private final class Reference {
        var loop: Unmanaged<EventLoop>?
    }

    /// The time of the loop's clock.
    public var now: Duration { .milliseconds(milliseconds()) }

    /// Calls `pollable` in every turn from now on, such as a UART that looks into its FIFO.
    public func register(_ pollable: any EndOfTurnHandler) { pollers = Poller(pollable, before: pollers) }

    /// Runs the loop until ``stop()``. It sleeps between turns.
    public func run() {
        isStopping = false
        while !isStopping {
            turn()
            if !isStopping { sleep() }
        }
    }

    /// Calls `begin`, and runs the loop for a turn and then for as long as `condition` holds, which is asked after each turn: for code that waits for one
    /// thing after another. It sleeps between turns.
    public func run(after begin: () -> Void, while condition: () -> Bool) {
        begin()
        turn()
        while condition() {
            sleep()
            turn()
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
