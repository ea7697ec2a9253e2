import Kernel
import Synchronization
import Testing

/// Records which timers fire, in which order, and calls back when as many as wanted have.
private final class Recorder: TimerHandler {
    var names: [ObjectIdentifier: String] = [:]
    /// A timer that nobody has a reference to is stopped.
    private var timers: [Timer] = []
    var fired: [String] = []
    var wanted = 1
    var onFire: ((Timer) -> Void)?
    var done: (() -> Void)?

    func makeTimer(_ name: String, on loop: EventLoop) -> Timer {
        let timer = Timer(on: loop)
        timers.append(timer)
        names[ObjectIdentifier(timer)] = name
        return timer
    }

    func timerFired(_ timer: Timer) {
        fired.append(names[ObjectIdentifier(timer)] ?? "?")
        onFire?(timer)
        if fired.count == wanted { done?() }
    }
}

@Suite(.timeLimit(.minutes(1))) struct TimerTests {
    /// Runs `body` on a loop until as many timers have fired as it says, and returns their names.
    private func fired(
        _ wanted: Int,
        _ body: @escaping @Sendable (EventLoop, Recorder, (String) -> Timer) -> Void
    ) async -> [String] {
        let loop = EventLoop.start()
        defer { loop.stop() }
        return await withCheckedContinuation { continuation in
            loop.execute {
                let recorder = Recorder()
                recorder.wanted = wanted
                recorder.done = { [unowned recorder] in
                    recorder.done = nil
                    recorder.onFire = nil
                    continuation.resume(returning: recorder.fired)
                }
                body(loop, recorder) { recorder.makeTimer($0, on: loop) }
            }
        }
    }

    @Test func firesInTheOrderOfDeadlinesAndThenOfStarts() async {
        let order = await fired(5) { loop, recorder, make in
            let now = loop.now
            for (name, delay) in [("c", 3), ("a", 1), ("d", 3), ("b", 2), ("e", 3)] {
                make(name).start(at: now + .milliseconds(delay), handler: recorder)
            }
        }
        #expect(order == ["a", "b", "c", "d", "e"])
    }

    @Test func aStoppedTimerDoesNotFire() async {
        let order = await fired(2) { loop, recorder, make in
            let stopped = make("stopped")
            stopped.start(after: .milliseconds(1), handler: recorder)
            make("a").start(after: .milliseconds(2), handler: recorder)
            make("b").start(after: .milliseconds(3), handler: recorder)
            stopped.stop()
            stopped.stop()
        }
        #expect(order == ["a", "b"])
    }

    @Test func startingAgainMovesTheDeadline() async {
        let order = await fired(2) { loop, recorder, make in
            let moved = make("moved")
            moved.start(after: .milliseconds(1), handler: recorder)
            make("a").start(after: .milliseconds(2), handler: recorder)
            moved.start(after: .milliseconds(4), handler: recorder)
        }
        #expect(order == ["a", "moved"])
    }

    /// TencentOS-tiny reads the list head as a timer when its only timer is stopped (its defect K13).
    @Test func k13_stoppingTheOnlyTimerLeavesTheRestAlone() async {
        let order = await fired(1) { loop, recorder, make in
            let only = make("only")
            only.start(after: .milliseconds(1), handler: recorder)
            only.stop()
            only.start(after: .milliseconds(1), handler: recorder)
        }
        #expect(order == ["only"])
    }

    @Test func aPeriodicTimerMayStopItselfAndStartOthers() async {
        let order = await fired(4) { loop, recorder, make in
            let periodic = make("p")
            let other = make("o")
            recorder.onFire = { timer in
                guard recorder.fired.count == 3 else { return }
                timer.stop()
                other.start(after: .milliseconds(5), handler: recorder)
            }
            periodic.start(after: .milliseconds(1), every: .milliseconds(1), handler: recorder)
        }
        #expect(order == ["p", "p", "p", "o"])
    }

    @Test func aTimerThatIsAlwaysDueDoesNotStarveTheLoop() async {
        let order = await fired(50) { loop, recorder, make in
            let now = loop.now
            recorder.onFire = { timer in
                if recorder.fired.count < 50 { timer.start(at: now, handler: recorder) }
            }
            make("x").start(at: now, handler: recorder)
        }
        #expect(order.count == 50)
    }

    /// A thousand timers with random starts, restarts and stops fire as a sorted list of the survivors would.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func agreesWithASortedList(seed: UInt64) async {
        let (got, wanted) = await withCheckedContinuation { continuation in
            let loop = EventLoop.start()
            loop.execute {
                var generator = Generator(state: seed)
                let recorder = Recorder()
                let start = loop.now + .milliseconds(20)
                var timers: [(timer: Timer, at: Int, order: Int)] = []
                var order = 0
                for index in 0..<1_000 {
                    timers.append((recorder.makeTimer(String(index), on: loop), -1, 0))
                }
                for _ in 0..<3_000 {
                    let index = Int(generator.next() % 1_000)
                    order += 1
                    if generator.next() % 4 == 0 {
                        timers[index].timer.stop()
                        timers[index].at = -1
                    } else {
                        let at = Int(generator.next() % 50)
                        timers[index].timer.start(at: start + .microseconds(at), handler: recorder)
                        (timers[index].at, timers[index].order) = (at, order)
                    }
                }
                let expected = timers.indices.filter { timers[$0].at >= 0 }
                    .sorted { (timers[$0].at, timers[$0].order) < (timers[$1].at, timers[$1].order) }.map { String($0) }
                recorder.wanted = expected.count
                recorder.done = {
                    recorder.done = nil
                    continuation.resume(returning: (recorder.fired, expected))
                    loop.stop()
                }
            }
        }
        #expect(got == wanted)
    }
}

/// xorshift64, for schedules that a seed repeats.
struct Generator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
