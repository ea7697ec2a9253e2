#if !hasFeature(Embedded)
// Who waits for what.
extension HubServiceRunner {
    /// Waits for an answer, or the cancellation of the task.
    func answer(to wait: Wait) async throws(Failure) -> Answer {
        if let result = early.removeValue(forKey: wait) { return try result.get() }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { waiters[wait] = $0 }
        } onCancel: {
            Task { await self.cancel(wait) }
        }
        return try result.get()
    }

    func finish(_ wait: Wait, _ result: Result<Answer, Failure>) {
        guard let waiter = waiters.removeValue(forKey: wait) else { return early[wait] = result }
        waiter.resume(returning: result)
    }

    private func cancel(_ wait: Wait) {
        switch wait {
        case .ready(let number):
            for filter in subscriptions.keys { subscriptions[filter]?.waiting.removeAll { $0.number == number } }
        case .shadow(let id): shadow.cancel(id)
        case .time(let id): time.cancel(id)
        case .configuration(let id): configuration.cancel(id)
        case .gateway(let id): gateway.cancel(id)
        }
        // Unless the answer was quicker.
        waiters.removeValue(forKey: wait)?.resume(returning: .failure(.service(.cancelled)))
        setTimer()
    }

    /// Makes a request of a service, and sees to what follows from it.
    func request<Result>(
        _ body: (_ now: Duration) throws(HubServiceError) -> Result
    ) throws(Failure) -> Result {
        defer { pump() }
        do throws(HubServiceError) { return try body(clock.now()) } catch { throw .service(error) }
    }
}
#endif
