import Glibc
import Kernel
import Testing

extension Generator {
    /// A number below `limit`.
    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }

    /// A wait that may end without what was waited for.
    mutating func impatientWait() -> Wait {
        switch below(4) {
        case 0: .noWait
        case 1: .milliseconds(1)
        default: .atMost(.microseconds(below(300)))
        }
    }

    /// Lets others go on, for about as long as they need, or not at all.
    mutating func pause() {
        switch below(6) {
        case 0: sched_yield()
        case 1: for _ in 0..<below(100) { sched_yield() }
        default: break
        }
    }
}

/// Threads and tasks that do something at random, all at once.
struct Stress {
    /// Two that are always the same, and one that never is; the test's argument says which it was.
    static let seeds: [UInt64] = [1, 2, .random(in: 3 ... .max)]

    let seed: UInt64
    var threads = 3
    var tasks = 3
    var rounds = 200

    /// Runs each so many rounds, and waits for all. Each has a number, and a generator of its own.
    func run(
        thread: @escaping @Sendable (Int, Int, inout Generator) throws(KernelError) -> Void,
        task: @escaping @Sendable (Int, Int, inout Generator) async throws(KernelError) -> Void
    ) async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let (rounds, threadCount) = (rounds, threads)
        var seeds = Generator(state: seed)
        let generators = (0..<(threads + tasks)).map { _ in Generator(state: seeds.next() | 1) }
        let running = try (0..<threads).map { number in
            try KernelTask("stress \(number)", priority: Priority(rawValue: UInt8(8 + seeds.below(5)))) {
                var generator = generators[number]
                for round in 0..<rounds {
                    do throws(KernelError) { try thread(number, round, &generator) } catch {
                        Issue.record("thread \(number), round \(round): \(error)")
                        return
                    }
                    generator.pause()
                }
            }
        }
        try await withThrowingTaskGroup { group in
            for number in threadCount..<(threadCount + tasks) {
                group.addTask(executorPreference: number % 2 == 0 ? loop : nil) {
                    var generator = generators[number]
                    for round in 0..<rounds {
                        try await task(number, round, &generator)
                        if generator.below(4) == 0 { await Task.yield() }
                    }
                }
            }
            try await group.waitForAll()
        }
        for task in running { try await task.join() }
    }
}
