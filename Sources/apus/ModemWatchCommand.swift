internal import ATAdapter
internal import CLinux
internal import Kernel
internal import SAL

let modemWatchCommand = Command(
    "modem watch",
    "Show a modem's state, registration, operator and signal as they change.",
    usage: "--tty PATH --dialect NAME [OPTIONS]",
    notes: """
        A line is printed when the state changes, or the registration, or the operator, or the signal by 5 dB; with --every also as often as it says.
        The states are: off (there is no serial line), booting (the modem does not answer yet), searching, registered, attached, and lost, with the
        reason if one is known: then it is tried again. Ctrl-C ends.
        """,
    options: modemOptions + [
        Option(nil, "every", value: "SECONDS", "Print a line so often, changed or not."),
        Option(nil, "count", value: "N", "End after so many lines."),
    ]
) { arguments in
    let every = try arguments.number("every", in: 1...100_000).map { Duration.seconds($0) }
    let count = try arguments.number("count", in: 1...Int.max) ?? .max
    let modem = try await CommandedModem.open(arguments)
    Interruption.watch()
    let watch = ModemWatch(modem, isWireless: arguments["dialect"] == "espat")
    let states = Task { for await state in modem.network.linkStates { await watch.change(to: state) } }
    // A question may wait for long, until the modem is attached again.
    let questions = Task {
        while !Task.isCancelled {
            await watch.ask()
            try await Task.sleep(for: .seconds(1))
        }
    }
    defer {
        states.cancel()
        questions.cancel()
    }
    var nextLine = every.map { ContinuousClock.now + $0 }
    while !Interruption.hasCome, await watch.lines < count {
        try await Task.sleep(for: .milliseconds(100))
        if let every, let time = nextLine, ContinuousClock.now >= time {
            await watch.print()
            nextLine = time + every
        }
    }
    await modem.end()
    return 0
}

/// What a watch knows, and has printed last.
private actor ModemWatch {
    /// What is shown.
    private struct Picture: Equatable {
        var state = "off"
        var registration: String?
        var operatorName: String?
        var signal: Int?

        /// Whether it differs from `other` by more than a little signal.
        func isNews(to other: Picture) -> Bool {
            var same = other
            same.signal = signal
            if same != self { return true }
            guard let signal, let before = other.signal else { return signal != other.signal }
            return abs(signal - before) >= 5
        }
    }

    private let modem: CommandedModem
    private let isWireless: Bool
    private var picture = Picture()
    private var printed: Picture?
    private var isAttached = false
    /// How many lines were printed.
    private(set) var lines = 0

    init(_ modem: CommandedModem, isWireless: Bool) {
        self.modem = modem
        self.isWireless = isWireless
    }

    func change(to state: ModemLinkState) {
        isAttached = state == .attached
        let text =
            switch state {
            case .off: "off"
            case .booting: "booting"
            case .searching: "searching"
            case .registered: "registered"
            case .attached: "attached"
            case .lost(nil): "lost"
            case .lost(let error?): "lost: \(sentence(for: error))"
            }
        // Of a modem that is not attached nothing is known; until the answers have come, neither.
        picture = Picture(state: text)
        if !isAttached { printNews() }
    }

    /// Asks an attached modem for what changes.
    func ask() async {
        guard isAttached else { return }
        var new = Picture(state: picture.state)
        if isWireless {
            if let network = fields(of: "+CWJAP", in: await modem.ask("AT+CWJAP?")) {
                new.registration = "wireless network '\(network[0])'"
                if network.count > 3 { new.signal = Int(network[3]) }
            }
        } else {
            new.registration = try? await modem.network.registration().text
            new.operatorName = try? await modem.network.networkOperator().text
            new.signal = signalStrength(await modem.ask("AT+CSQ"))
        }
        // Meanwhile it may have been lost.
        guard isAttached, picture.state == new.state else { return }
        picture = new
        printNews()
    }

    private func printNews() { if printed.map({ picture.isNews(to: $0) }) ?? true { print() } }

    func print() {
        let details = [
            picture.registration, picture.operatorName.map { "operator \($0)" },
            picture.signal.map { "signal \($0) dBm" },
        ]
        let text = ([picture.state] + details.compactMap(\.self)).joined(separator: "; ")
        Console.print("\(Self.clock())  \(text)")
        printed = picture
        lines += 1
    }

    /// The time of day, `hh:mm:ss`.
    private static func clock() -> String {
        var now = time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        return [parts.tm_hour, parts.tm_min, parts.tm_sec].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
    }
}
