import SAL

@testable import ATAdapter

/// An engine in virtual time, with what it said as text.
final class EngineBench {
    var engine: ATEngine
    var now = Duration.zero
    var log: [String] = []
    /// All that was sent.
    var sent = ""

    var isIdle: Bool { engine.isIdle }
    var counters: ATCounters { engine.counters }

    init(_ dialect: any ATDialect = ESPAT(), maximumLineBytes: Int = 512) {
        engine = ATEngine(dialect: dialect, maximumLineBytes: maximumLineBytes)
    }

    func start(_ line: String, timeout: Int = 5_000, payloadBytes: Int = 0) {
        var command = ATCommand(line: Array(line.utf8), timeout: timeout, payloadBytes: payloadBytes)
        if payloadBytes > 0 { command.ending = .notice }
        engine.start(command, at: now)
        flush()
    }

    func flush() {
        let bytes = engine.outgoing.withSpan { span in span.indices.map { span[$0] } }
        sent += String(decoding: bytes, as: UTF8.self)
        if !bytes.isEmpty { engine.wrote(bytes.count, at: now) }
    }

    func receive(_ text: String) { receive(Array(text.utf8)) }

    func receive(_ bytes: [UInt8]) {
        var position = 0
        while let event = engine.receive(bytes.span, from: &position, at: now) { note(event, bytes) }
        flush()
    }

    /// Lets time pass, deadline by deadline.
    func pass(milliseconds: Int) {
        let end = now + .milliseconds(milliseconds)
        while engine.deadline <= end {
            now = max(now, engine.deadline)
            while let event = engine.handleTimeout(at: now) { note(event, []) }
            flush()
        }
        now = end
    }

    private func note(_ event: ATEvent, _ bytes: [UInt8]) {
        switch event {
        case .line: noteLine()
        case .decoded:
            log.append(
                "payload \(engine.payloadLink): " + engine.decoded.map { String($0, radix: 16) }.joined(separator: " ")
            )
        case .payload(let start, let count):
            let text = bytes[start..<start + count].map { String($0, radix: 16) }.joined(separator: " ")
            let head = "payload \(engine.payloadLink):"
            // Pieces of one payload are joined, so that the log does not depend on how the input was cut.
            if let last = log.last, last.hasPrefix(head), engine.payloadLeft + count < engine.payloadBytes {
                log[log.count - 1] = last + " " + text
            } else {
                log.append(text.isEmpty ? head : head + " " + text)
            }
        case .whole: log.append("whole")
        case .prompt: log.append("prompt")
        case .finished(nil): log.append("finished")
        case .finished(let error?): log.append("failed \(error)")
        case .damaged: log.append("damaged")
        case .recovered: log.append("recovered")
        case .restarted: log.append("restarted")
        case .resetting: log.append("resetting")
        case .needsHardwareReset: log.append("needs reset")
        case .failed: log.append("given up")
        }
    }

    /// A line is logged, unless it is a result that the dialect knows.
    private func noteLine() {
        let error: ATError?
        switch engine.dialect.notice(engine.line.span, during: ATRequest(kind: .send)) {
        case .done: error = nil
        case .failed: error = .sendFailed
        default:
            log.append("line " + String(decoding: engine.line, as: UTF8.self))
            return
        }
        if let event = engine.notice(error) { note(event, []) }
    }

    /// Plays a transcript: the host's lines are sent as commands, and as payload after a prompt.
    func play(_ transcript: Transcript, cut: Cut) {
        var cutter = Cutter(cut)
        for step in transcript.steps {
            switch step {
            case .host(let bytes):
                if engine.phase == .payload {
                    engine.send(payload: bytes.span, at: now)
                    flush()
                    continue
                }
                let line = String(decoding: bytes.dropLast(2), as: UTF8.self)
                let count = line.hasPrefix("AT+CIPSEND=") ? Int(line.split(separator: ",")[1]) ?? 0 : 0
                start(line, timeout: 60_000, payloadBytes: count)
            case .modem(let bytes): for piece in cutter.pieces(of: bytes) { receive(piece) }
            case .pause(let milliseconds): pass(milliseconds: milliseconds)
            }
        }
    }
}

/// The hexadecimal bytes of `text`, as ``EngineBench/log`` has them.
func hex(_ text: String) -> String { text.utf8.map { String($0, radix: 16) }.joined(separator: " ") }
