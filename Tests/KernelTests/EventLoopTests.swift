import CLinux
import Kernel
import Testing

/// Counts on the loop's thread what is called there.
private actor Counter {
    private let loop: EventLoop
    private(set) var count = 0
    init(loop: EventLoop) { self.loop = loop }
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }
    func increment() { count += 1 }
    var isOnLoop: Bool { loop.isOnLoop }
}

private final class Deaf: ReadinessHandler { func ready(_ events: EventLoop.Readiness) {} }

@Suite(.timeLimit(.minutes(1))) struct EventLoopTests {
    let loop = EventLoop.start()

    @Test func runsActorsOnItsThread() async {
        let counter = Counter(loop: loop)
        #expect(await counter.isOnLoop)
        #expect(!loop.isOnLoop)
        loop.stop()
    }

    @Test func losesNoCallFromManyThreads() async {
        let counter = Counter(loop: loop)
        await withTaskGroup { group in
            for _ in 0..<16 { group.addTask { for _ in 0..<1_000 { await counter.increment() } } }
        }
        #expect(await counter.count == 16_000)
        loop.stop()
    }

    @Test func runsWorkInTheOrderOfTheCalls() async {
        let order = Guarded<[Int]>([])
        await withCheckedContinuation { continuation in
            for number in 0..<1_000 { loop.execute { order.withLock { $0.append(number) } } }
            loop.execute { continuation.resume() }
        }
        #expect(order.withLock { $0 } == Array(0..<1_000))
        loop.stop()
    }

    @Test func runsTasksThatPreferIt() async {
        let onLoop = await Task(executorPreference: loop) { [loop] in loop.isOnLoop }.value
        #expect(onLoop)
        loop.stop()
    }

    /// What asks for a loop that has ended goes on all the same, elsewhere and one at a time.
    @Test func aLoopThatHasEndedTrapsNothing() async throws {
        loop.stop()
        let counter = Counter(loop: loop)
        await withTaskGroup { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<500 { await counter.increment() } } }
        }
        #expect(await counter.count == 4_000)
        #expect(await counter.isOnLoop)
        let semaphore = Semaphore(0)
        let wait = Task(executorPreference: loop) {
            await #expect(throws: KernelError.timedOut) { try await semaphore.wait(.milliseconds(20)) }
        }
        _ = await wait.value
        let result = await loop.call { [loop] in
            Result { () throws(SystemError) in
                _ = try loop.register(0, for: .readable, handler: Deaf())
            }
        }
        #expect(throws: SystemError(code: ESHUTDOWN)) { try result.get() }
    }

    /// What is asked while a loop ends runs once, by the loop's last turn or after it, and never by two threads at once: that traps.
    @Test func whatIsAskedOfALoopThatEndsJustNowIsDone() async {
        for _ in 0..<400 {
            let loop = EventLoop.start()
            await loop.call {}
            let count = Guarded(0)
            await withTaskGroup { group in
                group.addTask {
                    for _ in 0..<200 { loop.execute { count.withLock { $0 += 1 } } }
                }
                group.addTask { loop.stop() }
            }
            await withCheckedContinuation { continuation in loop.execute { continuation.resume() } }
            #expect(count.withLock { $0 } == 200)
        }
        loop.stop()
    }

    @Test func reportsReadinessUntilItIsDealtWith() async {
        final class Reader: ReadinessHandler {
            let descriptor: Int32
            var bytes: [UInt8] = []
            let done: @Sendable ([UInt8]) -> Void
            init(_ descriptor: Int32, done: @escaping @Sendable ([UInt8]) -> Void) {
                self.descriptor = descriptor
                self.done = done
            }
            func ready(_ events: EventLoop.Readiness) {
                var byte: UInt8 = 0
                guard read(descriptor, &byte, 1) == 1 else { return }
                bytes.append(byte)
                if bytes.count == 3 { done(bytes) }
            }
        }
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let (readEnd, loop) = (ends[0], loop)
        let bytes = await withCheckedContinuation { continuation in
            loop.execute {
                _ = try? loop.register(
                    readEnd,
                    for: .readable,
                    handler: Reader(readEnd) { continuation.resume(returning: $0) }
                )
            }
            _ = write(ends[1], [1, 2, 3] as [UInt8], 3)
        }
        #expect(bytes == [1, 2, 3])
        loop.stop()
    }

    @Test func refusesABadDescriptor() async {
        final class Nobody: ReadinessHandler { func ready(_ events: EventLoop.Readiness) {} }
        let loop = self.loop
        let error: SystemError? = await withCheckedContinuation { continuation in
            loop.execute {
                do throws(SystemError) {
                    _ = try loop.register(-1, for: .readable, handler: Nobody())
                    continuation.resume(returning: nil)
                } catch { continuation.resume(returning: error) }
            }
        }
        #expect(error == SystemError(code: EBADF))
        loop.stop()
    }

    /// A loop that runs, here or on another thread, cannot be run once more.
    @Test func runningItTwiceTraps() async {
        await #expect(processExitsWith: .failure) {
            let loop = EventLoop()
            loop.run(after: { loop.run(after: {}, while: { false }) }, while: { false })
        }
        await #expect(processExitsWith: .failure) {
            let loop = EventLoop.start()
            await withCheckedContinuation { continuation in loop.execute { continuation.resume() } }
            loop.run(after: {}, while: { false })
        }
        await #expect(processExitsWith: .success) {
            let (loop, other) = (EventLoop(), EventLoop())
            for _ in 0..<2 {
                loop.run(after: { other.run(after: {}, while: { false }) }, while: { false })
            }
        }
    }

    @Test func aCallOffTheLoopTraps() async {
        await #expect(processExitsWith: .failure) { EventLoop.start().preconditionOnLoop() }
    }
}
