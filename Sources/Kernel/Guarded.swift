/// A value that is only touched under a lock.
@safe
package final class Guarded<Value>: @unchecked Sendable {
    // @unchecked: `value` is only reached through `withLock`.
    private let lock = ObjectLock()
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func withLock<Result, Failure: Error>(_ body: (inout Value) throws(Failure) -> Result) throws(Failure)
        -> Result
    {
        let key = lock.enter()
        defer { lock.leave(key) }
        return try body(&value)
    }
}
