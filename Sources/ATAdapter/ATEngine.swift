/// What an engine must know of a dialect to find its way through the bytes.
protocol ATDialect {
    /// If `line`, the start of a line that is not over yet, is a header with a payload behind it: the payload's length. A
    /// length that cannot be is negative.
    static func payloadLength(after line: [UInt8]) -> Int?
    /// The longest payload that a header may announce, in bytes.
    static var maximumPayloadBytes: Int { get }
}

/// The AT command protocol (V.250; 3GPP 27.007, 5) as a struct that is given bytes and time.
///
/// One command is in flight. A line ends it only if it is, as a whole, a final result that the command can have; payload
/// of a known length is never looked at; a prompt counts only at the start of a line, and only while it is waited for.
struct ATEngine<Dialect: ATDialect> {
    /// What a piece of input meant.
    enum Event: Equatable {
        /// A line that is no final result: see ``ATEngine/line``.
        case line
        /// The command has ended.
        case finished(ATError?)
        /// The payload may be sent: call ``ATEngine/payloadSent(at:)`` when it is.
        case prompt
        /// Behind the header ``ATEngine/line`` come so many bytes of payload, of which these are the next, in the input at `offset`.
        case payload(offset: Int, count: Int, isLast: Bool)
        /// The modem has restarted.
        case restarted
        /// The command was not taken and must be sent again after a pause.
        case repeatCommand
    }

    private enum State: Equatable {
        case idle
        /// A command without payload is in flight.
        case command(giveUpAt: Duration)
        /// A command whose payload follows a prompt.
        case prompting(giveUpAt: Duration)
        /// The payload was sent.
        case sending(giveUpAt: Duration)
        /// `busy`: the command is repeated after a pause.
        case pausing(until: Duration)
        /// After a timeout late results are dropped, and then it is found out whether the modem still answers.
        case draining(until: Duration)
    }

    /// Longer lines are dropped up to their end.
    static var maximumLineBytes: Int { 512 }
    static var drainTime: Duration { .milliseconds(1_000) }
    static var busyPause: Duration { .milliseconds(500) }
    static var maximumRepeats: Int { 20 }
    static var sendTimeout: Duration { .seconds(15) }

    private var state = State.idle
    /// The line that the last event is about.
    private(set) var line: [UInt8] = []
    private var isNewLine = true
    private var isOverlong = false
    private var payloadLeft = 0
    private var repeats = 0
    /// Lines over the limit, headers that cannot be, final results that nobody waited for.
    private(set) var errorCount = 0

    /// Whether a command can be started.
    var isIdle: Bool { state == .idle }

    /// When to call ``handleTimeout(at:)``.
    var deadline: Duration? {
        switch state {
        case .idle: nil
        case .command(let time), .prompting(let time), .sending(let time), .pausing(let time), .draining(let time): time
        }
    }

    /// A command line was written; with `hasPayload` a prompt and a payload follow.
    mutating func commandSent(hasPayload: Bool, timeout: Duration, at now: Duration) {
        state = hasPayload ? .prompting(giveUpAt: now + timeout) : .command(giveUpAt: now + timeout)
    }

    /// The payload was written.
    mutating func payloadSent(at now: Duration) { state = .sending(giveUpAt: now + Self.sendTimeout) }

    /// The serial line is new: whatever was in flight is forgotten.
    mutating func reset() {
        state = .idle
        line = []
        isNewLine = true
        isOverlong = false
        payloadLeft = 0
        repeats = 0
    }

