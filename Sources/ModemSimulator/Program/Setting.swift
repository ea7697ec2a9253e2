/// One thing about a modem that an option of the program and a line of a profile can set, under the same name.
struct Setting {
    let name: String
    /// What stands for the value in the help.
    let value: String
    let help: String
    /// What a value has to be, for those who gave another.
    let expected: String
    /// False if the value is none.
    let apply: (inout ModemSimulatorConfiguration, String) -> Bool

    typealias Path<Value> = WritableKeyPath<ModemSimulatorConfiguration, Value>

    static func number(
        _ name: String,
        _ path: Path<Int>,
        in range: ClosedRange<Int>,
        value: String = "N",
        _ help: String
    ) -> Setting {
        Setting(
            name: name,
            value: value,
            help: help,
            expected: "a number from \(range.lowerBound) to \(range.upperBound)"
        ) {
            guard let number = Int($1), range.contains(number) else { return false }
            $0[keyPath: path] = number
            return true
        }
    }

    /// A fault that every n-th occasion has.
    static func every(_ name: String, _ path: Path<Int>, _ help: String) -> Setting {
        number(name, path, in: 0...1_000_000_000, help)
    }

    static func milliseconds(_ name: String, _ path: Path<Int>, _ help: String) -> Setting {
        number(name, path, in: 0...3_600_000, value: "MS", help)
    }

    static func flag(_ name: String, _ path: Path<Bool>, _ help: String) -> Setting {
        Setting(name: name, value: "on|off", help: help, expected: "on or off") {
            guard $1 == "on" || $1 == "off" else { return false }
            $0[keyPath: path] = $1 == "on"
            return true
        }
    }

    static func choice<Value: RawRepresentable & CaseIterable>(
        _ name: String,
        _ path: Path<Value>,
        value: String? = nil,
        _ help: String
    ) -> Setting where Value.RawValue == String {
        let names = Value.allCases.map(\.rawValue)
        return Setting(
            name: name,
            value: value ?? names.joined(separator: "|"),
            help: help,
            expected: "one of \(names.joined(separator: ", "))"
        ) {
            guard let choice = Value(rawValue: $1) else { return false }
            $0[keyPath: path] = choice
            return true
        }
    }
}

extension Setting {
    /// All settings, in the groups of the help.
    static var groups: [(title: String, settings: [Setting])] {
        [
            ("The modem", modem), ("Faults that no user of a correct driver notices", harmless),
            ("Faults that cost something", harmful),
        ]
    }

    static func named(_ name: some StringProtocol) -> Setting? {
        for (_, settings) in groups { if let setting = settings.first(where: { $0.name == name }) { return setting } }
        return nil
    }

    private static var modem: [Setting] {
        [
            choice("dialect", \.dialect, value: "NAME", "What it speaks, espat unless given; see below."),
            Setting(
                name: "firmware",
                value: "1|2",
                help: "The generation of espat's firmware; 2 unless given.",
                expected: "1 or 2"
            ) {
                guard let generation = ["1": ModemSimulatorConfiguration.Generation.v1, "2": .v2][$1] else {
                    return false
                }
                $0.generation = generation
                return true
            },
            Setting(name: "seed", value: "N", help: "The seed of everything random.", expected: "a number") {
                guard let seed = UInt64($1) else { return false }
                $0.seed = seed
                return true
            },
            number("baud", \.baudRate, in: 0...10_000_000, "Hold the line to this rate; 0 is no limit."),
            Setting(
                name: "line-rate",
                value: "N",
                help: "The rate that it was set to; it finds out the host's unless given.",
                expected: "bits per second"
            ) {
                guard let rate = Int($1), 300...4_000_000 ~= rate else { return false }
                $0.lineRate = rate
                return true
            },
            number("signal", \.signal, in: -140...0, value: "DBM", "The signal strength; -52 unless given."),
            Setting(name: "pin", value: "DIGITS", help: "The PIN that the SIM wants.", expected: "4 to 8 digits") {
                guard 4...8 ~= $1.count, $1.allSatisfy({ $0.isASCII && $0.isNumber }) else { return false }
                $0.pin = $1
                return true
            },
            flag("sim", \.hasSIM, "Whether there is a SIM; on unless given."),
            milliseconds("sim-ms", \.simMilliseconds, "How long the SIM is busy after a start."),
            milliseconds("registration-ms", \.registrationMilliseconds, "How long it looks for a network."),
            flag("roaming", \.isRoaming, "Whether the network is a foreign one."),
            milliseconds("boot-ms", \.bootMilliseconds, "How long it is deaf after a restart, before its banner."),
            flag("mqtt", \.hasMQTT, "Whether espat and l610 have MQTT inside (AT+TC...); on unless given."),
            Setting(
                name: "hub-host",
                value: "HOST",
                help: "Where their MQTT connects to; the vendor's hub unless given.",
                expected: "a name or an address"
            ) {
                guard !$1.isEmpty else { return false }
                $0.hubHost = $1
                return true
            },
            number("hub-port", \.hubPort, in: 1...65_535, "The hub's port without TLS; 1883 unless given."),
            number(
                "hub-psk-port",
                \.hubKeyPort,
                in: 1...65_535,
                "The hub's port for TLS with a key; 8883 unless given."
            ),
            flag("power-up", \.announcesPowerUp, "Say the banner at the start, not only after restarts."),
        ]
    }

