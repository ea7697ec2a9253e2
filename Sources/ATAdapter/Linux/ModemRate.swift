#if os(Linux)
internal import Kernel
internal import SAL

/// At which rate a modem's serial line runs.
public enum ModemRate: Equatable, Sendable {
    /// At that of the line's settings.
    case fixed
    /// The same at first; a modem that does not answer there is looked for at the usual rates.
    case detected
    /// The same, and once the modem has answered, it and its port are switched to so many bits per second (`AT+IPR`, or ESP-AT's `AT+UART_CUR`). A modem that
    /// refuses goes on at the rate that it has.
    case switched(to: Int)

    /// The rates that a modem is looked for at, in bits per second, the most usual first.
    public static let usual = [115_200, 9_600, 460_800, 921_600, 57_600, 38_400, 19_200, 230_400]
}

/// Finds a modem whose rate is not known, switches it to another one, and to flow control.
final class RateKeeper: TimerHandler {
    /// How long a modem that is there may be silent behind its opening: longer than three `AT` take.
    private static var patience: Duration { .milliseconds(2_500) }

    private let modem: Modem
    private let line: SerialLine
    private let wanted: Int?
    private let isLooking: Bool
    private let candidates: [Int]
    private var index = 0
    private let timer: Timer
    /// Which command is next; the modem knows one of them, or none.
    private enum Step { case flow, rate, both, done }
    private var step = Step.flow
    /// How often the modem did not answer at the rate that it had agreed to.
    private var failures = 0

    init(_ modem: Modem, _ line: SerialLine, _ rate: ModemRate) {
        isLooking = rate != .fixed
        if case .switched(let rate) = rate { wanted = rate } else { wanted = nil }
        self.modem = modem
        self.line = line
        timer = Timer(on: modem.loop)
        var candidates: [Int] = []
        for rate in [line.settings.baudRate, wanted].compactMap(\.self) + ModemRate.usual
        where !candidates.contains(rate) {
            candidates.append(rate)
        }
        self.candidates = candidates
    }

    /// The modem has the line: it has to answer soon.
    func lineAttached() {
        step = .flow
        if isLooking { timer.start(after: Self.patience, handler: self) }
    }

    func modemChanged(_ state: ModemState) {
        switch state {
        case .failed(.notResponding): if isLooking { findOther() }
        // It is started anew, since it does not answer: perhaps it does so at another rate.
        case .searching: if isLooking { timer.start(after: Self.patience, handler: self) }
        case .attached: if line.settings.baudRate == wanted { failures = 0 }
        case .down: timer.stop()
        default: break
        }
    }

    func timerFired(_ timer: Timer) { if modem.isSilent { findOther() } }

    /// The same at the next rate.
    private func findOther() {
        if line.settings.baudRate == wanted { failures += 1 }
        index = line.settings.baudRate == candidates[index] || index > 0 ? (index + 1) % candidates.count : index
        reopen(at: candidates[index])
    }

    /// Opens the port again. What was on the way to the modem gets there before.
    private func reopen(at rate: Int) {
        modem.letGo()
        line.settings.baudRate = rate
        line.wait(.milliseconds(100))
    }

    /// The command that sets the line of an answering modem up; `nil` if there is none.
    func nextCommand() -> [UInt8]? {
        let settings = line.settings
        let flow = settings.hasFlowControl ? 3 : 0
        switch step {
        case .flow where settings.hasFlowControl: return Array("AT+IFC=2,2".utf8)
        case .flow, .rate:
            guard let wanted, settings.baudRate != wanted, failures < 3 else { return nil }
            step = .rate
            return Array("AT+IPR=\(wanted)".utf8)
        case .both:
            // ESP-AT sets rate and flow control at once.
            guard let rate = wanted ?? settings.baudRate, failures < 3 else { return nil }
            return Array("AT+UART_CUR=\(rate),8,1,0,\(flow)".utf8)
        case .done: return nil
        }
    }

    /// How the command has ended.
    func commandEnded(_ error: ATError?) {
        switch (step, error) {
        case (.flow, nil): step = .rate
        case (.flow, _?), (.rate, _?): step = .both
        case (.rate, nil), (.both, nil):
            step = .done
            guard let wanted, line.settings.baudRate != wanted else { return }
            index = candidates.firstIndex(of: wanted) ?? 0
            reopen(at: wanted)
        case (.both, _?), (.done, _): step = .done
        }
    }
}
#endif
