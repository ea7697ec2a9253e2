#if !hasFeature(Embedded)
extension EventLoop {
    /// Calls `body` on the loop, and awaits what it returns.
    @discardableResult
    package func call<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
        // By way of the guarded value, what `body` did is ordered before what follows for tools that do not see into continuations.
        let returned = Guarded<Result?>(nil)
        await withCheckedContinuation { continuation in
            execute {
                let result = body()
                returned.withLock { $0 = result }
                continuation.resume()
            }
        }
        guard let result = returned.withLock({ $0 }) else { preconditionFailure("the loop has not called") }
        return result
    }
}
#endif
