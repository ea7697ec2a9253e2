internal import CKernel

/// A lock that many readers or one writer hold. Writers go first: while one waits, no further reader gets in.
///
/// It belongs to no thread: whoever has locked it may have another unlock it, and a Swift task may hold it over an `await`. A reader that locks it
/// again while a writer waits, and one that locks it for writing, wait for themselves: unlock first.
public final class ReadWriteLock: KernelObject, @unchecked Sendable {
    /// How many read, or ``writing``.
    private var holders: UInt32 = 0

    private static var writing: UInt32 { .max }
    /// Readers wait behind all writers.
    private static var readersRank: UInt8 { 32 }

    /// A lock that nobody holds.
    public override init() { super.init() }

    /// How many hold it for reading.
    public var readers: UInt32 { lock.withLock { holders == Self.writing ? 0 : holders } }

    /// Whether somebody holds it for writing.
    public var isWriting: Bool { lock.withLock { holders == Self.writing } }

    /// Locks it for reading.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func lockForReading(_ wait: Wait = .forever) throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        if beginReading() { return lock.leave(key) }
        try block(key, wait, behind: Self.readersRank)
    }

    /// Locks it for writing.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func lockForWriting(_ wait: Wait = .forever) throws(KernelError) {
        let key = lock.enter()
        try checkAlive(key)
        if beginWriting() { return lock.leave(key) }
        do throws(KernelError) { try block(key, wait) } catch { try giveUp(error) }
    }

    /// Ends a reader's hold; throws ``KernelError/notOwner`` if nobody reads.
    public func unlockAfterReading() throws(KernelError) {
        let key = lock.enter()
        guard holders != 0, holders != Self.writing else {
            lock.leave(key)
            throw .notOwner
        }
        holders -= 1
        admit(key)
    }

    /// Ends the writer's hold; throws ``KernelError/notOwner`` if nobody writes.
    public func unlockAfterWriting() throws(KernelError) {
        let key = lock.enter()
        guard holders == Self.writing else {
            lock.leave(key)
            throw .notOwner
        }
        holders = 0
        admit(key)
    }

    private func beginReading() -> Bool {
        guard holders != Self.writing, waiters.isEmpty else { return false }
        holders += 1
        return true
    }

    private func beginWriting() -> Bool {
        guard holders == 0, waiters.isEmpty else { return false }
        holders = Self.writing
        return true
    }

    /// Lets in whom the lock has room for; call it with the lock of the object held, it returns without.
    private func admit(_ key: LockKey) {
        var wakeUps = WakeUps()
        while let first = unsafe waiters.first {
            let isWriter = unsafe first.pointee.rank < Self.readersRank
            guard isWriter ? holders == 0 : holders != Self.writing else { break }
            holders = isWriter ? Self.writing : holders + 1
            unsafe waiters.remove(first)
            unsafe wakeUps.add(first)
        }
        lock.leave(key)
        wakeUps.perform()
    }

    /// A writer that does not wait any longer does not keep readers out.
    private func giveUp(_ error: KernelError) throws(KernelError) {
        admit(lock.enter())
        throw error
    }
}

extension ReadWriteLock {
    /// Calls `body` with the lock held for reading.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func withReading<Result: ~Copyable>(_ wait: Wait = .forever, _ body: () -> Result) throws(KernelError)
        -> Result
    {
        try lockForReading(wait)
        let result = body()
        try unlockAfterReading()
        return result
    }

    /// Calls `body` with the lock held for writing.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func withWriting<Result: ~Copyable>(_ wait: Wait = .forever, _ body: () -> Result) throws(KernelError)
        -> Result
    {
        try lockForWriting(wait)
        let result = body()
        try unlockAfterWriting()
        return result
    }
}

#if !hasFeature(Embedded)
extension ReadWriteLock {
    /// Awaits the lock for reading.
    public nonisolated(nonsending) func lockForReading(_ wait: Wait = .forever) async throws(KernelError) {
        try await suspend(wait, behind: Self.readersRank) { _ in beginReading() }
    }

    /// Awaits the lock for writing.
    public nonisolated(nonsending) func lockForWriting(_ wait: Wait = .forever) async throws(KernelError) {
        do throws(KernelError) { try await suspend(wait) { _ in beginWriting() } } catch { try giveUp(error) }
    }

    /// Calls `body`, which may suspend, with the lock held for reading.
    public nonisolated(nonsending) func withReading<Result>(
        _ wait: Wait = .forever,
        _ body: nonisolated(nonsending) () async -> Result
    ) async throws(KernelError) -> Result {
        try await lockForReading(wait)
        let result = await body()
        try unlockAfterReading()
        return result
    }

    /// Calls `body`, which may suspend, with the lock held for writing.
    public nonisolated(nonsending) func withWriting<Result>(
        _ wait: Wait = .forever,
        _ body: nonisolated(nonsending) () async -> Result
    ) async throws(KernelError) -> Result {
        try await lockForWriting(wait)
        let result = await body()
        try unlockAfterWriting()
        return result
    }
}
#endif
