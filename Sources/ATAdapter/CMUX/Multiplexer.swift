public import Kernel
public import SAL

/// One serial line as several: the multiplexer of 3GPP 27.010, on the side of the host.
///
/// It finds the modem on `serial`, has it speak in frames (`AT+CMUX`), and opens channels: each is a byte stream, mostly one to AT commands of its own.
/// A ``Modem`` lives on one; a console, a listener for what comes unasked, or a second modem on others. A modem that has left the
/// multiplexer, as after a restart, is noticed: all channels end with `SocketError.deviceRestarted`, and those that are opened then wait until it is set up again.
public final class Multiplexer: ByteStreamHandler, TimerHandler, EndOfTurnHandler, @unchecked Sendable {
    // @unchecked: everything is touched on `loop` only.

    enum Phase {
        case down
        /// Commands, until `AT+CMUX` is accepted; a pause behind that; or a pause behind what has failed.
        case plain
        case settling(until: Duration)
        case pausing(until: Duration)
        case framed
        /// The modem was told to end the frames, and then the line closes.
        case leaving(until: Duration)
        case closed
    }

    /// The loop that its channels live on.
    public let loop: EventLoop
    let configuration: MultiplexerConfiguration
    let driver: ModemDriver
    let dialect: any ATDialect
    /// Who is told what it does; kept alive while it is set.
    public var handler: (any MultiplexerHandler)?
    /// Tries to get a new serial line after the end of one.
    var reopen: (() -> Void)?
    private var serial: (any ByteStream)?
    private let timer: Timer
    private let turnEnd: EndOfTurn
    var phase = Phase.down
    var engine: ATEngine
    var session: CMUXSession
    var channels: [MultiplexerChannel] = []
    /// Which of the ways to ask for frames is tried.
    var step = 0
    var failures = 0
    /// Which channel sent last.
    private var lastSender = 0
    private var earlier = MultiplexerCounters()
    /// What it is doing.
    public private(set) var state = MultiplexerState.down

    /// A multiplexer on the serial line `serial`, which it sets up at once. Throws `SocketError.notSupported` if modems of this `driver` have none.
    public convenience init(
        _ driver: ModemDriver,
        serial: any ByteStream,
        loop: EventLoop,
        configuration: MultiplexerConfiguration = MultiplexerConfiguration()
    ) throws(SocketError) {
        try self.init(driver, loop: loop, configuration: configuration)
        attach(to: serial)
    }

    /// One without a line.
    init(_ driver: ModemDriver, loop: EventLoop, configuration: MultiplexerConfiguration) throws(SocketError) {
        self.loop = loop
        self.driver = driver
        var configuration = configuration
        configuration.frameBytes = min(max(configuration.frameBytes, 31), 1_509)
        self.configuration = configuration
        dialect = driver.makeDialect()
        engine = ATEngine(dialect: dialect, maximumLineBytes: 128)
        session = Self.session(configuration, at: loop.now)
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
        guard dialect.traits.hasMultiplexer else { throw .notSupported }
    }

    private static func session(
        _ configuration: MultiplexerConfiguration,
        isTold: Bool = true,
        at now: Duration
    ) -> CMUXSession {
        // A modem that was not told has its own idea of what is long.
        CMUXSession(
            configuration.option,
            channels: configuration.channels,
            frameBytes: isTold ? configuration.frameBytes : 31,
            receivedFrameBytes: isTold ? configuration.frameBytes : 1_509,
            at: now
        )
    }

    /// What went over the line so far.
    public var counters: MultiplexerCounters {
        var sum = earlier
        sum.add(session.counters)
        return sum
    }

    // MARK: The serial line

    /// Goes on with a new serial line, in place of the one before: the modem is set up again.
    public func attach(to serial: any ByteStream) {
        if let old = self.serial {
            old.handler = nil
            old.close()
        }
        endChannels()
        self.serial = serial
        serial.handler = self
        startOver()
    }

    /// Ends all channels with `SocketError.closed` and tells the modem to end its frames; then closes the line, half a second later at most.
    public func close() {
        reopen = nil
        for channel in channels { channel.end(.closed) }
        switch phase {
        case .framed:
            session.shutDown(at: loop.now)
            phase = .leaving(until: loop.now + .milliseconds(500))
            change(to: .down)
        case .leaving, .closed: break
        case .down, .plain, .settling, .pausing: letGo()
        }
        askForEndOfTurn()
    }

    private func letGo() {
        phase = .closed
        serial?.handler = nil
        serial?.close()
        serial = nil
        change(to: .down)
    }

    /// The modem is to be found, whatever it is doing: an earlier program may have left it with frames.
    private func startOver() {
        step = 0
        engine.resynchronize(at: loop.now)
        var goodbye = Self.session(configuration, at: loop.now)
        goodbye.outgoing.removeAll()
        goodbye.shutDown(at: loop.now)
        goodbye.outgoing.withSpan { engine.outgoing.append($0) }
        // To a modem without frames that was a line which means nothing.
        engine.outgoing.append(UInt8(ascii: "\r"))
        phase = .plain
        change(to: .starting)
        askForEndOfTurn()
    }

    /// Takes what the modem says: part of `ByteStreamHandler`.
    public func received(_ bytes: Span<UInt8>) -> Int {
        var position = 0
        let now = loop.now
        var isOver = false
        while !isOver {
            switch phase {
            case .plain:
                if let event = engine.receive(bytes, from: &position, at: now) { handle(event) } else { isOver = true }
            case .framed, .leaving:
                if let event = session.receive(bytes, from: &position, at: now) { handle(event) } else { isOver = true }
            case .down, .settling, .pausing, .closed: isOver = true
            }
        }
        for channel in channels { channel.offer() }
        askForEndOfTurn()
        return bytes.count
    }

