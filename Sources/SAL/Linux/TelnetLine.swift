#if os(Linux)
internal import CLinux

/// Telnet (RFC 854) with the option that sets up a serial line (RFC 2217), on the client's side: bytes in, bytes and a state out.
///
/// Only binary transmission (RFC 856), no go-ahead (RFC 858) and that option are agreed to.
struct TelnetLine: ~Copyable {
    enum State: Equatable {
        /// The server has not said yet that it sets up lines; it is setting up this one.
        case negotiating, settingUp
        case ready
        case failed(SocketError)
    }

    private enum Code {
        static let subnegotiationEnd: UInt8 = 240
        static let subnegotiation: UInt8 = 250
        static let will: UInt8 = 251
        static let wont: UInt8 = 252
        static let `do`: UInt8 = 253
        static let dont: UInt8 = 254
        static let escape: UInt8 = 255

        static let binary: UInt8 = 0
        static let noGoAhead: UInt8 = 3
        static let comPort: UInt8 = 44
    }

    /// Commands to the server (RFC 2217, 3); its own have 100 more.
    private enum Command {
        static let setRate: UInt8 = 1
        static let setDataBits: UInt8 = 2
        static let setParity: UInt8 = 3
        static let setStopBits: UInt8 = 4
        static let control: UInt8 = 5
        static let suspend: UInt8 = 8
        static let resume: UInt8 = 9
        static let ofServer: UInt8 = 100
    }

    private enum Input {
        case data, escape
        case option(UInt8)
        case subnegotiation, subnegotiationEscape
    }

    private(set) var state = State.negotiating
    /// The server's own line takes nothing for now.
    private(set) var isSuspended = false
    /// The bytes to send.
    var outgoing = ByteQueue()
    private let settings: SerialSettings
    private var input = Input.data
    private var message: [UInt8] = []
    /// The settings that the server has not answered yet.
    private var unanswered: [UInt8] = []

    /// The most of a subnegotiation that is looked at, and the most of answers that wait to be sent.
    private static var maximumMessage: Int { 64 }
    private static var maximumAnswers: Int { 4_096 }

    init(settings: SerialSettings) {
        self.settings = settings
        for option in [Code.binary, Code.noGoAhead] {
            say(Code.will, option)
            say(Code.do, option)
        }
        say(Code.will, Code.comPort)
    }

    private mutating func say(_ verb: UInt8, _ option: UInt8) {
        guard outgoing.count < Self.maximumAnswers else { return }
        outgoing.append(([Code.escape, verb, option] as [UInt8]).span)
    }

    // MARK: Output

    /// Appends data to ``outgoing``, as many bytes as fit in `limit`; returns how many.
    mutating func send(_ bytes: Span<UInt8>, limit: Int) -> Int {
        var index = 0
        while index < bytes.count, outgoing.count + 1 < limit {
            outgoing.append(bytes[index])
            if bytes[index] == Code.escape { outgoing.append(Code.escape) }
            index += 1
        }
        return index
    }

    private mutating func set(_ command: UInt8, _ values: [UInt8]) {
        outgoing.append(([Code.escape, Code.subnegotiation, Code.comPort, command] as [UInt8]).span)
        for value in values {
            outgoing.append(value)
            if value == Code.escape { outgoing.append(Code.escape) }
        }
        outgoing.append(([Code.escape, Code.subnegotiationEnd] as [UInt8]).span)
        unanswered.append(command)
    }

    /// Eight bits, no parity, one stop bit, DTR and RTS on: as with a device of this machine.
    private mutating func setUp() {
        guard state == .negotiating else { return }
        state = .settingUp
        if let baudRate = settings.baudRate {
            let rate = UInt32(clamping: baudRate)
            set(Command.setRate, (0..<4).map { UInt8(truncatingIfNeeded: rate >> (24 - 8 * $0)) })
        }
        set(Command.setDataBits, [8])
        set(Command.setParity, [1])
        set(Command.setStopBits, [1])
        for value in [settings.hasFlowControl ? 3 : 1, 8, 11] as [UInt8] { set(Command.control, [value]) }
    }

    /// The server takes its time. What it has not answered may not be in its power, but the rate is what it was asked for.
    mutating func giveUpWaiting() {
        switch state {
        case .settingUp where !unanswered.contains(Command.setRate): state = .ready
        case .negotiating, .settingUp: state = .failed(.timedOut)
        case .ready, .failed: break
        }
    }

    // MARK: Input

    /// Takes what the server has sent, and appends what is data in it to `data`.
    mutating func receive(_ bytes: Span<UInt8>, data: inout ByteQueue) {
        for index in bytes.indices {
            let byte = bytes[index]
            switch input {
            case .data:
                if byte == Code.escape { input = .escape } else { data.append(byte) }
            case .escape:
                input = .data
                switch byte {
                case Code.escape: data.append(byte)
                case Code.will, Code.wont, Code.do, Code.dont: input = .option(byte)
                case Code.subnegotiation:
                    message = []
                    input = .subnegotiation
                // Commands without a meaning here.
                default: break
                }
            case .option(let verb):
                input = .data
                negotiate(verb, byte)
            case .subnegotiation:
                if byte == Code.escape { input = .subnegotiationEscape } else { keep(byte) }
            case .subnegotiationEscape:
                input = .subnegotiation
                if byte == Code.subnegotiationEnd {
                    input = .data
                    handleMessage()
                } else if byte == Code.escape {
                    keep(byte)
                }
            }
        }
    }

    private mutating func keep(_ byte: UInt8) { if message.count < Self.maximumMessage { message.append(byte) } }

    private mutating func negotiate(_ verb: UInt8, _ option: UInt8) {
        let isOffered = option == Code.binary || option == Code.noGoAhead || option == Code.comPort
        switch verb {
        case Code.do:
            // What was offered is agreed with that.
            if !isOffered { say(Code.wont, option) }
            if option == Code.comPort { setUp() }
        case Code.dont: if option == Code.comPort, state == .negotiating { state = .failed(.notSupported) }
        case Code.will:
            if option == Code.comPort { say(Code.do, option) }
            if !isOffered { say(Code.dont, option) }
        // A refusal is none of an answer.
        default: break
        }
    }

    private mutating func handleMessage() {
        guard message.count >= 2, message[0] == Code.comPort, message[1] >= Command.ofServer else { return }
        let command = message[1] - Command.ofServer
        switch command {
        case Command.suspend: isSuspended = true
        case Command.resume: isSuspended = false
        default: break
        }
        guard state == .settingUp, let index = unanswered.firstIndex(of: command) else { return }
        unanswered.remove(at: index)
        if command == Command.setRate, let baudRate = settings.baudRate {
            let rate = message.dropFirst(2).prefix(4).reduce(0) { $0 << 8 | Int($1) }
            if rate != baudRate { return state = .failed(.other(code: EINVAL)) }
        }
        if unanswered.isEmpty { state = .ready }
    }
}
#endif
