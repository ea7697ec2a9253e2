internal import CKernel

/// 32 flags that can be waited for, some or all of a set at once.
public final class EventFlags: KernelObject, @unchecked Sendable {
    /// Which of the flags that somebody waits for must be set.
    public enum Match: Sendable {
        /// One of them, at least.
        case any
        /// All of them; all of none is always the case.
        case all
    }

    private var flags: UInt32

    /// What one who waits wants, and what it got.
    private struct Request {
        let expected: UInt32
        let match: Match
        let clearing: Bool
        var matched: UInt32 = 0

        mutating func isMet(by flags: UInt32) -> Bool {
            matched = flags & expected
            return match == .all ? matched == expected : matched != 0
        }
    }

    /// Event flags, of which `flags` are set.
    public init(_ flags: UInt32 = 0) { self.flags = flags }

    /// The flags that are set.
    public var current: UInt32 { lock.withLock { flags } }

    /// Waits until any or all of `expected` are set, and returns which of them are. With `clearing`, all flags are then cleared, those
    /// included that were not waited for: whoever stands behind waits on.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    @inline(never) public func wait(
        for expected: UInt32,
        _ match: Match = .any,
        clearing: Bool = false,
        _ wait: Wait = .forever
    ) throws(KernelError) -> UInt32 {
        var request = Request(expected: expected, match: match, clearing: clearing)
        let key = lock.enter()
        try checkAlive(key)
        if meet(&request) { lock.leave(key) } else { try block(key, wait, slot: &request) }
        return request.matched
    }

    /// Sets `flags` beside those that are set. For interrupt handlers too.
    public func set(_ flags: UInt32) throws(KernelError) { try change { $0 | flags } }

    /// Sets `flags`, and clears all others. For interrupt handlers too.
    public func replace(with flags: UInt32) throws(KernelError) { try change { _ in flags } }

    /// Clears `flags`. For interrupt handlers too.
    public func clear(_ flags: UInt32) throws(KernelError) { try change { $0 & ~flags } }

    /// Serves a request if it can be served; call it under the lock.
    @inline(__always) private func meet(_ request: inout Request) -> Bool {
        guard request.isMet(by: flags) else { return false }
        if request.clearing { flags = 0 }
        return true
    }

    /// Changes the flags, and wakes those whose request is met, the most urgent first, until one of them clears the flags.
    @inline(never) private func change(_ change: (UInt32) -> UInt32) throws(KernelError) {
        var wakeUps = WakeUps()
        let key = lock.enter()
        try checkAlive(key)
        flags = change(flags)
        var next = unsafe waiters.first
        while let waiter = unsafe next, flags != 0 {
            unsafe next = waiter.pointee.next
            guard let request = unsafe waiter.pointee.slot?.assumingMemoryBound(to: Request.self),
                unsafe meet(&request.pointee)
            else { continue }
            unsafe waiters.remove(waiter)
            unsafe wakeUps.add(waiter)
        }
        lock.leave(key)
        wakeUps.perform()
    }
}

#if !hasFeature(Embedded)
extension EventFlags {
    /// As the `wait(for:_:clearing:_:)` that blocks; awaits the flags.
    public nonisolated(nonsending) func wait(
        for expected: UInt32,
        _ match: Match = .any,
        clearing: Bool = false,
        _ wait: Wait = .forever
    ) async throws(KernelError) -> UInt32 {
        let request = UnsafeMutablePointer<Request>.allocate(capacity: 1)
        unsafe request.initialize(to: Request(expected: expected, match: match, clearing: clearing))
        defer { unsafe request.deallocate() }
        try await suspend(wait, slot: request) { _ in unsafe meet(&request.pointee) }
        return unsafe request.pointee.matched
    }
}
#endif
