// The standard library makes durations by generic 128-bit arithmetic, some 3 KB of code on a Cortex-M, which constants do not avoid there.
// These take its place within the package: one 64 by 64 bit multiplication.

extension Duration {
    private static let attosecondsPerMillisecond: Int64 = 1_000_000_000_000_000

    /// So many milliseconds.
    package static func milliseconds(_ count: Int) -> Duration {
        let product = Int64(count).multipliedFullWidth(by: attosecondsPerMillisecond)
        return Duration(_high: product.high, low: product.low)
    }

    /// So many seconds.
    package static func seconds(_ count: Int) -> Duration {
        let product = Int64(count).multipliedFullWidth(by: 1_000 * attosecondsPerMillisecond)
        return Duration(_high: product.high, low: product.low)
    }
}
