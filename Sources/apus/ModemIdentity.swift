/// What a modem says about itself.
struct ModemIdentity: Sendable {
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

/// How a modem is registered (3GPP 27.007, 7.2, 10.1.20 and 10.1.22): what its answers say.
struct ModemRegistration: Equatable, Sendable {
    let status: Int

    /// From the answers to `+CEREG?`, `+CGREG?` and `+CREG?`: a registration, or what comes closest to one; `nil` without any.
    init?(_ answers: [(name: String, answer: ATAnswer)]) {
        let found = answers.compactMap { name, answer in
            fields(of: name, in: answer).flatMap { $0.count > 1 ? Int($0[1]) : nil }
        }
        // Home, roaming, searching, denied, then the rest.
        guard let best = [1, 5, 2, 3].first(where: found.contains) ?? found.first else { return nil }
        status = best
    }

    var isRegistered: Bool { status == 1 || status == 5 }

    var text: String {
        switch status {
        case 0: "not registered, and not searching"
        case 1: "home network"
        case 2: "searching"
        case 3: "denied by the network"
        case 5: "roaming"
        case 6, 7: "for SMS only"
        case 8: "for emergency calls only"
        default: "unknown"
        }
    }
}

/// The operator in an answer to `+COPS?`, with the access technology if it is told (3GPP 27.007, 7.3).
func operatorName(_ answer: ATAnswer) -> String? {
    guard let fields = fields(of: "+COPS", in: answer), fields.count > 2, !fields[2].isEmpty else { return nil }
    let technologies = [
        0: "GSM", 1: "GSM", 2: "UMTS", 3: "EDGE", 4: "HSDPA", 5: "HSUPA", 6: "HSPA", 7: "LTE", 8: "EC-GSM-IoT",
        9: "NB-IoT",
    ]
    let technology = fields.count > 3 ? Int(fields[3]).flatMap { technologies[$0] } : nil
    return fields[2] + (technology.map { ", \($0)" } ?? "")
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
