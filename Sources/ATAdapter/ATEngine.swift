internal import Kernel
internal import SAL

/// The AT command protocol (V.250; 3GPP 27.007, 5) as a struct that is given bytes and time.
///
/// One command is in flight. A line ends it only if it is, as a whole, a final result that the command can have; payload of a
/// known length is never looked at; a prompt counts only at the start of a line, and only while it is waited for. After
/// each call send what ``outgoing`` holds and set a timer for ``deadline``.
struct ATEngine: ~Copyable {
    enum Phase: UInt8 {
        case idle
        /// A command waits for its result, for its prompt, or for the result of its payload.
        case command, prompt, payload
        /// `busy`: the command is repeated after a pause.
        case pause
        /// Results are dropped for a while, and then `AT` is tried.
        case drain
        /// `AT` was sent; how often it is answered shows whether the answers fit the commands again.
        case probe
    }

    private static let finals: StaticString = """
        OK
        SEND OK
        ERROR
        FAIL
        SEND FAIL
        busy p...
        busy s...
        +CME ERROR:#
        +CME ERROR: #
        +CME ERROR:*
        +CMS ERROR:#
        +CMS ERROR: #
        +CMS ERROR:*
        """

    private enum Echo: UInt8 { case unknown, refused, off }

    /// A time that does not come.
    static var never: Duration { .seconds(1 << 30) }

    var phase = Phase.idle
    private var isLineOver = false
    private var isOverlong = false
    private var echo = Echo.unknown
    private var hasEchoed = false
    /// The line that the last event is about.
    private(set) var line: [UInt8] = []
    /// The link whose payload is due, negative for that of the read in flight.
    private(set) var payloadLink = 0
    /// The length of the current payload, and how much of it is still to come.
    private(set) var payloadBytes = 0
    private(set) var payloadLeft = 0
    var command = ATCommand()
    /// How many commands were started.
    private(set) var serial = 0
    var busyCount = 0

    // The ladder of recovery; see ATEngine+Recovery.swift.
    var rung = 0
    var tries = 0
    var results = 0
    var failures = 0
    var timeoutsInARow = 0
    /// How many bytes the modem may still take for payload.
    var doubtfulBytes = 0

    let dialect: any ATDialect
    private let maximumLineBytes: Int
    /// The bytes to send.
    var outgoing = ByteQueue()
    /// The time of the call under way.
    private var now = Duration.zero
    /// When to call ``handleTimeout(at:)``.
    var deadline = ATEngine.never
    var counters = ATCounters()

    /// An engine that drops lines longer than `maximumLineBytes`.
    init(dialect: any ATDialect, maximumLineBytes: Int) {
        self.dialect = dialect
        self.maximumLineBytes = maximumLineBytes
    }

    /// Whether a command can be started: none is in flight, and no payload is on its way.
    var isIdle: Bool { phase == .idle && payloadLeft == 0 }

    /// Starts a command; call it only while ``isIdle``.
    mutating func start(_ command: ATCommand, at now: Duration) {
        precondition(isIdle, "a command is in flight")
        self.command = command
        serial &+= 1
        busyCount = 0
        self.now = now
        sendLine()
    }

    /// Sends the line of the command, for the first time or again.
    mutating func sendLine() {
        write(command.line)
        phase = command.payloadBytes > 0 ? .prompt : .command
        wait(command.timeout)
    }

    /// Sends a line and its terminator.
    mutating func write(_ line: [UInt8]) {
        var bytes = line
        bytes.append("\r\n")
        outgoing.append(bytes.span)
        hasEchoed = false
    }

    /// Sends the payload after a ``ATEvent/prompt``.
    mutating func send(payload: Span<UInt8>, at now: Duration) {
        self.now = now
        outgoing.append(payload)
        wait(command.timeout)
    }

    /// Of ``outgoing``, `count` bytes were written; the time for a result counts from the last one.
    mutating func wrote(_ count: Int, at now: Duration) {
        outgoing.removeFirst(count)
        self.now = now
        switch phase {
        case .command, .prompt, .payload: if outgoing.isEmpty { wait(command.timeout) }
        case .idle, .pause, .drain, .probe: break
        }
    }

    mutating func wait(_ milliseconds: Int) { deadline = now + .milliseconds(milliseconds) }

    /// Takes the time for what follows; returns whether ``deadline`` has passed.
    mutating func isDue(at now: Duration) -> Bool {
        self.now = now
        return now >= deadline
    }

    /// Forgets the line and the payload under way, as after a restart of the modem.
    mutating func forgetInput() {
        payloadLeft = 0
        isLineOver = true
        isOverlong = false
        echo = .unknown
    }

    // MARK: Input

