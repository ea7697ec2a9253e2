#if os(Linux)
public import Kernel
public import SAL

extension Modem {
    /// A modem at the serial device `path`, which is opened again when it has vanished and come back.
    ///
    /// Throws if the device cannot be opened now. Call it on `loop`.
    public static func open(
        path: String,
        baudRate: Int? = nil,
        loop: EventLoop,
        configuration: ModemConfiguration = ModemConfiguration()
    ) throws(SocketError) -> Modem {
        let serial = try SerialPort.open(path: path, baudRate: baudRate, loop: loop)
        let modem = Modem(serial: serial, loop: loop, configuration: configuration)
        modem.handler = SerialReopener(modem, path: path, baudRate: baudRate)
        return modem
    }
}

/// Opens a modem's serial device again when it comes back.
private final class SerialReopener: ModemHandler, TimerHandler {
    private let modem: Modem
    private let path: String
    private let baudRate: Int?
    private let retryDelay = Duration.milliseconds(500)
    private lazy var timer = Timer(on: modem.loop)

    init(_ modem: Modem, path: String, baudRate: Int?) {
        self.modem = modem
        self.path = path
        self.baudRate = baudRate
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
