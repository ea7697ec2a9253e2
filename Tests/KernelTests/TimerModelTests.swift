import Kernel
import Testing

/// Timers that are started, stopped and dropped at random while others fire, against a list that is searched for the first.
private final class TimerModel: TimerHandler {
    private struct Entry {
        var dueAt: Duration
        var order: Int
        let period: Duration
    }

    private let loop = EventLoop()
    private var timers: [Timer?]
    private var entries: [Entry?]
    private var order = 0
    private var generator: Generator
    private(set) var fireCount = 0
    private(set) var faults: [String] = []

    init(count: Int, seed: UInt64) {
        generator = Generator(state: seed)
        timers = (0..<count).map { [loop] _ in Timer(on: loop) }
        entries = Array(repeating: nil, count: count)
    }

    func run(operations: Int) {
        for _ in 0..<operations {
            operate()
            if generator.below(4) == 0 { turn() }
        }
        // What is left comes to an end, too.
        for index in timers.indices where entries[index].map({ $0.period > .zero }) ?? false { stop(index) }
        isQuiet = true
        while let last = entries.compactMap({ $0?.dueAt }).max() {
            while loop.now < last {}
            turn()
        }
        if timers.contains(where: { $0?.isRunning ?? false }) { faults.append("a timer runs that should not") }
    }

    /// Whether timers that fire leave the others alone.
    private var isQuiet = false

    private func turn() {
        let (now, limit) = (loop.now, order)
        loop.runOneTurn()
        // Those that were due then have fired, unless one that was started meanwhile stands before them.
        let late = entries.contains { ($0?.dueAt ?? .seconds(1 << 40)) <= now && ($0?.order ?? 0) <= limit }
        if late && isQuiet { faults.append("a timer that was due did not fire") }
    }

    private func operate() {
        let index = generator.below(timers.count)
        switch generator.below(8) {
        case 0, 1: stop(index)
        case 2:
            timers[index] = nil
            entries[index] = nil
            timers[index] = Timer(on: loop)
        default:
            let period = generator.below(4) == 0 ? Duration.microseconds(20 + generator.below(200)) : .zero
            let dueAt = loop.now + .microseconds(generator.below(400) - 50)
            timers[index]?.start(at: dueAt, every: period, handler: self)
            order += 1
            entries[index] = Entry(dueAt: dueAt, order: order, period: period)
        }
        check(index)
    }

    private func stop(_ index: Int) {
        timers[index]?.stop()
        entries[index] = nil
    }

    private func check(_ index: Int) {
        if timers[index]?.deadline != entries[index]?.dueAt { faults.append("timer \(index) has another deadline") }
    }

    func timerFired(_ timer: Timer) {
        fireCount += 1
        guard let index = timers.firstIndex(where: { $0 === timer }), let entry = entries[index] else {
            faults.append("a timer fired that does not run")
            return
        }
        if entry.dueAt > loop.now { faults.append("timer \(index) fired early") }
        for other in entries {
            guard let other, (other.dueAt, other.order) < (entry.dueAt, entry.order) else { continue }
            faults.append("timer \(index) fired before its time")
        }
        if entry.period > .zero {
            order += 1
            let next = timer.deadline ?? .zero
            // A period behind the deadline before; or, where that has passed, behind the moment of the call.
            if next != entry.dueAt + entry.period && next < entry.dueAt + entry.period * 2 {
                faults.append("timer \(index) fires again at another time")
            }
            entries[index] = Entry(dueAt: next, order: order, period: entry.period)
        } else {
            entries[index] = nil
        }
        check(index)
        if !isQuiet { for _ in 0..<generator.below(3) { operate() } }
    }
}

@Suite(.timeLimit(.minutes(1))) struct TimerModelTests {
    @Test(arguments: [1, 3, 40], Stress.seeds) func timersAgreeWithAList(count: Int, seed: UInt64) {
        let model = TimerModel(count: count, seed: seed)
        model.run(operations: 4_000)
        #expect(model.faults == [])
        #expect(model.fireCount > 20)
    }
}
