public import Kernel
public import SAL

/// A modem with ESP-AT firmware as a `Network`.
///
/// It sets the modem up, and again after the modem has restarted or the serial line has come back. Sockets that are opened meanwhile wait up to
/// their deadline. One command is in flight at a time: closing goes before reading, reading before writing, writing before
/// opening, and sockets take turns. Reception is passive where the firmware can do it, so that a reader that takes nothing stops the peer.
public final class Modem: Network, ByteStreamHandler, TimerHandler, EndOfTurnHandler, @unchecked Sendable {
    // @unchecked: everything is touched on `loop` only.

    /// What the command in flight is for.
    enum Operation: Equatable {
        case none
        case setUp(Step)
        case open(link: Int)
        case read(link: Int)
        case write(link: Int, count: Int)
        case close(link: Int)
        case querySignal
        case synchronize
    }

    /// The steps of setting up, in their order.
    enum Step: Int {
        case attention, closeAll, reset, echoOff, stationMode, join, multiplex, passiveReception
    }

    /// A link of the modem and who uses it.
    struct Link {
        var socket: ModemSocket?
        /// The modem has it open, or may have.
        var isOpen = false
        /// The peer has ended it; what the modem still holds is read first.
        var isEnding = false
        var mayHaveData = false
        var mustClose = false
    }

    /// The loop that its sockets live on.
    public let loop: EventLoop
    let configuration: ModemConfiguration
    /// What the modem is doing.
    public internal(set) var state = ModemState.down
    /// The signal strength in dBm when it was last asked for.
    public internal(set) var signal: Int?
    /// Who is told when the state changes; kept alive while there is a serial line.
    public var handler: (any ModemHandler)?
    private var serial: (any ByteStream)?
    var engine = ATEngine<ESPAT>()
    var operation = Operation.none
    private var serialOutgoing = ByteQueue()
    private var lastCommand: [UInt8] = []
    /// Sockets that wait for a link.
    var waiting: [ModemSocket] = []
    var links: [Link] = []
    var isPassive = false
    var mustSynchronize = false
    var synchronizeTries = 0
    var wantsSignal = false
    /// The step of setting up that comes next; `nil` when it is done, or has failed.
    var nextStep: Step?
    /// Passive reception is tried in its newer form.
    var triesRecvType = false
    var setUpTries = 0
    var retryAt: Duration?
    /// Which link has its turn next.
    var turn = 0
    /// What a line of the current answer has said about why an open fails.
    var openFailure: SocketError?
    /// How many bytes the current read has brought.
    var readCount = 0
    private lazy var timer = Timer(on: loop)
    private var isAtEndOfTurn = false

    /// A modem on the serial line `serial`, which it sets up at once. Its limits are those of `configuration`.
    public init(serial: any ByteStream, loop: EventLoop, configuration: ModemConfiguration = ModemConfiguration()) {
        self.loop = loop
        self.configuration = configuration
        for _ in 0..<ESPAT.linkCount { links.append(Link()) }
        attach(to: serial)
    }

    /// Goes on with a new serial line, after the earlier one has ended: the modem is set up again.
    public func attach(to serial: any ByteStream) {
        self.serial = serial
        serial.handler = self
        engine.reset()
        serialOutgoing.removeAll()
        setUpTries = 0
        startSetUp()
        askForEndOfTurn()
    }

    /// Lets go of the serial line; all sockets end.
    public func detach() {
        guard let serial else { return }
        serial.handler = nil
        serial.close()
        closed(nil)
    }

    /// Five links, pieces of 2,048 bytes; flow control with passive reception.
    public var capabilities: NetworkCapabilities {
        NetworkCapabilities(
            maximumSockets: ESPAT.linkCount,
            sendChunkBytes: configuration.sendChunkBytes,
            datagramBytes: 0,
            hasReceiveFlowControl: isPassive
        )
    }

