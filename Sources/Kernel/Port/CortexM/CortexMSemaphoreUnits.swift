#if os(none)
/// The count of a semaphore: here the lock costs no more than an atomic operation.
struct SemaphoreUnits {
    private(set) var count: Int32

    init(_ count: Int32) { self.count = count }

    /// Only under the lock.
    @inline(__always) func take() -> Bool { false }

    /// Only under the lock.
    @inline(__always) func give(_: Int32) throws(KernelError) -> Bool { false }

    // MARK: Under the lock

    /// Takes a unit if there is one.
    @inline(__always) mutating func takeOrContest() -> Bool {
        guard count > 0 else { return false }
        count &-= 1
        return true
    }

    /// Adds a unit; `false` if there are too many.
    @inline(__always) mutating func add(_ limit: Int32) -> Bool {
        guard count < limit else { return false }
        count &+= 1
        return true
    }

    @inline(__always) func uncontest() {}

    @inline(__always) mutating func end() { count = 0 }
}
#endif
