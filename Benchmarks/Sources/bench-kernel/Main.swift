// The kernel's primitives beside those of pthread, Dispatch, POSIX message queues and the Synchronization module, in one run.
import CKernelPeers
import Dispatch
import Kernel
import Synchronization

typealias Mutex = Kernel.Mutex

@main enum Main {
    static func main() {
        var arguments = CommandLine.arguments.dropFirst()
        let isJSON = arguments.first == "--json"
        if isJSON { arguments.removeFirst() }
        guard arguments.isEmpty else {
            print("usage: bench-kernel [--json]\nMeasures the kernel's primitives beside those of the system: nanoseconds, the least of 7 rounds.")
            return
        }
        // A process with one thread is spared its atomic instructions by the C library; services have more.
        let loop = EventLoop.start()
        var table = Table(isJSON: isJSON)
        uncontended(&table, loop)
        contended(&table)
        betweenThreads(&table)
        ontoTheLoop(&table, loop)
        onTheLoop(&table, loop)
        print(table.missed.isEmpty ? "every goal is met" : "goals missed: \(table.missed.joined(separator: "; "))")
        loop.stop()
    }

    /// Runs what cannot fail here.
    static func must<Result>(_ body: () throws(KernelError) -> Result) -> Result {
        do throws(KernelError) { return try body() } catch { fatalError("the benchmark is wrong: \(error)") }
    }

    /// Does `others` in threads of their own, and `body` here.
    static func together(_ others: [@Sendable () -> Void], _ body: () -> Void) {
        let threads = others.map { other in must { () throws(KernelError) in try KernelTask { other() } } }
        body()
        for thread in threads { must { () throws(KernelError) in try thread.join() } }
    }

    static func uncontended(_ table: inout Table, _ loop: EventLoop) {
        let mutex = Mutex()
        let normal = peer_mutex_new(PEER_NORMAL)
        let recursive = peer_mutex_new(PEER_RECURSIVE)
        let inheriting = peer_mutex_new(PEER_INHERITING)
        let standard = Synchronization.Mutex(0)
        let dispatch = DispatchSemaphore(value: 1)
        let serial = DispatchQueue(label: "serial")
        var counter = 0
        table.measure(
            "lock and unlock a free mutex",
            [
                Way("Mutex (recursive, inheriting)") { count in
                    must { () throws(KernelError) in
                        for _ in 0..<count {
                            try mutex.lock()
                            counter &+= 1
                            try mutex.unlock()
                        }
                    }
                },
                Way("pthread recursive, inheriting") { peer_mutex_pairs(inheriting, $0, &counter) },
                Way("pthread recursive") { peer_mutex_pairs(recursive, $0, &counter) },
                Way("pthread normal") { peer_mutex_pairs(normal, $0, &counter) },
                Way("Synchronization.Mutex") { for _ in 0..<$0 { standard.withLock { $0 &+= 1 } } },
                Way("DispatchSemaphore") { for _ in 0..<$0 { dispatch.wait(); dispatch.signal() } },
                Way("DispatchQueue.sync") { for _ in 0..<$0 { serial.sync { counter &+= 1 } } },
            ],
            against: "pthread recursive, inheriting",
            goal: 1.2
        )
        let semaphore = Semaphore(1)
        let peer = peer_sem_new(1)
        table.measure(
            "take and return a free semaphore",
            [
                Way("Semaphore") { count in
                    must { () throws(KernelError) in
                        for _ in 0..<count {
                            try semaphore.wait()
                            try semaphore.post()
                        }
                    }
                },
                Way("sem_t") { peer_sem_pairs(peer, $0) },
                Way("DispatchSemaphore") { for _ in 0..<$0 { dispatch.wait(); dispatch.signal() } },
            ],
            against: "sem_t",
            goal: 1.2
        )
        let flags = EventFlags()
        let peerFlags = peer_flags_new()
        table.measure(
            "set event flags and wait for them",
            [
                Way("EventFlags") { count in
                    must { () throws(KernelError) in
                        for _ in 0..<count {
                            try flags.set(1)
                            _ = try flags.wait(for: 1, .all, clearing: true)
                        }
                    }
                },
                Way("pthread mutex and condition") { peer_flags_pairs(peerFlags, $0) },
            ]
        )
        let queue = MessageQueue<Int>(capacity: 10)
        let urgent = PriorityMessageQueue<Int>(capacity: 10)
        let ring = peer_ring_new(10)
        let posix = peer_mq_new(10)
        table.measure(
            "send and receive a message, in one thread",
            [
                Way("MessageQueue") { count in
                    must { () throws(KernelError) in
                        for number in 0..<count {
                            try queue.send(number)
                            _ = try queue.receive()
                        }
                    }
                },
                Way("PriorityMessageQueue") { count in
                    must { () throws(KernelError) in
                        for number in 0..<count {
                            try urgent.send(number, priority: .normal)
                            _ = try urgent.receive()
                        }
                    }
                },
                Way("pthread mutex and conditions") { peer_ring_pairs(ring, $0) },
                Way("mq_send, mq_receive", 50_000) { peer_mq_pairs(posix, $0) },
            ]
        )
        let lock = ReadWriteLock()
        let peerLock = peer_rwlock_new()
        for isReading in [true, false] {
            table.measure(
                isReading ? "lock for reading and unlock" : "lock for writing and unlock",
                [
                    Way("ReadWriteLock") { count in
                        must { () throws(KernelError) in
                            for _ in 0..<count {
                                if isReading {
                                    try lock.lockForReading()
                                    try lock.unlockAfterReading()
                                } else {
                                    try lock.lockForWriting()
                                    try lock.unlockAfterWriting()
                                }
                            }
                        }
                    },
                    Way("pthread_rwlock_t") {
                        if isReading { peer_rwlock_read_pairs(peerLock, $0) } else { peer_rwlock_write_pairs(peerLock, $0) }
                    },
                ]
            )
        }
        let pool = MemoryPool(blocks: 8, blockBytes: 256)
        table.measure(
            "take and return a block of 256 bytes",
            [
                Way("MemoryPool") { count in
                    must { () throws(KernelError) in for _ in 0..<count { try unsafe pool.free(pool.allocate()) } }
                },
                Way("malloc, free") { peer_malloc_pairs($0, 256) },
            ]
        )
        let timerLoop = EventLoop()
        let timer = Timer(on: timerLoop)
        let quiet = Quiet()
        let descriptor = peer_timerfd_new()
        table.measure(
            "start and stop a timer",
            [
                Way("Timer") {
                    for _ in 0..<$0 {
                        timer.start(at: .seconds(1000), handler: quiet)
                        timer.stop()
                    }
                },
                Way("timerfd_settime") { peer_timerfd_pairs(descriptor, $0) },
            ]
        )
    }

