import Kernel

extension Scenario {
    static var mutexes: [Scenario] {
        [
            Scenario("K24: a nested lock succeeds like the first one, 256 deep") { (checks) throws(KernelError) in
                let mutex = Mutex()
                for depth in [1, 2, 255, 256] {
                    for _ in 0..<depth { try mutex.lock() }
                    for _ in 0..<depth {
                        checks.expect(mutex.isHeld)
                        try mutex.unlock()
                    }
                    checks.expect(!mutex.isHeld)
                    checks.expect(.notOwner) { () throws(KernelError) in try mutex.unlock() }
                }
            },
            Scenario("a mutex is nested 65,535 times at most") { (checks) throws(KernelError) in
                let mutex = Mutex()
                for _ in 0...65_535 { try mutex.lock() }
                checks.expect(.overflow) { () throws(KernelError) in try mutex.lock() }
                for _ in 0...65_535 { try mutex.unlock() }
                checks.expect(!mutex.isHeld)
            },
            Scenario("a mutex belongs to who locked it") { (checks) throws(KernelError) in
                let mutex = Mutex()
                try mutex.lock()
                let other = try Worker { () throws(KernelError) in try mutex.unlock() }
                checks.expect(try other.outcome() == .notOwner)
                let refused = try Worker { () throws(KernelError) in try mutex.lock(.noWait) }
                checks.expect(try refused.outcome() == .wouldBlock)
                let late = try Worker { () throws(KernelError) in try mutex.lock(.milliseconds(5)) }
                checks.expect(try late.outcome() == .timedOut)
                try mutex.unlock()
            },
            Scenario("an unlocked mutex goes to the most urgent who waits, of equals to the first") {
                (checks) throws(KernelError) in
                let mutex = Mutex()
                let notes = Notes()
                try mutex.lock()
                var workers: [Worker] = []
                for number in 1...3 {
                    workers.append(
                        try Worker(10) { () throws(KernelError) in
                            try mutex.lock()
                            try notes.add(number)
                            try mutex.unlock()
                        }.settled()
                    )
                    try KernelTask.delay(.milliseconds(3))
                }
                try mutex.unlock()
                checks.expect(try notes.wait(for: 3) == [1, 2, 3])
                for worker in workers { checks.expect(try worker.succeeds()) }
            },
            Scenario("who waits for a mutex of a task that ends is told, and the mutex is free") {
                (checks) throws(KernelError) in
                let first = Mutex()
                let second = Mutex()
                let go = Semaphore()
                let owner = try Worker(10) { () throws(KernelError) in
                    try first.lock()
                    try second.lock()
                    try second.lock()
                    try go.wait()
                }.settled()
                var waiters: [Worker] = []
                for mutex in [first, first, second] {
                    waiters.append(try Worker(12) { () throws(KernelError) in try mutex.lock() }.settled())
                }
                try go.post()
                checks.expect(try owner.succeeds())
                for waiter in waiters { checks.expect(try waiter.outcome() == .ownerDied) }
                for mutex in [first, second] {
                    try mutex.lock(.seconds(1))
                    try mutex.unlock()
                }
            },
            Scenario("who would wait for himself is told so") { (checks) throws(KernelError) in
                let first = Mutex()
                let second = Mutex()
                try first.lock()
                let other = try Worker(10) { () throws(KernelError) in
                    try second.lock()
                    try first.lock()
                    try first.unlock()
                    try second.unlock()
                }.settled()
                checks.expect(.deadlock) { () throws(KernelError) in try second.lock(.seconds(2)) }
                try first.unlock()
                checks.expect(try other.succeeds())
            },
            Scenario("destroying a mutex wakes who waits, and the owner still unlocks it") {
                (checks) throws(KernelError) in
                let mutex = Mutex()
                try mutex.lock()
                var waiters: [Worker] = []
                for priority in [UInt8(8), 12] {
                    waiters.append(try Worker(priority) { () throws(KernelError) in try mutex.lock() }.settled())
                }
                mutex.destroy()
                for waiter in waiters { checks.expect(try waiter.outcome() == .destroyed) }
                try mutex.unlock()
                checks.expect(.destroyed) { () throws(KernelError) in try mutex.lock() }
            },
            Scenario("who waits for a mutex can be cancelled") { (checks) throws(KernelError) in
                let mutex = Mutex()
                try mutex.lock()
                let waiter = try Worker { () throws(KernelError) in try mutex.lock() }.settled()
                waiter.task.cancel()
                checks.expect(try waiter.outcome() == .cancelled)
                try mutex.unlock()
                try mutex.withLock {}
            },
            Scenario("mutexes are unlocked in any order") { (checks) throws(KernelError) in
                let mutexes = [Mutex(), Mutex(), Mutex()]
                for mutex in mutexes { try mutex.lock() }
                for index in [1, 0, 2] { try mutexes[index].unlock() }
                for mutex in mutexes { checks.expect(!mutex.isHeld) }
            },
        ] + inheritance
    }

