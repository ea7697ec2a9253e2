// The kernel's operations between markers, each three times: scripts/bench-kernel-arm.py counts the instructions that QEMU executes between them.
// M (priority 4) drives; H (2) waits; Y (4) yields; I (7) runs when all others wait, and makes the ticks.
import Kernel
import Markers
import Startup

let semaphore = Semaphore()
let pair = Semaphore()
let mutex = Mutex()
let flags = EventFlags()
nonisolated(unsafe) var driver: KernelTask?
/// Whether I is to end M's delay.
nonisolated(unsafe) var isDelayed = false

@c(Device_Handler) func device() {
    do throws(KernelError) { try semaphore.post() } catch { startup_exit(1) }
}

final class Quiet: TimerHandler {
    func timerFired(_ timer: Timer) {}
}

func task(_ number: Int32, _ priority: UInt8, _ body: @escaping () -> Void) {
    let memory = unsafe UnsafeMutableRawBufferPointer(start: bench_memory(number), count: BENCH_TASK_BYTES)
    _ = unsafe KernelTask(priority: Priority(rawValue: priority), memory: memory, body: body)
}

@main enum Main {
    static func main() {
        bench_prepare()
        let queue = MessageQueue<Int>(capacity: 4)
        task(0, 2) { do throws(KernelError) { try waiting(queue) } catch { startup_exit(1) } }
        task(1, 4) { do throws(KernelError) { try driving(queue) } catch { startup_exit(1) } }
        task(2, 4) {
            for _ in 0..<3 {
                KernelTask.yield()
                bench_end_1()
            }
        }
        task(3, 7) {
            while true {
                if isDelayed {
                    isDelayed = false
                    do throws(KernelError) { try driver?.abortDelay() } catch { startup_exit(1) }
                } else {
                    bench_begin_15()
                    bench_tick()
                }
            }
        }
        Scheduler.start()
    }

    /// H.
    static func waiting(_ queue: MessageQueue<Int>) throws(KernelError) {
        for _ in 0..<3 {
            try semaphore.wait()
            bench_end_2()
        }
        for _ in 0..<3 {
            _ = try queue.receive()
            bench_end_5()
        }
        for _ in 0..<3 {
            _ = try flags.wait(for: 1, .all, clearing: true)
            bench_end_7()
        }
        for _ in 0..<3 {
            try semaphore.wait()
            bench_end_9()
        }
        try semaphore.wait()
        for _ in 0..<3 {
            bench_begin_10()
            try semaphore.wait()
        }
    }

    /// M.
    static func driving(_ queue: MessageQueue<Int>) throws(KernelError) {
        for _ in 0..<3 {
            bench_begin_1()
            KernelTask.yield()
        }
        KernelTask.yield()
        for _ in 0..<3 {
            bench_begin_2()
            try semaphore.post()
        }
        for _ in 0..<3 {
            bench_begin_3()
            try mutex.lock()
            try mutex.unlock()
            bench_end_3()
        }
        try pair.post()
        for _ in 0..<3 {
            bench_begin_4()
            try pair.wait()
            try pair.post()
            bench_end_4()
        }
        for message in 0..<3 {
            bench_begin_5()
            try queue.send(message)
        }
        for message in 0..<3 {
            bench_begin_6()
            try queue.send(message)
            _ = try queue.receive()
            bench_end_6()
        }
        for _ in 0..<3 {
            bench_begin_7()
            try flags.set(1)
        }
        for _ in 0..<3 {
            bench_begin_8()
            try flags.set(1)
            _ = try flags.wait(for: 1, .all, clearing: true)
            bench_end_8()
        }
        for _ in 0..<3 {
            bench_begin_9()
            bench_interrupt()
        }
        for _ in 0..<4 {
            try semaphore.post()
            bench_end_10()
        }
        let loop = EventLoop(milliseconds: { 0 }, sleep: {})
        let quiet = Quiet()
        let timer = Timer(on: loop)
        for _ in 0..<3 {
            bench_begin_11()
            timer.start(at: .seconds(5), handler: quiet)
            timer.stop()
            bench_end_11()
        }
        var others: [Timer] = []
        for number in 0..<10 {
            let other = Timer(on: loop)
            other.start(at: .milliseconds(100 + number), handler: quiet)
            others.append(other)
        }
        for _ in 0..<3 {
            bench_begin_16()
            timer.start(at: .seconds(5), handler: quiet)
            timer.stop()
            bench_end_16()
        }
        for _ in 0..<3 {
            bench_begin_12()
            bench_tick()
            bench_end_12()
        }
        for _ in 0..<3 { try KernelTask.delay(.ticks(1)); bench_end_15() }
        driver = KernelTask.current
        for _ in 0..<3 {
            isDelayed = true
            bench_begin_18()
            try KernelTask.delay(.ticks(2))
            bench_end_18()
        }
        for number in 0..<10 { delayed(number) }
        try KernelTask.delay(.ticks(1))
        for _ in 0..<3 {
            bench_begin_13()
            bench_tick()
            bench_end_13()
        }
        for number in 10..<100 { delayed(number) }
        try KernelTask.delay(.ticks(1))
        for _ in 0..<3 {
            bench_begin_14()
            bench_tick()
            bench_end_14()
        }
        for _ in 0..<3 {
            isDelayed = true
            bench_begin_17()
            try KernelTask.delay(.ticks(200_000))
            bench_end_17()
        }
        startup_exit(0)
    }

    static func delayed(_ number: Int) {
        task(Int32(4 + number), 3) {
            do throws(KernelError) { try KernelTask.delay(.ticks(100_000 + number * 7)) } catch {}
        }
    }
}
