import Glibc
import Kernel
import Testing

/// Polls until `condition` holds, five seconds at most; whether it does.
func eventually(_ condition: () throws -> Bool) async throws -> Bool {
    for _ in 0..<5_000 {
        if try condition() { return true }
        try await Task.sleep(for: .milliseconds(1))
    }
    return false
}

extension KernelTask {
    /// Awaits that it cannot go on by itself; whether it came to that.
    func settles() async throws -> Bool { try await eventually { state != .ready } }
}

/// The system's number of the calling thread: the last part of what `/proc/thread-self` points to.
private func threadID() -> pid_t {
    var target = [CChar](repeating: 0, count: 64)
    let count = readlink("/proc/thread-self", &target, target.count)
    let bytes = target[..<max(0, count)].map { UInt8(bitPattern: $0) }
    let digits = String(decoding: bytes, as: UTF8.self).split(separator: "/").last
    return digits.flatMap { pid_t($0) } ?? -1
}

/// A task that says which thread it is.
final class Thread: Sendable {
    let task: KernelTask
    let id: pid_t

    init(
        _ name: String = "task",
        priority: UInt8 = 10,
        scheduling: KernelTask.Scheduling = .fair,
        _ body: @escaping @Sendable () throws(KernelError) -> Void
    ) throws {
        let id = Guarded<pid_t>(0)
        task = try KernelTask(name, priority: Priority(rawValue: priority), scheduling: scheduling) {
            let own = threadID()
            id.withLock { $0 = own }
            do throws(KernelError) { try body() } catch { Issue.record("a task failed: \(error)") }
        }
        while id.withLock({ $0 }) == 0 { sched_yield() }
        self.id = id.withLock { $0 }
    }

    /// What the system says of the thread, in a file of its folder.
    func file(_ name: String) throws -> String {
        let descriptor = open("/proc/self/task/\(id)/\(name)", O_RDONLY)
        try #require(descriptor >= 0, "no thread \(id)")
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1_024)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }

    /// The number of a field of `stat`, counted as proc(5) does.
    func status(_ field: Int) throws -> Int {
        // The second field is the name in parentheses, which may have blanks in it.
        let fields = try file("stat").split(separator: ")").last?.split(separator: " ") ?? []
        return try #require(Int(fields[field - 3]))
    }

    /// The priority that a real-time thread has now, with what it inherits: the system says -2 for its own 1, -100 for its own 99.
    var inheritedPriority: Int { get throws { try status(18) + 81 } }
}

/// Runs a thread that is no task, and awaits its end.
func onOtherThread(_ body: @escaping @Sendable () -> Void) {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    var thread = pthread_t()
    let result = pthread_create(
        &thread,
        nil,
        { argument in
            if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
            return nil
        },
        Unmanaged.passRetained(Body(body)).toOpaque()
    )
    #expect(result == 0)
    pthread_join(thread, nil)
}
