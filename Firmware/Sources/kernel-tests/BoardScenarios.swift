import Kernel
import KernelScenarios
import Startup
internal import Synchronization
internal import _Volatile

/// What interrupt 20 posts to; it runs whenever software pends it.
let interruptSemaphore = Semaphore()
let interruptFlags = EventFlags()
let interruptMutex = Mutex()
nonisolated(unsafe) var interruptQueue: MessageQueue<Int>?
nonisolated(unsafe) var interruptErrors = 0

@c(Device_Handler) func device() {
    do throws(KernelError) {
        try interruptSemaphore.post()
        try interruptFlags.set(1)
        try interruptQueue?.send(7, .noWait)
    } catch { interruptErrors += 1 }
    // It cannot wait.
    do throws(KernelError) {
        try KernelTask.delay(.ticks(1))
        interruptErrors += 1
    } catch { if error != .inInterrupt { interruptErrors += 1 } }
    do throws(KernelError) {
        _ = try interruptFlags.wait(for: 0x100)
        interruptErrors += 1
    } catch { if error != .inInterrupt { interruptErrors += 1 } }
    // It owns nothing, whether somebody does or not.
    do throws(KernelError) {
        try interruptMutex.lock(.noWait)
        interruptErrors += 1
    } catch { if error != .inInterrupt { interruptErrors += 1 } }
    do throws(KernelError) {
        try interruptMutex.unlock()
        interruptErrors += 1
    } catch { if error != .notOwner { interruptErrors += 1 } }
}

/// The board's timers count down 25,000 times a millisecond, whatever SysTick does: control, value, reload, and interrupt at offsets of a word.
func timer(_ number: Int, _ register: Int) -> VolatileMappedRegister<UInt32> {
    unsafe VolatileMappedRegister<UInt32>(unsafeBitPattern: UInt(0x4000_0000 + number * 0x1000 + register * 4))
}

let timerSemaphore = Semaphore()

@c(Timer1_Handler) func timerHandler() {
    timer(1, 0).store(0)
    timer(1, 3).store(1)
    do throws(KernelError) { try timerSemaphore.post() } catch { interruptErrors += 1 }
}

func interrupt() { unsafe VolatileMappedRegister<UInt32>(unsafeBitPattern: 0xE000_E200).store(1 << 20) }

/// Who had his turn, of tasks that never wait.
final class Turns: Sendable {
    let flags = Atomic<UInt32>(0)
    let areOver = Atomic(false)
    let ofOne = Atomic<UInt32>(0)
    let ofThree = Atomic<UInt32>(0)
}

/// Answers what it is sent, and tells when its timer fires; 0 stops its loop.
final class Server: EndOfTurnHandler, TimerHandler {
    let timer: Timer
    private let loop: EventLoop
    private let inbox: MessageQueue<Int>
    private let answers: MessageQueue<Int>

    init(_ loop: EventLoop, _ inbox: MessageQueue<Int>, _ answers: MessageQueue<Int>) {
        self.loop = loop
        self.inbox = inbox
        self.answers = answers
        timer = Timer(on: loop)
    }

    func endOfTurn() {
        do throws(KernelError) {
            while true {
                let message = try inbox.receive(.noWait)
                if message == 0 { loop.stop() } else { try answers.send(message, .noWait) }
            }
        } catch {}
    }

    func timerFired(_: Timer) { do throws(KernelError) { try answers.send(-1, .noWait) } catch {} }
}

