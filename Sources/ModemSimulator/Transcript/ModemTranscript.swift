internal import CLinux

/// A conversation between a host and a modem, byte by byte.
///
/// As text, a line that starts with `>` has what the host sends, one with `<` what the modem sends, both as quoted bytes with the escapes
/// `\r`, `\n`, `\t`, `\"`, `\\` and `\xHH`. `= N` is a pause of N milliseconds, `#` starts a comment.
public struct ModemTranscript: Sendable, Equatable {
    /// What happens next.
    public enum Step: Sendable, Equatable {
        /// The host sends these bytes.
        case host([UInt8])
        /// The modem sends these bytes.
        case modem([UInt8])
        /// Nobody sends anything.
        case pause(milliseconds: Int)
    }

    /// What happens, in order.
    public private(set) var steps: [Step] = []
    /// The line of the text that each step stands on, from 1.
    public private(set) var lines: [Int] = []

    /// Reads a transcript. The error names the line that is wrong.
    public init(_ text: String) throws(ModemSimulatorError) {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let content = line.drop { $0 == " " || $0 == "\t" }
            guard let mark = content.first, mark != "#", mark != "\r\n" else { continue }
            let value = content.dropFirst()
            let step: Step? =
                switch mark {
                case ">": Self.unquoted(value).map { .host($0) }
                case "<": Self.unquoted(value).map { .modem($0) }
                case "=": Self.number(value).map { .pause(milliseconds: $0) }
                default: nil
                }
            guard let step else {
                throw ModemSimulatorError(
                    description:
                        "line \(index + 1) of the transcript is not '> \"bytes\"', '< \"bytes\"', '= milliseconds' or '# comment'"
                )
            }
            steps.append(step)
            lines.append(index + 1)
        }
    }

    /// Reads a transcript from a file.
    public init(path: String) throws(ModemSimulatorError) {
        try self.init(String(decoding: try readWholeFile(path), as: UTF8.self))
    }

    private static func number(_ text: Substring) -> Int? {
        let digits = text.filter { $0 != " " && $0 != "\r" }
        return Int(digits).flatMap { 0...3_600_000 ~= $0 ? $0 : nil }
    }

    /// The bytes of a quoted text, or `nil` if it is not one.
    static func unquoted(_ text: Substring) -> [UInt8]? {
        var rest = Array(text.utf8)[...]
        while rest.first == 0x20 { rest = rest.dropFirst() }
        while let last = rest.last, last == 0x20 || last == 0x0D { rest = rest.dropLast() }
        guard rest.count >= 2, rest.popFirst() == 0x22, rest.popLast() == 0x22 else { return nil }
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == 0x22 { return nil }
            guard byte == 0x5C else {
                bytes.append(byte)
                continue
            }
            switch rest.popFirst().map({ Character(Unicode.Scalar($0)) }) {
            case "r": bytes.append(0x0D)
            case "n": bytes.append(0x0A)
            case "t": bytes.append(0x09)
            case "\"": bytes.append(0x22)
            case "\\": bytes.append(0x5C)
            case "x":
                guard let value = Hex.bytes(String(decoding: rest.prefix(2), as: UTF8.self))?.first else { return nil }
                bytes.append(value)
                rest = rest.dropFirst(2)
            default: return nil
            }
        }
        return bytes
    }

    /// `bytes` in quotes, as ``init(_:)`` reads them.
    static func quoted(_ bytes: some Sequence<UInt8>) -> String {
        var text = "\""
        for byte in bytes {
            switch byte {
            case 0x0D: text += "\\r"
            case 0x0A: text += "\\n"
            case 0x09: text += "\\t"
            case 0x22: text += "\\\""
            case 0x5C: text += "\\\\"
            case 0x20..<0x7F: text.unicodeScalars.append(Unicode.Scalar(byte))
            default: text += "\\x" + Hex.text([byte]).lowercased()
            }
        }
        return text + "\""
    }
}

/// All bytes of a file.
func readWholeFile(_ path: String) throws(ModemSimulatorError) -> [UInt8] {
    let file = clinux_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard file >= 0 else {
        throw ModemSimulatorError(description: "cannot read \(path): \(String(cString: strerror(clinux_errno())))")
    }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(file, &chunk, chunk.count)
        guard count > 0 else { break }
        bytes += chunk[..<count]
    }
    return bytes
}
