/// How far a transcript has been played.
public enum ModemPlayback: Sendable, Equatable {
    /// The line that is next.
    case playing(line: Int)
    /// The host has done all that the transcript says.
    case finished
    /// The host has done something else: where, what was due, and what came.
    case deviated(String)
}

/// The modem of a transcript: it waits for what the host is to send, byte by byte, and answers as recorded.
///
/// Once the host has deviated, it says nothing any more.
final class Player: Dialect {
    private let transcript: ModemTranscript
    private unowned let worker: Worker
    private var next = 0
    /// How much of the host's next bytes has come.
    private var offset = 0
    private var isPausing = false
    private var hasDeviated = false

    init(_ transcript: ModemTranscript, worker: Worker) {
        self.transcript = transcript
        self.worker = worker
    }

    func powerUp(hasBanner: Bool) { advance() }
    func powerDown() {}

    func receive(_ input: inout [UInt8]) {
        guard !hasDeviated else { return input = [] }
        while !input.isEmpty, !isPausing, !hasDeviated {
            guard next < transcript.steps.count else { return deviate("after the end", [], input) }
            guard case .host(let bytes) = transcript.steps[next] else { return advance() }
            let due = bytes[offset...]
            let count = zip(due, input).prefix { $0 == $1 }.count
            guard count == min(due.count, input.count) else {
                return deviate(
                    "line \(transcript.lines[next]), byte \(offset + count + 1)",
                    due.dropFirst(count),
                    Array(input.dropFirst(count))
                )
            }
            input.removeFirst(count)
            offset += count
            guard offset == bytes.count else { break }
            worker.note("> ", bytes)
            (next, offset) = (next + 1, 0)
            advance()
        }
    }

    /// Says what the modem is to say until it is the host's turn.
    private func advance() {
        isPausing = false
        while next < transcript.steps.count {
            switch transcript.steps[next] {
            case .host: return worker.report(.playing(line: transcript.lines[next]))
            case .modem(let bytes): worker.send(bytes)
            case .pause(let milliseconds):
                // The host has its own pace.
                guard !isHostsTurn(after: next) else { break }
                next += 1
                isPausing = true
                return worker.after(milliseconds: milliseconds) { [self] in advance() }
            }
            next += 1
        }
        worker.report(.finished)
    }

    private func isHostsTurn(after step: Int) -> Bool {
        for step in transcript.steps[step...] {
            switch step {
            case .host: return true
            case .modem: return false
            case .pause: continue
            }
        }
        return false
    }

    private func deviate(_ place: String, _ due: ArraySlice<UInt8>, _ bytes: [UInt8]) {
        hasDeviated = true
        let wanted = due.isEmpty ? "nothing" : ModemTranscript.quoted(due.prefix(60))
        let text = "\(place): \(wanted) was due, the host sent \(ModemTranscript.quoted(bytes.prefix(60)))"
        worker.note("! ", Array(text.utf8))
        worker.report(.deviated(text))
    }

    // It has no links and no network.
    func serve(_ link: Int) {}
    func breakLink(_ link: Int, hasNotice: Bool) {}
    func loseContext() {}
}