    /// Does nothing: part of `ByteStreamHandler`.
    public func opened() {}

    /// Goes on sending: part of `ByteStreamHandler`.
    public func writable() { askForEndOfTurn() }

    /// The serial line is gone, and all channels with it: part of `ByteStreamHandler`.
    public func closed(_ error: SocketError?) {
        serial = nil
        endChannels()
        if case .leaving = phase { phase = .closed } else { phase = .down }
        change(to: .down)
        askForEndOfTurn()
        reopen?()
    }

    /// All channels that the modem has, or may have, are gone; the others go on waiting.
    private func endChannels() {
        for channel in channels where channel.isAtModem { channel.end(.deviceRestarted) }
    }

    // MARK: With frames

    private func startSession() {
        earlier.add(session.counters)
        session = Self.session(configuration, isTold: step == 0, at: loop.now)
        phase = .framed
    }

    private func handle(_ event: CMUXSession.Event) {
        switch event {
        case .started:
            failures = 0
            change(to: .up)
        case .opened(let number):
            guard let channel = channel(number) else { return }
            if case .opening = channel.phase {
                channel.phase = .open
                channel.handler?.opened()
            }
        case .closed(let number, let error):
            guard let channel = channel(number) else { return }
            channel.end(error ?? (channel.isFull ? .reset(code: 0) : nil))
        case .data(let number):
            guard let channel = channel(number) else { return }
            if session.withInformation({ channel.keep($0) }) { return }
            session.close(number, at: loop.now)
            channel.end(.overflow)
        case .writable: askForEndOfTurn()
        case .ended: ended()
        }
    }

    private func channel(_ number: Int) -> MultiplexerChannel? {
        channels.first { $0.number == number && $0.isAtModem }
    }

    private func ended() {
        if case .leaving = phase { return letGo() }
        earlier.losses += 1
        endChannels()
        startOver()
    }

    // MARK: Turns

    func askForEndOfTurn() { turnEnd.request(self) }

    /// Acts on deadlines that have passed: part of `TimerHandler`.
    public func timerFired(_ timer: Timer) {
        let now = loop.now
        switch phase {
        case .plain: while let event = engine.handleTimeout(at: now) { handle(event) }
        case .framed, .leaving:
            while case .framed = phase, let event = session.handleTimeout(at: now) { handle(event) }
            if case .leaving(let time) = phase, now >= time { letGo() }
        case .settling(let time): if now >= time { startSession() }
        case .pausing(let time): if now >= time { startOver() }
        case .down, .closed: break
        }
        askForEndOfTurn()
    }

    /// Tells owners what is due, and sends: part of `EndOfTurnHandler`.
    public func endOfTurn() {
        timer.stop()
        for channel in channels {
            channel.offer()
            settle(channel)
        }
        flush()
        for channel in channels {
            channel.tellWritable()
            channel.tellEnd()
        }
        channels.removeAll { $0.isOver }
        switch phase {
        case .plain: startTimer(at: engine.deadline)
        case .framed:
            startTimer(at: session.deadline)
            for channel in channels { if case .flushing = channel.phase { startTimer(at: channel.lingersUntil) } }
        case .settling(let time), .pausing(let time), .leaving(let time): startTimer(at: time)
        case .down, .closed: break
        }
    }

    private func startTimer(at time: Duration) {
        if time >= timer.deadline ?? CMUXSession.never { return }
        timer.start(at: time, handler: self)
    }

    /// Opens, stops and closes a channel at the modem as its owner wants it.
    private func settle(_ channel: MultiplexerChannel) {
        guard case .framed = phase, state == .up else { return }
        let now = loop.now
        switch channel.phase {
        case .waiting:
            channel.phase = .opening
            session.open(channel.number, at: now)
        case .open: session.setStopped(channel.isFull, channel.number, at: now)
        case .flushing:
            guard channel.outgoing.isEmpty || now >= channel.lingersUntil else { return }
            channel.phase = .closing
            session.close(channel.number, at: now)
        case .opening, .closing, .ending, .over: break
        }
    }

    /// Sends what there is: of the channels a frame each in turn.
    private func flush() {
        guard let serial else { return }
        switch phase {
        case .plain:
            while !engine.outgoing.isEmpty {
                let count = engine.outgoing.withSpan { serial.send($0) }
                if count == 0 { return }
                engine.wrote(count, at: loop.now)
            }
        case .framed, .leaving:
            repeat {
                let count = session.outgoing.withSpan { serial.send($0) }
                session.outgoing.removeFirst(count)
            } while sendFrame()
            let count = session.outgoing.withSpan { serial.send($0) }
            session.outgoing.removeFirst(count)
        case .down, .settling, .pausing, .closed: break
        }
    }

    /// Makes a frame of the next channel that has something to send; returns whether there was one.
    private func sendFrame() -> Bool {
        guard case .framed = phase, session.hasRoom else { return false }
        for offset in 1...max(channels.count, 1) where !channels.isEmpty {
            let channel = channels[(lastSender + offset) % channels.count]
            if channel.outgoing.isEmpty { continue }
            let count = channel.outgoing.withSpan { session.send($0, on: channel.number, at: loop.now) }
            guard count > 0 else { continue }
            channel.outgoing.removeFirst(count)
            lastSender = (lastSender + offset) % channels.count
            if case .flushing = channel.phase, channel.outgoing.isEmpty { settle(channel) }
            return true
        }
        return false
    }

    func change(to state: MultiplexerState) {
        guard state != self.state else { return }
        self.state = state
        handler?.multiplexerChanged(state)
    }
}
