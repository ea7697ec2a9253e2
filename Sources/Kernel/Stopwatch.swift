/// A time that runs down.
public struct Stopwatch: Sendable {
    /// When it has run down, in the units of the clock.
    private var end: Int64

    /// A stopwatch that has run down.
    public init() { end = .min }

    /// A stopwatch that runs down in `time`; see ``start(_:)``.
    public init(_ time: Wait) {
        self.init()
        start(time)
    }

    /// Starts it, or starts it again: it runs down in `time` from now.
    public mutating func start(_ time: Wait) { end = time.deadline(from: KernelClock.units) }

    /// Whether the time has passed.
    public var isExpired: Bool { KernelClock.units >= end }

    /// The time that is left; zero when it has run down.
    public var remaining: Duration {
        let now = KernelClock.units
        return now >= end ? .zero : KernelClock.duration(units: end - now)
    }

    /// The rest of the time, to wait for as long.
    public var wait: Wait { isExpired ? .noWait : end == .max ? .forever : Wait(raw: -end) }
}
