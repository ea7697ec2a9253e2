#if os(Linux)
internal import CLinux

/// How a serial line is set up: always with eight bits, no parity and one stop bit.
public struct SerialSettings: Equatable, Sendable {
    /// The bits per second, 300 to 4,000,000, of those that the system knows; `nil` leaves the rate as it is, which a pty does not mind.
    public var baudRate: Int?
    /// Whether the lines RTS and CTS stop who sends too fast. Both ends must agree, and the lines be there.
    public var hasFlowControl: Bool

    /// A line at this rate.
    public init(baudRate: Int? = nil, hasFlowControl: Bool = false) {
        (self.baudRate, self.hasFlowControl) = (baudRate, hasFlowControl)
    }

    /// The rates that Linux knows, in bits per second, with their numbers in `termios`.
    private static let speeds: [(rate: Int, speed: Int32)] = [
        (300, B300), (600, B600), (1_200, B1200), (2_400, B2400), (4_800, B4800), (9_600, B9600), (19_200, B19200),
        (38_400, B38400), (57_600, B57600), (115_200, B115200), (230_400, B230400), (460_800, B460800),
        (500_000, B500000), (576_000, B576000), (921_600, B921600), (1_000_000, B1000000), (1_152_000, B1152000),
        (1_500_000, B1500000), (2_000_000, B2000000), (2_500_000, B2500000), (3_000_000, B3000000),
        (3_500_000, B3500000), (4_000_000, B4000000),
    ]

    /// Sets up the terminal at `descriptor`; throws `.other(code: EINVAL)` for a rate that nobody knows.
    func apply(to descriptor: Int32) throws(SocketError) {
        var settings = termios()
        guard unsafe tcgetattr(descriptor, &settings) == 0 else { throw SocketError(errno: clinux_errno()) }
        unsafe cfmakeraw(&settings)
        settings.c_cflag |= tcflag_t(CLOCAL | CREAD)
        if hasFlowControl {
            settings.c_cflag |= tcflag_t(CRTSCTS)
        } else {
            settings.c_cflag &= ~tcflag_t(CRTSCTS)
        }
        if let baudRate {
            guard let known = Self.speeds.first(where: { $0.rate == baudRate }) else { throw .other(code: EINVAL) }
            unsafe cfsetspeed(&settings, speed_t(known.speed))
        }
        guard unsafe tcsetattr(descriptor, TCSANOW, &settings) == 0 else { throw SocketError(errno: clinux_errno()) }
    }

    /// The bits per second of the terminal at `descriptor`; `nil` if it has none that is known.
    package static func baudRate(of descriptor: Int32) -> Int? {
        var settings = termios()
        guard unsafe tcgetattr(descriptor, &settings) == 0 else { return nil }
        let speed = unsafe cfgetospeed(&settings)
        return speeds.first { speed_t($0.speed) == speed }?.rate
    }
}
#endif
