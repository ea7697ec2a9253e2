#if !hasFeature(Embedded)
/// Resumes a task with a value, exactly once: who keeps one sees to that. Unlike a checked continuation it allocates nothing.
@safe struct Resumer<Value: Sendable> {
    private let continuation: UnsafeContinuation<Value, Never>

    fileprivate init(_ continuation: UnsafeContinuation<Value, Never>) { unsafe self.continuation = continuation }

    func resume(_ value: Value) { unsafe continuation.resume(returning: value) }

    /// Suspends the task until the resumer that `body`, called on the actor `isolation`, is given resumes it. The actor must be named: a closure that
    /// does not mention its own has none.
    static func wait(on isolation: isolated any Actor, _ body: (Resumer) -> Void) async -> Value {
        unsafe await withUnsafeContinuation(isolation: isolation) { unsafe body(Resumer($0)) }
    }
}
#endif
