import Kernel

extension Scenario {
    static var taskStates: [Scenario] {
        [
            Scenario("a task that was never suspended is not resumed") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let worker = try Worker { () throws(KernelError) in try semaphore.wait() }.settled()
                checks.expect(.wrongState) { () throws(KernelError) in try worker.task.resume() }
                checks.expect(worker.task.state == .waiting)
                try semaphore.post()
                checks.expect(try worker.succeeds())
            },
            Scenario("the time of a wait runs out while the task is suspended") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let worker = try Worker { () throws(KernelError) in try semaphore.wait(.milliseconds(10)) }.settled()
                try worker.task.suspend()
                try KernelTask.delay(.milliseconds(20))
                checks.expect(worker.task.state == .suspended && !worker.hasEnded)
                // What comes too late is not for it.
                try semaphore.post()
                try worker.task.resume()
                checks.expect(try worker.outcome() == .timedOut)
                checks.expect(semaphore.count == 1)
            },
            Scenario("an object that is destroyed tells a suspended task too, when it goes on") {
                (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let worker = try Worker { () throws(KernelError) in try semaphore.wait() }.settled()
                try worker.task.suspend()
                semaphore.destroy()
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!worker.hasEnded)
                try worker.task.resume()
                checks.expect(try worker.outcome() == .destroyed)
            },
            Scenario("a delay for ever ends when it is cut short or cancelled") { (checks) throws(KernelError) in
                let cut = try Worker { () throws(KernelError) in
                    if try KernelTask.delay(.forever) { throw .wrongState }
                }.settled()
                let cancelled = try Worker { () throws(KernelError) in try KernelTask.delay(.forever) }.settled()
                checks.expect(cut.task.state == .delayed && cancelled.task.state == .delayed)
                try cut.task.abortDelay()
                cancelled.task.cancel()
                checks.expect(try cut.succeeds())
                checks.expect(try cancelled.outcome() == .cancelled)
            },
            Scenario("only a delay is cut short") { (checks) throws(KernelError) in
                let worker = try Worker { () throws(KernelError) in try KernelTask.current?.suspend() }.settled()
                checks.expect(.wrongState) { () throws(KernelError) in try worker.task.abortDelay() }
                try worker.task.resume()
                checks.expect(try worker.succeeds())
                try worker.task.join(.seconds(3))
                try KernelTask.delay(.milliseconds(3))
                checks.expect(.wrongState) { () throws(KernelError) in try worker.task.abortDelay() }
                checks.expect(.wrongState) { () throws(KernelError) in try worker.task.resume() }
                worker.task.cancel()
                worker.task.priority = .lowest
            },
            Scenario("a priority is changed in every state, and is what it was changed to") {
                (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let waiting = try Worker { () throws(KernelError) in try semaphore.wait() }.settled()
                let delayed = try Worker { () throws(KernelError) in try KernelTask.delay(.forever) }.settled()
                let suspended = try Worker { () throws(KernelError) in try KernelTask.current?.suspend() }.settled()
                var rawValue: UInt8 = 1
                for worker in [waiting, delayed, suspended] {
                    checks.expect(worker.task.priority == .normal)
                    rawValue += 3
                    worker.task.priority = Priority(rawValue: rawValue)
                    checks.expect(worker.task.priority.rawValue == rawValue)
                }
                try semaphore.post()
                try delayed.task.abortDelay()
                try suspended.task.resume()
                for worker in [waiting, delayed, suspended] { checks.expect(try worker.succeeds()) }
                let own = KernelTask.current?.priority
                KernelTask.current?.priority = Priority(rawValue: 12)
                checks.expect(KernelTask.current?.priority.rawValue == 12)
                if let own { KernelTask.current?.priority = own }
            },
            Scenario("a changed priority puts a waiter behind those who have it already") {
                (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let notes = Notes()
                var workers: [Worker] = []
                for priority in [9, 9, 7, 7] as [UInt8] {
                    let number = workers.count
                    workers.append(
                        try Worker(priority) { () throws(KernelError) in
                            try semaphore.wait()
                            try notes.add(number)
                        }.settled()
                    )
                }
                workers[0].task.priority = Priority(rawValue: 7)
                workers[2].task.priority = Priority(rawValue: 9)
                for count in 1...4 {
                    try semaphore.post()
                    _ = try notes.wait(for: count)
                }
                checks.expect(try notes.all() == [3, 0, 1, 2])
            },
            Scenario("a cancelled task takes what is there, and starts others") { (checks) throws(KernelError) in
                let go = Semaphore()
                let units = Semaphore(1)
                let notes = Notes()
                let worker = try Worker { () throws(KernelError) in
                    do throws(KernelError) { try go.wait() } catch { try notes.add(error == .cancelled ? 1 : 0) }
                    try units.wait()
                    _ = try KernelTask { do throws(KernelError) { try notes.add(2) } catch {} }
                    try units.wait()
                }.settled()
                worker.task.cancel()
                checks.expect(try worker.outcome() == .cancelled)
                checks.expect(try notes.wait(for: 2) == [1, 2])
                checks.expect(units.count == 0)
            },
            Scenario("K22: who wakes early does not find the time of a later wake-up") { (checks) throws(KernelError) in
                let sleeper = try Worker(20) { () throws(KernelError) in try KernelTask.delay(.seconds(2)) }.settled()
                let start = KernelClock.now
                for _ in 0..<5 { try KernelTask.delay(.milliseconds(3)) }
                let passed = KernelClock.now - start
                checks.expect(passed >= .milliseconds(10) && passed < .milliseconds(1_500))
                checks.expect(sleeper.task.state == .delayed)
                sleeper.task.cancel()
                checks.expect(try sleeper.outcome() == .cancelled)
            },
            Scenario("a stopwatch stands for no time, for all time, and for a moment") { (checks) throws(KernelError) in
                checks.expect(Stopwatch(.noWait).isExpired)
                let endless = Stopwatch(.forever)
                checks.expect(!endless.isExpired && endless.wait == .forever)
                let now = KernelClock.now
                checks.expect(Stopwatch(.until(now)).isExpired)
                var watch = Stopwatch(.until(now + .seconds(5)))
                checks.expect(!watch.isExpired && watch.remaining <= .seconds(5) && watch.remaining > .seconds(3))
                watch.start(.noWait)
                checks.expect(watch.isExpired && watch.remaining == .zero)
            },
        ]
    }
}
