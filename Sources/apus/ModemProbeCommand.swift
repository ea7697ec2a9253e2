internal import ATAdapter
internal import CLinux
internal import Kernel
internal import SAL

let modemProbeCommand = Command(
    "modem probe",
    "Find out what a modem is, at which rate it talks, and which dialect it needs.",
    usage: "--tty PATH [OPTIONS]",
    notes: """
        Without --baud these rates are tried, until the modem answers AT with OK twice: \(ModemRate.usual.map(String.init).joined(separator: ", ")).
        Echo is switched off and errors get numbers (ATE0, AT+CMEE=1), as a driver does it too; nothing else is changed. The numbers of the SIM and
        of its subscriber are shown in part. The status is 0 if a modem has answered, or 1.
        """,
    options: [
        ttyOption,
        Option(nil, "baud", value: "N", "The bits per second of the line; found out unless given."),
        Option(nil, "unmasked", "Show the numbers of the SIM and its subscriber as they are."),
    ]
) { arguments in
    guard let path = arguments["tty"] else { throw UsageError("--tty says where the modem is") }
    // The rate of a raw port of a server is the server's own affair.
    let others: [Int?] = path.hasPrefix("tcp://") ? [nil] : ModemRate.usual
    let rates = try arguments.number("baud", in: 1...10_000_000).map { [$0] } ?? others
    let (talk, rate) = try await findRate(of: path, rates)
    let report = try await ModemReport(talk, isMasked: !arguments.has("unmasked"))
    await talk.end()
    report.print(path: path, rate: rate)
    return 0
}

/// The first of `rates` at which the modem answers twice, and a talk with it.
private func findRate(of path: String, _ rates: [Int?]) async throws -> (talk: ATTalk, rate: Int?) {
    let loop = EventLoop.start()
    let showsProgress = isatty(STDERR_FILENO) == 1
    defer { if showsProgress { Console.progress("") } }
    var hasHeard = false
    for rate in rates {
        if showsProgress, let rate { Console.progress("Trying \(rate) bits per second …") }
        let talk = ATTalk(try await openSerialLine(path, SerialSettings(baudRate: rate), on: loop), path: path)
        var answers = 0
        // The first may be spoilt by what came at another rate, or wake the modem.
        for _ in 0..<4 where answers < 2 {
            if case .lines = try await talk.ask("AT", within: .milliseconds(400)) { answers += 1 }
        }
        if answers == 2 { return (talk, rate) }
        if await talk.hasHeard { hasHeard = true }
        await talk.end()
    }
    let tried = rates.count > 1 ? "at any rate" : rates[0].map { "at \($0) bits per second" } ?? "there"
    throw Failure(
        hasHeard
            ? """
            bytes come from \(path), but no OK \(tried): a modem has several ports, and this may be another one, for diagnosis or positions; \
            try the others. A program that talks to it must end first ('fuser \(path)' shows them; ModemManager is one)
            """
            : """
            nothing answers at \(path) \(tried): is the modem powered and switched on (many need a key pulse)? Is it the right port (try the others)? \
            Are RX and TX crossed? A program that holds it must end first ('fuser \(path)' shows them; ModemManager is one)
            """
    )
}

/// What a probe has found out, a line each.
private struct ModemReport {
    private var identity = ProbedIdentity()
    private var rows: [(name: String, text: String)] = []
    private var advice: [String] = []

    init(_ talk: ATTalk, isMasked: Bool) async throws(Failure) {
        _ = try await talk.ask("ATE0")
        _ = try await talk.ask("AT+CMEE=1")
        try await identify(talk)
        add("Maker", identity.maker)
        add("Model", identity.model)
        add("Firmware", identity.firmware)
        if identity.dialect == "espat" {
            try await askWireless(talk)
        } else {
            try await askSIM(talk, isMasked: isMasked)
            try await askNetwork(talk)
        }
    }

    private mutating func add(_ name: String, _ text: String?) {
        if let text, !text.isEmpty { rows.append((name, text)) }
    }

    private mutating func identify(_ talk: ATTalk) async throws(Failure) {
        var all: [String] = []
        for command in ["ATI", "AT+GMR"] { if case .lines(let lines) = try await talk.ask(command) { all += lines } }
        let maker = try await talk.ask("AT+CGMI")
        identity.maker = value(of: "+CGMI", in: maker)
        identity.model = value(of: "+CGMM", in: try await talk.ask("AT+CGMM"))
        identity.firmware = value(of: "+CGMR", in: try await talk.ask("AT+CGMR"))
        all += [identity.maker, identity.model, identity.firmware].compactMap(\.self)
        identity.words = all.joined(separator: "\n").uppercased()
        guard identity.dialect == "espat" else { return }
        // ESP-AT tells all at once: `AT version:…`, and in newer ones `Bin version:2.2.0(WROOM-32)`.
        func behind(_ name: String) -> String? {
            all.first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
        }
        identity.maker = identity.maker ?? "Espressif"
        identity.model = identity.model ?? behind("Bin version:").flatMap(inParentheses)
        identity.firmware = identity.firmware ?? behind("AT version:")
    }

    private func inParentheses(_ text: String) -> String? {
        let rest = text.drop { $0 != "(" }.dropFirst().prefix { $0 != ")" }
        return rest.isEmpty ? nil : String(rest)
    }

