#if os(Linux)
internal import CLinux
internal import Synchronization

/// Several loops, each with a thread of its own, for services that have more work than one processor does. What is made on a loop stays on it.
///
/// A server has a listener on each loop, with `SocketOptions.sharesPort` set; the system deals the connections out. A client takes ``next()``.
public final class EventLoopGroup: Sendable {
    /// The loops.
    public let loops: [EventLoop]
    private let turn = Atomic<Int>(0)

    /// `count` loops, at least one; as many as there are processors if that is 0.
    public init(count: Int = 0) {
        let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        loops = (0..<max(1, count == 0 ? processors : count)).map { _ in EventLoop.start() }
    }

    /// One of the loops, all in turn.
    public func next() -> EventLoop {
        loops[turn.wrappingAdd(1, ordering: .relaxed).oldValue % loops.count]
    }

    /// Closes what is open on all of them, and ends them: see ``EventLoop/shutDown(within:)``.
    public func shutDown(within time: Duration) { for loop in loops { loop.shutDown(within: time) } }
}
#endif
