public import Kernel

/// What one primitive must do, written once for Linux and for a Cortex-M.
public struct Scenario: Sendable {
    /// What must be so.
    public let name: StaticString
    /// Finds out whether it is.
    public let run: @Sendable (Checks) throws(KernelError) -> Void

    /// A scenario of its name.
    public init(_ name: StaticString, _ run: @escaping @Sendable (Checks) throws(KernelError) -> Void) {
        self.name = name
        self.run = run
    }

    /// All of them.
    public static var all: [Scenario] {
        var all: [Scenario] = []
        for list in [
            semaphores, mutexes, eventFlags, messageQueues, priorityMessageQueues, mailQueues, otherQueues, gates,
            barriers,
            readWriteLocks, pools, tasks, taskStates, clocks, timers, containers, lives, givingUp,
        ] { all += list }
        return all
    }
}

/// Whether only the most urgent task runs, and equally urgent ones in the order in which they were woken.
var areTasksStrict: Bool {
    #if os(none)
    true
    #else
    false
    #endif
}

/// What a scenario finds: the lines where something was otherwise than expected.
public final class Checks: @unchecked Sendable {
    // @unchecked: touched while the mutex is held.
    private let mutex = Mutex()
    private var lines: [Int] = []

    /// No failures so far.
    public init() {}

    /// The lines of the checks that failed.
    public var failures: [Int] {
        do throws(KernelError) { return try mutex.withLock { lines } } catch { return [-1] }
    }

    /// Expects that `condition` holds.
    public func expect(_ condition: Bool, line: Int = #line) {
        if !condition { fail(line) }
    }

    /// Expects that `body` throws `error`.
    public func expect(_ expected: KernelError, line: Int = #line, _ body: () throws(KernelError) -> Void) {
        do throws(KernelError) { try body() } catch { return expect(error == expected, line: line) }
        fail(line)
    }

    private func fail(_ line: Int) {
        do throws(KernelError) { try mutex.withLock { lines.append(line) } } catch { preconditionFailure() }
    }
}
