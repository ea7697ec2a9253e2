#if os(Linux)
internal import CLinux
public import Kernel

/// A terminal device: the UART that a modem hangs on, or the pty of a simulator.
public enum SerialPort {
    /// Opens the device at `path` as a byte stream in raw mode on `loop`.
    ///
    /// The device is locked (`flock`): `.other(code: EBUSY)` says that another program has it. One that vanishes ends the stream with
    /// ``SocketError/deviceRestarted``.
    public static func open(
        path: String,
        settings: SerialSettings = SerialSettings(),
        loop: EventLoop
    ) throws(SocketError) -> any ByteStream {
        loop.preconditionOnLoop()
        let descriptor = unsafe clinux_open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw SocketError(errno: clinux_errno()) }
        do throws(SocketError) {
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw .other(code: EBUSY) }
            try settings.apply(to: descriptor)
        } catch {
            CLinux.close(descriptor)
            throw error
        }
        return try LinuxStream(loop: loop, terminal: descriptor)
    }
}
#endif
