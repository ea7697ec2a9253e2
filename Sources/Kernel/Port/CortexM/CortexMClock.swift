#if os(none)
internal import CKernel

/// The kernel's clock: ticks of the interrupt that calls `ckernel_tick`.
public enum KernelClock {
    /// The time since the scheduler started.
    public static var now: Duration { duration(units: units) }

    /// How many ticks a second has: 1,000 unless ``Scheduler/start(ticksPerSecond:)`` was told another number.
    public static var ticksPerSecond: Int { unsafe Int(ckernel().pointee.ticksPerSecond) }

    /// The ticks so far.
    static var units: Int64 {
        let key = ckernel_mask()
        let now = unsafe ckernel().pointee.now
        ckernel_unmask(key)
        return Int64(bitPattern: now)
    }

    @inline(never) static func units(milliseconds: Int) -> Int64 {
        guard milliseconds > 0 else { return 0 }
        let rate = unsafe ckernel().pointee.ticksPerSecond
        let (seconds, rest) = UInt32(milliseconds).quotientAndRemainder(dividingBy: 1000)
        // Below 2^32 for rates of up to four million; no 64-bit division, which is a function of its own.
        return Int64(UInt64(seconds) &* UInt64(rate)) &+ Int64((rest &* rate &+ 999) / 1000)
    }

    static func units(seconds: Int) -> Int64 {
        let rate = unsafe ckernel().pointee.ticksPerSecond
        return seconds <= 0 ? 0 : Int64(UInt64(UInt32(seconds)) &* UInt64(rate))
    }

    /// Rounded up; what is too long for the clock is for ever.
    static func units(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let rate = unsafe Int64(ckernel().pointee.ticksPerSecond)
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: rate)
        let perTick = 1_000_000_000_000_000_000 / rate
        let (units, isTooLong) = whole.addingReportingOverflow((attoseconds + perTick - 1) / perTick)
        return overflow || isTooLong ? .max : units
    }

    static func duration(units: Int64) -> Duration {
        let rate = unsafe Int64(ckernel().pointee.ticksPerSecond)
        let (seconds, rest) = units.quotientAndRemainder(dividingBy: rate)
        return Duration(secondsComponent: seconds, attosecondsComponent: rest * (1_000_000_000_000_000_000 / rate))
    }
}

extension Wait {
    /// So many ticks from the call on; none for numbers below 1.
    public static func ticks(_ count: Int) -> Wait { Wait(raw: Int64(max(0, count))) }
}
#endif
