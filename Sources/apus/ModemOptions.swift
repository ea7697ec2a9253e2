internal import ATAdapter
internal import Kernel
internal import SAL

let ttyOption = Option(
    nil,
    "tty",
    value: "PATH",
    "The serial device of the modem; or tcp://HOST:PORT, or rfc2217://HOST:PORT, at a serial server."
)

/// The options that say where a modem is, what it is, and how it gets into its network.
let modemOptions = [
    ttyOption,
    Option(nil, "dialect", value: "NAME", "What it speaks: \(ModemDriver.named.map(\.name).joined(separator: ", "))."),
    Option(nil, "baud", value: "N", "The bits per second of the line; left as they are unless given."),
    Option(nil, "cmux", "Talk to the modem in frames of a multiplexer (AT+CMUX), on its first channel."),
    Option(nil, "apn", value: "NAME", "The access point name of a cellular network; its own unless given."),
    Option(nil, "user", value: "NAME", "The user for the access point."),
    Option(nil, "password", value: "TEXT", "The password for the access point."),
    Option(nil, "auth", value: "WAY", "How the user is shown: none, pap or chap; pap with --user."),
    Option(nil, "pin", value: "DIGITS", "The PIN of the SIM."),
    Option(nil, "join", value: "SSID PASSWORD", "The wireless network to join, for a modem with Wi-Fi.") { _ in 2 },
]

/// The configuration that the options ask for.
func modemConfiguration(_ arguments: Arguments) throws -> ModemConfiguration {
    var configuration = ModemConfiguration()
    configuration.lineBytes = 4_096
    configuration.receiveBufferBytes = 65_536
    configuration.pollInterval = .seconds(2)
    configuration.apn = Array((arguments["apn"] ?? "").utf8)
    configuration.user = Array((arguments["user"] ?? "").utf8)
    configuration.password = Array((arguments["password"] ?? "").utf8)
    configuration.pin = Array((arguments["pin"] ?? "").utf8)
    switch arguments["auth"] {
    case "pap": configuration.authentication = .pap
    case "chap": configuration.authentication = .chap
    case "none": configuration.authentication = .none
    case nil: configuration.authentication = configuration.user.isEmpty ? .none : .pap
    case let way?: throw UsageError("--auth is none, pap or chap, not '\(way)'")
    }
    if let words = arguments.lists("join").last {
        configuration.accessPoint = (Array(words[0].utf8), Array(words[1].utf8))
    }
    return configuration
}

/// The driver that the options name.
func modemDriver(_ arguments: Arguments) throws -> (name: String, driver: ModemDriver) {
    guard let name = arguments["dialect"] else {
        throw UsageError("--dialect says what the modem speaks; 'apus modem probe' finds it")
    }
    guard let driver = ModemDriver(named: name) else {
        throw UsageError("there is no dialect '\(name)', but \(ModemDriver.named.map(\.name).joined(separator: ", "))")
    }
    return (name, driver)
}

/// Where a command finds its modem, and how.
struct ModemLine: Sendable {
    let path: String
    let baudRate: Int?
    private let driver: ModemDriver
    private let configuration: ModemConfiguration
    private let usesMultiplexer: Bool

    init(_ arguments: Arguments) throws {
        guard let path = arguments["tty"] else { throw UsageError("--tty says where the modem is") }
        self.path = path
        driver = try modemDriver(arguments).driver
        configuration = try modemConfiguration(arguments)
        baudRate = try arguments.number("baud", in: 1...10_000_000)
        usesMultiplexer = arguments.has("cmux")
    }

    /// The modem, and the multiplexer that it is behind. Call it on `loop`.
    func open(on loop: EventLoop) throws(SocketError) -> (modem: Modem, multiplexer: Multiplexer?) {
        guard usesMultiplexer else {
            return (
                try Modem.open(driver, path: path, baudRate: baudRate, loop: loop, configuration: configuration), nil
            )
        }
        let multiplexer = try Multiplexer.open(driver, path: path, baudRate: baudRate, loop: loop)
        return (Modem(over: multiplexer, configuration: configuration), multiplexer)
    }
}

extension Multiplexer {
    /// How long a modem may take to speak plainly again after ``close()``.
    static var closingTime: Duration { .milliseconds(600) }
}
