import Testing

@testable import Kernel

/// Tasks that are suspended, resumed, made more or less urgent, cut short and cancelled at any moment.
@Suite(.timeLimit(.minutes(1))) struct TaskStressTests {
    @Test(arguments: Stress.seeds) func tasksUnderEveryCommand(seed: UInt64) async throws {
        var generator = Generator(state: seed)
        let (semaphore, mutex, queue, flags) = (Semaphore(), Mutex(), MessageQueue<Int>(capacity: 2), EventFlags())
        let (taken, received, sent) = (Guarded(0), Guarded(0), Guarded(0))
        let tasks = try (0..<4).map { number in
            let seed = generator.next() | 1
            return try KernelTask("commanded \(number)") {
                var generator = Generator(state: seed)
                var isCancelled = false
                while !isCancelled {
                    do throws(KernelError) {
                        let wait = generator.below(2) == 0 ? .forever : generator.impatientWait()
                        switch generator.below(6) {
                        case 0:
                            try semaphore.wait(wait)
                            taken.withLock { $0 += 1 }
                        case 1: try mutex.withLock(wait) { generator.pause() }
                        case 2:
                            try queue.send(1, wait)
                            sent.withLock { $0 += 1 }
                        case 3:
                            _ = try queue.receive(wait)
                            received.withLock { $0 += 1 }
                        case 4: _ = try flags.wait(for: 1 << UInt32(number), clearing: true, wait)
                        default: try KernelTask.delay(wait)
                        }
                    } catch {
                        isCancelled = error == .cancelled
                        #expect([.cancelled, .wouldBlock, .timedOut].contains(error))
                    }
                }
            }
        }
        var posted = 0
        for _ in 0..<2_000 {
            let task = tasks[generator.below(4)]
            do throws(KernelError) {
                switch generator.below(9) {
                case 0: try task.suspend()
                case 1: try task.resume()
                case 2: task.priority = Priority(rawValue: UInt8(generator.below(32)))
                case 3: try task.abortDelay()
                case 4:
                    try semaphore.post()
                    posted += 1
                case 5:
                    try await queue.send(1, .noWait)
                    sent.withLock { $0 += 1 }
                case 6:
                    _ = try await queue.receive(.noWait)
                    received.withLock { $0 += 1 }
                case 7: try flags.set(UInt32(truncatingIfNeeded: generator.next()))
                default: _ = task.state
                }
            } catch { #expect(error == .wrongState || error == .wouldBlock) }
            if generator.below(8) == 0 { await Task.yield() }
        }
        for task in tasks {
            task.cancel()
            do throws(KernelError) { try task.resume() } catch { #expect(error == .wrongState) }
        }
        for task in tasks { try await task.join() }
        for object in [semaphore, mutex, queue, flags] { #expect(object.waiting == 0) }
        #expect(Int(semaphore.count) + taken.withLock { $0 } == posted)
        #expect(queue.count + received.withLock { $0 } == sent.withLock { $0 })
        try await mutex.withLock(.noWait) {}
    }

    /// Everybody joins everybody who was started before.
    @Test(arguments: Stress.seeds) func manyJoinMany(seed: UInt64) async throws {
        var generator = Generator(state: seed)
        let joined = Guarded(0)
        var tasks: [KernelTask] = []
        for number in 0..<40 {
            let (others, pauses) = (tasks, generator.below(50))
            tasks.append(
                try KernelTask("joining \(number)") {
                    do throws(KernelError) {
                        for _ in 0..<pauses { KernelTask.yield() }
                        for other in others {
                            try other.join(.seconds(30))
                            joined.withLock { $0 += 1 }
                        }
                    } catch { Issue.record(error) }
                }
            )
        }
        for task in tasks { try await task.join() }
        #expect(joined.withLock { $0 } == 40 * 39 / 2)
        for task in tasks { #expect(try await eventually { task.state == .ended }) }
    }
}