/// What is so on a Cortex-M only.
let boardScenarios: [Scenario] = [
    Scenario("an interrupt posts to tasks, and is told that it cannot wait") { (checks) throws(KernelError) in
        unsafe VolatileMappedRegister<UInt32>(unsafeBitPattern: 0xE000_E100).store(1 << 20)
        interruptQueue = MessageQueue(capacity: 4)
        let done = Semaphore()
        _ = try KernelTask(priority: .highest) {
            do throws(KernelError) {
                for _ in 0..<3 { try interruptSemaphore.wait() }
                guard try interruptQueue?.receive(.noWait) == 7 else { return }
                try done.post()
            } catch {}
        }
        for isHeld in [true, false, true] {
            if isHeld { try interruptMutex.lock() }
            interrupt()
            if isHeld { try interruptMutex.unlock() }
            _ = try interruptFlags.wait(for: 1, clearing: true, .milliseconds(50))
        }
        try done.wait(.milliseconds(50))
        checks.expect(interruptErrors == 0)
    },
    Scenario("a more urgent task runs at once when it is made, and when it is posted to") {
        (checks) throws(KernelError) in
        nonisolated(unsafe) var steps = 0
        let semaphore = Semaphore()
        let task = try KernelTask(priority: .highest) {
            steps = 1
            do throws(KernelError) { try semaphore.wait() } catch {}
            steps = 2
        }
        checks.expect(steps == 1)
        try semaphore.post()
        checks.expect(steps == 2)
        try task.join(.noWait)
    },
    Scenario("equally urgent tasks take turns, though none gives way") { (checks) throws(KernelError) in
        let turns = Turns()
        for number in 0..<3 {
            _ = try KernelTask(priority: Priority(rawValue: 15)) {
                while !turns.areOver.load(ordering: .relaxed) {
                    turns.flags.bitwiseOr(1 << UInt32(number), ordering: .relaxed)
                }
            }
        }
        try KernelTask.delay(.milliseconds(350))
        checks.expect(turns.flags.load(ordering: .relaxed) == 0b111)
        turns.areOver.store(true, ordering: .relaxed)
        try KernelTask.delay(.milliseconds(5))
    },
    Scenario("a turn is as long as the task was told, a tick at least") { (checks) throws(KernelError) in
        let turns = Turns()
        for slice in [1, 3] {
            let task = try KernelTask(priority: Priority(rawValue: 15)) {
                while !turns.areOver.load(ordering: .relaxed) {
                    if slice == 1 {
                        turns.ofOne.wrappingAdd(1, ordering: .relaxed)
                    } else {
                        turns.ofThree.wrappingAdd(1, ordering: .relaxed)
                    }
                }
            }
            task.timeSlice = slice
            checks.expect(task.timeSlice == slice)
        }
        try KernelTask.delay(.milliseconds(200))
        turns.areOver.store(true, ordering: .relaxed)
        try KernelTask.delay(.milliseconds(10))
        let one = turns.ofOne.load(ordering: .relaxed)
        let three = turns.ofThree.load(ordering: .relaxed)
        checks.expect(three > one * 5 / 2 && three < one * 7 / 2)
    },
    Scenario("an event loop runs in a task: its timers wake it, and who posts to it") { (checks) throws(KernelError) in
        let work = Semaphore()
        let inbox = MessageQueue<Int>(capacity: 4)
        let answers = MessageQueue<Int>(capacity: 8)
        let task = try KernelTask(priority: Priority(rawValue: 9)) {
            let loop = EventLoop(wokenBy: work)
            let server = Server(loop, inbox, answers)
            loop.register(server)
            server.timer.start(after: .milliseconds(20), every: .milliseconds(20), handler: server)
            loop.run()
            server.timer.stop()
        }
        for number in 1...3 {
            try inbox.send(number)
            try work.post()
            checks.expect(try answers.receive(.noWait) == number)
        }
        // It sleeps until its timer is due, and not a turn longer.
        for _ in 0..<3 {
            checks.expect(try answers.receive(.milliseconds(100)) == -1)
            checks.expect(task.state == .waiting)
        }
        try inbox.send(0)
        try work.post()
        try task.join(.milliseconds(100))
    },
    Scenario("no other task runs while the scheduler is locked, and nobody waits in it") {
        (checks) throws(KernelError) in
        nonisolated(unsafe) var hasRun = false
        let semaphore = Semaphore()
        _ = try KernelTask(priority: .highest) {
            do throws(KernelError) { try semaphore.wait() } catch {}
            hasRun = true
        }
        Scheduler.withLock {
            Scheduler.withLock { do throws(KernelError) { try semaphore.post() } catch {} }
            checks.expect(!hasRun)
            checks.expect(.schedulerLocked) { () throws(KernelError) in try KernelTask.delay(.ticks(1)) }
            checks.expect(.schedulerLocked) { () throws(KernelError) in try semaphore.wait() }
        }
        checks.expect(hasRun)
    },
    Scenario("deadlines near and far end in their order, and none early") { (checks) throws(KernelError) in
        let queue = MessageQueue<Int>(capacity: 16)
        // All count from one moment: the machine that plays the board may be late between any two.
        let start = KernelClock.now + .milliseconds(20)
        for time in [40, 7, 300, 8, 64, 33, 1, 32] {
            _ = try KernelTask(priority: .highest, stackBytes: 512) {
                do throws(KernelError) {
                    try KernelTask.delay(.until(start + .milliseconds(time)))
                    try queue.send(time)
                } catch {}
            }
        }
        for time in [1, 7, 8, 32, 33, 40, 64, 300] {
            checks.expect(try queue.receive(.seconds(1)) == time)
            checks.expect(KernelClock.now - start >= .milliseconds(time))
        }
    },
    Scenario("K22: a sleep counts the time that has passed, whole or interrupted") { (checks) throws(KernelError) in
        timer(0, 2).store(.max)
        timer(0, 1).store(.max)
        timer(0, 0).store(1)
        unsafe VolatileMappedRegister<UInt32>(unsafeBitPattern: 0xE000_E100).store(1 << 9)
        let start = KernelClock.now
        for time in [400, 3, 1000] { try KernelTask.delay(.ticks(time)) }
        for time in [UInt32(50), 333, 7] {
            // Another interrupt, in the middle of a tick of a long sleep.
            timer(1, 2).store(time * 25_000 + 11_000)
            timer(1, 1).store(time * 25_000 + 11_000)
            timer(1, 0).store(9)
            try timerSemaphore.wait(.seconds(20))
        }
        let ticks = KernelClock.now - start
        let real = Duration.milliseconds(Int((UInt32.max - timer(0, 1).load()) / 25_000))
        // While SysTick is set, it stands still, for as long as the emulator takes. What was planned would be 1,900 more.
        checks.expect(ticks - real <= .milliseconds(20) && real - ticks <= .milliseconds(20))
        checks.expect(ticks >= .milliseconds(1_793))
    },
    Scenario("K14: memory for more than there can be is refused") { (checks) throws(KernelError) in
        checks.expect(unsafe calloc(0x4000_0001, 4) == nil)
        checks.expect(unsafe calloc(0x1000_0000, 16) == nil)
    },
    Scenario("K17: tasks share the heap, and leave it as it was") { (checks) throws(KernelError) in
        let done = Semaphore()
        nonisolated(unsafe) var isRight = true
        var free: [2 of Int] = [0, 0]
        for turn in 0..<2 {
            for number in 0..<3 {
                _ = try KernelTask(priority: Priority(rawValue: UInt8(11 + number))) {
                    for round in 0..<300 {
                        let array = [UInt8](repeating: UInt8(number), count: 20 + round % 50)
                        if round % 30 == 0 { do throws(KernelError) { try KernelTask.delay(.ticks(1)) } catch {} }
                        for byte in array where byte != UInt8(number) { isRight = false }
                    }
                    do throws(KernelError) { try done.post() } catch {}
                }
            }
            for _ in 0..<3 { try done.wait(.seconds(5)) }
            // The idle task gives the tasks' own memory back.
            try KernelTask.delay(.milliseconds(5))
            free[turn] = startup_heap_free()
        }
        checks.expect(isRight)
        checks.expect(free[0] == free[1])
    },
    Scenario("a task knows how much of its stack it has never used") { (checks) throws(KernelError) in
        let task = try KernelTask(priority: .highest, stackBytes: 1024) {}
        checks.expect(task.unusedStackBytes > 300 && task.unusedStackBytes < 1024)
    },
]
