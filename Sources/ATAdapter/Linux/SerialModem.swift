#if os(Linux)
public import Kernel
public import SAL

extension Modem {
    /// A modem at the port `path`: a serial device, or a port of a serial server (`tcp://HOST:PORT`, `rfc2217://HOST:PORT`; see `SerialServer`).
    ///
    /// The port is opened again when it has vanished and come back, until ``detach()``. Throws if a device cannot be opened now, or if the name or the rate
    /// is none; a server is waited for. `tcp://` has no rate. Call it on `loop`.
    public static func open(
        _ driver: ModemDriver = .espAT,
        path: String,
        settings: SerialSettings = SerialSettings(),
        rate: ModemRate = .fixed,
        loop: EventLoop,
        configuration: ModemConfiguration = ModemConfiguration()
    ) throws(SocketError) -> Modem {
        let modem = Modem(driver, loop: loop, configuration: configuration)
        guard rate == .fixed || !path.hasPrefix("tcp://") else { throw .notSupported }
        let port = try SerialLine(
            path,
            settings: settings,
            loop: loop,
            // It may have been detached, or given another line, meanwhile.
            isWanted: { modem.reopen != nil && modem.state == .down },
            attach: { modem.attach(to: $0) }
        )
        modem.reopen = { port.wait() }
        if rate != .fixed || settings.hasFlowControl { modem.rateKeeper = RateKeeper(modem, port, rate) }
        do throws(SocketError) { try port.open() } catch {
            modem.reopen = nil
            throw error
        }
        return modem
    }
}

extension Multiplexer {
    /// A multiplexer at the port `path`, as `Modem.open` takes it, which is opened again when it has vanished and come back, until ``close()``.
    ///
    /// Throws if a device cannot be opened now, if the name or the rate is none, or if modems of this `driver` have no multiplexer. Call it on `loop`.
    public static func open(
        _ driver: ModemDriver,
        path: String,
        settings: SerialSettings = SerialSettings(),
        loop: EventLoop,
        configuration: MultiplexerConfiguration = MultiplexerConfiguration()
    ) throws(SocketError) -> Multiplexer {
        var configuration = configuration
        if let baudRate = settings.baudRate { configuration.baudRate = baudRate }
        let multiplexer = try Multiplexer(driver, loop: loop, configuration: configuration)
        let port = try SerialLine(
            path,
            settings: settings,
            loop: loop,
            isWanted: { multiplexer.reopen != nil && multiplexer.state == .down },
            attach: { multiplexer.attach(to: $0) }
        )
        multiplexer.reopen = { port.wait() }
        do throws(SocketError) { try port.open() } catch {
            multiplexer.reopen = nil
            throw error
        }
        return multiplexer
    }
}

/// Opens a port, again and again where it is not there, and gives it to its user.
final class SerialLine: ByteStreamHandler, TimerHandler {
    private let path: String
    /// How the port is set up the next time.
    var settings: SerialSettings
    private let loop: EventLoop
    private let isWanted: () -> Bool
    private let attach: (any ByteStream) -> Void
    private let timer: Timer
    private var stream: (any ByteStream)?

    init(
        _ path: String,
        settings: SerialSettings,
        loop: EventLoop,
        isWanted: @escaping () -> Bool,
        attach: @escaping (any ByteStream) -> Void
    ) throws(SocketError) {
        self.path = path
        self.settings = settings
        self.loop = loop
        self.isWanted = isWanted
        self.attach = attach
        // A wrong name is told at once.
        _ = try SerialServer(path, settings: settings, loop: loop)
        timer = Timer(on: loop)
    }

    func open() throws(SocketError) {
        if let server = try SerialServer(path, settings: settings, loop: loop) {
            stream = server.open(deadline: loop.now + .seconds(10), handler: self)
        } else {
            attach(try SerialPort.open(path: path, settings: settings, loop: loop))
        }
    }

    /// Opens it in a moment.
    func wait(_ time: Duration = .milliseconds(500)) { timer.start(after: time, handler: self) }

    func timerFired(_ timer: Timer) {
        guard isWanted() else { return }
        do throws(SocketError) { try open() } catch { wait() }
    }

    /// The server has the line ready; it is handed over.
    func opened() {
        guard let stream else { return }
        self.stream = nil
        isWanted() ? attach(stream) : stream.close()
    }

    func received(_ bytes: Span<UInt8>) -> Int { 0 }

    func writable() {}

    func closed(_ error: SocketError?) {
        stream = nil
        if isWanted() { wait() }
    }
}
#endif
