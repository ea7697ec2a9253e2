/// The families of modems that can be simulated.
public enum ModemDialect: String, Sendable, CaseIterable {
    /// Espressif's ESP-AT; ``ModemSimulatorConfiguration/generation`` says which.
    case espat
    /// Quectel EC20, EC200, EG91, BG96: buffered or pushed reception, as the host chooses for each socket.
    case quectel
    /// SIMCom SIM7600, A7600, A7672.
    case sim7600
    /// SIMCom SIM800, SIM900.
    case sim800
    /// u-blox SARA.
    case ublox
    /// Quectel BC26, BC66 (NB-IoT).
    case bc26
    /// Quectel BC28, BC35, BC95 (NB-IoT, the Neul command set).
    case bc28
    /// China Mobile M5310A (NB-IoT, the Neul command set with differences).
    case m5310a
    /// Fibocom L610, L716.
    case l610
    /// Luat Air724UG, Air720, Air780.
    case air724
}

/// How a simulated modem is made.
public struct ModemSimulatorConfiguration: Sendable {
    /// The generations of ESP-AT firmware that differ in their answers.
    public enum Generation: Sendable {
        /// 1.7 on ESP8266.
        case v1
        /// 2.0 to 3.2.
        case v2
    }

    /// The family that it belongs to.
    public var dialect = ModemDialect.espat
    /// The firmware that it behaves like, if it is of Espressif's family.
    public var generation = Generation.v2
    /// The seed of everything random in it.
    public var seed: UInt64 = 1
    /// What it does worse than it should.
    public var faults = Faults()
    /// The bits per second of the line, ten to a byte and in each direction; 0 does not hold anything back.
    public var baudRate = 0
    /// The rate that it starts with, in bits per second: a host that has set its end of a pty to another one hears noise. `nil` for a modem that finds out the
    /// host's, until it is told one (`AT+IPR`).
    public var lineRate: Int?
    /// A stable path that always leads to the current device.
    public var link: String?
    /// The signal strength that it reports, in dBm; it varies by a few around that.
    public var signal = -52

    /// Whether there is a SIM in a cellular modem.
    public var hasSIM = true
    /// The PIN that the SIM wants after each start; `nil` for none.
    public var pin: String?
    /// How long the SIM is busy after a start, in milliseconds.
    public var simMilliseconds = 0
    /// How long a cellular modem looks for its network, in milliseconds.
    public var registrationMilliseconds = 0
    /// Whether the network is a foreign one.
    public var isRoaming = false
    /// How long the modem is deaf after a restart, before its banner, in milliseconds.
    public var bootMilliseconds = 0
    /// Whether it says its banner when it is made, as if power came then, and not only when it restarts.
    public var announcesPowerUp = false

    /// Whether the firmware of ESP-AT and L610 has MQTT inside: the commands `AT+TC…` of Tencent's firmwares.
    public var hasMQTT = true
    /// Where its MQTT connects to, instead of the vendor's hub.
    public var hubHost: String?
    /// The port for connections without TLS, and that for TLS with the device's key.
    public var hubPort = 1_883
    /// See ``hubPort``.
    public var hubKeyPort = 8_883
    /// The image for the device that the firmware finds at the hub: its version, and its bytes.
    public var firmwareImage: (version: String, bytes: [UInt8])?

    /// The file that receives a transcript of all bytes, as they come and go.
    public var recording: String?
    /// The transcript to play instead of simulating a dialect.
    public var playing: ModemTranscript?

    /// A modem with ESP-AT firmware 2.x that does everything right.
    public init() {}
}

/// Why a simulated modem could not be made.
public struct ModemSimulatorError: Error, CustomStringConvertible {
    /// What went wrong, and what to do.
    public let description: String
}

/// What a simulated modem has done so far.
public struct ModemStatistics: Sendable, Equatable {
    /// Command lines received.
    public var commands = 0
    /// Bytes received from the host.
    public var bytesIn = 0
    /// Bytes sent to the host.
    public var bytesOut = 0
    /// How often it was woken from its sleep, and lost what it was told.
    public var wakeUps = 0
    /// Links opened.
    public var linksOpened = 0
    /// MQTT messages that the server or this modem's network has taken.
    public var messagesOut = 0
    /// Command lines that no such modem knows.
    public var unknownCommands = 0
    /// Frames of the multiplexer received from the host.
    public var frames = 0
    /// Frames of the host with a wrong head, checksum or end.
    public var damagedFrames = 0
}
