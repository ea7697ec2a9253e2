internal import Kernel

/// What is to be done later, on a loop.
final class Agenda: TimerHandler {
    private struct Entry {
        let dueAt: Duration
        let number: Int
        let work: () -> Void
    }

    static let limit = 10_000

    private let timer: Timer
    private var entries: [Entry] = []
    private var nextNumber = 0

    init(on loop: EventLoop) { timer = Timer(on: loop) }

    /// Does something after a delay, unless it is cancelled by the number that is returned. `nil` if there is too much to do.
    @discardableResult
    func add(after delay: Duration, _ work: @escaping () -> Void) -> Int? {
        guard entries.count < Self.limit else { return nil }
        nextNumber += 1
        let entry = Entry(dueAt: timer.loop.now + delay, number: nextNumber, work: work)
        let place = entries.firstIndex { $0.dueAt > entry.dueAt } ?? entries.count
        entries.insert(entry, at: place)
        restart()
        return entry.number
    }

    func cancel(_ number: Int?) {
        entries.removeAll { $0.number == number }
        restart()
    }

    /// Forgets everything.
    func removeAll() {
        entries = []
        timer.stop()
    }

    func timerFired(_ timer: Timer) {
        while let first = entries.first, first.dueAt <= timer.loop.now {
            entries.removeFirst()
            first.work()
        }
        restart()
    }

    private func restart() {
        guard let first = entries.first else { return timer.stop() }
        timer.start(at: first.dueAt, handler: self)
    }
}
