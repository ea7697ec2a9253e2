#if !hasFeature(Embedded)
/// A line between a ``Modem`` and its modem: what ``Modem/trace`` is told.
public enum ModemTraceLine: Sendable, Equatable {
    /// A command line, without its terminator; passwords, PINs and device secrets are `***`.
    case host([UInt8])
    /// A line of the modem that is no result.
    case modem([UInt8])
    /// How the command has ended.
    case result(ATError?)
}

extension ModemTraceLine: CustomStringConvertible {
    /// `> ` or `< `, and the line.
    public var description: String {
        switch self {
        case .host(let line): "> " + String(decoding: line, as: UTF8.self)
        case .modem(let line): "< " + String(decoding: line, as: UTF8.self)
        case .result(nil): "< OK"
        case .result(let error?): "< \(error)"
        }
    }
}

extension Modem {
    func trace(_ command: ATCommand) { trace?(.host(Self.masked(command.line))) }

    /// The commands that have a secret, each with the number of the first string that is not shown.
    private static let secrets: [(name: StaticString, string: Int)] = [
        ("AT+CWJAP=", 2), ("AT+CWJAP_CUR=", 2), ("AT+CWJAP_DEF=", 2), ("AT+CPIN=", 1), ("AT+CGAUTH=", 1),
        ("AT+QICSGP=", 3), ("AT+CSTT=", 3), ("AT+UPSD=0,3,", 1), ("AT+TCDEVINFOSET=", 3), ("AT+TCPRDINFOSET=", 2),
        ("AT+TCGWBIND=", 3), ("AT+TCSUBDEVINFOSET=", 3),
    ]

    /// A line with its secrets replaced.
    static func masked(_ line: [UInt8]) -> [UInt8] {
        for secret in secrets where line.span.has(secret.name, at: 0) {
            let start = secret.name.utf8CodeUnitCount
            var shown = Array(line[..<start])
            var position = start
            var strings = 0
            var isInString = false
            while position < line.count {
                let byte = line[position]
                position += 1
                if byte == UInt8(ascii: "\"") {
                    isInString.toggle()
                    if isInString { strings += 1 }
                    shown.append(byte)
                    if isInString, strings >= secret.string { shown += Array("***".utf8) }
                    continue
                }
                if !isInString || strings < secret.string { shown.append(byte) }
                // What is escaped ends no string.
                guard isInString, byte == UInt8(ascii: "\\"), position < line.count else { continue }
                if strings < secret.string { shown.append(line[position]) }
                position += 1
            }
            // Without a string, as in `AT+CPIN=1234`.
            return strings == 0 ? Array(line[..<start]) + Array("***".utf8) : shown
        }
        return line
    }
}
#endif
