import Testing

@testable import Kernel

/// A Swift task that is cancelled while it waits: it goes on at once, and takes nothing with it.
@Suite(.timeLimit(.minutes(1))) struct AsyncCancellationTests {
    @Test(arguments: Waiting.Kind.allCases)
    func cancellationEndsTheWait(kind: Waiting.Kind) async throws {
        let waiting = kind.make()
        let task = Task { await outcome { () async throws(KernelError) in try await waiting.wait(.forever) } }
        #expect(try await waiting.object.isWaitedFor(by: 1))
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(waiting.object.waiting == 0)
        try waiting.grant()
        #expect(waiting.isLeft())
    }

    @Test(arguments: Waiting.Kind.allCases)
    func aCancelledTaskDoesNotBeginToWaitButTakesWhatIsThere(kind: Waiting.Kind) async throws {
        let waiting = kind.make()
        let isCancelled = Semaphore()
        let task = Task {
            // Waits that end with the cancellation, which the task is told of before.
            _ = await outcome { () async throws(KernelError) in try await isCancelled.wait() }
            for wait in [Wait.forever, .seconds(20)] {
                #expect(
                    await outcome { () async throws(KernelError) in try await waiting.wait(wait) } == .cancelled
                )
            }
            #expect(
                await outcome { () async throws(KernelError) in try await waiting.wait(.noWait) } == .wouldBlock
            )
            try waiting.grant()
            if kind != .barrier { try await waiting.wait(.seconds(20)) }
        }
        task.cancel()
        try await task.value
    }

    /// Each way of waiting, cancelled at about the time when it is granted, on two threads at once: the wait ends one way, and
    /// what it was about is in one place.
    @Test(arguments: Waiting.Kind.allCases)
    func cancellationAndGrantTogetherLoseNothing(kind: Waiting.Kind) async throws {
        guard kind != .barrier else { return }
        var generator = Generator(state: 0x5EED_0001)
        for _ in 0..<150 {
            let waiting = kind.make()
            let (pauses, timed) = (generator.next() % 200, generator.next() % 3 == 0)
            let task = Task {
                await outcome { () async throws(KernelError) in
                    try await waiting.wait(timed ? .milliseconds(1) : .forever)
                }
            }
            if generator.next() % 4 != 0 { #expect(try await eventually { waiting.object.waiting == 1 || timed }) }
            let granter = Task {
                for _ in 0..<pauses { spin() }
                try waiting.grant()
            }
            task.cancel()
            try await granter.value
            switch await task.value {
            case nil: break
            case .cancelled, .timedOut: #expect(waiting.isLeft())
            case let error?: Issue.record("a wait ended with \(error)")
            }
            #expect(waiting.object.waiting == 0)
        }
    }

    /// A message that a cancelled sender or receiver had is received once or not at all, and released once.
    @Test func noMessageIsLostOrDoubledByCancellation() async throws {
        var generator = Generator(state: 0x5EED_0002)
        let alive = Guarded(0)
        final class Message: Sendable {
            let number: Int
            let alive: Guarded<Int>
            init(_ number: Int, _ alive: Guarded<Int>) {
                self.number = number
                self.alive = alive
                alive.withLock { $0 += 1 }
            }
            deinit { alive.withLock { $0 -= 1 } }
        }
        do {
            let queue = MessageQueue<Message>(capacity: 2)
            let (sent, received) = (Guarded<[Int]>([]), Guarded<[Int]>([]))
            for number in 0..<300 {
                let sender = Task {
                    try await queue.send(Message(number, alive))
                    sent.withLock { $0.append(number) }
                }
                let receiver = Task {
                    let message = try await queue.receive()
                    received.withLock { $0.append(message.number) }
                }
                if generator.next() % 2 == 0 { await Task.yield() }
                if generator.next() % 2 == 0 { sender.cancel() }
                if generator.next() % 2 == 0 { receiver.cancel() }
                _ = await sender.result
                // Where the sender was cancelled, nobody else would send.
                if queue.count == 0 { receiver.cancel() }
                _ = await receiver.result
                while queue.count > 1 {
                    let message = try await queue.receive(.noWait)
                    received.withLock { $0.append(message.number) }
                }
            }
            while queue.count > 0 {
                let message = try await queue.receive(.noWait)
                received.withLock { $0.append(message.number) }
            }
            #expect(sent.withLock { $0.sorted() } == received.withLock { $0.sorted() })
            #expect(queue.waiting == 0)
        }
        #expect(try await eventually { alive.withLock { $0 } == 0 })
    }

    @Test func aTaskWaitsForAMutexAndMayBeCancelled() async throws {
        let (mutex, isHeld, go) = (Mutex(), Semaphore(), Semaphore())
        let owner = try KernelTask {
            do throws(KernelError) {
                try mutex.lock()
                try isHeld.post()
                try go.wait()
                try mutex.unlock()
            } catch { Issue.record(error) }
        }
        try await isHeld.wait()
        #expect(await outcome { () async throws(KernelError) in try await mutex.withLock(.noWait) {} } == .wouldBlock)
        #expect(
            await outcome { () async throws(KernelError) in try await mutex.withLock(.milliseconds(3)) {} } == .timedOut
        )
        let cancelled = Task { await outcome { () async throws(KernelError) in try await mutex.withLock {} } }
        let patient = Task { await outcome { () async throws(KernelError) in try await mutex.withLock {} } }
        #expect(try await mutex.isWaitedFor(by: 2))
        cancelled.cancel()
        #expect(await cancelled.value == .cancelled)
        try go.post()
        #expect(await patient.value == nil)
        try await owner.join()
        try await mutex.withLock { #expect(mutex.isHeld) }
        mutex.destroy()
        #expect(await outcome { () async throws(KernelError) in try await mutex.withLock {} } == .destroyed)
    }
}

/// Some nanoseconds that the optimizer leaves alone.
private func spin() { withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) { _ = $0.baseAddress.hashValue } }
