import Kernel

/// A task of a scenario, and how it ended.
final class Worker: @unchecked Sendable {
    // @unchecked: `result` is set before `ended` is posted, and read behind that; `task` is set before it is used.
    private(set) var task: KernelTask!
    private let ended = Completion()
    private var result: KernelError?

    /// Starts a task that runs `body`.
    init(_ priority: UInt8 = 10, _ body: @escaping @Sendable () throws(KernelError) -> Void) throws(KernelError) {
        task = try KernelTask(priority: Priority(rawValue: priority)) { [self] in
            do throws(KernelError) { try body() } catch { result = error }
            do throws(KernelError) { try ended.post() } catch {}
        }
    }

    /// What its body threw, once it has ended.
    func outcome() throws(KernelError) -> KernelError? {
        try ended.wait(.seconds(5))
        return result
    }

    /// Whether it ended without an error.
    func succeeds() throws(KernelError) -> Bool { try outcome() == nil }

    /// Whether it has ended.
    var hasEnded: Bool { ended.isCompleted }

    /// Waits until it cannot go on by itself, and returns itself.
    func settled() throws(KernelError) -> Worker {
        for _ in 0..<5_000 {
            switch task.state {
            case .ready: try KernelTask.delay(.milliseconds(1))
            case .waiting, .delayed, .suspended, .ended: return self
            }
        }
        throw .timedOut
    }
}

/// What tasks note, in the order in which they do.
final class Notes: @unchecked Sendable {
    // @unchecked: touched while the mutex is held.
    private let mutex = Mutex()
    private var notes: [Int] = []

    func add(_ note: Int) throws(KernelError) { try mutex.withLock { notes.append(note) } }

    func all() throws(KernelError) -> [Int] { try mutex.withLock { notes } }

    /// All of them, once there are `count`.
    func wait(for count: Int) throws(KernelError) -> [Int] {
        for _ in 0..<5_000 {
            let notes = try all()
            if notes.count >= count { return notes }
            try KernelTask.delay(.milliseconds(1))
        }
        throw .timedOut
    }
}
