import Testing

@testable import Kernel

/// The primitives that keep others out or let them in, under load: what they guard is never touched by two, and nobody is forgotten.
@Suite(.timeLimit(.minutes(1))) struct LockStressTests {
    /// What is not synchronized but by the primitive under test.
    private final class Unguarded: @unchecked Sendable {
        var count = 0
        var copy = 0
    }

    @Test(arguments: Stress.seeds) func mutex(seed: UInt64) async throws {
        let (mutex, unguarded, taken) = (Mutex(), Unguarded(), Guarded(0))
        try await Stress(seed: seed).run { (_, _, generator) throws(KernelError) in
            if generator.below(3) == 0 {
                do throws(KernelError) { try mutex.lock(generator.impatientWait()) } catch {
                    if error == .wouldBlock || error == .timedOut { return }
                    throw error
                }
            } else {
                try mutex.lock()
            }
            let depth = generator.below(3)
            for _ in 0..<depth { try mutex.lock(.noWait) }
            unguarded.count += 1
            generator.pause()
            unguarded.copy += 1
            #expect(unguarded.count == unguarded.copy)
            for _ in 0..<depth { try mutex.unlock() }
            taken.withLock { $0 += 1 }
            try mutex.unlock()
        } task: { (_, _, generator) async throws(KernelError) in
            let wait = generator.below(3) == 0 ? generator.impatientWait() : .forever
            do throws(KernelError) {
                try await mutex.withLock(wait) {
                    unguarded.count += 1
                    unguarded.copy += 1
                    #expect(unguarded.count == unguarded.copy)
                    taken.withLock { $0 += 1 }
                }
            } catch { if error != .wouldBlock && error != .timedOut { throw error } }
        }
        try await mutex.withLock(.noWait) { #expect(unguarded.count == taken.withLock { $0 }) }
        #expect(mutex.waiting == 0)
    }

    @Test(arguments: Stress.seeds) func readWriteLock(seed: UInt64) async throws {
        let (lock, unguarded, written) = (ReadWriteLock(), Unguarded(), Guarded(0))
        @Sendable func write() {
            unguarded.count += 1
            unguarded.copy += 1
            written.withLock { $0 += 1 }
        }
        try await Stress(seed: seed).run { (_, _, generator) throws(KernelError) in
            let wait = generator.below(3) == 0 ? generator.impatientWait() : .forever
            do throws(KernelError) {
                if generator.below(3) == 0 {
                    try lock.withWriting(wait) { write() }
                } else {
                    try lock.lockForReading(wait)
                    generator.pause()
                    #expect(unguarded.count == unguarded.copy)
                    try lock.unlockAfterReading()
                }
            } catch { if error != .wouldBlock && error != .timedOut { throw error } }
        } task: { (_, _, generator) async throws(KernelError) in
            let wait = generator.below(3) == 0 ? generator.impatientWait() : .forever
            do throws(KernelError) {
                if generator.below(3) == 0 {
                    try await lock.withWriting(wait) {
                        write()
                        await Task.yield()
                    }
                } else {
                    try await lock.withReading(wait) {
                        await Task.yield()
                        #expect(unguarded.count == unguarded.copy)
                    }
                }
            } catch { if error != .wouldBlock && error != .timedOut { throw error } }
        }
        #expect(lock.readers == 0 && !lock.isWriting && lock.waiting == 0)
        try await lock.lockForWriting(.noWait)
        #expect(unguarded.count == written.withLock { $0 })
    }

    /// Of two units, no more than two are out; of what is posted, all is taken or there.
    @Test(arguments: Stress.seeds) func semaphore(seed: UInt64) async throws {
        let (semaphore, out) = (Semaphore(2, limit: 2), Guarded(0))
        @Sendable func use() throws(KernelError) {
            let before = out.withLock { count in
                count += 1
                return count
            }
            #expect(before <= 2)
            out.withLock { $0 -= 1 }
            try semaphore.post()
        }
        try await Stress(seed: seed).run { (_, _, generator) throws(KernelError) in
            let wait = generator.below(3) == 0 ? generator.impatientWait() : .forever
            do throws(KernelError) { try semaphore.wait(wait) } catch {
                if error == .wouldBlock || error == .timedOut { return }
                throw error
            }
            generator.pause()
            try use()
        } task: { (_, _, generator) async throws(KernelError) in
            let wait = generator.below(3) == 0 ? generator.impatientWait() : .forever
            do throws(KernelError) { try await semaphore.wait(wait) } catch {
                if error == .wouldBlock || error == .timedOut { return }
                throw error
            }
            if generator.below(3) == 0 { await Task.yield() }
            try use()
        }
        #expect(semaphore.count == 2 && semaphore.waiting == 0)
    }

    /// A post that has seen a waiter, and gets the lock when others have given that one its unit and returned it.
    @Test func aPostThatComesLateLosesNothing() throws {
        let units = SemaphoreUnits(0)
        let isTaken = units.takeOrContest()
        let isGiven = try units.give(2)
        #expect(!isTaken && !isGiven)
        units.uncontest()
        let isReturned = try units.give(2)
        let isAdded = units.add(2)
        let count = units.count
        #expect(isReturned && isAdded && count == 2)
        let isOneTooMany = units.add(2)
        #expect(!isOneTooMany)
    }

    @Test(arguments: Stress.seeds) func memoryPool(seed: UInt64) async throws {
        let pool = MemoryPool(blocks: 4, blockBytes: 32)
        @Sendable func use(_ block: UnsafeMutableRawBufferPointer, _ number: Int, _ generator: inout Generator) {
            for index in block.indices { block[index] = UInt8(number) }
            generator.pause()
            for index in block.indices { #expect(block[index] == UInt8(number)) }
        }
        try await Stress(seed: seed).run { (number, _, generator) throws(KernelError) in
            do throws(KernelError) {
                let block = try pool.allocate(generator.below(3) == 0 ? generator.impatientWait() : .forever)
                use(block, number, &generator)
                try pool.free(block)
            } catch { if error != .wouldBlock && error != .timedOut { throw error } }
        } task: { (number, _, generator) async throws(KernelError) in
            do throws(KernelError) {
                let block = try await pool.allocate(generator.below(3) == 0 ? generator.impatientWait() : .forever)
                use(block, number, &generator)
                try pool.free(block)
            } catch { if error != .wouldBlock && error != .timedOut { throw error } }
        }
        #expect(pool.available == 4 && pool.waiting == 0)
    }
}
