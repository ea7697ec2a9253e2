#if os(Linux)
public import Kernel
public import SAL

extension Modem {
    /// A modem at the serial device `path`, which is opened again, every `retryDelay`, when it has vanished.
    ///
    /// Throws if the device cannot be opened now. Call it on `loop`.
    public static func open(
        path: String,
        baudRate: Int? = nil,
        loop: EventLoop,
        configuration: ModemConfiguration = ModemConfiguration(),
        retryDelay: Duration = .milliseconds(500)
    ) throws(SocketError) -> Modem {
        let serial = try SerialPort.open(path: path, baudRate: baudRate, loop: loop)
        let modem = Modem(serial: serial, loop: loop, configuration: configuration)
        modem.handler = SerialReopener(modem, path: path, baudRate: baudRate, retryDelay: retryDelay)
        return modem
    }
}

/// Opens a modem's serial device again when it comes back.
private final class SerialReopener: ModemHandler, TimerHandler {
    private let modem: Modem
    private let path: String
    private let baudRate: Int?
    private let retryDelay: Duration
    private lazy var timer = Timer(on: modem.loop)

    init(_ modem: Modem, path: String, baudRate: Int?, retryDelay: Duration) {
        self.modem = modem
        self.path = path
        self.baudRate = baudRate
        self.retryDelay = retryDelay
    }

    func modemChanged(_ state: ModemState) {
        if case .down = state { timer.start(after: retryDelay, handler: self) }
    }

    func timerFired(_ timer: Timer) {
        do throws(SocketError) {
            let serial = try SerialPort.open(path: path, baudRate: baudRate, loop: modem.loop)
            modem.handler = self
            modem.attach(to: serial)
        } catch { timer.start(after: retryDelay, handler: self) }
    }
}
#endif
