import SAL

@testable import ATAdapter

/// An engine and a driver that hear a transcript, with what they understood as text.
final class DriverBench {
    private let dialect: any ATDialect
    private var engine: ATEngine
    private var now = Duration.zero
    private var request = ATRequest(kind: .none)
    private(set) var log: [String] = []

    init(_ driver: ModemDriver) {
        dialect = driver.makeDialect()
        engine = ATEngine(dialect: dialect, maximumLineBytes: 512)
    }

    /// The end of the last command, or of the first that did not end.
    var isIdle: Bool { engine.phase == .idle }
    var counters: ATCounters { engine.counters }

    func play(_ transcript: Transcript, cut: Cut) {
        var cutter = Cutter(cut)
        for (index, step) in transcript.steps.enumerated() {
            switch step {
            case .host(let bytes):
                // What the modem says later than the result may still change nothing.
                pass(milliseconds: 100)
                if engine.phase == .payload {
                    engine.send(payload: bytes.span, at: now)
                } else {
                    start(bytes, transcript.steps[index...])
                }
                engine.wrote(engine.outgoing.count, at: now)
            case .modem(let bytes): for piece in cutter.pieces(of: bytes) { receive(piece) }
            case .pause(let milliseconds): pass(milliseconds: milliseconds)
            }
        }
        pass(milliseconds: 100)
    }

    /// A command of the transcript; what it is for, and how it ends, is told by its name.
    private func start(_ bytes: [UInt8], _ rest: ArraySlice<Transcript.Step>) {
        let line = String(decoding: bytes.dropLast(), as: UTF8.self)
        let parts = line.split(separator: "=", maxSplits: 1)
        let parameters = parts.count == 2 ? parts[1].split(separator: ",", omittingEmptySubsequences: false) : []
        let name = parts[0].dropFirst(3)
        // Quectel's openings begin with the context.
        let link =
            parameters.lazy.dropFirst(name == "QIOPEN" || name == "CIPRXGET" ? 1 : 0).compactMap { Int($0) }.first ?? -1
        let kinds: [Substring: ATRequest.Kind] = [
            "QIOPEN": .open, "CIPOPEN": .open, "CIPSTART": .open, "USOCR": .open, "USOCO": .open, "NSOCR": .open,
            "NSOCO": .open,
            "MIPOPEN": .open, "QISEND": .send, "CIPSEND": .send, "USOWR": .send, "USOST": .send, "NSOSD": .send,
            "MIPSEND": .send,
            "QIRD": .read, "USORD": .read, "USORF": .read, "NSORF": .read, "MIPREAD": .read, "QICLOSE": .close,
            "CIPCLOSE": .close,
            "USOCL": .close, "NSOCL": .close, "MIPCLOSE": .close, "QIDNSGIP": .resolve, "CMDNS": .resolve,
        ]
        request = ATRequest(
            kind: name == "CIPRXGET" && parameters.count > 1 ? .read : kinds[name] ?? .attach,
            link: link
        )
        var command = ATCommand(line: Array(line.utf8), timeout: 60_000)
        let payload = rest.dropFirst().lazy.compactMap { step in if case .host(let bytes) = step { bytes } else { nil }
        }.first
        if request.kind == .send, let payload, !payload.starts(with: "AT".utf8) { command.payloadBytes = payload.count }
        // As the driver itself has it.
        _ = dialect.template(for: request, ModemConfiguration())
        command.ending = ending(name, hasPayload: command.payloadBytes > 0)
        guard engine.isIdle else { return log.append("still in flight before \(line)") }
        engine.start(command, at: now)
    }

    private func ending(_ name: Substring, hasPayload: Bool) -> ATCommand.Ending {
        switch name {
        case "QISEND", "CIPSHUT", "CIFSR": .notice
        case "CIPSEND": dialect is SIM7600 ? .both : .notice
        case "CIPCLOSE": dialect is SIM7600 ? .ok : .notice
        case "NETOPEN", "MIPCALL", "MIPSEND", "CMDNS", "QIDNSGIP": .both
        case "NSOCO": dialect is M5310A ? .both : .ok
        default: .ok
        }
    }

    private func pass(milliseconds: Int) {
        let end = now + .milliseconds(milliseconds)
        while engine.deadline <= end {
            now = max(now, engine.deadline)
            while let event = engine.handleTimeout(at: now) { note(event, []) }
        }
        now = end
    }

    private func receive(_ bytes: [UInt8]) {
        var position = 0
        while let event = engine.receive(bytes.span, from: &position, at: now) { note(event, bytes) }
        // A prompt is waited behind for a moment.
        if engine.phase == .prompted { pass(milliseconds: 60) }
    }

    private func note(_ event: ATEvent, _ bytes: [UInt8]) {
        switch event {
        case .line: note(dialect.notice(engine.line.span, during: request))
        case .payload(let start, let count): notePayload(bytes[start..<start + count])
        case .decoded: notePayload(engine.decoded[...])
        case .finished(let error): log.append(error.map { "failed \($0)" } ?? "finished")
        default: log.append("\(event)")
        }
    }

    /// Pieces of one payload are joined, so that the log does not depend on how the input was cut.
    private func notePayload(_ bytes: ArraySlice<UInt8>) {
        let text = bytes.map { String($0, radix: 16) }.joined(separator: " ")
        let head = "payload \(engine.payloadLink):"
        if isInPayload, let last = log.last {
            log[log.count - 1] = text.isEmpty ? last : last + " " + text
        } else {
            log.append(text.isEmpty ? head : head + " " + text)
        }
        isInPayload = engine.payloadLeft > 0
    }
    private var isInPayload = false

    private func note(_ notice: ATNotice) {
        let event: ATEvent?
        switch notice {
        case .ignored: return
        case .unknown:
            log.append("unknown \(String(decoding: engine.line, as: UTF8.self))")
            return
        case .done: event = engine.notice(nil)
        case .failed: event = engine.notice(.refused)
        case .accepted(let count):
            log.append("accepted \(count)")
            event = engine.command.ending == .ok ? nil : engine.notice(nil)
        case .address(let range):
            log.append("address \(String(decoding: engine.line[range], as: UTF8.self))")
            event = engine.command.ending == .ok ? nil : engine.notice(nil)
        default:
            log.append("\(notice)".replacing(", bytes: 0", with: "").replacing("ATAdapter.ATReason.", with: ""))
            return
        }
        if let event { note(event, []) }
    }
}
