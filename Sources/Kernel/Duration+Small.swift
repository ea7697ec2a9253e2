// The standard library makes durations by generic 128-bit arithmetic, some 3 KB of code on a Cortex-M, which constants do not avoid there.
// Where this module is imported, these take its place: one multiplication.

extension Duration {
    /// So many milliseconds.
    public static func milliseconds(_ count: Int) -> Duration {
        Duration(attoseconds: Int128(count) &* 1_000_000_000_000_000)
    }

    /// So many seconds.
    public static func seconds(_ count: Int) -> Duration {
        Duration(attoseconds: Int128(count) &* 1_000_000_000_000_000_000)
    }

    /// How many whole milliseconds it has.
    package var wholeMilliseconds: Int { Int(truncatingIfNeeded: attoseconds / 1_000_000_000_000_000) }
}
