// The standard library makes durations by generic 128-bit arithmetic, some 3 KB of code on a Cortex-M, which constants do not avoid there.
// These take its place within the package: two multiplications by 32 bits.

extension Duration {
    /// So many milliseconds.
    package static func milliseconds(_ count: Int) -> Duration { milliseconds(Int64(count)) }

    /// So many seconds, up to 2⁴⁰ of them.
    package static func seconds(_ count: Int) -> Duration { milliseconds(Int64(count) &* 1_000) }

    private static func milliseconds(_ count: Int64) -> Duration {
        let attosecondsPerMillisecond: Int64 = 1_000_000_000_000_000
        return Duration(attoseconds: Int128(count) &* Int128(attosecondsPerMillisecond))
    }
}
