/// A command line and what ends it.
struct ATCommand {
    /// What says that it has succeeded.
    enum Ending: UInt8 {
        /// `OK`.
        case ok
        /// A line of its own, which the dialect knows as ``ATNotice/done``.
        case notice
        /// Both, in any order.
        case both
    }

    /// The line without its terminator.
    var line: [UInt8] = []
    /// How long the final result may take, in milliseconds, from the moment that the line is written.
    var timeout = 5_000
    /// How many bytes the modem takes after its prompt; 0 for a command without a prompt.
    var payloadBytes = 0
    var ending = Ending.ok
    /// It is sent again when the SIM was busy; a user's own command is not.
    var isRepeatable = false
    /// A step of the bring-up that need not succeed.
    var isOptional = false
    /// `OK` means that an opening has begun; ``ATNotice/opened(link:)`` or its opposite says how it ended.
    var isDeferred = false

    /// Why the line cannot be sent to a modem that takes lines of `maximumBytes`; `nil` if it can.
    func problem(maximumBytes: Int) -> ATError? {
        if line.count > maximumBytes - 2 { return .lineTooLong }
        for byte in line where byte < 0x20 || byte == 0x7F { return .unsendable }
        return nil
    }
}

extension ATCommand {
    /// A command from its template: the seconds for its answer, how it ends, and the line.
    ///
    /// How it ends: `=` with a line of its own, `+` with `OK` and one, `*` with `OK` and later a notice of the link, `>` with a prompt, and else with `OK`; with
    /// `?` its failure does not matter. In the line `#` stands for the link, `%` for the count, `^` for the local port, `$` for the host in quotes and `~`
    /// without, `@` for the port, and `&` with a letter for a text of the configuration in quotes: the name (`w`) and the
    /// password (`k`) of a wireless network, `a` the access point name, `u` the user and `p` the password for it, `n` the PIN; `&t` is
    /// the number of the way to authenticate.
    init(
        template: StaticString,
        request: ATRequest,
        host: [UInt8],
        port: UInt16,
        escaping: Bool,
        configuration: ModemConfiguration
    ) {
        var position = 0
        var seconds = 0
        isRepeatable = true
        while position < template.utf8CodeUnitCount, template.byte(position) &- 0x30 < 10 {
            seconds = seconds * 10 + Int(template.byte(position) - 0x30)
            position += 1
        }
        timeout = seconds * 1_000
        // All lines begin with `AT`.
        while template.byte(position) != UInt8(ascii: "A") {
            switch template.byte(position) {
            case UInt8(ascii: "?"): isOptional = true
            case UInt8(ascii: "="): ending = .notice
            case UInt8(ascii: "+"): ending = .both
            case UInt8(ascii: "*"): isDeferred = true
            case UInt8(ascii: ">"): payloadBytes = 1
            default: break
            }
            position += 1
        }
        while position < template.utf8CodeUnitCount {
            let byte = template.byte(position)
            position += 1
            switch byte {
            case UInt8(ascii: "#"): line.append(number: request.link)
            case UInt8(ascii: "%"): line.append(number: request.count)
            case UInt8(ascii: "^"): line.append(number: request.localPort)
            case UInt8(ascii: "@"): line.append(number: Int(port))
            case UInt8(ascii: "$"): line.append(quoted: host, escaping: escaping)
            case UInt8(ascii: "~"): line += host
            case UInt8(ascii: "&"):
                let letter = template.byte(position)
                position += 1
                if letter == UInt8(ascii: "t") {
                    line.append(number: Int(configuration.authentication.rawValue))
                } else {
                    line.append(quoted: configuration.text(letter), escaping: escaping)
                }
            default: line.append(byte)
            }
        }
    }
}

extension ModemConfiguration {
    /// The text that a letter of a template stands for.
    fileprivate func text(_ letter: UInt8) -> [UInt8] {
        switch letter {
        case UInt8(ascii: "w"): accessPoint?.name ?? []
        case UInt8(ascii: "k"): accessPoint?.password ?? []
        case UInt8(ascii: "a"): apn
        case UInt8(ascii: "u"): user
        case UInt8(ascii: "p"): password
        default: pin
        }
    }
}
