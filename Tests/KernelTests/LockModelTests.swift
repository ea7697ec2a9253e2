import Testing

@testable import Kernel

/// A thread that does what it is told, one thing after the other.
private final class Owner: Sendable {
    private let commands = MessageQueue<@Sendable () -> Void>(capacity: 1)
    private let done = Semaphore()
    private let task: KernelTask

    init(_ name: String) throws {
        let commands = commands
        task = try KernelTask(name) {
            do throws(KernelError) { while true { try commands.receive()() } } catch {}
        }
    }

    deinit { commands.destroy() }

    /// What `body` returns on this thread.
    func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async throws -> Value {
        let result = Guarded<Value?>(nil)
        let done = done
        try await commands.send {
            let value = body()
            result.withLock { $0 = value }
            do throws(KernelError) { try done.post() } catch {}
        }
        try await done.wait(.seconds(30))
        return try #require(result.withLock { $0 })
    }
}

/// Random operations of several owners, against what they should come to.
@Suite(.timeLimit(.minutes(1))) struct LockModelTests {
    @Test(arguments: Stress.seeds) func mutexesAgreeWithANote(seed: UInt64) async throws {
        var generator = Generator(state: seed)
        let owners = try (0..<3).map { try Owner("owner \($0)") }
        let mutexes = [Mutex(), Mutex()]
        var notes: [(owner: Int, depth: Int)] = [(-1, 0), (-1, 0)]
        for _ in 0..<600 {
            let (number, which) = (generator.below(3), generator.below(2))
            let (mutex, note, wait) = (mutexes[which], notes[which], Wait.noWait)
            let isFree = note.depth == 0 || note.owner == number
            if generator.below(2) == 0 {
                let error = try await owners[number].perform { () -> KernelError? in
                    do throws(KernelError) { try mutex.lock(wait) } catch { return error }
                    return nil
                }
                #expect(error == (isFree ? nil : .wouldBlock))
                if isFree { notes[which] = (number, note.depth + 1) }
            } else {
                let error = try await owners[number].perform { () -> KernelError? in
                    do throws(KernelError) { try mutex.unlock() } catch { return error }
                    return nil
                }
                let isOwn = note.depth > 0 && note.owner == number
                #expect(error == (isOwn ? nil : .notOwner))
                if isOwn { notes[which].depth -= 1 }
            }
            let isHeld = try await owners[number].perform { mutex.isHeld }
            #expect(isHeld == (notes[which].depth > 0 && notes[which].owner == number))
        }
        for (mutex, note) in zip(mutexes, notes) where note.depth > 0 {
            try await owners[note.owner].perform {
                do throws(KernelError) { for _ in 0..<note.depth { try mutex.unlock() } } catch { Issue.record(error) }
            }
        }
    }

    /// Who waits: in the order of priority, and of equals in that of arrival or of the last change.
    @Test(arguments: Stress.seeds) func thoseWhoWaitAgreeWithAStableSort(seed: UInt64) async throws {
        var generator = Generator(state: seed)
        let semaphore = Semaphore()
        let ended = Guarded<[Int]>([])
        var model: [(number: Int, priority: UInt8, task: KernelTask)] = []
        var expected: [Int] = []
        func insert(_ number: Int, _ priority: UInt8, _ task: KernelTask) {
            model.insert((number, priority, task), at: model.firstIndex { $0.priority > priority } ?? model.count)
        }
        for number in 0..<400 {
            let priority = UInt8(generator.below(5) * 7)
            switch generator.below(8) {
            case 0...3 where model.count < 12:
                let task = try KernelTask(priority: Priority(rawValue: priority)) {
                    do throws(KernelError) { try semaphore.wait() } catch { if error != .cancelled { return } }
                    ended.withLock { $0.append(number) }
                }
                insert(number, priority, task)
            case 4 where !model.isEmpty:
                let index = generator.below(model.count)
                if model[index].priority == priority { continue }
                let entry = model.remove(at: index)
                entry.task.priority = Priority(rawValue: priority)
                insert(entry.number, priority, entry.task)
            case 5 where !model.isEmpty:
                let entry = model.remove(at: generator.below(model.count))
                entry.task.cancel()
                expected.append(entry.number)
            default:
                guard !model.isEmpty else { continue }
                try semaphore.post()
                expected.append(model.removeFirst().number)
            }
            #expect(try await semaphore.isWaitedFor(by: model.count))
            let wanted = expected
            #expect(try await eventually { ended.withLock { $0 } == wanted })
        }
        semaphore.destroy()
        for entry in model { try await entry.task.join() }
    }

    /// Writers before readers, and all readers together.
    @Test(arguments: Stress.seeds) func aReadWriteLockAgreesWithTwoLists(seed: UInt64) async throws {
        struct Entry {
            let number: Int
            let isWriter: Bool
            let task: KernelTask
        }
        var generator = Generator(state: seed)
        let lock = ReadWriteLock()
        var (readers, isWriting) = (0, false)
        var waiting: [Entry] = []
        func admit() {
            while let next = waiting.first(where: \.isWriter) ?? waiting.first {
                guard next.isWriter ? readers == 0 && !isWriting : !isWriting else { return }
                if next.isWriter { isWriting = true } else { readers += 1 }
                waiting.removeAll { $0.number == next.number }
            }
        }
        for number in 0..<400 {
            switch generator.below(8) {
            case 0...3 where waiting.count < 10:
                let isWriter = generator.below(3) == 0
                let task = try KernelTask {
                    do throws(KernelError) {
                        if isWriter { try lock.lockForWriting() } else { try lock.lockForReading() }
                    } catch { #expect(error == .cancelled || error == .destroyed) }
                }
                waiting.append(Entry(number: number, isWriter: isWriter, task: task))
            case 4 where !waiting.isEmpty:
                let entry = waiting.remove(at: generator.below(waiting.count))
                entry.task.cancel()
                try await entry.task.join()
            case 5:
                let isFree = waiting.isEmpty && !isWriting
                let error = await outcome { () async throws(KernelError) in try await lock.lockForReading(.noWait) }
                #expect(error == (isFree ? nil : .wouldBlock))
                if isFree { readers += 1 }
            default:
                if isWriting {
                    try lock.unlockAfterWriting()
                    isWriting = false
                } else if readers > 0 {
                    try lock.unlockAfterReading()
                    readers -= 1
                } else {
                    #expect(throws: KernelError.notOwner) { try lock.unlockAfterWriting() }
                    #expect(throws: KernelError.notOwner) { try lock.unlockAfterReading() }
                }
            }
            admit()
            let (count, reading, writing) = (waiting.count, readers, isWriting)
            #expect(
                try await eventually {
                    lock.waiting == count && Int(lock.readers) == reading && lock.isWriting == writing
                },
                "step \(number)"
            )
        }
        lock.destroy()
        for entry in waiting { try await entry.task.join() }
    }
}
