#if os(Linux)
internal import CLinux
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

extension Atomic where Value == UInt32 {
    /// Sleeps while the word is `value`; may also return without a cause.
    borrowing func futexWait(while value: UInt32) {
        _ = unsafe clinux_futex_wait(address, value, nil)
    }

    /// Wakes up to `count` sleepers.
    borrowing func futexWake(_ count: Int32) { unsafe clinux_futex_wake(address, count) }

    private var address: UnsafeRawPointer {
        // An Atomic has no address of its own in the language; this one lives in a class instance and does not move.
        unsafe withUnsafePointer(to: self) { unsafe UnsafeRawPointer($0) }
    }
}
#endif