    /// Takes bytes that arrived, at most to the next event. Returns how many it took, and what they meant.
    mutating func receive(_ bytes: Span<UInt8>, at now: Duration) -> (taken: Int, event: Event?) {
        if payloadLeft > 0 { return payload(bytes) }
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if isNewLine {
                line.removeAll(keepingCapacity: true)
                isNewLine = false
            }
            switch byte {
            case 0x0A:
                isNewLine = true
                if isOverlong {
                    isOverlong = false
                    errorCount += 1
                    continue
                }
                while line.last == 0x0D { line.removeLast() }
                if line.isEmpty { continue }
                if let event = classify(at: now) { return (index, event) }
            case 0x3E where line.isEmpty:  // ">"
                if case .prompting = state {
                    isNewLine = true
                    return (index, .prompt)
                }
                line.append(byte)
            default:
                if isOverlong { continue }
                // Noise at power-up, and the space after a prompt, are no start of a line.
                if line.isEmpty, byte <= 0x20 { continue }
                line.append(byte)
                if line.count > Self.maximumLineBytes {
                    isOverlong = true
                } else if byte == 0x3A || byte == 0x2C, line[0] == 0x2B,  // ":" or ",", in a line that starts with "+"
                    let length = Dialect.payloadLength(after: line)
                {
                    guard length >= 0, length <= Dialect.maximumPayloadBytes else {
                        isOverlong = true
                        continue
                    }
                    payloadLeft = length
                    isNewLine = true
                    if length == 0 { return (index, .payload(offset: index, count: 0, isLast: true)) }
                    guard index < bytes.count else { return (index, nil) }
                    let (taken, event) = payload(bytes.extracting(droppingFirst: index))
                    guard case .payload(_, let count, let isLast) = event else { return (index, nil) }
                    return (index + taken, .payload(offset: index, count: count, isLast: isLast))
                }
            }
        }
        return (index, nil)
    }

    private mutating func payload(_ bytes: Span<UInt8>) -> (taken: Int, event: Event?) {
        let count = min(payloadLeft, bytes.count)
        guard count > 0 else { return (0, nil) }
        payloadLeft -= count
        return (count, .payload(offset: 0, count: count, isLast: payloadLeft == 0))
    }

    private mutating func classify(at now: Duration) -> Event? {
        if line.isLine("ready") { return .restarted }
        guard let result = finalResult() else { return .line }
        switch state {
        case .command:
            // The results of a send end a send only.
            if line.starts(with: "SEND ") { return .line }
        case .prompting:
            // `OK` says that the prompt follows.
            if result == nil { return nil }
        case .sending:
            if result == nil && !line.isLine("SEND OK") { return nil }
        case .idle, .pausing, .draining:
            errorCount += 1
            return nil
        }
        if result == .busy {
            repeats += 1
            guard repeats <= Self.maximumRepeats else { return finish(.busy) }
            // While a payload is due `busy` answers what came too much of it; the result follows.
            if case .sending = state { return nil }
            state = .pausing(until: now + Self.busyPause)
            return nil
        }
        return finish(result)
    }

    private mutating func finish(_ result: ATError?) -> Event {
        state = .idle
        repeats = 0
        return .finished(result)
    }

    /// What the line says if it is, as a whole, a final result; `nil` if it is none. The inner `nil` is success.
    private func finalResult() -> ATError?? {
        if line.isLine("OK") || line.isLine("SEND OK") { return .some(nil) }
        if line.isLine("ERROR") || line.isLine("FAIL") { return .refused }
        if line.isLine("SEND FAIL") || line.isLine("SEND Canceled") { return .sendFailed }
        if line.isLine("busy p...") || line.isLine("busy s...") { return .busy }
        var index = 11
        if line.starts(with: "+CME ERROR:") {
            _ = line.skip(0x20, at: &index)
            return .equipment(code: Int32(truncatingIfNeeded: line.number(at: &index) ?? 0))
        }
        if line.starts(with: "+CMS ERROR:") {
            _ = line.skip(0x20, at: &index)
            return .messaging(code: Int32(truncatingIfNeeded: line.number(at: &index) ?? 0))
        }
        return nil
    }

    /// Acts on a ``deadline`` that has passed.
    mutating func handleTimeout(at now: Duration) -> Event? {
        guard let deadline, now >= deadline else { return nil }
        switch state {
        case .idle: return nil
        case .command, .prompting, .sending:
            state = .draining(until: now + Self.drainTime)
            repeats = 0
            // A payload that is still due may never come; what follows is text again.
            payloadLeft = 0
            isNewLine = true
            return .finished(.timedOut)
        case .pausing:
            state = .idle
            return .repeatCommand
        case .draining:
            state = .idle
            return nil
        }
    }
}
