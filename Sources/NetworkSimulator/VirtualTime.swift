public import Kernel

extension EventLoop {
    /// Calls `body` on a new loop whose time stands still while there is something to do, and then jumps to the next timer: hours pass in
    /// milliseconds, and the same every time.
    ///
    /// It is for simulated networks. Only what runs on the loop is waited for: `body` and its child tasks do; tasks that it makes otherwise do not,
    /// unless the loop is their executor. Real sockets and other threads are too slow for it.
    public static func inVirtualTime<Result: Sendable>(
        _ body: @escaping @Sendable (EventLoop) async throws -> Result
    ) async throws -> Result {
        let loop = EventLoop.makeVirtual()
        let task = Task(executorPreference: loop) { try await body(loop) }
        loop.startThread()
        // What is open is closed, and its handlers are told.
        defer { loop.shutDown(within: .seconds(60)) }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Waits for a time of the loop, from a task on it.
    public nonisolated(nonsending) func sleep(for time: Duration) async throws(KernelError) {
        do throws(KernelError) { try await Kernel.Semaphore().wait(.atMost(time)) } catch {
            if error != .timedOut { throw error }
        }
    }
}
