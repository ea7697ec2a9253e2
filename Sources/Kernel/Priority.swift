/// How urgent a task is: of those that could run, or that wait for the same thing, the most urgent goes first.
public struct Priority: RawRepresentable, Comparable, Sendable {
    /// 0, the most urgent, to 31.
    public let rawValue: UInt8

    /// A priority from 0, the most urgent, to 31.
    public init(rawValue: UInt8) {
        precondition(rawValue < 32, "a priority from 0 to 31")
        self.rawValue = rawValue
    }

    /// 0: goes before all others.
    public static var highest: Priority { Priority(rawValue: 0) }
    /// 10: that of threads which are not told another, and of Swift tasks of medium priority.
    public static var normal: Priority { Priority(rawValue: 10) }
    /// 31: goes behind all others.
    public static var lowest: Priority { Priority(rawValue: 31) }

    /// Less is less urgent.
    public static func < (left: Priority, right: Priority) -> Bool { left.rawValue > right.rawValue }
}
