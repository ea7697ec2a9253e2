#if os(Linux)
/// Carries an object of a loop through a `@Sendable` closure that runs on that loop.
package struct LoopConfined<Value>: @unchecked Sendable {
    // @unchecked: `value` is only used on the loop that it came from.
    package let value: Value
    package init(_ value: Value) { self.value = value }
}
#endif
