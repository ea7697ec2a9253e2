#if os(Linux)
internal import Synchronization

/// A short-term lock of one word: an uncontended lock or unlock is one atomic operation and no system call.
package final class FutexLock: Sendable {
    /// 0 free, 1 held, 2 held and somebody may sleep.
    private let word = Atomic<UInt32>(0)

    package init() {}

    package func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        lock()
        defer { unlock() }
        return try body()
    }

    private func lock() {
        if word.compareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged { return }
        while word.exchange(2, ordering: .acquiring) != 0 { word.futexWait(while: 2) }
    }

    private func unlock() {
        if word.exchange(0, ordering: .releasing) == 2 { word.futexWake(1) }
    }
}
#endif