    static func contended(_ table: inout Table) {
        for threads in [2, 4] {
            let count = 100_000
            let mutex = Mutex()
            let semaphore = Semaphore(1)
            let standard = Synchronization.Mutex(0)
            let shared = Shared(kinds: [PEER_INHERITING, PEER_NORMAL], sem: 1)
            func all(_ body: @escaping @Sendable (Int) -> Void) -> (Int) -> Void {
                { count in
                    together(Array(repeating: { body(count / threads) }, count: threads - 1)) { body(count / threads) }
                }
            }
            table.measure(
                "a mutex, \(threads) threads",
                [
                    Way("Mutex", count, all { count in
                        for _ in 0..<count { must { () throws(KernelError) in try mutex.withLock { shared.counter &+= 1 } } }
                    }),
                    Way("pthread recursive, inheriting", count, all { peer_mutex_pairs(shared.mutexes[0], $0, shared.place) }),
                    Way("pthread normal", count, all { peer_mutex_pairs(shared.mutexes[1], $0, shared.place) }),
                    Way("Synchronization.Mutex", count, all { for _ in 0..<$0 { standard.withLock { $0 &+= 1 } } }),
                ],
                against: "pthread recursive, inheriting"
            )
            table.measure(
                "a semaphore of one unit, \(threads) threads",
                [
                    Way("Semaphore", count, all { count in
                        must { () throws(KernelError) in
                            for _ in 0..<count {
                                try semaphore.wait()
                                try semaphore.post()
                            }
                        }
                    }),
                    Way("sem_t", count, all { peer_sem_pairs(shared.sem, $0) }),
                ]
            )
        }
    }

    static func betweenThreads(_ table: inout Table) {
        for capacity in [256, 10, 1] {
            let queue = MessageQueue<Int>(capacity: capacity)
            let shared = Shared(ring: capacity)
            let count = capacity > 1 ? 200_000 : 50_000
            var ways = [
                Way("MessageQueue", count) { count in
                    together([{ must { () throws(KernelError) in for number in 0..<count { try queue.send(number) } } }]) {
                        must { () throws(KernelError) in for _ in 0..<count { _ = try queue.receive() } }
                    }
                },
                Way("pthread mutex and conditions", count) { count in
                    together([{ peer_ring_send(shared.ring, count) }]) { peer_ring_receive(shared.ring, count) }
                },
            ]
            if capacity == 256 {
                let serial = DispatchQueue(label: "receiver")
                ways.append(
                    Way("DispatchQueue.async", count) { count in
                        let done = DispatchSemaphore(value: 0)
                        for number in 0..<count { serial.async { if number == count - 1 { done.signal() } } }
                        done.wait()
                    }
                )
            } else {
                let posix = peer_mq_new(capacity)
                ways.append(
                    Way("mq_send, mq_receive", 20_000) { count in
                        together([{ peer_mq_send(posix, count) }]) { peer_mq_receive(posix, count) }
                    }
                )
            }
            table.measure("a message from thread to thread, capacity \(capacity)", ways, goal: 1)
        }
        let (ping, pong) = (Semaphore(), Semaphore())
        let shared = Shared(sem: 0)
        let dispatch = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        table.measure(
            "two semaphores, there and back",
            [
                Way("Semaphore", 20_000) { count in
                    together([{ must { () throws(KernelError) in for _ in 0..<count { try ping.wait(); try pong.post() } } }]) {
                        must { () throws(KernelError) in for _ in 0..<count { try ping.post(); try pong.wait() } }
                    }
                },
                Way("sem_t", 20_000) { count in
                    together([{ peer_sem_wait_post(shared.sem, shared.otherSem, count) }]) {
                        peer_sem_post_wait(shared.sem, shared.otherSem, count)
                    }
                },
                Way("DispatchSemaphore", 20_000) { count in
                    together([{ for _ in 0..<count { dispatch.0.wait(); dispatch.1.signal() } }]) {
                        for _ in 0..<count { dispatch.0.signal(); dispatch.1.wait() }
                    }
                },
            ]
        )
    }

