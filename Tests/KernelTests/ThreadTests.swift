import Glibc
import Kernel
import Testing

/// What is so of threads of the system only.
@Suite(.timeLimit(.minutes(1))) struct ThreadTests {
    /// Linux has 15 bytes for a thread's name.
    @Test(arguments: ["", "fifteen letters", "sixteen letters!", "höchstens 15 Bytes"])
    func aTaskHasItsNameAndTheThreadAsMuchOfItAsFits(name: String) async throws {
        let go = Semaphore()
        let thread = try Thread(name) { () throws(KernelError) in try go.wait() }
        #expect(thread.task.name == name)
        #expect(try thread.file("comm") == String(decoding: name.utf8.prefix(15), as: UTF8.self) + "\n")
        try go.post()
        try await thread.task.join()
    }

    @Test func aThreadThatEndsFreesItsMutexes() throws {
        let (first, second) = (Mutex(), Mutex())
        onOtherThread {
            do throws(KernelError) {
                try first.lock()
                try second.lock()
                try second.lock()
            } catch { Issue.record(error) }
        }
        for mutex in [first, second] {
            try mutex.lock(.seconds(5))
            try mutex.unlock()
        }
    }

    @Test func whoWaitsForAMutexOfAThreadThatEndsIsTold() async throws {
        let mutex = Mutex()
        let (isHeld, go) = (Semaphore(), Semaphore())
        let outcomes = Guarded<[KernelError?]>([])
        let loop = EventLoop.start()
        // A loop's thread, which is no task either.
        loop.execute {
            do throws(KernelError) {
                try mutex.lock()
                try isHeld.post()
                try go.wait()
            } catch { Issue.record(error) }
            loop.stop()
        }
        try await isHeld.wait()
        var tasks: [KernelTask] = []
        for _ in 0..<2 {
            let task = try KernelTask {
                do throws(KernelError) {
                    try mutex.lock()
                    outcomes.withLock { $0.append(nil) }
                } catch { outcomes.withLock { $0.append(error) } }
            }
            #expect(try await task.settles())
            tasks.append(task)
        }
        let awaiting = Task {
            do throws(KernelError) {
                try await mutex.withLock {}
                return nil as KernelError?
            } catch { return error }
        }
        try await Task.sleep(for: .milliseconds(10))
        try go.post()
        for task in tasks { try await task.join() }
        #expect(outcomes.withLock { $0 } == [.ownerDied, .ownerDied])
        #expect(await awaiting.value == .ownerDied)
        try await mutex.withLock(.seconds(5)) {}
    }

    /// Nothing of a thousand threads is left: no thread, and no memory to speak of.
    @Test func k23_tasksLeaveNoThreadAndNoMemory() async throws {
        func residentPages() throws -> Int {
            let descriptor = open("/proc/self/statm", O_RDONLY)
            defer { close(descriptor) }
            var bytes = [UInt8](repeating: 0, count: 128)
            let count = read(descriptor, &bytes, bytes.count)
            let fields = String(decoding: bytes[..<max(0, count)], as: UTF8.self).split(separator: " ")
            return try #require(fields.count > 1 ? Int(fields[1]) : nil)
        }
        func run(_ count: Int) async throws {
            for _ in 0..<count {
                let mutex = Mutex()
                try await KernelTask {
                    do throws(KernelError) { try mutex.lock() } catch { Issue.record(error) }
                }.join()
            }
        }
        try await run(300)
        let before = try residentPages()
        try await run(1_000)
        // A stack that is not given back has two pages at least.
        #expect(try residentPages() - before < 1_000)
    }

    @Test func k14_aPoolLargerThanTheMemoryIsNotMade() async {
        await #expect(processExitsWith: .failure) { _ = MemoryPool(blocks: 1 << 60, blockBytes: 32) }
        await #expect(processExitsWith: .failure) { _ = MailQueue(capacity: 1 << 40, mailBytes: 1 << 40) }
    }

    /// In a process of its own, where nothing has waited yet: what is to be done at a thread's end is known nevertheless.
    @Test func aMutexThatAThreadLeavesBehindIsNotLost() async {
        await #expect(processExitsWith: .success) {
            let mutex = Mutex()
            onOtherThread { do throws(KernelError) { try mutex.lock() } catch { Issue.record(error) } }
            try #require(mutex.isFreeForThisThread)
        }
    }
}

extension Mutex {
    /// Whether the calling thread can lock it at once.
    fileprivate var isFreeForThisThread: Bool {
        do throws(KernelError) { try withLock(.noWait) {} } catch { return false }
        return true
    }
}