    #if os(none)
    /// How urgent tasks are made by those who wait for their mutexes. (On Linux the system does it, for real-time threads: see
    /// PriorityInheritanceTests.)
    private static var inheritance: [Scenario] {
        [
            Scenario("K11: inheritance is transitive, and undone when the wait ends") { (checks) throws(KernelError) in
                let low = Mutex()
                let middle = Mutex()
                let go = Semaphore()
                let owner = try Worker(20) { () throws(KernelError) in
                    try low.withLock { do throws(KernelError) { try go.wait() } catch {} }
                }.settled()
                let between = try Worker(15) { () throws(KernelError) in
                    try middle.lock()
                    try low.lock()
                    try low.unlock()
                    try middle.unlock()
                }.settled()
                checks.expect(owner.task.inheritedPriority.rawValue == 15)
                let urgent = try Worker(3) { () throws(KernelError) in try middle.lock(.milliseconds(20)) }.settled()
                checks.expect(between.task.inheritedPriority.rawValue == 3)
                checks.expect(owner.task.inheritedPriority.rawValue == 3)
                checks.expect(try urgent.outcome() == .timedOut)
                checks.expect(between.task.inheritedPriority.rawValue == 15)
                checks.expect(owner.task.inheritedPriority.rawValue == 15)
                try go.post()
                checks.expect(try between.succeeds())
                checks.expect(try owner.succeeds())
                checks.expect(owner.task.inheritedPriority.rawValue == 20)
            },
            Scenario("K11: with two mutexes each one's end takes back what it had lent") {
                (checks) throws(KernelError) in
                let first = Mutex()
                let second = Mutex()
                let steps = Semaphore()
                let owner = try Worker(20) { () throws(KernelError) in
                    try first.lock()
                    try steps.wait()
                    try second.lock()
                    try steps.wait()
                    try first.unlock()
                    try steps.wait()
                    try second.unlock()
                    try steps.wait()
                }.settled()
                let one = try Worker(8) { () throws(KernelError) in try first.withLock {} }.settled()
                checks.expect(owner.task.inheritedPriority.rawValue == 8)
                try steps.post()
                _ = try owner.settled()
                let other = try Worker(5) { () throws(KernelError) in try second.withLock {} }.settled()
                checks.expect(owner.task.inheritedPriority.rawValue == 5)
                try steps.post()
                checks.expect(try one.succeeds())
                checks.expect(owner.task.inheritedPriority.rawValue == 5)
                try steps.post()
                checks.expect(try other.succeeds())
                checks.expect(owner.task.inheritedPriority.rawValue == 20)
                try steps.post()
                checks.expect(try owner.succeeds())
            },
            Scenario("K11: a mutex that is destroyed takes back what it had lent") { (checks) throws(KernelError) in
                let mutex = Mutex()
                let go = Semaphore()
                let owner = try Worker(20) { () throws(KernelError) in
                    try mutex.lock()
                    try go.wait()
                    try mutex.unlock()
                }.settled()
                let waiter = try Worker(6) { () throws(KernelError) in try mutex.lock() }.settled()
                checks.expect(owner.task.inheritedPriority.rawValue == 6)
                mutex.destroy()
                checks.expect(try waiter.outcome() == .destroyed)
                checks.expect(owner.task.inheritedPriority.rawValue == 20)
                try go.post()
                checks.expect(try owner.succeeds())
            },
            Scenario("a priority that is changed while lent to takes effect when it is given back") {
                (checks) throws(KernelError) in
                let mutex = Mutex()
                let go = Semaphore()
                let owner = try Worker(20) { () throws(KernelError) in
                    try mutex.withLock { do throws(KernelError) { try go.wait() } catch {} }
                    try go.wait()
                }.settled()
                let waiter = try Worker(6) { () throws(KernelError) in try mutex.withLock {} }.settled()
                owner.task.priority = Priority(rawValue: 25)
                checks.expect(owner.task.inheritedPriority.rawValue == 6)
                owner.task.priority = Priority(rawValue: 4)
                checks.expect(owner.task.inheritedPriority.rawValue == 4)
                owner.task.priority = Priority(rawValue: 18)
                checks.expect(owner.task.inheritedPriority.rawValue == 6)
                try go.post()
                checks.expect(try waiter.succeeds())
                checks.expect(owner.task.inheritedPriority.rawValue == 18)
                try go.post()
                checks.expect(try owner.succeeds())
            },
        ]
    }
    #else
    private static var inheritance: [Scenario] { [] }
    #endif
}