    static func ontoTheLoop(_ table: inout Table, _ loop: EventLoop) {
        let queue = MessageQueue<Int>(capacity: 256)
        let serial = DispatchQueue(label: "loop")
        table.measure(
            "a message from a thread to a task on a loop",
            [
                Way("MessageQueue", 200_000) { count in
                    let done = Completion()
                    Task.detached(executorPreference: loop) {
                        for _ in 0..<count { _ = try await queue.receive() }
                        try done.post()
                    }
                    must { () throws(KernelError) in
                        for number in 0..<count { try queue.send(number) }
                        try done.wait()
                    }
                },
                Way("EventLoop.execute", 200_000) { count in
                    let done = Completion()
                    for number in 0..<count {
                        loop.execute { if number == count - 1 { must { () throws(KernelError) in try done.post() } } }
                    }
                    must { () throws(KernelError) in try done.wait() }
                },
                Way("DispatchQueue.async", 200_000) { count in
                    let done = Completion()
                    for number in 0..<count {
                        serial.async { if number == count - 1 { must { () throws(KernelError) in try done.post() } } }
                    }
                    must { () throws(KernelError) in try done.wait() }
                },
            ]
        )
    }

    static func onTheLoop(_ table: inout Table, _ loop: EventLoop) {
        func messages(_ capacity: Int) -> Way {
            let queue = MessageQueue<Int>(capacity: capacity)
            return Way("MessageQueue, capacity \(capacity)", 200_000) { count in
                let done = Completion()
                Task.detached(executorPreference: loop) { for number in 0..<count { try await queue.send(number) } }
                Task.detached(executorPreference: loop) {
                    for _ in 0..<count { _ = try await queue.receive() }
                    try done.post()
                }
                must { () throws(KernelError) in try done.wait() }
            }
        }
        table.measure(
            "a message between two tasks on one loop",
            [
                messages(64),
                // Both tasks are suspended for each message: what Swift's runtime takes for that, without a queue, is beside it.
                messages(1),
                Way("bare continuations", 200_000) { count in
                    let place = Place(loop)
                    let done = CountdownLatch(2)
                    for _ in 0..<2 {
                        Task.detached(executorPreference: loop) {
                            await place.turns(count / 2)
                            try done.countDown()
                        }
                    }
                    must { () throws(KernelError) in try done.wait() }
                },
            ],
            limit: 150
        )
    }
}

/// Two tasks that suspend themselves in turns.
actor Place {
    private let loop: EventLoop
    private var waiting: UnsafeContinuation<Void, Never>?

    init(_ loop: EventLoop) { self.loop = loop }

    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    func turns(_ count: Int) async {
        for _ in 0..<count {
            await withUnsafeContinuation { continuation in
                let other = waiting
                waiting = continuation
                other?.resume()
            }
        }
        waiting?.resume()
        waiting = nil
    }
}

final class Quiet: TimerHandler {
    func timerFired(_ timer: Timer) {}
}

/// What threads share: the peers' objects, and a counter that their mutexes guard.
final class Shared: @unchecked Sendable {
    var counter = 0
    let place: UnsafeMutablePointer<Int> = .allocate(capacity: 1)
    let mutexes: [UnsafeMutableRawPointer]
    let ring: UnsafeMutableRawPointer
    let sem: UnsafeMutableRawPointer
    let otherSem: UnsafeMutableRawPointer

    init(kinds: [peer_mutex] = [], ring: Int = 1, sem: UInt32 = 0) {
        place.initialize(to: 0)
        mutexes = kinds.map { peer_mutex_new($0) }
        self.ring = peer_ring_new(ring)
        self.sem = peer_sem_new(sem)
        otherSem = peer_sem_new(0)
    }
}
