internal import CLinux

/// The program `modem-simulator`, or what else it is called: runs a modem until it is interrupted; returns the exit status.
///
/// The status is 0, or 1 if the modem cannot be made or the host deviates from the transcript that is played, or 2 if an option is wrong.
public func runModemSimulator(as program: String = "modem-simulator", arguments: [String]) -> Int32 {
    let options: ProgramOptions
    do throws(ModemSimulatorError) {
        options = try ProgramOptions(arguments)
    } catch {
        put("\(program): \(error)\n", to: 2)
        return 2
    }
    if options.wantsHelp {
        put(ProgramOptions.help(of: program), to: 1)
        return 0
    }
    Interruption.watch()
    var onLine: (@Sendable (String) -> Void)?
    if options.isVerbose { onLine = { line in put(line + "\n", to: 1) } }
    do throws(ModemSimulatorError) {
        let modem =
            if let port = options.port {
                try ModemSimulator(listeningOn: port, options.configuration, onLine: onLine)
            } else {
                try ModemSimulator(options.configuration, onLine: onLine)
            }
        put("The modem is at \(modem.path)\n", to: 1)
        Interruption.wait()
        modem.stop()
        // Its thread writes what is not yet in the record.
        for _ in 0..<200 where !modem.hasEnded { usleep(5_000) }
        return report(modem.playback, program)
    } catch {
        put("\(program): \(error)\n", to: 2)
        return 1
    }
}

/// Tells how far the transcript was played, if one was.
private func report(_ playback: ModemPlayback?, _ program: String) -> Int32 {
    switch playback {
    case nil: return 0
    case .finished:
        put("The transcript was played to its end.\n", to: 1)
        return 0
    case .playing(let line): put("\(program): the host stopped before line \(line) of the transcript\n", to: 2)
    case .deviated(let place): put("\(program): \(place)\n", to: 2)
    }
    return 1
}

/// What the command line says.
struct ProgramOptions {
    var configuration = ModemSimulatorConfiguration()
    var port: UInt16?
    var isVerbose = false
    var wantsHelp = false

    /// Reads options in their order: a later one overrides an earlier one, and what a profile says.
    init(_ arguments: [String]) throws(ModemSimulatorError) {
        var rest = arguments[...]
        while let option = rest.popFirst() {
            switch option {
            case "--help":
                wantsHelp = true
                return
            case "--verbose": isVerbose = true
            default:
                guard option.hasPrefix("--"), Self.paths[option] != nil || Setting.named(option.dropFirst(2)) != nil
                else {
                    throw ModemSimulatorError(description: "unknown option \(option); --help lists them")
                }
                guard let value = rest.popFirst() else {
                    throw ModemSimulatorError(description: "\(option) needs a value; see --help")
                }
                try take(option, value)
            }
        }
    }

    private mutating func take(_ option: String, _ value: String) throws(ModemSimulatorError) {
        switch option {
        case "--link": configuration.link = value
        case "--listen":
            guard let number = UInt16(value) else {
                throw ModemSimulatorError(description: "--listen is a port from 0 to 65535, not '\(value)'")
            }
            port = number
        case "--record": configuration.recording = value
        case "--play":
            configuration.playing = try Self.naming(value) { path throws(ModemSimulatorError) in
                try ModemTranscript(path: path)
            }
        case "--profile":
            let text = String(decoding: try readWholeFile(value), as: UTF8.self)
            var changed = configuration
            try Self.naming(value) { _ throws(ModemSimulatorError) in try changed.apply(profile: text) }
            configuration = changed
        default:
            do throws(ModemSimulatorError) {
                try configuration.apply(String(option.dropFirst(2)), value)
            } catch {
                throw ModemSimulatorError(description: "--\(error)")
            }
        }
    }

    /// Puts the name of the file in front of what is wrong in it.
    private static func naming<Value>(
        _ path: String,
        _ body: (String) throws(ModemSimulatorError) -> Value
    ) throws(ModemSimulatorError) -> Value {
        do throws(ModemSimulatorError) {
            return try body(path)
        } catch {
            throw ModemSimulatorError(description: "\(path): \(error)")
        }
    }

    /// The options that are not settings.
    private static let paths: [String: (value: String, help: String)] = [
        "--link": ("PATH", "A stable path that leads to the terminal."),
        "--listen": (
            "PORT", "Wait on this TCP port of loopback instead, for QEMU's -serial tcp:127.0.0.1:PORT,nodelay=on."
        ),
        "--profile": ("FILE", "Read settings from a file: 'key value' per line, '#' starts a comment."),
        "--record": ("FILE", "Write a transcript of all bytes."),
        "--play": ("FILE", "Be the modem of a transcript, and tell where the host deviates from it."),
    ]

    static func help(of program: String) -> String {
        func lines(_ rows: [(left: String, help: String)]) -> String {
            rows.map { row in
                let gap = String(repeating: " ", count: max(1, 34 - row.left.count))
                return "  \(row.left)\(gap)\(row.help)\n"
            }.joined()
        }
        var text = """
            Simulate a modem on a pseudo terminal; its links lead to TCP and UDP from this machine.

            Usage: \(program) [OPTIONS]

            The program:

            """
        text += lines(paths.sorted { $0.key < $1.key }.map { ("\($0.key) \($0.value.value)", $0.value.help) })
        text += lines([("--verbose", "Print every line."), ("--help", "Show this help.")])
        for (title, settings) in Setting.groups {
            text += "\n\(title):\n" + lines(settings.map { ("--\($0.name) \($0.value)", $0.help) })
        }
        return text + """

            The last three groups can stand in a profile too, without the dashes:

              dialect quectel      # EC20 and relatives
              pieces  random
              busy-every 20

            Dialects:

            """ + lines(ModemDialect.allCases.map { ($0.rawValue, $0.summary) }) + """

                A transcript has lines '> "host bytes"', '< "modem bytes"' with the escapes \\r \\n \\t \\" \\\\ \\xHH, '= MS' for a pause, and '#'
                for a comment.

                """
    }
}

extension ModemDialect {
    /// What the help says about it.
    fileprivate var summary: String {
        switch self {
        case .espat: "Espressif ESP-AT on ESP8266 and ESP32"
        case .quectel: "Quectel EC20, EC200, EG91, BG96"
        case .sim7600: "SIMCom SIM7600, A7600, A7672"
        case .sim800: "SIMCom SIM800, SIM900"
        case .ublox: "u-blox SARA"
        case .bc26: "Quectel BC26, BC66 (NB-IoT)"
        case .bc28: "Quectel BC28, BC35, BC95 (NB-IoT)"
        case .m5310a: "China Mobile M5310A (NB-IoT)"
        case .l610: "Fibocom L610, L716"
        case .air724: "Luat Air724UG, Air720, Air780"
        }
    }
}

private func put(_ text: String, to descriptor: Int32) {
    let bytes = Array(text.utf8)
    _ = write(descriptor, bytes, bytes.count)
}
