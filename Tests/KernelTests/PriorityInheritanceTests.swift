import Kernel
import Testing

/// Who holds a mutex runs at the priority of the most urgent who waits for it. On a Cortex-M the scenarios of the mutex show the same.
@Suite(.serialized, .timeLimit(.minutes(1))) struct PriorityInheritanceTests {
    /// What the tests are about, where the system allows it.
    private func withRealTime(_ body: () async throws -> Void) async throws {
        do { try await KernelTask(scheduling: .realTime) {}.join() } catch KernelError.refusedBySystem {
            withKnownIssue("real-time threads need CAP_SYS_NICE") { Issue.record("priority inheritance is not tested") }
            return
        }
        try await body()
    }

    private func owner(of mutexes: [Mutex], until go: Semaphore, priority: UInt8 = 20) throws -> Thread {
        try Thread(priority: priority, scheduling: .realTime) { () throws(KernelError) in
            for mutex in mutexes { try mutex.lock() }
            for mutex in mutexes {
                try go.wait()
                try mutex.unlock()
            }
            try go.wait()
        }
    }

    private func waiter(for mutex: Mutex, priority: UInt8) throws -> Thread {
        try Thread(priority: priority, scheduling: .realTime) { () throws(KernelError) in try mutex.withLock {} }
    }

    @Test func k11_aChainOfThreeInheritsAndGivesBackWhenTheWaitTimesOut() async throws {
        try await withRealTime {
            let (low, middle, go) = (Mutex(), Mutex(), Semaphore())
            let owner = try owner(of: [low], until: go)
            #expect(try await owner.task.settles())
            #expect(try owner.inheritedPriority == 20)
            let between = try Thread(priority: 15, scheduling: .realTime) { () throws(KernelError) in
                try middle.lock()
                try low.lock()
                try low.unlock()
                try middle.unlock()
                try go.wait()
            }
            #expect(try await eventually { try owner.inheritedPriority == 15 })
            let urgent = try Thread(priority: 3, scheduling: .realTime) { () throws(KernelError) in
                do throws(KernelError) { try middle.lock(.milliseconds(200)) } catch {
                    guard error == .timedOut else { throw error }
                }
            }
            #expect(try await eventually { try owner.inheritedPriority == 3 && between.inheritedPriority == 3 })
            try await urgent.task.join()
            #expect(try await eventually { try owner.inheritedPriority == 15 && between.inheritedPriority == 15 })
            try go.post()
            #expect(try await eventually { try owner.inheritedPriority == 20 })
            try go.post()
            try go.post()
            try await between.task.join()
            try await owner.task.join()
        }
    }

    @Test func k11_ofTwoMutexesEachTakesBackWhatItHadLent() async throws {
        try await withRealTime {
            let (first, second, go) = (Mutex(), Mutex(), Semaphore())
            let owner = try owner(of: [first, second], until: go)
            #expect(try await owner.task.settles())
            let one = try waiter(for: first, priority: 8)
            #expect(try await eventually { try owner.inheritedPriority == 8 })
            let other = try waiter(for: second, priority: 5)
            #expect(try await eventually { try owner.inheritedPriority == 5 })
            try go.post()
            try await one.task.join()
            #expect(try owner.inheritedPriority == 5)
            try go.post()
            try await other.task.join()
            #expect(try await eventually { try owner.inheritedPriority == 20 })
            try go.post()
            try await owner.task.join()
        }
    }

    @Test func whoIsCancelledOrFindsTheMutexDestroyedTakesBackWhatItHadLent() async throws {
        try await withRealTime {
            let (mutex, go) = (Mutex(), Semaphore())
            let owner = try owner(of: [mutex], until: go)
            #expect(try await owner.task.settles())
            for end in [{ (task: KernelTask) in task.cancel() }, { _ in mutex.destroy() }] {
                let waiter = try Thread(priority: 4, scheduling: .realTime) { () throws(KernelError) in
                    do throws(KernelError) { try mutex.lock() } catch {
                        guard error == .cancelled || error == .destroyed else { throw error }
                    }
                }
                #expect(try await eventually { try owner.inheritedPriority == 4 })
                end(waiter.task)
                try await waiter.task.join()
                #expect(try await eventually { try owner.inheritedPriority == 20 })
            }
            try go.post()
            try go.post()
            try await owner.task.join()
        }
    }

    @Test func aPriorityThatIsChangedWhileLentToCountsWhenItIsGivenBack() async throws {
        try await withRealTime {
            let (mutex, go) = (Mutex(), Semaphore())
            let owner = try owner(of: [mutex], until: go)
            #expect(try await owner.task.settles())
            let waiter = try waiter(for: mutex, priority: 6)
            #expect(try await eventually { try owner.inheritedPriority == 6 })
            owner.task.priority = Priority(rawValue: 25)
            #expect(try owner.inheritedPriority == 6)
            owner.task.priority = Priority(rawValue: 4)
            #expect(try owner.inheritedPriority == 4)
            owner.task.priority = Priority(rawValue: 18)
            #expect(try owner.inheritedPriority == 6)
            waiter.task.priority = Priority(rawValue: 2)
            #expect(try owner.inheritedPriority == 2)
            waiter.task.priority = Priority(rawValue: 19)
            #expect(try owner.inheritedPriority == 18)
            try go.post()
            try await waiter.task.join()
            #expect(try await eventually { try owner.inheritedPriority == 18 })
            try go.post()
            try await owner.task.join()
        }
    }

    /// The mutex goes to the most urgent, not to the first, and its priority is lent on to who holds it next.
    @Test func theMostUrgentGetsTheMutexFirst() async throws {
        try await withRealTime {
            let (mutex, go) = (Mutex(), Semaphore())
            let order = Guarded<[UInt8]>([])
            let owner = try owner(of: [mutex], until: go, priority: 20)
            #expect(try await owner.task.settles())
            var waiters: [Thread] = []
            for priority in [12, 5, 9, 5] as [UInt8] {
                let number = UInt8(waiters.count)
                waiters.append(
                    try Thread(priority: priority, scheduling: .realTime) { () throws(KernelError) in
                        try mutex.withLock { order.withLock { $0.append(number) } }
                    }
                )
                let id = waiters[waiters.count - 1]
                // In the system's queue only once it sleeps there.
                #expect(try await eventually { try id.file("stat").contains(") S ") && id.task.state == .waiting })
            }
            try go.post()
            for waiter in waiters { try await waiter.task.join() }
            #expect(order.withLock { $0 } == [1, 3, 2, 0])
            try go.post()
            try await owner.task.join()
        }
    }

    @Test func aTaskThatARealTimeTaskStartsIsAsFairAsItWasToldToBe() async throws {
        try await withRealTime {
            let (go, policies) = (Semaphore(), Guarded<[Int]>([]))
            let starter = try Thread(scheduling: .realTime) { () throws(KernelError) in
                do {
                    for scheduling in [KernelTask.Scheduling.fair, .realTime] {
                        let child = try Thread(scheduling: scheduling) { () throws(KernelError) in try go.wait() }
                        let policy = try child.status(41)
                        policies.withLock { $0.append(policy) }
                    }
                } catch { Issue.record(error) }
            }
            try await starter.task.join()
            // SCHED_OTHER, SCHED_FIFO
            #expect(policies.withLock { $0 } == [0, 1])
            for _ in 0..<2 { try go.post() }
        }
    }
}
