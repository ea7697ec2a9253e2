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
    Option(
        nil,
        "switch-baud",
        value: "N",
        "Switch the modem and the line to so many bits per second, and look for it at other rates."
    ),
    Option(nil, "flow-control", "The lines RTS and CTS stop who sends too fast."),
    Option(nil, "cmux", "Talk to the modem in frames of a multiplexer (AT+CMUX), on its first channel."),
    Option(nil, "apn", value: "NAME", "The access point name of a cellular network; its own unless given."),
    Option(nil, "user", value: "NAME", "The user for the access point."),
    Option(nil, "password", value: "TEXT", "The password for the access point."),
    Option(nil, "auth", value: "WAY", "How the user is shown: none, pap or chap; pap with --user."),
    Option(nil, "pin", value: "DIGITS", "The PIN of the SIM."),
    Option(nil, "join", value: "SSID PASSWORD", "The wireless network to join, for a modem with Wi-Fi.") { _ in 2 },
]

/// The options of commands that can go through a modem: what it is stands beside where it is.
let wayOptions =
    [
        Option(
            nil,
            "modem",
            value: "DEVICE",
            "Reach the server through the modem at this serial device: ESP-AT unless --dialect is given."
        )
    ]
    + modemOptions.filter { $0.long != "tty" }

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
    return (name, try modemDriver(name))
}

private func modemDriver(_ name: String) throws(UsageError) -> ModemDriver {
    guard let driver = ModemDriver(named: name) else {
        throw UsageError("there is no dialect '\(name)', but \(ModemDriver.named.map(\.name).joined(separator: ", "))")
    }
    return driver
}

/// Where a command finds its modem, and how.
struct ModemLine: Sendable {
    private let path: String
    private var settings = SerialSettings()
    private var rate = ModemRate.fixed
    private var driver = ModemDriver.espAT
    private var configuration = ModemConfiguration()
    private var usesMultiplexer = false

    /// A modem that speaks ESP-AT.
    init(path: String) { self.path = path }

    /// The modem that ``modemOptions`` name.
    init(_ arguments: Arguments) throws {
        guard let path = arguments["tty"] else { throw UsageError("--tty says where the modem is") }
        try self.init(path: path, driver: modemDriver(arguments).driver, arguments)
    }

    /// The modem on the way to a server that ``wayOptions`` name; `nil` if they name none.
    init?(way arguments: Arguments) throws {
        guard let path = arguments["modem"] else {
            if let option = modemOptions.first(where: { arguments.has($0.long) }) {
                throw UsageError("--\(option.long) is for a modem: --modem says where that is")
            }
            return nil
        }
        try self.init(path: path, driver: arguments["dialect"].map { try modemDriver($0) } ?? .espAT, arguments)
    }

    private init(path: String, driver: ModemDriver, _ arguments: Arguments) throws {
        self.path = path
        self.driver = driver
        settings.baudRate = try arguments.number("baud", in: 1...10_000_000)
        settings.hasFlowControl = arguments.has("flow-control")
        if let fast = try arguments.number("switch-baud", in: 1...10_000_000) { rate = .switched(to: fast) }
        configuration = try modemConfiguration(arguments)
        usesMultiplexer = arguments.has("cmux")
        if usesMultiplexer, rate != .fixed { throw UsageError("--switch-baud does not go with --cmux") }
    }

    /// The modem, and the multiplexer that it is behind. Its device is opened again when it comes back. Call it on `loop`.
    func open(on loop: EventLoop) throws(Failure) -> (modem: Modem, multiplexer: Multiplexer?) {
        do throws(SocketError) {
            guard usesMultiplexer else {
                return (
                    try Modem.open(
                        driver,
                        path: path,
                        settings: settings,
                        rate: rate,
                        loop: loop,
                        configuration: configuration
                    ),
                    nil
                )
            }
            let multiplexer = try Multiplexer.open(driver, path: path, settings: settings, loop: loop)
            return (Modem(over: multiplexer, configuration: configuration), multiplexer)
        } catch { throw serialFailure(error, path: path, settings) }
    }

    /// The modem, from any thread.
    func openModem(on loop: EventLoop) async throws -> Modem {
        let modem = await loop.call { Result { LoopConfined(try open(on: loop).modem) } }
        return try modem.get().value
    }
}

extension Multiplexer {
    /// How long a modem may take to speak plainly again after ``close()``.
    static var closingTime: Duration { .milliseconds(600) }
}
