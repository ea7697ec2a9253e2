internal import Kernel
internal import SAL

/// How an engine finds back to a modem whose answers no longer fit its commands, or that no longer answers.
///
/// The rungs, most followed by up to three `AT`: nothing; the escape; the end of a data mode, or filler for a payload that the modem may
/// wait for; the command that restarts the modem; its reset line; and then the same again after a pause that grows.
extension ATEngine {
    /// What was tried last.
    enum Rung: UInt8 {
        case nothing, escape, silence, hangUp, hangUpSent, reset, hardwareReset

        /// Whether no `AT` follows.
        var isSilent: Bool { self == .silence || self == .hangUp }
    }

    /// Finds out whether the modem answers, from the lowest rung on: at the start, and after a restart.
    mutating func resynchronize(at now: Duration) {
        forgetInput()
        outgoing.removeAll()
        wakingCommand = nil
        (failures, timeoutsInARow, doubtfulBytes) = (0, 0, 0)
        _ = isDue(at: now)
        startDrain()
        wait(100)
    }

    /// Waits for late results to pass.
    mutating func startDrain() {
        (rung, tries, busyCount, unanswered) = (.nothing, 0, 0, 0)
        phase = .drain
        wait(1_000)
    }

    /// Has a modem answer that may sleep, and lose what wakes it, before the command is sent.
    mutating func wake() {
        wakingCommand = command
        (rung, tries, unanswered) = (.nothing, 0, 0)
        probe()
    }

    /// Acts on a ``deadline`` that has passed; call it again until it returns `nil`.
    mutating func handleTimeout(at now: Duration) -> ATEvent? {
        guard isDue(at: now) else { return nil }
        // A pause is over although payload is on its way.
        if isInPayload, phase != .rest, phase != .prompted, phase != .pause { return damage() }
        switch phase {
        case .idle: deadline = Self.never
        case .rest:
            phase = .idle
            isInPayload ? wait(1_000) : (deadline = Self.never)
        case .prompted:
            phase = .payload
            wait(command.timeout)
            return .prompt
        case .command, .prompt, .payload:
            counters.timeouts += 1
            timeoutsInARow += 1
            doubtfulBytes = command.payloadBytes
            // A modem that waits for payload would take commands for it.
            let mayWait = phase == .prompt && !isWithoutHangUp
            startDrain()
            // What had not been written yet must not follow later.
            outgoing.removeAll()
            if mayWait { climb() }
            return .finished(.timedOut)
        case .pause: sendLine()
        case .drain: if rung.isSilent { return climb() } else { probe() }
        case .probe:
            let isInStep = 1...max(unanswered, 1) ~= results
            if results > 0 { unanswered = 0 }
            if isInStep, let command = wakingCommand {
                wakingCommand = nil
                self.command = command
                sendLine()
                return nil
            }
            if isInStep {
                phase = .idle
                deadline = Self.never
                failures = 0
                if timeoutsInARow < 3 { return .recovered }
                // It answers, but does not do what it is told.
                timeoutsInARow = 0
                rung = .hangUpSent
            } else if tries < (rung == .escape ? max(3, traits.bootTries) : 3) {
                probe()
                return nil
            }
            if let command = wakingCommand {
                wakingCommand = nil
                self.command = command
                counters.timeouts += 1
                climb()
                return .finished(.timedOut)
            }
            return climb()
        }
        return nil
    }

    private var isWithoutHangUp: Bool { traits.hangUp.utf8CodeUnitCount == 0 }

    private mutating func probe() {
        // The escape ends a wait for payload only if nothing comes behind it for a while; else it may be the begin of a line.
        if rung == .escape, tries == 0, !isWithoutHangUp { send("\r") }
        command = ATCommand()
        command.line.append("AT")
        write(command.line)
        tries += 1
        results = 0
        if unanswered == 0 { probedAt = now }
        unanswered += 1
        phase = .probe
        wait(500)
    }

    @discardableResult
    private mutating func climb() -> ATEvent? {
        // What was asked before may still be answered, by a modem that was deaf for long.
        tries = 0
        phase = .drain
        switch rung {
        case .nothing:
            rung = .escape
            send(traits.escape)
            wait(1_100)
        case .escape:
            guard isWithoutHangUp else {
                rung = .silence
                // An earlier program may have left the modem with a multiplexer, which this ends (3GPP 27.010, 5.4.6.3.3); it comes back in the silence.
                if traits.hasMultiplexer { outgoing.append(Self.closeDown.span) }
                wait(1_100)
                break
            }
            // ESP-AT, which may wait for payload: it is given some.
            rung = .hangUpSent
            guard doubtfulBytes > 0 else { return climb() }
            for _ in 0...doubtfulBytes { send("\r") }
            send("\n")
            doubtfulBytes = 0
            wait(1_100)
        case .silence:
            rung = .hangUp
            send(traits.hangUp)
            wait(1_100)
        case .hangUp:
            rung = .hangUpSent
            send("ATH\r")
            wait(500)
        case .hangUpSent:
            rung = .reset
            send(traits.reset)
            wait(5_000)
            return .resetting
        case .reset:
            rung = .hardwareReset
            wait(3_000)
            return .needsHardwareReset
        case .hardwareReset:
            rung = .nothing
            wait(5_000 << min(failures, 3))
            failures += 1
            return .failed
        }
        return nil
    }

    private static let closeDown: [UInt8] = [0xF9, 0x03, 0xEF, 0x05, 0xC3, 0x01, 0xF2, 0xF9]

    private mutating func send(_ text: StaticString) {
        var bytes: [UInt8] = []
        bytes.append(text)
        outgoing.append(bytes.span)
    }
}
