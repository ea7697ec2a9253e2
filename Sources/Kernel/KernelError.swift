/// Why a call of one of the kernel's primitives failed.
@nonexhaustive
public enum KernelError: Error, Equatable, Sendable {
    /// It would have had to wait, and was told not to: ``Wait/noWait``.
    case wouldBlock
    /// The time of the ``Wait`` passed.
    case timedOut
    /// The object was destroyed, before the call or while it waited.
    case destroyed
    /// The waiting task was cancelled: ``KernelTask/cancel()``, or the Swift task that awaited.
    case cancelled
    /// The task that held the mutex ended without unlocking it. The mutex is free again.
    case ownerDied
    /// The mutex is held by another task or by none.
    case notOwner
    /// To wait for this mutex would be to wait for oneself: its owner waits, perhaps by way of others, for a mutex that the caller holds.
    case deadlock
    /// The count is at its limit, and stays there.
    case overflow
    /// The task is not in the state that the call is for: ended, not suspended, not delayed.
    case wrongState
    /// The caller is an interrupt handler, which cannot wait or own anything.
    case inInterrupt
    /// The caller would wait while it holds the scheduler's lock.
    case schedulerLocked
    /// The bytes do not fit: a mail of another size than the queue's.
    case wrongSize
    /// The system gave no memory or no thread, or did not permit what was asked for.
    case refusedBySystem
}
