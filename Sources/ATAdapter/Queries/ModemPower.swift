internal import Kernel

/// When a modem in power saving mode (PSM) is reachable (3GPP 27.007, 7.38; 24.008, 10.5.7.4a and 10.5.7.3).
public struct ModemPowerSaving: Equatable, Sendable {
    /// How often the modem tells the network that it is there (T3412 extended).
    public let updateInterval: Duration
    /// How long it stays reachable after it was active (T3324).
    public let activeTime: Duration
    /// The timers as their standard has them: three bits for the unit, five for how many of it.
    let updateBits: UInt8
    let activeBits: UInt8

    /// What is at least as long as asked for: the standard has 31 steps of 2 s to 320 h for the interval, and of 2 s, 1 min or 6 min for the active time.
    /// Longer than that is shortened to its longest. The network may give something else.
    public init(updateInterval: Duration, activeTime: Duration) {
        let units: InlineArray<7, Int> = [2, 30, 60, 600, 3_600, 36_000, 1_152_000]
        let codes: InlineArray<7, UInt8> = [3, 4, 5, 0, 1, 2, 6]
        var chosen = (seconds: 31 * units[6], bits: codes[6] << 5 | 31)
        for index in units.indices.reversed() {
            if let steps = updateInterval.steps(of: units[index]) {
                chosen = (steps * units[index], codes[index] << 5 | UInt8(steps))
            }
        }
        (self.updateInterval, updateBits) = (.seconds(chosen.seconds), chosen.bits)
        let activeUnits: InlineArray<3, Int> = [2, 60, 360]
        chosen = (31 * activeUnits[2], 2 << 5 | 31)
        for index in activeUnits.indices.reversed() {
            if let steps = activeTime.steps(of: activeUnits[index]) {
                chosen = (steps * activeUnits[index], UInt8(index) << 5 | UInt8(steps))
            }
        }
        (self.activeTime, activeBits) = (.seconds(chosen.seconds), chosen.bits)
    }
}

extension Duration {
    /// How many steps of `seconds` are as long or a little longer; `nil` if more than 31.
    fileprivate func steps(of seconds: Int) -> Int? {
        let whole = components.seconds + (components.attoseconds > 0 ? 1 : 0)
        let steps = (max(whole, 0) + Int64(seconds) - 1) / Int64(seconds)
        return steps <= 31 ? Int(steps) : nil
    }
}

/// How often a modem with extended discontinuous reception (eDRX) listens (3GPP 27.007, 7.40; 24.008, 10.5.5.32, for LTE).
public struct ModemDiscontinuousReception: Equatable, Sendable {
    /// In which network.
    public enum Technology: UInt8, Sendable {
        /// LTE, and LTE-M.
        case lte = 4
        /// NB-IoT.
        case nbIoT = 5
    }

    /// In which network.
    public let technology: Technology
    /// How often it listens.
    public let cycle: Duration
    /// As its standard has it.
    let bits: UInt8

    /// The shortest of the standard's cycles that is at least as long as asked for: 5.12 s, doubled up to 10,485.76 s. The network may give another one.
    public init(_ technology: Technology, cycle: Duration) {
        self.technology = technology
        // 5.12 s for 0, 10.24 s for 1, … The numbers of 61.44 s, 102.4 s, 122.88 s and 143.36 s stand between the powers of two.
        let codes: InlineArray<12, UInt8> = [0, 1, 2, 3, 5, 9, 10, 11, 12, 13, 14, 15]
        var milliseconds = 5_120
        var index = 0
        while .milliseconds(milliseconds) < cycle, index < codes.count - 1 {
            index += 1
            milliseconds *= 2
        }
        self.cycle = .milliseconds(milliseconds)
        bits = codes[index]
    }
}

extension Modem {
    /// Has the modem ask its network for a power saving mode, or for none. Asleep it is deaf: see ``ModemHandler/resetModem()``, which may press its power key.
    public func setPowerSaving(_ mode: ModemPowerSaving?, _ completion: @escaping (Result<Void, ATError>) -> Void) {
        var line: [UInt8] = []
        line.append(mode == nil ? "AT+CPSMS=0" : "AT+CPSMS=1,,,\"")
        if let mode {
            line.append(bits: mode.updateBits, count: 8)
            line.append("\",\"")
            line.append(bits: mode.activeBits, count: 8)
            line.append("\"")
        }
        order(line, completion)
    }

    /// Has the modem ask its network for extended discontinuous reception, or for none.
    public func setDiscontinuousReception(
        _ mode: ModemDiscontinuousReception?,
        _ completion: @escaping (Result<Void, ATError>) -> Void
    ) {
        var line: [UInt8] = []
        line.append(mode == nil ? "AT+CEDRXS=0" : "AT+CEDRXS=1,")
        if let mode {
            line.append(number: Int(mode.technology.rawValue))
            line.append(",\"")
            line.append(bits: mode.bits, count: 4)
            line.append("\"")
        }
        order(line, completion)
    }

    /// Lets the modem sleep whenever it has nothing to do, or keeps it awake. What sleeps may lose the first bytes that it is told: set
    /// ``ModemConfiguration/wakesAfter`` before.
    public func setSleep(isAllowed: Bool, _ completion: @escaping (Result<Void, ATError>) -> Void) {
        let commands: StaticString =
            isAllowed
            ? "AT+QSCLK=1\nAT+CSCLK=2\nAT+UPSV=1\nAT+SLEEP=1\nAT+SM=UNLOCK"
            : "AT+QSCLK=0\nAT+CSCLK=0\nAT+UPSV=0\nAT+SLEEP=0\nAT+SM=LOCK"
        ask(commands) { result in completion(result.map { _ in }) }
    }

    private func order(_ line: [UInt8], _ completion: @escaping (Result<Void, ATError>) -> Void) {
        do throws(ATError) {
            try execute(line) { result in completion(result.map { _ in }) }
        } catch { completion(.failure(error)) }
    }
}

extension [UInt8] {
    /// Appends the lowest bits of a number as digits, the highest of them first.
    fileprivate mutating func append(bits: UInt8, count: Int) {
        for index in (0..<count).reversed() { append(0x30 + bits >> UInt8(index) & 1) }
    }
}
