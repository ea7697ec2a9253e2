import Kernel

extension Scenario {
    static var gates: [Scenario] {
        [
            Scenario("K4: a completion lets all go on who wait, and all who come") { (checks) throws(KernelError) in
                let completion = Completion()
                var waiters: [Worker] = []
                for priority in [UInt8(5), 9, 9] {
                    waiters.append(
                        try Worker(priority) { () throws(KernelError) in try completion.wait(.seconds(3)) }.settled()
                    )
                }
                try completion.post()
                for waiter in waiters { checks.expect(try waiter.succeeds()) }
                try completion.wait(.noWait)
                try completion.post()
                try completion.wait(.noWait)
                completion.reset()
                checks.expect(!completion.isCompleted)
                checks.expect(.timedOut) { () throws(KernelError) in try completion.wait(.milliseconds(3)) }
            },
            Scenario("a completion that is reset while somebody waits goes on being waited for") {
                (checks) throws(KernelError) in
                let completion = Completion()
                let waiter = try Worker { () throws(KernelError) in try completion.wait() }.settled()
                completion.reset()
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!waiter.hasEnded)
                completion.destroy()
                checks.expect(try waiter.outcome() == .destroyed)
            },
            Scenario("K3: a latch at zero lets all go on who wait, and needs none") { (checks) throws(KernelError) in
                let latch = CountdownLatch(2)
                var waiters: [Worker] = []
                for priority in [UInt8(8), 12] {
                    waiters.append(try Worker(priority) { () throws(KernelError) in try latch.wait() }.settled())
                }
                try latch.countDown()
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!waiters[0].hasEnded && !waiters[1].hasEnded)
                try latch.countDown()
                for waiter in waiters { checks.expect(try waiter.succeeds()) }
                checks.expect(.overflow) { () throws(KernelError) in try latch.countDown() }
                let nobody = CountdownLatch(1)
                try nobody.countDown()
                try nobody.wait(.noWait)
                try CountdownLatch(0).wait(.noWait)
            },
            Scenario("a latch is set anew, whether open or waited for") { (checks) throws(KernelError) in
                let latch = CountdownLatch(1)
                try latch.countDown()
                try latch.reset(1)
                checks.expect(.timedOut) { () throws(KernelError) in try latch.wait(.milliseconds(3)) }
                let waiter = try Worker { () throws(KernelError) in try latch.wait() }.settled()
                try latch.reset(2)
                try latch.countDown()
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!waiter.hasEnded)
                checks.expect(latch.count == 1)
                try latch.reset(0)
                checks.expect(try waiter.succeeds())
                latch.destroy()
                checks.expect(.destroyed) { () throws(KernelError) in try latch.wait() }
            },
        ]
    }

    static var barriers: [Scenario] {
        [
            Scenario("K5: a barrier lets all go on at the last one's arrival, round after round") {
                (checks) throws(KernelError) in
                let barrier = Barrier(3)
                let notes = Notes()
                var workers: [Worker] = []
                for priority in [UInt8(7), 12] {
                    workers.append(
                        try Worker(priority) { () throws(KernelError) in
                            for round in 0..<20 {
                                try notes.add(round)
                                try barrier.wait()
                            }
                        }
                    )
                }
                for round in 0..<20 {
                    let notes = try notes.wait(for: 2 * (round + 1))
                    checks.expect(
                        notes.count == 2 * (round + 1) && notes[2 * round] == round && notes[2 * round + 1] == round
                    )
                    try barrier.wait(.seconds(3))
                }
                for worker in workers { checks.expect(try worker.succeeds()) }
            },
            Scenario("a barrier tells the last one, and does not count who gives up") { (checks) throws(KernelError) in
                let barrier = Barrier(2)
                checks.expect(.timedOut) { () throws(KernelError) in try barrier.wait(.milliseconds(3)) }
                checks.expect(.wouldBlock) { () throws(KernelError) in try barrier.wait(.noWait) }
                checks.expect(barrier.arrived == 0)
                let first = try Worker { () throws(KernelError) in if try barrier.wait() { throw .wrongState } }
                    .settled()
                checks.expect(barrier.arrived == 1)
                checks.expect(try barrier.wait(.noWait))
                checks.expect(try first.succeeds())
                checks.expect(try Barrier(1).wait(.noWait))
            },
            Scenario("a barrier for fewer lets go who is there; a destroyed one too") { (checks) throws(KernelError) in
                let barrier = Barrier(4)
                var waiters: [Worker] = []
                for _ in 0..<2 { waiters.append(try Worker { () throws(KernelError) in try barrier.wait() }.settled()) }
                try barrier.reset(2)
                for waiter in waiters { checks.expect(try waiter.succeeds()) }
                let waiter = try Worker { () throws(KernelError) in try barrier.wait() }.settled()
                barrier.destroy()
                checks.expect(try waiter.outcome() == .destroyed)
            },
        ]
    }

    static var readWriteLocks: [Scenario] {
        [
            Scenario("K6: writers go before the readers who come later, and nobody waits longer than he must") {
                (checks) throws(KernelError) in
                let lock = ReadWriteLock()
                for _ in 0..<3 { try lock.lockForReading() }
                checks.expect(lock.readers == 3)
                let writer = try Worker(20) { () throws(KernelError) in
                    try lock.lockForWriting()
                    try KernelTask.delay(.milliseconds(5))
                    try lock.unlockAfterWriting()
                }.settled()
                let late = try Worker(5) { () throws(KernelError) in
                    try lock.lockForReading()
                    try lock.unlockAfterReading()
                }.settled()
                checks.expect(.wouldBlock) { () throws(KernelError) in try lock.lockForReading(.noWait) }
                checks.expect(.wouldBlock) { () throws(KernelError) in try lock.lockForWriting(.noWait) }
                for _ in 0..<3 { try lock.unlockAfterReading() }
                checks.expect(lock.isWriting)
                checks.expect(!late.hasEnded)
                checks.expect(try writer.succeeds())
                checks.expect(try late.succeeds())
                try lock.withWriting {}
            },
            Scenario("a writer that gives up lets the readers in who wait behind it") { (checks) throws(KernelError) in
                let lock = ReadWriteLock()
                try lock.lockForReading()
                let writer = try Worker { () throws(KernelError) in try lock.lockForWriting(.milliseconds(20)) }
                    .settled()
                var readers: [Worker] = []
                for _ in 0..<2 {
                    readers.append(
                        try Worker { () throws(KernelError) in
                            try lock.lockForReading(.seconds(3))
                            try lock.unlockAfterReading()
                        }.settled()
                    )
                }
                checks.expect(try writer.outcome() == .timedOut)
                for reader in readers { checks.expect(try reader.succeeds()) }
                checks.expect(lock.readers == 1)
                try lock.unlockAfterReading()
            },
            Scenario("a lock that is not held is not unlocked, and is not upgraded") { (checks) throws(KernelError) in
                let lock = ReadWriteLock()
                checks.expect(.notOwner) { () throws(KernelError) in try lock.unlockAfterReading() }
                checks.expect(.notOwner) { () throws(KernelError) in try lock.unlockAfterWriting() }
                try lock.withReading {
                    checks.expect(.timedOut) { () throws(KernelError) in try lock.lockForWriting(.milliseconds(3)) }
                    checks.expect(.notOwner) { () throws(KernelError) in try lock.unlockAfterWriting() }
                }
                try lock.lockForWriting()
                checks.expect(.notOwner) { () throws(KernelError) in try lock.unlockAfterReading() }
                let reader = try Worker { () throws(KernelError) in try lock.lockForReading() }.settled()
                lock.destroy()
                checks.expect(try reader.outcome() == .destroyed)
                try lock.unlockAfterWriting()
            },
            Scenario("all readers who wait go on together behind a writer") { (checks) throws(KernelError) in
                let lock = ReadWriteLock()
                let meeting = Barrier(3)
                try lock.lockForWriting()
                var readers: [Worker] = []
                for _ in 0..<3 {
                    readers.append(
                        try Worker { () throws(KernelError) in
                            try lock.lockForReading()
                            try meeting.wait(.seconds(3))
                            try lock.unlockAfterReading()
                        }.settled()
                    )
                }
                try lock.unlockAfterWriting()
                for reader in readers { checks.expect(try reader.succeeds()) }
                checks.expect(lock.readers == 0)
            },
        ]
    }
}
