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
        /// A command waits for its result, for its prompt, for the end of the pause behind that, or for the result of its payload.
        case command, prompt, prompted, payload
        /// The modem is left alone for a moment after a result.
        case rest
        /// `busy`: the command is repeated after a pause.
        case pause
        /// Results are dropped for a while, and then `AT` is tried.
        case drain
        /// `AT` was sent; how often it is answered shows whether the answers fit the commands again.
        case probe
    }

    private static let finals: StaticString = """
        OK
        ERROR
        FAIL
        COMMAND NOT SUPPORT
        TOO MANY PARAMETERS
        MODEM ERROR:*
        busy p...
        busy s...
        +CME ERROR:#
        +CME ERROR:*
        +CMS ERROR:#
        +CMS ERROR:*
        """

    private enum Echo: UInt8 { case unknown, refused, off }

    /// More than any modem gives at once.
    private static var maximumPayloadBytes: Int { 8_192 }

    /// A time that does not come.
    static var never: Duration { .seconds(1 << 30) }

    var phase = Phase.idle
    private var isLineOver = false
    private var isOverlong = false
    /// The line stands right behind data: unless it is something known, that was longer than announced.
    private(set) var isGlued = false
    private var isBehindPayload = false
    /// What stands behind a payload up to the end of its line says nothing.
    private var isTail = false
    /// What is due behind a payload in quotes: a quote and the line's end, or the latter.
    private enum Closing: UInt8 { case none, quote, lineEnd }
    private var closing = Closing.none
    private var echo = Echo.unknown
    private var hasEchoed = false
    /// The line that the last event is about.
    private(set) var line: [UInt8] = []
    /// The link whose payload is due, negative for that of the read in flight.
    private(set) var payloadLink = 0
    /// Who has sent the datagram that is the payload, if the modem says so.
    private(set) var payloadSender: SocketAddress?
    /// The length of the current payload, and how much of it is still to come.
    private(set) var payloadBytes = 0
    private(set) var payloadLeft = 0
    /// The payload is of hexadecimal digits; of its length is only known that it ends with the line.
    private var isPayloadOfDigits = false
    private var endsPayloadWithLine = false
    private var digit: UInt8?
    /// Bytes of a payload that came as digits.
    private(set) var decoded: [UInt8] = []
    var command = ATCommand()
    /// What waits for a modem that may sleep to answer `AT`.
    var wakingCommand: ATCommand?
    /// What the command in flight still needs to succeed, and how it has failed already.
    private var needsOK = false
    private var needsNotice = false
    private var failure: ATError?
    /// How many commands were started.
    private(set) var serial = 0
    var busyCount = 0
    /// Up to when data puts the end of the wait for an answer off.
    private var longestWait = Duration.zero

    // The ladder of recovery; see ATEngine+Recovery.swift.
    var rung = Rung.nothing
    var tries = 0
    var results = 0
    /// The `AT` that may still be answered, and when the first of them was sent.
    var unanswered = 0
    var probedAt = Duration.zero
    var failures = 0
    var timeoutsInARow = 0
    /// How many bytes the modem may still take for payload.
    var doubtfulBytes = 0

    let dialect: any ATDialect
    let traits: ATTraits
    private let maximumLineBytes: Int
    /// The bytes to send.
    var outgoing = ByteQueue()
    /// The time of the call under way.
    private(set) var now = Duration.zero
    /// When to call ``handleTimeout(at:)``.
    var deadline = ATEngine.never
    var counters = ATCounters()

    /// An engine that drops lines longer than `maximumLineBytes`.
    init(dialect: any ATDialect, maximumLineBytes: Int) {
        self.dialect = dialect
        traits = dialect.traits
        self.maximumLineBytes = maximumLineBytes
    }

    /// Whether a command can be started: none is in flight, and no payload is on its way.
    var isIdle: Bool { phase == .idle && !isInPayload }

    /// A payload is on its way, or what closes it.
    var isInPayload: Bool { payloadLeft > 0 || closing != .none }

    /// Starts a command; call it only while ``isIdle``. A modem that may sleep is woken first.
    mutating func start(_ command: ATCommand, at now: Duration, wakes: Bool = false) {
        precondition(isIdle, "a command is in flight")
        self.command = command
        serial &+= 1
        busyCount = 0
        self.now = now
        if wakes { wake() } else { sendLine() }
    }

    /// Sends the line of the command, for the first time or again.
    mutating func sendLine() {
        write(command.line)
        phase = command.payloadBytes > 0 ? .prompt : .command
        needsOK = command.ending != .notice
        needsNotice = command.ending != .ok
        failure = nil
        waitForAnswer()
    }

    /// A prompt comes within seconds, however long the result of its payload may take.
    private mutating func waitForAnswer() {
        wait(phase == .prompt ? min(command.timeout, 5_000) : command.timeout)
        longestWait = deadline + .milliseconds(60_000)
    }

    /// Sends a line and its terminator.
    mutating func write(_ line: [UInt8]) {
        var bytes = line
        bytes.append(traits.terminator)
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
        case .command, .prompt, .payload: if outgoing.isEmpty { waitForAnswer() }
        case .idle, .rest, .prompted, .pause, .drain, .probe: break
        }
    }

    /// What comes from now on is no answer, and nothing more of the command is waited for.
    mutating func beginData() {
        forgetInput()
        phase = .idle
        deadline = Self.never
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
        (isOverlong, isTail, isBehindPayload, closing) = (false, false, false, .none)
        echo = .unknown
    }

    // MARK: Input

    /// Takes bytes that arrived, from `position` on, up to the next event; `nil` when all are taken.
    mutating func receive(_ bytes: Span<UInt8>, from position: inout Int, at now: Duration) -> ATEvent? {
        self.now = now
        while position < bytes.count {
            if payloadLeft > 0 {
                if isPayloadOfDigits {
                    if let event = decode(bytes, from: &position) { return event }
                    continue
                }
                let start = position
                let count = min(payloadLeft, bytes.count - start)
                payloadLeft -= count
                position += count
                tookPayload()
                return .payload(start: start, count: count)
            }
            let byte = bytes[position]
            position += 1
            if let event = receive(byte) { return event }
        }
        return nil
    }

    private mutating func tookPayload() {
        switch phase {
        case .idle: isInPayload ? wait(1_000) : (deadline = Self.never)
        // What comes by itself keeps a slow line busy: the answer stands behind it. But not for ever.
        case .command, .prompt, .payload:
            if payloadLink >= 0 { deadline = max(deadline, min(now + .milliseconds(1_000), longestWait)) }
        case .prompted, .rest, .pause, .drain, .probe: break
        }
    }

    /// Takes hexadecimal digits.
    private mutating func decode(_ bytes: Span<UInt8>, from position: inout Int) -> ATEvent? {
        decoded.clear()
        while position < bytes.count, payloadLeft > 0 {
            let value: UInt8
            switch bytes[position] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = bytes[position] - 0x30
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = bytes[position] - 0x37
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = bytes[position] - 0x57
            default:
                guard digit == nil, endsPayloadWithLine else { return damage() }
                payloadLeft = 0
                continue
            }
            position += 1
            guard let high = digit else {
                digit = value
                continue
            }
            digit = nil
            decoded.append(high << 4 | value)
            payloadLeft -= 1
        }
        tookPayload()
        return decoded.isEmpty && payloadLeft > 0 ? nil : .decoded
    }

    private mutating func receive(_ byte: UInt8) -> ATEvent? {
        if closing != .none { return close(byte) }
        if isLineOver {
            line.clear()
            isLineOver = false
            let isBehind = isBehindPayload
            isBehindPayload = false
            isGlued = isBehind && byte != UInt8(ascii: "\r")
            // The first half of a line end was taken for data.
            if isBehind, byte == UInt8(ascii: "\n") {
                isLineOver = true
                return damage()
            }
            // Data in quotes ends with one.
            if isBehind, isTail, !isPayloadOfDigits, byte != UInt8(ascii: "\"") { return damage() }
        }
        if byte == UInt8(ascii: "\n") {
            isLineOver = true
            if isTail {
                isTail = false
                return nil
            }
            if isOverlong {
                isOverlong = false
                counters.overlongLines += 1
                return nil
            }
            while line.last == UInt8(ascii: "\r") { line.removeLast() }
            return line.isEmpty ? nil : lineEvent()
        }
        if byte == traits.prompt, phase == .prompt, line.isEmpty || isEchoed {
            line.clear()
            phase = traits.promptPause > 0 ? .prompted : .payload
            wait(traits.promptPause > 0 ? traits.promptPause : command.timeout)
            return phase == .payload ? .prompt : nil
        }
        // Filler between lines, noise at power-up, and the space behind a prompt start no line.
        if line.isEmpty && byte <= 0x20 || isOverlong || isTail { return nil }
        if line.count >= maximumLineBytes {
            isOverlong = true
            return nil
        }
        line.append(byte)
        switch byte {
        case UInt8(ascii: ":"), UInt8(ascii: ","), UInt8(ascii: "\""):
            return take(dialect.header(line.span, isOver: false))
        default: return nil
        }
    }

    /// Takes what closes a payload in quotes.
    private mutating func close(_ byte: UInt8) -> ATEvent? {
        switch (closing, byte) {
        case (.quote, UInt8(ascii: "\"")):
            closing = .lineEnd
            return nil
        case (.lineEnd, UInt8(ascii: "\r")): return nil
        case (.lineEnd, UInt8(ascii: "\n")):
            closing = .none
            if phase == .idle { deadline = Self.never }
            return .whole
        default:
            // It was longer than announced, or shorter, and what follows is lost with it.
            isLineOver = byte == UInt8(ascii: "\n")
            isOverlong = !isLineOver
            return damage()
        }
    }

    /// The payload that a header announces begins.
    private mutating func take(_ header: ATHeader) -> ATEvent? {
        (isPayloadOfDigits, endsPayloadWithLine, digit) = (false, false, nil)
        switch header {
        case .none: return nil
        case .payload(let link, let count, let sender):
            (payloadLink, payloadBytes) = (link, count)
            payloadSender = sender.flatMap { address(of: $0) }
        case .digits(let link, let count, let sender):
            (payloadLink, payloadBytes) = (link, count ?? Self.maximumPayloadBytes)
            payloadSender = sender.flatMap { address(of: $0) }
            (isPayloadOfDigits, endsPayloadWithLine) = (true, count == nil)
        case .malformed: (payloadLink, payloadBytes) = (ATHeader.ofNobody, -1)
        }
        guard payloadBytes >= 0, payloadBytes <= Self.maximumPayloadBytes else {
            isOverlong = !isLineOver
            return damage()
        }
        isBehindPayload = traits.framesLines
        if payloadLink == ATHeader.ofService, line.last == UInt8(ascii: "\"") { closing = .quote }
        isTail = !isLineOver && (isPayloadOfDigits || line.last == UInt8(ascii: "\""))
        isLineOver = true
        payloadLeft = payloadBytes
        if closing != .none { (isBehindPayload, isTail) = (false, false) }
        if phase == .idle, isInPayload { wait(1_000) }
        return payloadLeft > 0 ? nil : .payload(start: 0, count: 0)
    }

    private func address(of sender: ATSender) -> SocketAddress? {
        let address = line.span.extracting(sender.address)
        return IPAddress(ipv4: address).map {
            SocketAddress(address: $0, port: UInt16(truncatingIfNeeded: sender.port))
        }
    }

    /// A payload cannot be had as announced. The modem is asked whether it still makes sense, once no command is in flight.
    mutating func damage() -> ATEvent {
        payloadLeft = 0
        closing = .none
        counters.damagedPayloads += 1
        if phase == .idle { startDrain() }
        return .damaged
    }

    private mutating func lineEvent() -> ATEvent? {
        if phase != .idle, isEchoed {
            hasEchoed = true
            return echo == .off ? .restarted : nil
        }
        let header = dialect.header(line.span, isOver: true)
        guard case .none = header else { return take(header) }

        let match = ATMatch(line.span, in: Self.finals)
        let error: ATError?
        switch match.index {
        case 0: error = nil
        case 1...5: error = .refused
        case 6, 7: error = .busy
        case 8: error = .equipment(code: Int32(truncatingIfNeeded: match[0]))
        case 9: error = .equipment(code: -1)
        case 10: error = .messaging(code: Int32(truncatingIfNeeded: match[0]))
        case 11: error = .messaging(code: -1)
        default: return .line
        }
        return result(error)
    }

    /// Whether the line is the command in flight, perhaps with its terminator.
    private var isEchoed: Bool {
        var end = line.count
        while end > 0, line[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        guard end == command.line.count else { return false }
        for index in 0..<end where line[index] != command.line[index] { return false }
        return true
    }

    /// A line that is, as a whole, a final result of some command.
    private mutating func result(_ error: ATError?) -> ATEvent? {
        switch phase {
        case .command, .prompt, .prompted, .payload:
            switch error {
            case .busy:
                // In the payload it answers bytes beyond it.
                if phase != .payload { pause(500) }
                return busyCount > 20 ? finish(.busy) : nil
            // SIM busy.
            case .equipment(14) where command.isRepeatable && busyCount < 10:
                pause(1_000)
                return nil
            case nil:
                // Before a prompt it is no result.
                if phase == .prompt || phase == .prompted { return nil }
                if needsOK {
                    needsOK = false
                    return finishIfComplete()
                }
            default: return finish(failure ?? error)
            }
        case .pause:
            if error == .busy { return nil }
            // The earlier command, for which the modem was busy, is over.
            deadline = now
        case .probe:
            if error == .busy, busyCount < 20 {
                // That one will not be answered.
                unanswered = max(0, unanswered - 1)
                busyCount += 1
                tries = 0
                return nil
            }
            if error == nil {
                results += 1
                // One more than there were `AT` would be of an earlier command. A slow modem answers each of them.
                if results < unanswered {
                    deadline = now + min(now - probedAt, .milliseconds(1_500)) + .milliseconds(100)
                } else {
                    wait(100)
                }
                return nil
            }
        case .idle, .rest, .drain: break
        }
        if error != .busy { counters.lateResults += 1 }
        return nil
    }

    /// The dialect has found the result in ``line`` that it knows for the command in flight.
    mutating func notice(_ error: ATError?) -> ATEvent? {
        switch phase {
        case .command, .payload:
            guard needsNotice else { break }
            failure = error
            needsNotice = false
            return finishIfComplete()
        case .idle, .rest, .prompt, .prompted, .pause, .drain, .probe: break
        }
        counters.lateResults += 1
        return nil
    }

    private mutating func finishIfComplete() -> ATEvent? { needsOK || needsNotice ? nil : finish(failure) }

    private mutating func pause(_ milliseconds: Int) {
        busyCount += 1
        counters.busyRepeats += 1
        phase = .pause
        wait(milliseconds)
    }

    private mutating func finish(_ error: ATError?) -> ATEvent {
        phase = traits.resultPause > 0 ? .rest : .idle
        traits.resultPause > 0 ? wait(traits.resultPause) : (deadline = Self.never)
        timeoutsInARow = 0
        if command.line.span.isLine("ATE0") {
            echo = .refused
        } else if echo == .refused {
            echo = hasEchoed ? .unknown : .off
        }
        return .finished(error)
    }
}
