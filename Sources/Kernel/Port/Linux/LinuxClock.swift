#if os(Linux)
internal import CKernel

/// The kernel's clock: CLOCK_MONOTONIC, in nanoseconds.
public enum KernelClock {
    /// The time since the clock's origin, which no jump of the time of day moves; an ``EventLoop`` counts on the same clock.
    public static var now: Duration { .nanoseconds(units) }

    /// The same in the clock's units.
    static var units: Int64 { ckernel_monotonic_ns() }

    static func duration(units: Int64) -> Duration { .nanoseconds(units) }

    static func units(milliseconds: Int) -> Int64 { multiply(milliseconds, by: 1_000_000) }

    static func units(seconds: Int) -> Int64 { multiply(seconds, by: 1_000_000_000) }

    /// Rounded up; what is too long for the clock is for ever.
    static func units(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (units, isTooLong) = whole.addingReportingOverflow((attoseconds + 999_999_999) / 1_000_000_000)
        if overflow || isTooLong { return seconds > 0 ? .max : 0 }
        return max(0, units)
    }

    private static func multiply(_ count: Int, by unit: Int64) -> Int64 {
        let (units, overflow) = Int64(count).multipliedReportingOverflow(by: unit)
        return overflow ? (count > 0 ? .max : 0) : max(0, units)
    }
}

extension Wait {
    /// When a wait that begins now ends, in the time of `loop`.
    func deadline(on loop: EventLoop) -> Duration { .nanoseconds(deadline(from: KernelClock.units(loop.now))) }

    /// The same wait as one until a moment of `loop`, for what takes several waits.
    package func moment(on loop: EventLoop) -> Wait {
        raw <= 0 || raw == .max ? self : Wait(raw: -deadline(from: KernelClock.units(loop.now)))
    }
}
#endif