    /// Takes bytes that arrived, from `position` on, up to the next event; `nil` when all are taken.
    mutating func receive(_ bytes: Span<UInt8>, from position: inout Int, at now: Duration) -> ATEvent? {
        self.now = now
        while position < bytes.count {
            if payloadLeft > 0 {
                let start = position
                let count = min(payloadLeft, bytes.count - start)
                payloadLeft -= count
                position += count
                if phase == .idle { payloadLeft > 0 ? wait(1_000) : (deadline = Self.never) }
                return .payload(start: start, count: count)
            }
            let byte = bytes[position]
            position += 1
            if let event = receive(byte) { return event }
        }
        return nil
    }

    private mutating func receive(_ byte: UInt8) -> ATEvent? {
        if isLineOver {
            line.clear()
            isLineOver = false
        }
        if byte == UInt8(ascii: "\n") {
            isLineOver = true
            if isOverlong {
                isOverlong = false
                counters.overlongLines += 1
                return nil
            }
            while line.last == UInt8(ascii: "\r") { line.removeLast() }
            return line.isEmpty ? nil : lineEvent()
        }
        if line.isEmpty {
            // Filler between lines, noise at power-up, and the space behind a prompt start no line.
            if byte <= 0x20 { return nil }
            if byte == UInt8(ascii: ">"), phase == .prompt {
                phase = .payload
                wait(command.timeout)
                return .prompt
            }
        }
        if isOverlong { return nil }
        if line.count >= maximumLineBytes {
            isOverlong = true
            return nil
        }
        line.append(byte)
        guard byte == UInt8(ascii: ":") || byte == UInt8(ascii: ","), line[0] == UInt8(ascii: "+") else { return nil }
        switch dialect.header(line.span) {
        case .none: return nil
        case .payload(let link, let count):
            (payloadLink, payloadBytes, payloadLeft) = (link, count, count)
            isLineOver = true
            if phase == .idle && count > 0 { wait(1_000) }
            return count > 0 ? nil : .payload(start: 0, count: 0)
        case .malformed:
            isOverlong = true
            return damage()
        }
    }

    /// A payload cannot be had as announced. The modem is asked whether it still makes sense, once no command is in flight.
    mutating func damage() -> ATEvent {
        payloadLeft = 0
        counters.damagedPayloads += 1
        if phase == .idle { startDrain() }
        return .damaged
    }

    private mutating func lineEvent() -> ATEvent? {
        if phase != .idle, isEcho {
            hasEchoed = true
            return echo == .off ? .restarted : nil
        }

        let match = ATMatch(line.span, in: Self.finals)
        let error: ATError?
        switch match.index {
        case 0, 1: error = nil
        case 2, 3: error = .refused
        case 4: error = .sendFailed
        case 5, 6: error = .busy
        case 7, 8: error = .equipment(code: Int32(truncatingIfNeeded: match.second))
        case 9: error = .equipment(code: -1)
        case 10, 11: error = .messaging(code: Int32(truncatingIfNeeded: match.second))
        case 12: error = .messaging(code: -1)
        default: return .line
        }
        return result(error, isOK: match.index == 0)
    }

    private var isEcho: Bool {
        guard line.count == command.line.count else { return false }
        for index in 0..<line.count where line[index] != command.line[index] { return false }
        return true
    }

    /// A line that is, as a whole, a final result of some command.
    private mutating func result(_ error: ATError?, isOK: Bool) -> ATEvent? {
        switch phase {
        case .command, .prompt, .payload:
            if error == .busy {
                // In the payload it answers bytes beyond it.
                if phase != .payload { pause() }
                return busyCount > 20 ? finish(.busy) : nil
            }
            let isResult: Bool
            switch error {
            // `SEND OK` ends a payload, and `OK` anything else; but before a prompt it is no result.
            case nil:
                if phase == .prompt && isOK { return nil }
                isResult = phase == (isOK ? .command : .payload)
            case .sendFailed: isResult = phase == .payload
            default: isResult = true
            }
            if isResult { return finish(error) }
        case .pause:
            if error == .busy { return nil }
            // The earlier command, for which the modem was busy, is over.
            deadline = now
        case .probe:
            if error == .busy, busyCount < 20 {
                busyCount += 1
                tries = 0
                return nil
            }
            if isOK {
                results += 1
                // A second one would be of an earlier command.
                wait(100)
                return nil
            }
        case .idle, .drain: break
        }
        if error != .busy { counters.lateResults += 1 }
        return nil
    }

    private mutating func pause() {
        busyCount += 1
        counters.busyRepeats += 1
        phase = .pause
        wait(500)
    }

    private mutating func finish(_ error: ATError?) -> ATEvent {
        phase = .idle
        deadline = Self.never
        timeoutsInARow = 0
        if command.line.span.isLine("ATE0") {
            echo = .refused
        } else if echo == .refused {
            echo = hasEchoed ? .unknown : .off
        }
        return .finished(error)
    }
}