    private mutating func askWireless(_ talk: ATTalk) async throws(Failure) {
        var network = fields(of: "+CWJAP", in: try await talk.ask("AT+CWJAP?"))
        // The firmware of the ESP8266 before 2.0.
        if network == nil { network = fields(of: "+CWJAP_CUR", in: try await talk.ask("AT+CWJAP_CUR?")) }
        guard let network else {
            add("Network", "no wireless network joined")
            return advice.append("Join a wireless network with --join SSID PASSWORD.")
        }
        add("Network", "wireless network '\(network[0])'")
        if network.count > 3 { add("Signal", "\(network[3]) dBm") }
    }

    private mutating func askSIM(_ talk: ATTalk, isMasked: Bool) async throws(Failure) {
        var equipment = value(of: "+CGSN", in: try await talk.ask("AT+CGSN"))
        // Some tell a serial number unless asked so.
        if equipment?.allSatisfy(\.isWholeNumber) != true || equipment?.count != 15 {
            equipment = value(of: "+CGSN", in: try await talk.ask("AT+CGSN=1")) ?? equipment
        }
        add("IMEI", equipment)
        var state = try await talk.ask("AT+CPIN?")
        // The SIM is busy for a while after a start.
        for _ in 0..<10 {
            guard case .refused("+CME ERROR: 14") = state else { break }
            try? await Task.sleep(for: .milliseconds(500))
            state = try await talk.ask("AT+CPIN?")
        }
        let (text, next) = simState(state)
        add("SIM", text)
        if let next { advice.append(next) }
        for name in ["+CCID", "+ICCID", "+QCCID", "+NCCID"] {
            guard let number = value(of: name, in: try await talk.ask("AT\(name)")) else { continue }
            add("ICCID", isMasked ? masked(number) : number)
            break
        }
        if let number = value(of: "+CIMI", in: try await talk.ask("AT+CIMI")) {
            add("IMSI", isMasked ? masked(number) : number)
        }
    }

    private func simState(_ answer: ATAnswer) -> (text: String, advice: String?) {
        switch answer {
        case .lines:
            switch value(of: "+CPIN", in: answer) {
            case "READY"?: ("ready", nil)
            case "SIM PIN"?: ("wants its PIN", "Give the SIM's PIN with --pin DIGITS.")
            case "SIM PUK"?: ("locked, wants its PUK", "The SIM is locked: its operator gives the PUK.")
            case let other?: (other, nil)
            case nil: ("not told", nil)
            }
        case .refused("+CME ERROR: 10"): ("none", "Insert a SIM, and restart the modem.")
        case .refused("+CME ERROR: 11"): ("wants its PIN", "Give the SIM's PIN with --pin DIGITS.")
        case .refused("+CME ERROR: 12"): ("locked, wants its PUK", "The SIM is locked: its operator gives the PUK.")
        case .refused("+CME ERROR: 13"), .refused("+CME ERROR: 15"):
            ("does not work (\(result(answer)))", "The SIM fails: see that it sits well, or try another one.")
        case .refused, .none: ("not told (\(result(answer)))", nil)
        }
    }

    private func result(_ answer: ATAnswer) -> String {
        if case .refused(let text) = answer { text } else { "no answer" }
    }

    private mutating func askNetwork(_ talk: ATTalk) async throws(Failure) {
        if let radio = value(of: "+CFUN", in: try await talk.ask("AT+CFUN?")), radio != "1" {
            add("Radio", "off (AT+CFUN? says \(radio))")
            advice.append("The radio is off; a driver switches it on (AT+CFUN=1).")
        }
        var answers: [[UInt8]] = []
        for name in ["CEREG", "CGREG", "CREG"] {
            if let answer = try await talk.ask("AT+\(name)?").bytes { answers.append(answer) }
        }
        let registration = ModemRegistration(answers: answers)
        add("Registered", registration?.text ?? "not told")
        switch registration {
        case .some(.none), .searching, .unknown:
            advice.append("Not registered yet: see the antenna and the signal, or wait.")
        case .denied:
            advice.append("The network refuses the SIM: is its contract active, and does it allow this network?")
        default: break
        }
        let network = try await talk.ask("AT+COPS?", within: .seconds(10)).bytes
        add("Operator", network.flatMap { ModemOperator(answer: $0) }?.text)
        let clock = try await talk.ask("AT+CCLK?").bytes
        add("Time", clock.flatMap { ModemTime(answer: $0) }.map { utcText($0.secondsSince1970) })
        add("Signal", signalStrength(try await talk.ask("AT+CSQ")).map { "\($0) dBm" } ?? "not known")
    }

    func print(path: String, rate: Int?) {
        var rows = [("Port", path + (rate.map { ", \($0) bits per second" } ?? ""))] + rows.map { ($0.name, $0.text) }
        rows.append(("Dialect", identity.dialect.map { "--dialect \($0)" } ?? "not known by its name"))
        for (name, text) in rows { Console.print(name + String(repeating: " ", count: 12 - name.count) + text) }
        for line in advice { Console.print(line) }
        if let dialect = identity.dialect {
            Console.print(
                "Next: apus modem watch --tty \(path)\(rate.map { " --baud \($0)" } ?? "") --dialect \(dialect)"
            )
        } else {
            Console.print(
                "Next: try the dialect of the maker's other modems, or write a driver ('Writing a driver' in ATAdapter's documentation)."
            )
        }
    }
}