    /// Opens a TCP connection; the modem resolves names itself. While it opens, which may take long, the other sockets wait.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let socket = ModemSocket(self, to: endpoint, deadline: deadline, handler: handler)
        if ESPAT.isAllowed(endpoint.host) {
            waiting.append(socket)
        } else {
            ended.append(socket)
            socket.end(.nameNotFound)
        }
        askForEndOfTurn()
        setTimer()
        return socket
    }

    /// Not offered yet: the socket ends with `SocketError.denied(code:)`.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        RefusedDatagramSocket(loop: loop, handler: handler)
    }

    /// Asks the modem for ``signal`` when it has time.
    public func querySignal() {
        wantsSignal = true
        askForEndOfTurn()
    }

    /// Sockets without a link whose owner is still to be told.
    var ended: [ModemSocket] = []

    // MARK: The serial line

    /// Part of `ByteStreamHandler`, for the serial line.
    public func opened() {}

    /// The serial line has room again: part of `ByteStreamHandler`.
    public func writable() { flush() }

    /// The serial line is over: part of `ByteStreamHandler`.
    public func closed(_ error: SocketError?) {
        serial = nil
        engine.reset()
        operation = .none
        timer.stop()
        endAllSockets(.deviceRestarted)
        change(to: .down)
        handler = nil
    }

    /// Bytes from the modem: part of `ByteStreamHandler`.
    public func received(_ bytes: Span<UInt8>) -> Int {
        let now = loop.now
        let deadline = engine.deadline
        var taken = 0
        while taken < bytes.count {
            let rest = bytes.extracting(droppingFirst: taken)
            let (count, event) = engine.receive(rest, at: now)
            taken += count
            switch event {
            case nil: continue
            case .payload(let offset, let count, let isLast):
                deliver(rest.extracting(offset..<(offset + count)), isLast: isLast)
            case let event?: handle(event)
            }
        }
        // A busy modem shortens it without an event.
        if engine.deadline != deadline { setTimer() }
        askForEndOfTurn()
        return bytes.count
    }

    private func handle(_ event: ATEngine<ESPAT>.Event) {
        switch event {
        case .line: handleLine(engine.line)
        case .finished(let error): finished(error)
        case .prompt: sendPayload()
        case .restarted: restarted()
        case .repeatCommand: send(lastCommand, hasPayload: isWriting, timeout: .seconds(10))
        case .payload: break
        }
    }

    private var isWriting: Bool { if case .write = operation { true } else { false } }

    /// Writes a command line.
    func send(_ command: [UInt8], hasPayload: Bool = false, timeout: Duration) {
        lastCommand = command
        serialOutgoing.append(command.span)
        flush()
        engine.commandSent(hasPayload: hasPayload, timeout: timeout, at: loop.now)
        setTimer()
    }

    private func sendPayload() {
        guard case .write(let link, let count) = operation else { return }
        if let socket = links[link].socket, socket.outgoing.count >= count {
            socket.outgoing.withSpan { serialOutgoing.append($0.extracting(first: count)) }
        } else {
            // The socket was aborted meanwhile: the modem still gets as many bytes as it waits for, and the link is closed.
            let filler = [UInt8](repeating: 0, count: count)
            serialOutgoing.append(filler.span)
            links[link].mustClose = true
        }
        flush()
        engine.payloadSent(at: loop.now)
        setTimer()
    }

    private func flush() {
        while !serialOutgoing.isEmpty, let serial {
            let count = serialOutgoing.withSpan { serial.send($0) }
            guard count > 0 else { return }
            serialOutgoing.removeFirst(count)
        }
    }

    // MARK: Time

    func setTimer() {
        var next = engine.deadline
        if let retryAt { next = min(next ?? retryAt, retryAt) }
        for socket in waiting { next = min(next ?? socket.deadline, socket.deadline) }
        for link in links {
            guard let socket = link.socket, !socket.isOpen, !socket.isEnded else { continue }
            next = min(next ?? socket.deadline, socket.deadline)
        }
        if let next { timer.start(at: next, handler: self) } else { timer.stop() }
    }

    /// A deadline has passed: part of `TimerHandler`.
    public func timerFired(_ timer: Timer) {
        let now = loop.now
        if let event = engine.handleTimeout(at: now) { handle(event) }
        for socket in waiting where socket.deadline <= now {
            socket.end(state == .attached ? .timedOut : .noNetwork)
        }
        for link in links {
            // Its owner is told; the link stays taken until the modem has answered.
            guard let socket = link.socket, !socket.isOpen, socket.deadline <= now else { continue }
            socket.end(.timedOut)
        }
        if let retryAt, retryAt <= now {
            self.retryAt = nil
            startSetUp()
        }
        setTimer()
        askForEndOfTurn()
    }

    // MARK: The end of a turn

    func askForEndOfTurn() {
        if isAtEndOfTurn { return }
        isAtEndOfTurn = true
        loop.atEndOfTurn(self)
    }

    /// Tells handlers what is due and starts the next command: part of `EndOfTurnHandler`.
    public func endOfTurn() {
        isAtEndOfTurn = false
        for index in links.indices {
            guard let socket = links[index].socket else { continue }
            socket.offerUntaken()
            if links[index].isEnding, !links[index].mayHaveData, socket.untaken.isEmpty { socket.end(nil) }
            if socket.isClosing, socket.outgoing.isEmpty, operation != .write(link: index, count: 0) {
                links[index].mustClose = true
            }
            if socket.owesWritable, !socket.isEnded, socket.outgoing.count <= configuration.sendBufferBytes / 2 {
                socket.owesWritable = false
                socket.handler?.writable()
            }
            if socket.isEnded {
                if links[index].isOpen, !links[index].isEnding { links[index].mustClose = true }
                if links[index].isEnding { links[index].isOpen = false }
                if !links[index].isOpen { links[index] = Link() } else { links[index].socket = nil }
                tell(socket)
            }
        }
        if !waiting.isEmpty {
            let over = waiting.filter { $0.isEnded }
            waiting.removeAll { $0.isEnded }
            for socket in over { tell(socket) }
        }
        if !ended.isEmpty {
            let over = ended
            ended = []
            for socket in over { tell(socket) }
        }
        if serial != nil, engine.isIdle, operation == .none { startNext() }
    }

    private func tell(_ socket: ModemSocket) {
        let handler = socket.handler
        socket.handler = nil
        handler?.closed(socket.error)
    }

    func change(to state: ModemState) {
        guard state != self.state else { return }
        self.state = state
        handler?.modemChanged(state)
    }
}
