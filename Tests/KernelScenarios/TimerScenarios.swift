import Kernel

extension Scenario {
    static var timers: [Scenario] {
        [
            Scenario("a one-shot timer fires once, and again when it is started again") {
                (checks) throws(KernelError) in
                let clock = Clock()
                let timer = clock.makeTimer()
                // Far enough that a machine under load does not get there.
                timer.start(after: .milliseconds(300), handler: clock)
                try clock.pass(1)
                checks.expect(clock.fired == [] && timer.isRunning)
                try clock.pass(310)
                checks.expect(clock.fired == [0] && !timer.isRunning && timer.deadline == nil)
                timer.start(after: .zero, handler: clock)
                timer.start(after: .milliseconds(1), handler: clock)
                try clock.pass(5)
                checks.expect(clock.fired == [0, 0])
            },
            Scenario("a periodic timer fires until it is stopped, by itself too") { (checks) throws(KernelError) in
                let clock = Clock()
                let timer = clock.makeTimer()
                clock.onFire = { clock in if clock.fired.count == 4 { clock.timers[0].stop() } }
                timer.start(after: .zero, every: .milliseconds(2), handler: clock)
                try clock.pass(40)
                // A machine under load may not have had the time.
                for _ in 0..<100 where clock.fired.count < 4 { try clock.pass(10) }
                checks.expect(clock.fired == [0, 0, 0, 0] && !timer.isRunning)
                timer.stop()
                checks.expect(!timer.isRunning)
            },
            Scenario("K13: the only timer is stopped and started again") { (checks) throws(KernelError) in
                let clock = Clock()
                let timer = clock.makeTimer()
                for _ in 0..<3 {
                    timer.start(after: .milliseconds(1), handler: clock)
                    timer.stop()
                    try clock.pass(3)
                    checks.expect(clock.fired == [])
                }
                timer.start(after: .milliseconds(1), handler: clock)
                try clock.pass(5)
                checks.expect(clock.fired == [0])
            },
            Scenario("timers of one moment fire in the order of their start") { (checks) throws(KernelError) in
                let clock = Clock()
                for _ in 0..<5 { _ = clock.makeTimer() }
                let moment = clock.loop.now + .milliseconds(3)
                for number in [3, 0, 4, 1, 2] { clock.timers[number].start(at: moment, handler: clock) }
                clock.timers[0].start(at: moment, handler: clock)
                try clock.pass(6)
                checks.expect(clock.fired == [3, 4, 1, 2, 0])
            },
            Scenario("a timer starts, restarts and stops others when it fires") { (checks) throws(KernelError) in
                let clock = Clock()
                for _ in 0..<4 { _ = clock.makeTimer() }
                let moment = clock.loop.now + .milliseconds(2)
                clock.onFire = { clock in
                    guard clock.fired == [0] else { return }
                    clock.timers[1].stop()
                    clock.timers[2].start(at: moment + .milliseconds(4), handler: clock)
                    clock.timers[3].start(at: moment, handler: clock)
                }
                for number in 0..<3 { clock.timers[number].start(at: moment, handler: clock) }
                try clock.pass(12)
                checks.expect(clock.fired == [0, 3, 2])
            },
            Scenario("a timer may be dropped, running or in its own call") { (checks) throws(KernelError) in
                let clock = Clock()
                for _ in 0..<2 { _ = clock.makeTimer() }
                clock.timers[0].start(after: .milliseconds(1), every: .milliseconds(1), handler: clock)
                clock.timers[1].start(after: .milliseconds(100), handler: clock)
                clock.onFire = { clock in clock.timers = [] }
                try clock.pass(8)
                checks.expect(clock.fired == [0])
            },
            Scenario("what a long call has missed is not made up for") { (checks) throws(KernelError) in
                let clock = Clock()
                let timer = clock.makeTimer()
                clock.onFire = { clock in if clock.fired.count == 1 { clock.stand(100) } }
                timer.start(after: .milliseconds(2), every: .milliseconds(20), handler: clock)
                while clock.fired.isEmpty { try clock.pass(1) }
                for _ in 0..<4 { try clock.pass(0) }
                checks.expect(clock.fired.count == 2 || clock.fired.count == 3)
                timer.stop()
            },
        ] + drift
    }

    #if os(none)
    /// Where the time is a number, a call is as late as the scenario says.
    private static var drift: [Scenario] {
        [
            Scenario("a thousand periods, each called late, end when they should") { (checks) throws(KernelError) in
                let clock = Clock()
                let timer = clock.makeTimer()
                let start = clock.loop.now
                timer.start(at: start, every: .milliseconds(10), handler: clock)
                for number in 0..<1_000 {
                    clock.stand(number % 9)
                    try clock.pass(0)
                    clock.stand(10 - number % 9)
                }
                checks.expect(clock.fired.count == 1_000)
                checks.expect(timer.deadline == start + .milliseconds(10_000))
            },
            Scenario("periods that were missed altogether are skipped, and the next counts from the late call") {
                (checks) throws(KernelError) in
                let clock = Clock()
                let timer = clock.makeTimer()
                let start = clock.loop.now
                timer.start(at: start + .milliseconds(10), every: .milliseconds(10), handler: clock)
                clock.stand(47)
                try clock.pass(0)
                checks.expect(clock.fired.count == 1)
                checks.expect(timer.deadline == start + .milliseconds(57))
            },
        ]
    }
    #else
    private static var drift: [Scenario] { [] }
    #endif
}

/// A loop whose time a scenario moves on, and what its timers did. On Linux, time passes by itself, and the scenario waits for it.
private final class Clock: TimerHandler {
    var timers: [Timer] = []
    /// The numbers of the timers that fired.
    var fired: [Int] = []
    var onFire: ((Clock) -> Void)?
    private var numbers: [ObjectIdentifier] = []

    func makeTimer() -> Timer {
        let timer = Timer(on: loop)
        timers.append(timer)
        numbers.append(ObjectIdentifier(timer))
        return timer
    }

    func timerFired(_ timer: Timer) {
        for number in numbers.indices where numbers[number] == ObjectIdentifier(timer) { fired.append(number) }
        onFire?(self)
    }

    #if os(none)
    private final class Time { var milliseconds = 0 }

    private let time = Time()
    let loop: EventLoop

    init() {
        let time = self.time
        loop = EventLoop(milliseconds: { time.milliseconds }, sleep: {})
    }

    /// Lets so many milliseconds pass, with a turn of the loop in each.
    func pass(_ milliseconds: Int) throws(KernelError) {
        loop.turn()
        for _ in 0..<milliseconds {
            time.milliseconds += 1
            loop.turn()
        }
    }

    /// Lets so many milliseconds pass without a turn.
    func stand(_ milliseconds: Int) { time.milliseconds += milliseconds }
    #else
    let loop = EventLoop()

    /// Lets so many milliseconds pass, with turns of the loop meanwhile.
    func pass(_ milliseconds: Int) throws(KernelError) {
        let end = loop.now + .milliseconds(milliseconds)
        repeat {
            loop.runOneTurn()
            try KernelTask.delay(.atMost(.microseconds(200)))
        } while loop.now < end
        loop.runOneTurn()
    }

    /// Lets so many milliseconds pass without a turn.
    func stand(_ milliseconds: Int) {
        do throws(KernelError) { try KernelTask.delay(.milliseconds(milliseconds)) } catch {}
    }
    #endif
}
