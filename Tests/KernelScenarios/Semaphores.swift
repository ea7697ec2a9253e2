import Kernel

extension Scenario {
    static var semaphores: [Scenario] {
        [
            Scenario("a semaphore counts up to its limit and down to nothing") { (checks) throws(KernelError) in
                let semaphore = Semaphore(1, limit: 2)
                try semaphore.post()
                checks.expect(semaphore.count == 2)
                checks.expect(.overflow) { () throws(KernelError) in try semaphore.post() }
                try semaphore.wait(.noWait)
                try semaphore.wait(.noWait)
                checks.expect(.wouldBlock) { () throws(KernelError) in try semaphore.wait(.noWait) }
                checks.expect(semaphore.count == 0)
                let greatest = Semaphore(.max)
                checks.expect(.overflow) { () throws(KernelError) in try greatest.post() }
            },
            Scenario("a wait for a semaphore ends when its time has passed, and takes nothing then") {
                (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let start = KernelClock.now
                checks.expect(.timedOut) { () throws(KernelError) in try semaphore.wait(.milliseconds(20)) }
                checks.expect(KernelClock.now - start >= .milliseconds(19))
                checks.expect(.timedOut) { () throws(KernelError) in try semaphore.wait(.until(start)) }
                checks.expect(.timedOut) { () throws(KernelError) in try semaphore.wait(.atMost(.milliseconds(2))) }
                checks.expect(.wouldBlock) { () throws(KernelError) in try semaphore.wait(.milliseconds(-1)) }
                try semaphore.post()
                checks.expect(semaphore.count == 1)
            },
            Scenario("K9: of equal priority, who waits first goes first, whatever the poster's priority") {
                (checks) throws(KernelError) in
                for poster in [UInt8(5), 10, 15] {
                    let semaphore = Semaphore()
                    let notes = Notes()
                    for number in 1...3 {
                        _ = try Worker(10) { () throws(KernelError) in
                            try semaphore.wait()
                            try notes.add(number)
                        }.settled()
                    }
                    let worker = try Worker(poster) { () throws(KernelError) in
                        for count in 1...3 {
                            try semaphore.post()
                            if !areTasksStrict { _ = try notes.wait(for: count) }
                        }
                    }
                    checks.expect(try notes.wait(for: 3) == [1, 2, 3])
                    checks.expect(try worker.succeeds())
                }
            },
            Scenario("the most urgent of those who wait goes first") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let notes = Notes()
                for priority in [UInt8(9), 3, 12, 3, 6] {
                    _ = try Worker(priority) { () throws(KernelError) in
                        try semaphore.wait()
                        try notes.add(Int(priority))
                    }.settled()
                }
                for count in 1...5 {
                    try semaphore.post()
                    _ = try notes.wait(for: count)
                }
                checks.expect(try notes.all() == [3, 3, 6, 9, 12])
            },
            Scenario("a post is for who waits, not for who comes later") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let waiter = try Worker(20) { () throws(KernelError) in try semaphore.wait() }.settled()
                try semaphore.post()
                checks.expect(.wouldBlock) { () throws(KernelError) in try semaphore.wait(.noWait) }
                checks.expect(try waiter.succeeds())
            },
            Scenario("destroying a semaphore wakes all who wait, and ends it") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                var waiters: [Worker] = []
                for priority in [UInt8(4), 8, 12] {
                    waiters.append(try Worker(priority) { () throws(KernelError) in try semaphore.wait() }.settled())
                }
                semaphore.destroy()
                for waiter in waiters { checks.expect(try waiter.outcome() == .destroyed) }
                checks.expect(semaphore.isDestroyed)
                checks.expect(.destroyed) { () throws(KernelError) in try semaphore.wait(.noWait) }
                checks.expect(.destroyed) { () throws(KernelError) in try semaphore.post() }
                checks.expect(.destroyed) { () throws(KernelError) in try semaphore.postAll() }
            },
            Scenario("a post for all is one for each who waits, and one unit where nobody does") {
                (checks) throws(KernelError) in
                let semaphore = Semaphore()
                try semaphore.postAll()
                checks.expect(semaphore.count == 1)
                try semaphore.wait(.noWait)
                var waiters: [Worker] = []
                for _ in 0..<3 {
                    waiters.append(try Worker { () throws(KernelError) in try semaphore.wait() }.settled())
                }
                try semaphore.postAll()
                for waiter in waiters { checks.expect(try waiter.succeeds()) }
                checks.expect(semaphore.count == 0)
            },
            Scenario("K8: what is posted to a suspended task is there when it goes on") {
                (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let waiter = try Worker(5) { () throws(KernelError) in try semaphore.wait() }.settled()
                try waiter.task.suspend()
                try semaphore.post()
                try KernelTask.delay(.milliseconds(5))
                checks.expect(!waiter.hasEnded)
                checks.expect(semaphore.count == 0)
                try waiter.task.resume()
                checks.expect(try waiter.succeeds())
            },
            Scenario("a post and the end of the time together lose no unit") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                var taken = 0
                let poster = try Worker(9) { () throws(KernelError) in
                    for _ in 0..<50 {
                        try KernelTask.delay(.milliseconds(1))
                        try semaphore.post()
                    }
                }
                for _ in 0..<200 {
                    do throws(KernelError) {
                        try semaphore.wait(.milliseconds(1))
                        taken += 1
                    } catch { checks.expect(error == .timedOut) }
                }
                checks.expect(try poster.succeeds())
                checks.expect(taken + Int(semaphore.count) == 50)
            },
        ]
    }
}
