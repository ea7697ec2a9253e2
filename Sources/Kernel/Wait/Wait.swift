/// How long a call may wait: not at all, for a time, until a time, or for ever.
///
/// Times count in units of the port's clock: nanoseconds on Linux; ticks on a bare Cortex-M, where a time is rounded up to whole ticks, the one that is
/// under way counting as the first.
public struct Wait: Equatable, Sendable {
    /// Above 0 a time from now; 0 not at all; below 0 the negative of a moment on the clock.
    let raw: Int64

    /// Fails with ``KernelError/wouldBlock`` instead of waiting.
    public static var noWait: Wait { Wait(raw: 0) }

    /// Waits until the call succeeds or the object is destroyed.
    public static var forever: Wait { Wait(raw: .max) }

    /// So many milliseconds from the call on; none for numbers below 1.
    public static func milliseconds(_ count: Int) -> Wait { Wait(raw: KernelClock.units(milliseconds: count)) }

    /// So many seconds from the call on; none for numbers below 1.
    public static func seconds(_ count: Int) -> Wait { Wait(raw: KernelClock.units(seconds: count)) }

    /// A time from the call on; none for durations below or equal to zero.
    public static func atMost(_ duration: Duration) -> Wait { Wait(raw: KernelClock.units(duration)) }

    /// Until a moment on ``KernelClock``; none if it has passed.
    public static func until(_ deadline: Duration) -> Wait { Wait(raw: min(-1, -KernelClock.units(deadline))) }

    /// The moment at which a wait that begins at `now` ends, in the clock's units; the greatest value for none.
    func deadline(from now: Int64) -> Int64 {
        if raw < 0 { return -raw }
        let (end, overflow) = now.addingReportingOverflow(raw)
        return overflow ? .max : end
    }
}
