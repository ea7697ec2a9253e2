internal import CLinux

/// Writes all bytes of a conversation into a file, in the form that ``ModemTranscript`` reads.
final class Recorder {
    enum Side: String {
        case host = ">"
        case modem = "<"
    }

    /// A silence that is worth a line.
    private static let shortestPause: Int64 = 20_000_000

    private let file: Int32
    private var pending: (side: Side, bytes: [UInt8])?
    private var last: Int64?

    init(_ path: String) throws(ModemSimulatorError) {
        file = clinux_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else {
            throw ModemSimulatorError(description: "cannot write \(path): \(String(cString: strerror(clinux_errno())))")
        }
    }

    deinit { close(file) }

    /// Takes bytes of one side, as they come.
    func note(_ side: Side, _ bytes: [UInt8], at now: Int64) {
        let silence = now - (last ?? now)
        if pending?.side != side || silence >= Self.shortestPause { flush() }
        if silence >= Self.shortestPause { write("= \(silence / 1_000_000)\n") }
        pending = (side, (pending?.bytes ?? []) + bytes)
        last = now
        // What the host sends is read by the line.
        if side == .host, bytes.last == 0x0D || bytes.last == 0x0A { flush() }
    }

    /// Writes what is not yet in the file.
    func end() { flush() }

    private func flush() {
        guard let (side, bytes) = pending else { return }
        write("\(side.rawValue) \(ModemTranscript.quoted(bytes))\n")
        pending = nil
    }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = CLinux.write(file, bytes, bytes.count)
    }
}
