internal import ATAdapter
internal import CLinux

/// What a modem says about itself at a port where nobody knows yet what it is.
struct ProbedIdentity: Sendable {
    var maker: String?
    var model: String?
    var firmware: String?
    /// All that it has said, in capital letters.
    var words = ""

    /// The dialect to use; `nil` for a modem that is not known.
    var dialect: String? { Self.families.first { $0.marks.contains(where: words.contains) }.flatMap(\.dialect) }

    /// By what families are known, in this order. A maker is not enough: the older and the smaller of its modems may speak differently.
    private static let families: [(dialect: String?, marks: [String])] = [
        ("espat", ["AT VERSION:", "ESPRESSIF"]),
        ("m5310a", ["M5310"]),
        ("bc26", ["BC26", "BC66"]),
        ("bc28", ["BC28", "BC35", "BC95"]),
        ("air724", ["AIRM2M", "AIR724", "AIR720", "AIR780", "LUAT"]),
        ("l610", ["FIBOCOM", "L610", "L716"]),
        ("sim7600", ["SIM71", "SIM75", "SIM76", "A7600", "A7602", "A7608", "A767"]),
        ("sim800", ["SIM80", "SIM86", "SIM900", "SIM908"]),
        // These have the sockets of the Neul command set.
        (nil, ["SARA-N2"]),
        ("ublox", ["SARA-", "LARA-", "TOBY-", "LISA-"]),
        ("quectel", ["EC2", "EG2", "EG9", "EC600", "EC800", "EG800", "BG7", "BG9", "UC20"]),
    ]
}

/// The value behind `+NAME:` in an answer, or its first line that is no notice.
func value(of name: String, in answer: ATAnswer) -> String? {
    guard case .lines(let lines) = answer else { return nil }
    let prefix = "\(name):"
    if let line = lines.first(where: { $0.hasPrefix(prefix) }) { return trimmed(line.dropFirst(prefix.count)) }
    return lines.first { !$0.hasPrefix("+") && !$0.hasPrefix("^") }.map { trimmed($0[...]) }
}

/// The fields behind `+NAME:` in an answer, without quotes.
func fields(of name: String, in answer: ATAnswer) -> [String]? {
    guard case .lines(let lines) = answer, let line = lines.first(where: { $0.hasPrefix("\(name):") }) else {
        return nil
    }
    return line.dropFirst(name.count + 1).split(separator: ",", omittingEmptySubsequences: false).map(trimmed)
}

private func trimmed(_ text: Substring) -> String {
    var text = text
    while let first = text.first, first == " " || first == "\"" { text.removeFirst() }
    while let last = text.last, last == " " || last == "\"" { text.removeLast() }
    return String(text)
}

/// The middle of a number that says who somebody is, hidden.
func masked(_ digits: String) -> String {
    guard digits.count > 8 else { return String(repeating: "*", count: digits.count) }
    return digits.prefix(5) + String(repeating: "*", count: digits.count - 7) + digits.suffix(2)
}

extension ModemRegistration {
    /// The same in words.
    var text: String {
        switch self {
        case .none: "not registered, and not searching"
        case .home: "home network"
        case .searching: "searching"
        case .denied: "denied by the network"
        case .unknown: "unknown"
        case .roaming: "roaming"
        case .messagesOnly, .roamingMessagesOnly: "for SMS only"
        case .emergencyOnly: "for emergency calls only"
        }
    }
}

extension ModemOperator {
    /// The name, with the technology if it is told.
    var text: String { String(decoding: name, as: UTF8.self) + (technology.map { ", \($0.text)" } ?? "") }
}

extension ModemOperator.RadioTechnology {
    fileprivate var text: String {
        switch self {
        case .gsm, .gsmCompact: "GSM"
        case .umts: "UMTS"
        case .edge: "EDGE"
        case .hsdpa: "HSDPA"
        case .hsupa: "HSUPA"
        case .hspa: "HSPA"
        case .lte: "LTE"
        case .ecGSM: "EC-GSM-IoT"
        case .nbIoT: "NB-IoT"
        }
    }
}

extension ATAnswer {
    /// The lines as ATAdapter reads them; `nil` of a refusal.
    var bytes: [UInt8]? {
        if case .lines(let lines) = self { Array(lines.map { "\($0)\n" }.joined().utf8) } else { nil }
    }
}

/// The signal in dBm in an answer to `+CSQ` (3GPP 27.007, 8.5; from 100 on as modems with LTE say it).
func signalStrength(_ answer: ATAnswer) -> Int? {
    guard let text = fields(of: "+CSQ", in: answer)?.first, let value = Int(text) else { return nil }
    switch value {
    case 0...31: return 2 * value - 113
    case 100...191: return value - 216
    default: return nil
    }
}

/// A time as `2026-11-22 10:30:00 UTC`.
func utcText(_ secondsSince1970: Int64) -> String {
    var seconds = Int(secondsSince1970)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
    return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
