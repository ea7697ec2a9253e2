#if os(Linux)
internal import CLinux
public import Kernel

/// A terminal device: the UART that a modem hangs on, or the pty of a simulator.
public enum SerialPort {
    /// Opens the device at `path` as a byte stream in raw mode, without flow control, on `loop`.
    ///
    /// `baudRate` is one of the rates that the system knows, in bits per second; `nil` leaves it as it is, which a pty
    /// does not mind. A device that vanishes ends the stream with ``SocketError/deviceRestarted``.
    public static func open(path: String, baudRate: Int? = nil, loop: EventLoop) throws(SocketError)
        -> any ByteStream
    {
        loop.preconditionOnLoop()
        let descriptor = unsafe clinux_open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw SocketError(errno: clinux_errno()) }
        var settings = termios()
        guard unsafe tcgetattr(descriptor, &settings) == 0 else {
            let code = clinux_errno()
            CLinux.close(descriptor)
            throw SocketError(errno: code)
        }
        unsafe cfmakeraw(&settings)
        settings.c_cflag |= tcflag_t(CLOCAL | CREAD)
        if let baudRate {
            guard let speed = speed(for: baudRate) else {
                CLinux.close(descriptor)
                throw .other(code: EINVAL)
            }
            unsafe cfsetspeed(&settings, speed)
        }
        guard unsafe tcsetattr(descriptor, TCSANOW, &settings) == 0 else {
            let code = clinux_errno()
            CLinux.close(descriptor)
            throw SocketError(errno: code)
        }
        return try LinuxStream(loop: loop, terminal: descriptor)
    }

    private static func speed(for baudRate: Int) -> speed_t? {
        let known: [(Int, Int32)] = [
            (9600, B9600), (19_200, B19200), (38_400, B38400), (57_600, B57600), (115_200, B115200),
            (230_400, B230400), (460_800, B460800), (921_600, B921600),
        ]
        return known.first { $0.0 == baudRate }.map { speed_t($0.1) }
    }
}
#endif