    private static var harmless: [Setting] {
        [
            choice("pieces", \.faults.pieces, "Cut the output."),
            flag("stuck-echo", \.faults.echoIsStuck, "Echo commands even after ATE0."),
            flag("notices", \.faults.insertsNotices, "Insert unsolicited lines wherever they may be."),
            flag("double-notices", \.faults.doublesNotices, "Announce data and ends twice."),
            choice("prompt", \.faults.prompt, "With a space behind it, or without."),
            milliseconds("prompt-delay-ms", \.faults.promptDelayMilliseconds, "Delay prompts."),
            milliseconds("result-delay-ms", \.faults.resultDelayMilliseconds, "Delay final results."),
            milliseconds("open-delay-ms", \.faults.openDelayMilliseconds, "Delay the opening of links."),
            every("busy-every", \.faults.busyEvery, "Refuse every N-th command as busy."),
            choice("overlap", \.faults.overlap, "What becomes of a command that comes while another runs."),
            every(
                "partial-every",
                \.faults.takesPartEvery,
                "Take only half of every N-th payload, where the dialect can say so."
            ),
            flag("cmux-cr", \.faults.setsCommandBit, "Set the bit C/R in data frames of the multiplexer."),
            flag("cmux-no-tests", \.faults.ignoresTests, "Let the multiplexer answer no tests."),
        ]
    }

    private static var harmful: [Setting] {
        [
            every("lose-result-every", \.faults.losesResultEvery, "Lose every N-th final result."),
            every("lose-prompt-every", \.faults.losesPromptEvery, "Lose every N-th prompt."),
            every("lose-notice-every", \.faults.losesNoticeEvery, "Lose every N-th notice of data."),
            flag("silent-close", \.faults.closesSilently, "Say nothing when the peer closes a link."),
            flag("deaf", \.faults.isDeaf, "Hear and answer nothing."),
            every("deaf-every", \.faults.deafEvery, "Go deaf after every N-th command."),
            milliseconds("deaf-ms", \.faults.deafMilliseconds, "For so long; 2000 unless given."),
            every("error-every", \.faults.failsCommandEvery, "Fail every N-th command."),
            number("error-code", \.faults.errorCode, in: 0...999, "With this +CME ERROR; 100 unless given."),
            every("send-fail-every", \.faults.failsSendEvery, "Fail every N-th send."),
            every(
                "close-in-send-every",
                \.faults.closesDuringSendEvery,
                "Lose the peer between prompt and payload of every N-th send."
            ),
            every(
                "wrong-length-every",
                \.faults.wrongLengthEvery,
                "Announce every N-th piece of data with a wrong length."
            ),
            flag("refuse-open", \.faults.refusesToOpen, "Open no links."),
            flag("refuse-network", \.faults.refusesToJoin, "Let it join no network."),
            number(
                "link-limit",
                \.faults.linkLimit,
                in: 0...12,
                "Open no more links at a time; 0 is the dialect's own number."
            ),
            every("lose-context-every", \.faults.losesContextEvery, "Lose the data context after every N-th command."),
            milliseconds("context-return-ms", \.faults.contextReturnMilliseconds, "For so long; 1000 unless given."),
            every("restart-every", \.faults.restartsEvery, "Restart instead of every N-th command."),
            flag("silent-restart", \.faults.restartsSilently, "Restart without the banner."),
            flag("garbage", \.faults.insertsGarbage, "Insert lines of random bytes between answers."),
            every("corrupt-every", \.faults.corruptsByteEvery, "Turn a bit of every N-th byte."),
        ]
    }
}
