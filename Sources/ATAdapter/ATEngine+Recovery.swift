internal import Kernel
internal import SAL

/// How an engine finds back to a modem whose answers no longer fit its commands, or that no longer answers.
///
/// The rungs, each followed by up to three `AT`: nothing; the escape; filler for a payload that the modem may wait for; the
/// command that restarts the modem; its reset line; and then the same again after a pause that grows.
extension ATEngine {
    /// Finds out whether the modem answers, from the lowest rung on: at the start, and after a restart.
    mutating func resynchronize(at now: Duration) {
        forgetInput()
        outgoing.removeAll()
        (failures, timeoutsInARow, doubtfulBytes) = (0, 0, 0)
        _ = isDue(at: now)
        startDrain()
        wait(100)
    }

    /// Waits for late results to pass.
    mutating func startDrain() {
        (rung, tries, busyCount) = (0, 0, 0)
        phase = .drain
        wait(1_000)
    }

    /// Acts on a ``deadline`` that has passed; call it again until it returns `nil`.
    mutating func handleTimeout(at now: Duration) -> ATEvent? {
        guard isDue(at: now) else { return nil }
        if payloadLeft > 0 { return damage() }
        switch phase {
        case .idle: deadline = Self.never
        case .command, .prompt, .payload:
            counters.timeouts += 1
            timeoutsInARow += 1
            doubtfulBytes = command.payloadBytes
            startDrain()
            // What had not been written yet must not follow later.
            outgoing.removeAll()
            return .finished(.timedOut)
        case .pause: sendLine()
        case .drain: probe()
        case .probe:
            if results == 1 {
                phase = .idle
                deadline = Self.never
                failures = 0
                if timeoutsInARow < 3 { return .recovered }
                // It answers, but does not do what it is told.
                timeoutsInARow = 0
                rung = 2
            } else if tries < 3 {
                probe()
                return nil
            }
            return climb()
        }
        return nil
    }

    private mutating func probe() {
        command = ATCommand()
        command.line.append("AT")
        write(command.line)
        tries += 1
        results = 0
        phase = .probe
        wait(500)
    }

    private mutating func climb() -> ATEvent? {
        rung += 1
        tries = 0
        phase = .drain
        var event: ATEvent?
        var pause = 1_100
        if rung == 2 && doubtfulBytes == 0 { rung = 3 }
        switch rung {
        case 1: send(dialect.escape)
        case 2:
            for _ in 0...doubtfulBytes { send("\r") }
            send("\n")
            doubtfulBytes = 0
        case 3:
            send(dialect.reset)
            event = .resetting
            pause = 5_000
        case 4:
            event = .needsHardwareReset
            pause = 3_000
        default:
            event = .failed
            rung = 0
            pause = 5_000 << min(failures, 3)
            failures += 1
        }
        wait(pause)
        return event
    }

    private mutating func send(_ text: StaticString) {
        var bytes: [UInt8] = []
        bytes.append(text)
        outgoing.append(bytes.span)
    }
}
