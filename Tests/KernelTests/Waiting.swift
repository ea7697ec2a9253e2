import Testing

@testable import Kernel

extension KernelObject {
    /// How many wait for it, threads and tasks.
    var waiting: Int { lock.withLock { Int(waiters.count) } }

    /// Awaits that so many wait for it.
    func isWaitedFor(by count: Int) async throws -> Bool { try await eventually { waiting == count } }
}

/// What one who waits found: the error, or `nil` when it got what it waited for.
func outcome(of body: () async throws(KernelError) -> Void) async -> KernelError? {
    do throws(KernelError) { try await body() } catch { return error }
    return nil
}

/// One way to wait for something that is not to be had yet, and to grant it.
struct Waiting: Sendable {
    let object: KernelObject
    /// Waits in a task.
    let wait: @Sendable (Wait) async throws(KernelError) -> Void
    /// Waits on a thread.
    let block: @Sendable (Wait) throws(KernelError) -> Void
    let grant: @Sendable () throws(KernelError) -> Void
    /// Whether what was granted to nobody is still there.
    let isLeft: @Sendable () -> Bool

    enum Kind: CaseIterable {
        case semaphore, message, urgentMessage, mail, flags, completion, latch, reading, writing, place, block, barrier

        func make() -> Waiting {
            switch self {
            case .semaphore: .semaphore
            case .message: .message
            case .urgentMessage: .urgentMessage
            case .mail: .mail
            case .flags: .flags
            case .completion: .completion
            case .latch: .latch
            case .reading: .reading
            case .writing: .writing
            case .place: .place
            case .block: .block
            case .barrier: .barrier
            }
        }
    }

    private static var semaphore: Waiting {
        let object = Semaphore()
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in try await object.wait(wait) },
            block: { wait throws(KernelError) in try object.wait(wait) },
            grant: { () throws(KernelError) in try object.post() },
            isLeft: { object.count == 1 }
        )
    }

    private static var message: Waiting {
        let object = MessageQueue<[Int]>(capacity: 2)
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in expect(try await object.receive(wait) == [7]) },
            block: { wait throws(KernelError) in
                let message = try object.receive(wait)
                expect(message == [7])
            },
            grant: { () throws(KernelError) in try object.send([7], .noWait) },
            isLeft: { object.count == 1 }
        )
    }

    private static var urgentMessage: Waiting {
        let object = PriorityMessageQueue<[Int]>(capacity: 2)
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in expect(try await object.receive(wait) == [7]) },
            block: { wait throws(KernelError) in
                let message = try object.receive(wait)
                expect(message == [7])
            },
            grant: { () throws(KernelError) in try object.send([7], priority: .normal, .noWait) },
            isLeft: { object.count == 1 }
        )
    }

    private static var mail: Waiting {
        let object = MailQueue(capacity: 2, mailBytes: 4)
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in expect(try await object.receive(wait) == [1, 2, 3]) },
            block: { wait throws(KernelError) in
                var buffer: [UInt8] = [0, 0, 0, 0]
                var space = buffer.mutableSpan
                let count = try object.receive(into: &space, wait)
                expect(buffer[..<count] == [1, 2, 3])
            },
            grant: { () throws(KernelError) in
                let mail: [UInt8] = [1, 2, 3]
                try object.send(mail.span, .noWait)
            },
            isLeft: { object.count == 1 }
        )
    }

    private static var flags: Waiting {
        let object = EventFlags()
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in
                expect(try await object.wait(for: 5, .all, clearing: true, wait) == 5)
            },
            block: { wait throws(KernelError) in
                let flags = try object.wait(for: 5, .all, clearing: true, wait)
                expect(flags == 5)
            },
            grant: { () throws(KernelError) in try object.set(7) },
            isLeft: { object.current == 7 }
        )
    }

    private static var completion: Waiting {
        let object = Completion()
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in try await object.wait(wait) },
            block: { wait throws(KernelError) in try object.wait(wait) },
            grant: { () throws(KernelError) in try object.post() },
            isLeft: { object.isCompleted }
        )
    }

    private static var latch: Waiting {
        let object = CountdownLatch(1)
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in try await object.wait(wait) },
            block: { wait throws(KernelError) in try object.wait(wait) },
            grant: { () throws(KernelError) in try object.countDown() },
            isLeft: { object.count == 0 }
        )
    }

    private static var reading: Waiting {
        let object = locked()
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in
                try await object.lockForReading(wait)
                try object.unlockAfterReading()
            },
            block: { wait throws(KernelError) in try object.withReading(wait) {} },
            grant: { () throws(KernelError) in try object.unlockAfterWriting() },
            isLeft: { object.readers == 0 && !object.isWriting }
        )
    }

    private static var writing: Waiting {
        let object = locked()
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in
                try await object.lockForWriting(wait)
                try object.unlockAfterWriting()
            },
            block: { wait throws(KernelError) in try object.withWriting(wait) {} },
            grant: { () throws(KernelError) in try object.unlockAfterWriting() },
            isLeft: { object.readers == 0 && !object.isWriting }
        )
    }

    private static func locked() -> ReadWriteLock {
        let object = ReadWriteLock()
        do throws(KernelError) { try object.lockForWriting() } catch { Issue.record(error) }
        return object
    }

    /// A place in a full queue.
    private static var place: Waiting {
        let object = MessageQueue<[Int]>(capacity: 1)
        do throws(KernelError) { try object.send([0]) } catch { Issue.record(error) }
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in try await object.send([1], wait) },
            block: { wait throws(KernelError) in try object.send([1], wait) },
            grant: { () throws(KernelError) in
                let message = try object.receive(.noWait)
                expect(message == [0])
            },
            isLeft: { object.count == 0 }
        )
    }

    private static var block: Waiting {
        let object = MemoryPool(blocks: 1, blockBytes: 16)
        let block = Guarded<UnsafeMutableRawBufferPointer?>(nil)
        do throws(KernelError) {
            let taken = try object.allocate()
            block.withLock { $0 = taken }
        } catch { Issue.record(error) }
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in try object.free(try await object.allocate(wait)) },
            block: { wait throws(KernelError) in try object.free(try object.allocate(wait)) },
            grant: { () throws(KernelError) in if let taken = block.withLock({ $0 }) { try object.free(taken) } },
            isLeft: { object.available == 1 }
        )
    }

    private static var barrier: Waiting {
        let object = Barrier(2)
        return Waiting(
            object: object,
            wait: { wait async throws(KernelError) in expect(!(try await object.wait(wait))) },
            block: { wait throws(KernelError) in
                let isLast = try object.wait(wait)
                expect(!isLast)
            },
            grant: { () throws(KernelError) in
                // Who comes alone does not stay.
                do throws(KernelError) { try object.wait(.noWait) } catch {
                    guard error == .wouldBlock else { throw error }
                }
            },
            isLeft: { object.arrived == 0 }
        )
    }
}

/// `#expect` in closures with typed errors.
private func expect(_ condition: Bool, at location: SourceLocation = #_sourceLocation) {
    #expect(condition, sourceLocation: location)
}
