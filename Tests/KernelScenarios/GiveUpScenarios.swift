import Kernel

extension Scenario {
    /// Those who do not wait any longer: nothing is lost by them, and they stand in nobody's way.
    static var givingUp: [Scenario] {
        [
            Scenario("who is cancelled while he waits takes nothing with him") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let queue = MessageQueue<Int>(capacity: 1)
                let flags = EventFlags()
                let barrier = Barrier(2)
                let pool = MemoryPool(blocks: 1, blockBytes: 16)
                let block = try unsafe pool.allocate()
                let latch = CountdownLatch(1)
                let waiters = [
                    try Worker { () throws(KernelError) in try semaphore.wait() }.settled(),
                    try Worker { () throws(KernelError) in _ = try queue.receive() }.settled(),
                    try Worker { () throws(KernelError) in _ = try flags.wait(for: 1, clearing: true) }.settled(),
                    try Worker { () throws(KernelError) in try barrier.wait() }.settled(),
                    try Worker { () throws(KernelError) in _ = try unsafe pool.allocate(.forever) }.settled(),
                    try Worker { () throws(KernelError) in try latch.wait() }.settled(),
                ]
                for waiter in waiters {
                    waiter.task.cancel()
                    checks.expect(try waiter.outcome() == .cancelled)
                }
                try semaphore.post()
                checks.expect(semaphore.count == 1)
                try queue.send(1, .noWait)
                checks.expect(queue.count == 1)
                try flags.set(3)
                checks.expect(flags.current == 3)
                checks.expect(barrier.arrived == 0)
                try unsafe pool.free(block)
                checks.expect(pool.available == 1)
                try latch.countDown()
            },
            Scenario("who gives up sending leaves the queue to the others") { (checks) throws(KernelError) in
                let queue = MessageQueue<Int>(capacity: 1)
                try queue.send(1)
                let late = try Worker { () throws(KernelError) in try queue.send(2, .milliseconds(10)) }.settled()
                let cancelled = try Worker { () throws(KernelError) in try queue.send(3) }.settled()
                let patient = try Worker { () throws(KernelError) in try queue.send(4) }.settled()
                checks.expect(try late.outcome() == .timedOut)
                cancelled.task.cancel()
                checks.expect(try cancelled.outcome() == .cancelled)
                checks.expect(try queue.receive(.noWait) == 1)
                checks.expect(try queue.receive(.noWait) == 4)
                checks.expect(try patient.succeeds())
                checks.expect(queue.count == 0)
            },
            Scenario("who gives up in the middle leaves the others in their order") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let notes = Notes()
                var workers: [Worker] = []
                for (number, priority) in [UInt8(6), 8, 8, 8, 9, 9].enumerated() {
                    workers.append(
                        try Worker(priority) { () throws(KernelError) in
                            try semaphore.wait()
                            try notes.add(number)
                        }.settled()
                    )
                }
                // The first of all, the first of its equals, and the last.
                for number in [0, 1, 5] {
                    workers[number].task.cancel()
                    checks.expect(try workers[number].outcome() == .cancelled)
                }
                for count in 1...3 {
                    try semaphore.post()
                    _ = try notes.wait(for: count)
                }
                checks.expect(try notes.all() == [2, 3, 4])
                checks.expect(semaphore.count == 0)
            },
            Scenario("a mutex whose first waiter gives up goes to the next") { (checks) throws(KernelError) in
                let mutex = Mutex()
                try mutex.lock()
                let late = try Worker(5) { () throws(KernelError) in try mutex.lock(.milliseconds(10)) }.settled()
                let cancelled = try Worker(6) { () throws(KernelError) in try mutex.lock() }.settled()
                let next = try Worker(7) { () throws(KernelError) in
                    try mutex.lock()
                    try mutex.unlock()
                }.settled()
                checks.expect(try late.outcome() == .timedOut)
                cancelled.task.cancel()
                checks.expect(try cancelled.outcome() == .cancelled)
                try mutex.unlock()
                checks.expect(try next.succeeds())
                try mutex.lock(.milliseconds(500))
                try mutex.unlock()
            },
            Scenario("a suspended task gets the mutex that it waited for, when it is resumed") {
                (checks) throws(KernelError) in
                let mutex = Mutex()
                try mutex.lock()
                let waiter = try Worker { () throws(KernelError) in
                    try mutex.lock()
                    try mutex.unlock()
                }.settled()
                try waiter.task.suspend()
                try mutex.unlock()
                try KernelTask.delay(.milliseconds(5))
                checks.expect(!waiter.hasEnded)
                try waiter.task.resume()
                checks.expect(try waiter.succeeds())
            },
            Scenario("a writer that is cancelled lets the readers in who wait behind it") {
                (checks) throws(KernelError) in
                let lock = ReadWriteLock()
                try lock.lockForReading()
                let writer = try Worker { () throws(KernelError) in try lock.lockForWriting() }.settled()
                let reader = try Worker { () throws(KernelError) in
                    try lock.lockForReading(.seconds(3))
                    try lock.unlockAfterReading()
                }.settled()
                let late = try Worker { () throws(KernelError) in try lock.lockForReading(.milliseconds(5)) }
                checks.expect(try late.outcome() == .timedOut)
                checks.expect(!reader.hasEnded)
                writer.task.cancel()
                checks.expect(try writer.outcome() == .cancelled)
                checks.expect(try reader.succeeds())
                checks.expect(lock.readers == 1)
                try lock.unlockAfterReading()
                try lock.lockForWriting(.noWait)
                try lock.unlockAfterWriting()
            },
            Scenario("of two writers who wait, the one that gives up keeps the other before the readers") {
                (checks) throws(KernelError) in
                let lock = ReadWriteLock()
                let notes = Notes()
                try lock.lockForReading()
                let first = try Worker(5) { () throws(KernelError) in try lock.lockForWriting(.milliseconds(10)) }
                    .settled()
                let second = try Worker(20) { () throws(KernelError) in
                    try lock.lockForWriting()
                    try notes.add(1)
                    try lock.unlockAfterWriting()
                }.settled()
                let reader = try Worker(3) { () throws(KernelError) in
                    try lock.lockForReading()
                    try notes.add(2)
                    try lock.unlockAfterReading()
                }.settled()
                checks.expect(try first.outcome() == .timedOut)
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!second.hasEnded && !reader.hasEnded)
                try lock.unlockAfterReading()
                checks.expect(try notes.wait(for: 2) == [1, 2])
                checks.expect(try second.succeeds())
                checks.expect(try reader.succeeds())
            },
            Scenario("a post comes as the time runs out: the wait ends one way, and the unit is in one place") {
                (checks) throws(KernelError) in
                for _ in 0..<20 {
                    let completion = Completion()
                    let waiter = try Worker(9) { () throws(KernelError) in try completion.wait(.milliseconds(2)) }
                    try KernelTask.delay(.milliseconds(2))
                    try completion.post()
                    let outcome = try waiter.outcome()
                    checks.expect(outcome == nil || outcome == .timedOut)
                    try completion.wait(.noWait)
                }
            },
        ]
    }
}
