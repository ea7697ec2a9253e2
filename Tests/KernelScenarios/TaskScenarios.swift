import Kernel

extension Scenario {
    static var tasks: [Scenario] {
        [
            Scenario("a task ends, and who joins it goes on") { (checks) throws(KernelError) in
                let go = Semaphore()
                let task = try KernelTask { do throws(KernelError) { try go.wait() } catch {} }
                checks.expect(.timedOut) { () throws(KernelError) in try task.join(.milliseconds(3)) }
                try go.post()
                try task.join(.seconds(3))
                try KernelTask.delay(.milliseconds(5))
                checks.expect(task.state == .ended)
                try task.join(.noWait)
                checks.expect(.wrongState) { () throws(KernelError) in try task.suspend() }
                checks.expect(.deadlock) { () throws(KernelError) in try KernelTask.current?.join() }
            },
            Scenario("K15: a delay is cut short, a wait with a time is not") { (checks) throws(KernelError) in
                let delayed = try Worker { () throws(KernelError) in
                    if try KernelTask.delay(.seconds(30)) { throw .wrongState }
                }.settled()
                checks.expect(delayed.task.state == .delayed)
                try delayed.task.abortDelay()
                checks.expect(try delayed.succeeds())
                let semaphore = Semaphore()
                let waiting = try Worker { () throws(KernelError) in try semaphore.wait(.seconds(30)) }.settled()
                checks.expect(.wrongState) { () throws(KernelError) in try waiting.task.abortDelay() }
                try semaphore.post()
                checks.expect(try waiting.succeeds())
            },
            Scenario("a delay lasts as long as it was told") { (checks) throws(KernelError) in
                let start = KernelClock.now
                checks.expect(try KernelTask.delay(.milliseconds(10)))
                checks.expect(KernelClock.now - start >= .milliseconds(9))
                checks.expect(try KernelTask.delay(.noWait))
                checks.expect(try KernelTask.delay(.until(start)))
            },
            Scenario("a suspended task stays where it is until it is resumed") { (checks) throws(KernelError) in
                let count = Semaphore()
                let worker = try Worker(12) { () throws(KernelError) in
                    for _ in 0..<1_000 {
                        try count.post()
                        try KernelTask.delay(.milliseconds(1))
                    }
                }
                try KernelTask.delay(.milliseconds(5))
                try worker.task.suspend()
                try KernelTask.delay(.milliseconds(3))
                let before = count.count
                checks.expect(before > 0)
                checks.expect(worker.task.state == .suspended)
                try KernelTask.delay(.milliseconds(10))
                checks.expect(count.count == before)
                try worker.task.resume()
                checks.expect(.wrongState) { () throws(KernelError) in try worker.task.resume() }
                try KernelTask.delay(.milliseconds(10))
                checks.expect(count.count > before)
                worker.task.cancel()
                checks.expect(try worker.outcome() == .cancelled)
            },
            Scenario("a task suspends itself") { (checks) throws(KernelError) in
                let worker = try Worker(8) { () throws(KernelError) in try KernelTask.current?.suspend() }.settled()
                checks.expect(worker.task.state == .suspended)
                checks.expect(!worker.hasEnded)
                try worker.task.resume()
                checks.expect(try worker.succeeds())
            },
            Scenario("K10: a priority that is changed while suspended or waiting counts") {
                (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let notes = Notes()
                var workers: [Worker] = []
                for number in 0..<3 {
                    workers.append(
                        try Worker(9) { () throws(KernelError) in
                            try semaphore.wait()
                            try notes.add(number)
                        }.settled()
                    )
                }
                workers[2].task.priority = Priority(rawValue: 4)
                try workers[1].task.suspend()
                workers[1].task.priority = Priority(rawValue: 5)
                checks.expect(workers[1].task.priority.rawValue == 5)
                try workers[1].task.resume()
                for count in 1...3 {
                    try semaphore.post()
                    _ = try notes.wait(for: count)
                }
                checks.expect(try notes.all() == [2, 1, 0])
            },
            Scenario("a cancelled task's waits end, those that it begins too") { (checks) throws(KernelError) in
                let semaphore = Semaphore()
                let notes = Notes()
                let worker = try Worker { () throws(KernelError) in
                    do throws(KernelError) { try semaphore.wait() } catch { try notes.add(error == .cancelled ? 1 : 0) }
                    try KernelTask.delay(.seconds(30))
                }.settled()
                worker.task.cancel()
                checks.expect(try worker.outcome() == .cancelled)
                checks.expect(try notes.all() == [1])
                checks.expect(worker.task.isCancelled)
                try semaphore.post()
                checks.expect(semaphore.count == 1)
            },
        ]
    }

    static var clocks: [Scenario] {
        [
            Scenario("K2: a stopwatch of five seconds has five thousand milliseconds") { (checks) throws(KernelError) in
                var watch = Stopwatch(.seconds(5))
                checks.expect(!watch.isExpired)
                checks.expect(watch.remaining > .milliseconds(4_900) && watch.remaining <= .milliseconds(5_000))
                watch.start(.milliseconds(5))
                checks.expect(try KernelTask.delay(watch.wait))
                checks.expect(watch.isExpired)
                checks.expect(watch.remaining == .zero)
                checks.expect(watch.wait == .noWait)
                checks.expect(Stopwatch().isExpired)
            },
            Scenario("K1: times are rounded up, and none is lost") { (checks) throws(KernelError) in
                checks.expect(Wait.milliseconds(0) == .noWait && Wait.seconds(-1) == .noWait)
                checks.expect(Wait.milliseconds(1) != .noWait)
                checks.expect(Wait.milliseconds(1_000) == .seconds(1))
                checks.expect(Wait.atMost(.milliseconds(2_500)) == .milliseconds(2_500))
                checks.expect(Wait.atMost(.zero) == .noWait)
                // What is too long for the clock is for ever.
                let longest = Duration(secondsComponent: .max, attosecondsComponent: 999_999_999_999_999_999)
                checks.expect(Wait.atMost(longest) == .forever)
                let atTheEdge = Duration(secondsComponent: 9_223_372_036, attosecondsComponent: 900_000_000_000_000_000)
                checks.expect(Wait.atMost(atTheEdge) != .noWait)
                checks.expect(Wait.atMost(Duration(secondsComponent: -1, attosecondsComponent: 0)) == .noWait)
            },
        ]
    }

    static var pools: [Scenario] {
        [
            Scenario("K20: a block is given back once, and to its own pool") { (checks) throws(KernelError) in
                let pool = MemoryPool(blocks: 33, blockBytes: 20)
                let other = MemoryPool(blocks: 1, blockBytes: 20)
                checks.expect(pool.blockBytes >= 20)
                var blocks: [UnsafeMutableRawBufferPointer] = unsafe []
                for number in 0..<33 {
                    let block = try unsafe pool.allocate()
                    for offset in 0..<20 { unsafe block[offset] = UInt8(number) }
                    unsafe blocks.append(block)
                }
                checks.expect(pool.available == 0)
                checks.expect(.wouldBlock) { () throws(KernelError) in _ = try unsafe pool.allocate() }
                for number in 0..<33 {
                    for offset in 0..<20 { unsafe checks.expect(blocks[number][offset] == UInt8(number)) }
                }
                for number in [0, 31, 32] {
                    let block = unsafe blocks[number]
                    checks.expect(.wrongState) { () throws(KernelError) in try unsafe other.free(block) }
                    try unsafe pool.free(block)
                    checks.expect(.wrongState) { () throws(KernelError) in try unsafe pool.free(block) }
                    let inside = unsafe UnsafeMutableRawBufferPointer(rebasing: block[4...])
                    checks.expect(.wrongState) { () throws(KernelError) in try unsafe pool.free(inside) }
                }
                checks.expect(pool.available == 3)
            },
            Scenario("a block that falls free goes to who waits for one") { (checks) throws(KernelError) in
                let pool = MemoryPool(blocks: 1, blockBytes: 8)
                let block = try unsafe pool.allocate()
                let waiter = try Worker { () throws(KernelError) in try unsafe pool.free(pool.allocate(.seconds(3))) }
                    .settled()
                checks.expect(.timedOut) { () throws(KernelError) in _ = try unsafe pool.allocate(.milliseconds(3)) }
                try unsafe pool.free(block)
                checks.expect(try waiter.succeeds())
                checks.expect(pool.available == 1)
                pool.destroy()
                checks.expect(.destroyed) { () throws(KernelError) in _ = try unsafe pool.allocate() }
            },
        ]
    }

    static var containers: [Scenario] {
        [
            Scenario("a binary heap gives back in the order of its comparison") { (checks) throws(KernelError) in
                var heap = BinaryHeap<Int>(limit: 100) { $0 < $1 }
                for number in 0..<100 { checks.expect(heap.push(number * 37 % 100)) }
                checks.expect(!heap.push(1) && heap.isFull)
                checks.expect(heap.first == 0)
                for number in 0..<100 { checks.expect(heap.pop() == number) }
                checks.expect(heap.pop() == nil && heap.isEmpty)
            },
            Scenario("K18: a priority queue keeps order among equals, and its limit") { (checks) throws(KernelError) in
                var queue = PriorityQueue<Int>(limit: 5)
                for number in 1...5 { checks.expect(queue.insert(number, priority: .normal)) }
                checks.expect(!queue.insert(6, priority: .highest))
                checks.expect(queue.count == 5)
                for number in 1...5 { checks.expect(queue.popFirst()?.element == number) }
                checks.expect(queue.popFirst() == nil)
            },
        ]
    }
}
