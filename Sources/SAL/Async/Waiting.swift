#if !hasFeature(Embedded)
internal import Kernel

/// Tells a task on a loop that something may have changed: what was told while nobody waited is told to the next who does.
struct Signal {
    private let semaphore = Kernel.Semaphore(0, limit: 1)

    /// Wakes who waits, or the next who comes to wait.
    func set() {
        // It is set already: whoever comes looks at everything anew.
        do throws(KernelError) { try semaphore.post() } catch {}
    }

    /// Waits until it is set.
    nonisolated(nonsending) func wait(for time: Wait) async throws(SocketError) {
        do throws(KernelError) { try await semaphore.wait(time) } catch { throw SocketError(error) }
    }
}

/// Lets tasks do something in turn, in the order of their coming.
struct Turns {
    private let semaphore = Kernel.Semaphore(1, limit: 1)

    /// Waits until it is the caller's turn.
    nonisolated(nonsending) func wait(for time: Wait) async throws(SocketError) {
        do throws(KernelError) { try await semaphore.wait(time) } catch { throw SocketError(error) }
    }

    /// Ends the caller's turn.
    func give() { do throws(KernelError) { try semaphore.post() } catch {} }
}

extension SocketError {
    /// What ended a wait, as an error of the socket that was waited for.
    init(_ error: KernelError) {
        self =
            switch error {
            case .timedOut, .wouldBlock: .timedOut
            case .cancelled: .cancelled
            default: .closed
            }
    }
}
#endif
