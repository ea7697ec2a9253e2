#if os(Linux)
internal import CKernel
internal import Glibc
internal import Synchronization

extension Atomic where Value == UInt32 {
    /// Sleeps while the word is `value`; may also return without a cause.
    borrowing func futexWait(while value: UInt32) {
        _ = unsafe ckernel_futex_wait(address, value, nil)
    }

    /// As ``futexWait(while:)``, at most until a moment on the clock; whether that has passed.
    borrowing func futexWait(while value: UInt32, until deadline: Int64) -> Bool {
        var time = timespec(nanoseconds: deadline)
        return unsafe ckernel_futex_wait(address, value, &time) == ETIMEDOUT
    }

    /// Wakes up to `count` sleepers.
    borrowing func futexWake(_ count: Int32) { unsafe ckernel_futex_wake(address, count) }

    /// The word's place, for calls of the system.
    borrowing func futexLockPI(until deadline: UnsafePointer<timespec>) -> Int32 {
        unsafe ckernel_futex_lock_pi(address, deadline)
    }

    /// Gives a priority-inheriting futex to the waiter of the highest priority.
    borrowing func futexUnlockPI() -> Int32 { unsafe ckernel_futex_unlock_pi(address) }

    private var address: UnsafeRawPointer {
        // An Atomic has no address of its own in the language; this one lives in a class instance or on the heap and does not move.
        unsafe withUnsafePointer(to: self) { unsafe UnsafeRawPointer($0) }
    }
}

extension timespec {
    /// A moment on the clock, in nanoseconds.
    init(nanoseconds: Int64) {
        self.init(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    }
}
#endif
