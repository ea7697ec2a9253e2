#if os(Linux)
public import Kernel
public import SAL

extension Modem {
    /// A modem at the serial device `path`, which is opened again when it has vanished and come back, until ``detach()``.
    ///
    /// Throws if the device cannot be opened now. Call it on `loop`.
    public static func open(
        _ driver: ModemDriver = .espAT,
        path: String,
        baudRate: Int? = nil,
        loop: EventLoop,
        configuration: ModemConfiguration = ModemConfiguration()
    ) throws(SocketError) -> Modem {
        let serial = try SerialPort.open(path: path, baudRate: baudRate, loop: loop)
        let modem = Modem(driver, serial: serial, loop: loop, configuration: configuration)
        let reopener = SerialReopener(modem, path: path, baudRate: baudRate)
        modem.reopen = { reopener.start() }
        return modem
    }
}

/// Opens a modem's serial device again when it comes back.
private final class SerialReopener: TimerHandler {
    private let modem: Modem
    private let path: String
    private let baudRate: Int?
    private let timer: Timer

    init(_ modem: Modem, path: String, baudRate: Int?) {
        self.modem = modem
        self.path = path
        self.baudRate = baudRate
        timer = Timer(on: modem.loop)
    }

    func start() { timer.start(after: .milliseconds(500), handler: self) }

    func timerFired(_ timer: Timer) {
        // It may have been detached, or given another line, meanwhile.
        guard modem.reopen != nil, modem.state == .down else { return }
        do throws(SocketError) {
            modem.attach(to: try SerialPort.open(path: path, baudRate: baudRate, loop: modem.loop))
        } catch { start() }
    }
}
#endif
