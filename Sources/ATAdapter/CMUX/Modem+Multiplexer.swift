internal import Kernel
internal import SAL

extension Modem {
    /// A modem on a channel of `multiplexer`, set up again whenever that has been lost and has come back, until ``detach()``.
    ///
    /// It is ``ModemState/down`` while the channel is not open.
    public convenience init(
        over multiplexer: Multiplexer,
        channel: Int = 1,
        configuration: ModemConfiguration = ModemConfiguration()
    ) {
        self.init(multiplexer.driver, loop: multiplexer.loop, configuration: configuration)
        let line = ModemLine(self, multiplexer, channel)
        reopen = { line.open() }
        line.open()
    }
}

/// Gives a modem its channel, each time that there is one.
private final class ModemLine: ByteStreamHandler, TimerHandler {
    private let modem: Modem
    private let multiplexer: Multiplexer
    private let number: Int
    private let timer: Timer
    private var channel: (any ByteStream)?

    init(_ modem: Modem, _ multiplexer: Multiplexer, _ number: Int) {
        self.modem = modem
        self.multiplexer = multiplexer
        self.number = number
        timer = Timer(on: modem.loop)
    }

    func open() { channel = multiplexer.openChannel(number, handler: self) }

    func opened() {
        guard let channel else { return }
        self.channel = nil
        // It may have been detached, or given another line, meanwhile.
        guard modem.reopen != nil, modem.state == .down else { return channel.close() }
        modem.attach(to: channel)
    }

    /// The modem takes what comes from the moment that the channel is open.
    func received(_ bytes: Span<UInt8>) -> Int { 0 }

    func writable() {}

    /// There was no such channel: perhaps later.
    func closed(_ error: SocketError?) {
        channel = nil
        if error != .closed, modem.reopen != nil { timer.start(after: .seconds(5), handler: self) }
    }

    func timerFired(_ timer: Timer) { if modem.reopen != nil { open() } }
}
