import Testing

@testable import Kernel

/// Waiting in tasks, by itself and together with threads.
@Suite(.timeLimit(.minutes(1))) struct AsyncWaitTests {
    @Test(arguments: Waiting.Kind.allCases)
    func aTaskGetsWhatAThreadGrants(kind: Waiting.Kind) async throws {
        let waiting = kind.make()
        let task = Task { await outcome { () async throws(KernelError) in try await waiting.wait(.forever) } }
        #expect(try await waiting.object.isWaitedFor(by: 1))
        let thread = try KernelTask {
            do throws(KernelError) { try waiting.grant() } catch { Issue.record(error) }
        }
        #expect(await task.value == nil)
        try await thread.join()
    }

    @Test(arguments: Waiting.Kind.allCases)
    func aThreadGetsWhatATaskGrants(kind: Waiting.Kind) async throws {
        let waiting = kind.make()
        let thread = try KernelTask {
            do throws(KernelError) { try waiting.block(.forever) } catch { Issue.record(error) }
        }
        #expect(try await waiting.object.isWaitedFor(by: 1))
        try waiting.grant()
        try await thread.join()
    }

    @Test(arguments: Waiting.Kind.allCases)
    func whatIsThereNeedsNoWaiting(kind: Waiting.Kind) async throws {
        let waiting = kind.make()
        #expect(await outcome { () async throws(KernelError) in try await waiting.wait(.noWait) } == .wouldBlock)
        guard kind != .barrier else { return }
        try waiting.grant()
        try await waiting.wait(.noWait)
    }

    @Test(arguments: Waiting.Kind.allCases, [true, false])
    func aWaitEndsWhenItsTimeHasPassed(kind: Waiting.Kind, isOnLoop: Bool) async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let waiting = kind.make()
        try await Task(executorPreference: isOnLoop ? loop : nil) {
            #expect(loop.isOnLoop == isOnLoop)
            let start = KernelClock.now
            for wait in [
                Wait.milliseconds(5), .atMost(.microseconds(1)), .until(start), .until(start + .milliseconds(8)),
            ] {
                #expect(await outcome { () async throws(KernelError) in try await waiting.wait(wait) } == .timedOut)
            }
            #expect(KernelClock.now - start >= .milliseconds(8))
            #expect(KernelClock.now - start < .seconds(10))
            #expect(waiting.object.waiting == 0)
            try waiting.grant()
            #expect(waiting.isLeft())
        }.value
    }

    @Test func deadlinesOfManyEndInTheirOrder() async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let (semaphore, order) = (Semaphore(), Guarded<[Int]>([]))
        // Late enough for all to be waiting.
        let start = KernelClock.now + .milliseconds(300)
        await withTaskGroup { group in
            for number in [3, 0, 4, 1, 2] {
                group.addTask(executorPreference: loop) {
                    let deadline = start + .milliseconds(number)
                    let error = await outcome { () async throws(KernelError) in
                        try await semaphore.wait(.until(deadline))
                    }
                    #expect(error == .timedOut && KernelClock.now >= deadline)
                    order.withLock { $0.append(number) }
                }
            }
        }
        #expect(order.withLock { $0 } == [0, 1, 2, 3, 4])
    }

    @Test(arguments: Waiting.Kind.allCases)
    func destroyingTheObjectWakesTasksAndThreads(kind: Waiting.Kind) async throws {
        let waiting = kind.make()
        // Two more would meet at a barrier.
        let count = kind == .barrier ? 1 : 3
        let tasks = (0..<count).map { _ in
            Task { await outcome { () async throws(KernelError) in try await waiting.wait(.forever) } }
        }
        #expect(try await waiting.object.isWaitedFor(by: count))
        let found = Guarded<KernelError?>(nil)
        let block: @Sendable () -> Void = {
            do throws(KernelError) { try waiting.block(.forever) } catch { found.withLock { $0 = error } }
        }
        let thread = kind == .barrier ? nil : try KernelTask(body: block)
        if thread != nil { #expect(try await waiting.object.isWaitedFor(by: count + 1)) }
        waiting.object.destroy()
        for task in tasks { #expect(await task.value == .destroyed) }
        try await thread?.join()
        #expect(thread == nil || found.withLock { $0 } == .destroyed)
        #expect(await outcome { () async throws(KernelError) in try await waiting.wait(.forever) } == .destroyed)
        #expect(waiting.object.waiting == 0)
    }

    /// Two tasks on one loop hand a unit to and fro: were an `await` to block the loop, the other would never run.
    @Test func anAwaitDoesNotBlockItsExecutor() async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let (there, back, order) = (Semaphore(), Semaphore(), Guarded<[Int]>([]))
        let first = Task(executorPreference: loop) {
            for round in 0..<500 {
                order.withLock { $0.append(2 * round) }
                try there.post()
                try await back.wait(.seconds(20))
                #expect(loop.isOnLoop)
            }
        }
        let second = Task(executorPreference: loop) {
            for round in 0..<500 {
                try await there.wait(.seconds(20))
                #expect(loop.isOnLoop)
                order.withLock { $0.append(2 * round + 1) }
                try back.post()
            }
        }
        try await first.value
        try await second.value
        #expect(order.withLock { $0 } == Array(0..<1_000))
    }

    /// A Swift task of medium priority is as urgent as a thread that was told nothing.
    @Test func threadsAndTasksOfOnePriorityGoInTheOrderOfTheirArrival() async throws {
        let (semaphore, order) = (Semaphore(), Guarded<[Int]>([]))
        var tasks: [Task<Void, any Error>] = []
        for number in 0..<8 {
            if number % 2 == 0 {
                let thread = try KernelTask {
                    do throws(KernelError) { try semaphore.wait() } catch { Issue.record(error) }
                    order.withLock { $0.append(number) }
                }
                tasks.append(Task { try await thread.join() })
            } else {
                tasks.append(
                    Task(priority: .medium) {
                        try await semaphore.wait()
                        order.withLock { $0.append(number) }
                    }
                )
            }
            #expect(try await semaphore.isWaitedFor(by: number + 1))
        }
        for count in 1...8 {
            try semaphore.post()
            #expect(try await eventually { order.withLock { $0.count } == count })
        }
        #expect(order.withLock { $0 } == Array(0..<8))
        for task in tasks { try await task.value }
    }

    @Test func theMostUrgentTaskGoesFirst() async throws {
        let (semaphore, order) = (Semaphore(), Guarded<[Int]>([]))
        var tasks: [Task<Void, any Error>] = []
        for (number, priority) in [TaskPriority.medium, .background, .high, .low].enumerated() {
            // Detached, and awaited behind the end only: to await a task lends it the priority of who does.
            tasks.append(
                Task.detached(priority: priority) {
                    try await semaphore.wait()
                    order.withLock { $0.append(number) }
                }
            )
            #expect(try await semaphore.isWaitedFor(by: number + 1))
        }
        for count in 1...4 {
            try semaphore.post()
            #expect(try await eventually { order.withLock { $0.count } == count })
        }
        #expect(order.withLock { $0 } == [2, 0, 3, 1])
        for task in tasks { try await task.value }
    }

    @Test func messagesComeAsASequenceThatEndsWithTheQueue() async throws {
        let queue = MessageQueue<Int>(capacity: 4)
        let sum = Task {
            var sum = 0
            for await message in queue.messages { sum += message }
            return sum
        }
        for message in 1...100 { try await queue.send(message) }
        #expect(try await eventually { queue.count == 0 && queue.waiting == 1 })
        queue.destroy()
        #expect(await sum.value == 5_050)
        let other = MessageQueue<Int>(capacity: 4)
        let cancelled = Task { for await _ in other.messages {} }
        #expect(try await other.isWaitedFor(by: 1))
        cancelled.cancel()
        await cancelled.value
    }

    @Test func aLockIsHeldOverAnAwait() async throws {
        let (lock, isFree) = (ReadWriteLock(), Guarded(true))
        try await withThrowingTaskGroup { group in
            for _ in 0..<6 {
                group.addTask {
                    for _ in 0..<50 {
                        try await lock.withWriting {
                            #expect(isFree.exchange(false))
                            await Task.yield()
                            #expect(!isFree.exchange(true))
                        }
                        try await lock.withReading {
                            await Task.yield()
                            #expect(isFree.withLock { $0 })
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}

extension Guarded<Bool> {
    fileprivate func exchange(_ value: Bool) -> Bool {
        withLock { current in
            defer { current = value }
            return current
        }
    }
}
