public import Kernel
public import SAL

/// A modem as a `Network`.
///
/// It sets the modem up, and again after the modem has restarted, has lost its network, or its serial line has come back.
/// Sockets that are opened meanwhile wait up to their deadline. One command is in flight at a time, and sockets take turns,
/// a chunk each. Reception is passive where the firmware can do it, so that a reader that takes nothing stops the peer.
public final class Modem: Network, DatagramNetwork, ByteStreamHandler, TimerHandler, EndOfTurnHandler,
    @unchecked Sendable
{
    // @unchecked: everything is touched on `loop` only.

    /// A user's command that waits, or is in flight.
    final class UserCommand {
        let command: ATCommand
        let completion: (Result<[UInt8], ATError>) -> Void
        var next: UserCommand?

        init(_ command: ATCommand, _ completion: @escaping (Result<[UInt8], ATError>) -> Void) {
            self.command = command
            self.completion = completion
        }
    }

    /// The loop that its sockets live on.
    public let loop: EventLoop
    let timer: Timer
    private var serial: (any ByteStream)?
    let dialect: any ATDialect
    let traits: ATTraits
    /// Who is told what the modem does; kept alive while it is set.
    public var handler: (any ModemHandler)?
    /// What its firmware does beside sockets; kept alive while it is set.
    var service: (any ModemService)?
    /// Tries to get a new serial line after the end of one.
    var reopen: (() -> Void)?
    private let turnEnd: EndOfTurn
    /// Why the result of the command in flight will be bad.
    var reason = ATReason.none
    var wantsSignal = false
    /// Whether ``pollsAt`` is set, or a poll under way.
    var isPolling = false
    /// The command in flight, and the socket that it is for.
    var request = ATRequest(kind: .none)
    var requestSocket: ModemSocket?
    /// With a link or still without one, and those whose owners are still to be told of their end.
    var firstSocket: ModemSocket?
    var firstUserCommand: UserCommand?
    var answer: [UInt8] = []
    /// What the read in flight has brought, from whom, and whether it cannot be right. It is given on when the modem has said `OK`.
    var readBuffer: [UInt8] = []
    var readSender: SocketAddress?
    var isReadDamaged = false
    /// How many bytes of the send in flight the modem says that it took; whether it was given any.
    var acceptedBytes: Int?
    var wasGivenPayload = false
    /// The next step of the bring-up; negative when it is done.
    var attachStep = 0
    var attachFailures = 0
    /// The step in flight need not succeed.
    var attachIsOptional = false
    /// Which command ended last.
    var finishedSerial = 0
    /// Which link, and which kind of work, had its turn last.
    var lastLink = 0
    var lastWork = 0
    /// The signal strength in dBm when it was last asked for.
    public internal(set) var signal: Int?
    /// What the modem is doing.
    public private(set) var state = ModemState.down
    /// When the bring-up goes on after it has failed.
    var resumesAt = Duration.zero
    /// When the modem is asked what it holds.
    var pollsAt = ATEngine.never
    /// Which link was polled last, and the step of the next poll.
    var lastPolled: Int
    var pollStep = 0
    let configuration: ModemConfiguration
    var engine: ATEngine
    /// When bytes last went over the serial line.
    var lastActivity = Duration.zero
    #if os(Linux)
    /// Finds the rate of the serial line, and changes it.
    var rateKeeper: RateKeeper?
    #endif
    #if !hasFeature(Embedded)
    /// Who has the serial line to itself.
    var pipe: TransparentStream?
    var linkReaders = ModemLinkReaders()
    /// Is told the lines that go to the modem and come from it, without payloads and secrets; called on ``loop``.
    public var trace: ((ModemTraceLine) -> Void)?
    #endif
    /// What went wrong so far.
    public var counters: ATCounters { engine.counters }

    /// A modem on the serial line `serial`, which it sets up at once. Its limits are those of `configuration` and of the `driver`.
    public convenience init(
        _ driver: ModemDriver = .espAT,
        serial: any ByteStream,
        loop: EventLoop,
        configuration: ModemConfiguration = ModemConfiguration()
    ) {
        self.init(driver, loop: loop, configuration: configuration)
        attach(to: serial)
    }

    /// A modem without a serial line.
    init(_ driver: ModemDriver, loop: EventLoop, configuration: ModemConfiguration) {
        self.loop = loop
        self.configuration = configuration
        dialect = driver.makeDialect()
        traits = dialect.traits
        lastPolled = traits.links.lowerBound
        engine = ATEngine(dialect: dialect, maximumLineBytes: configuration.lineBytes)
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
    }

    /// Goes on with a new serial line, in place of the one before: the modem is set up again.
    public func attach(to serial: any ByteStream) {
        letGo()
        self.serial = serial
        serial.handler = self
        startOver()
        #if os(Linux)
        rateKeeper?.lineAttached()
        #endif
    }

    /// Lets go of the serial line for good, or until ``attach(to:)``; all sockets that have a link end with
    /// `SocketError.deviceRestarted`.
    public func detach() {
        reopen = nil
        letGo()
        #if os(Linux)
        rateKeeper = nil
        #endif
    }

    /// Ends everything for good: all sockets end with `SocketError.closed` or `.deviceRestarted`, also those that wait for a link.
    public func close() {
        service?.endForGood()
        detach()
        while let socket = firstSocket(where: { !$0.isEnded }) { socket.end(.closed) }
        askForEndOfTurn()
    }

    /// Lets go of the serial line; another one is not looked for.
    func letGo() {
        guard let serial else { return }
        serial.handler = nil
        serial.close()
        end()
    }

    // MARK: Network

    /// The modem's links, and the chunks of its configuration.
    public var capabilities: NetworkCapabilities {
        NetworkCapabilities(
            maximumSockets: traits.links.count,
            sendChunkBytes: chunkBytes,
            datagramBytes: datagramBytes,
            hasReceiveFlowControl: dialect.isPassive
        )
    }

    var chunkBytes: Int { min(configuration.sendChunkBytes, traits.sendBytes) }
    var datagramBytes: Int { min(configuration.sendChunkBytes, traits.datagramBytes) }

    /// Opens a TCP connection; the modem resolves names itself. While it opens, which may take long, the other sockets of some modems wait.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let stream = ModemStream(
            self,
            host: endpoint.host,
            port: endpoint.port,
            isDatagram: false,
            deadline: deadline
        )
        stream.handler = handler
        admit(stream)
        return stream
    }

    /// Opens a UDP socket for one peer, whose name is resolved first.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        let socket = ModemDatagramSocket(
            self,
            host: endpoint.host,
            port: endpoint.port,
            isDatagram: true,
            deadline: deadline
        )
        socket.handler = handler
        admit(socket)
        return socket
    }

    /// Asks the modem for the address of a name, or takes the text of an address; tells `completion` the address, or why there is none,
    /// at the latest at `deadline`.
    public func resolve(
        _ host: [UInt8],
        deadline: Duration,
        completion: @escaping (Result<IPAddress, SocketError>) -> Void
    ) {
        admit(ModemLookup(self, host: host, deadline: deadline, completion))
    }

    private func admit(_ socket: ModemSocket) {
        var command = ATCommand()
        command.line.append(quoted: socket.host, escaping: traits.hasEscapes)
        // The rest of the command takes less than 40 bytes; a name that does not fit is none.
        let isUnquotable = !traits.hasEscapes && socket.host.contains(UInt8(ascii: "\""))
        if socket.host.isEmpty || isUnquotable || command.problem(maximumBytes: traits.commandBytes - 40) != nil {
            socket.end(.nameNotFound)
        }
        var last = firstSocket
        var count = last == nil ? 0 : 1
        while let next = last?.next {
            last = next
            count += 1
        }
        if count >= configuration.maximumSockets { socket.end(.tooManySockets(code: 0)) }
        if let last { last.next = socket } else { firstSocket = socket }
        askForEndOfTurn()
    }

    // MARK: Commands

    /// Asks the modem for ``signal`` when it has time.
    public func querySignal() {
        wantsSignal = true
        askForEndOfTurn()
    }

    /// Sends a command line of the user's own, without its terminator, when the modem has time: when it is attached, or waits for its network.
    ///
    /// `completion` is told the lines of the answer, each ended by a line feed, without the final result; or why there is
    /// none. The command must not change how the modem talks: echo, data modes, links.
    public func execute(
        _ line: [UInt8],
        timeoutMilliseconds: Int = 5_000,
        completion: @escaping (Result<[UInt8], ATError>) -> Void
    ) throws(ATError) {
        let command = ATCommand(line: line, timeout: timeoutMilliseconds)
        if let problem = command.problem(maximumBytes: traits.commandBytes) { throw problem }
        var last = firstUserCommand
        var count = last == nil ? 0 : 1
        while let next = last?.next {
            last = next
            count += 1
        }
        if count >= configuration.waitingCommands { throw .queueFull }
        let user = UserCommand(command, completion)
        if let last { last.next = user } else { firstUserCommand = user }
        askForEndOfTurn()
    }

    // MARK: The serial line

    /// Takes what the modem says: part of `ByteStreamHandler`.
    public func received(_ bytes: Span<UInt8>) -> Int {
        var position = 0
        let now = loop.now
        lastActivity = now
        while !isPipe, let event = engine.receive(bytes, from: &position, at: now) { handle(event, in: bytes) }
        askForEndOfTurn()
        #if !hasFeature(Embedded)
        if let pipe, isPipe, position < bytes.count {
            return position + pipe.received(bytes.extracting(droppingFirst: position))
        }
        #endif
        return bytes.count
    }

    /// Does nothing: part of `ByteStreamHandler`.
    public func opened() {}

    /// Goes on sending: part of `ByteStreamHandler`.
    public func writable() { askForEndOfTurn() }

    /// The serial line is gone, and all sockets with it: part of `ByteStreamHandler`.
    public func closed(_ error: SocketError?) {
        end()
        reopen?()
    }

    private func end() {
        serial = nil
        loseDevice()
        while firstUserCommand != nil { finishUserCommand(.failure(.cancelled)) }
        change(to: .down)
    }

    private func flush() {
        while let serial, !engine.outgoing.isEmpty {
            let count = engine.outgoing.withSpan { serial.send($0) }
            if count == 0 { return }
            lastActivity = loop.now
            engine.wrote(count, at: loop.now)
        }
    }

    // MARK: Turns

    /// Whether bytes of the line are no answers.
    private var isPipe: Bool {
        #if hasFeature(Embedded)
        false
        #else
        pipe?.isOpen == true
        #endif
    }

    #if !hasFeature(Embedded)
    func resumeSerial() { serial?.resumeReceiving() }
    #endif

    func askForEndOfTurn() { turnEnd.request(self) }

    /// Acts on deadlines that have passed: part of `TimerHandler`.
    public func timerFired(_ timer: Timer) {
        let now = loop.now
        let nothing: [UInt8] = []
        while let event = engine.handleTimeout(at: now) { handle(event, in: nothing.span) }
        askForEndOfTurn()
    }

    /// Tells handlers what is due, starts the next command, and sends: part of `EndOfTurnHandler`.
    public func endOfTurn() {
        timer.stop()
        // Handlers may open sockets meanwhile: those come behind.
        var previous: ModemSocket?
        var rest = firstSocket
        while let socket = rest {
            settle(socket)
            rest = socket.next
            if socket.isTold && socket.phase == .gone {
                if let previous { previous.next = rest } else { firstSocket = rest }
                continue
            }
            if socket.hasDeadline { startTimer(at: socket.deadline) }
            if let time = socket.opensUntil { startTimer(at: time) }
            if socket.phase == .open, socket.resends > 0, !isDue(socket.resendsAt) { startTimer(at: socket.resendsAt) }
            previous = socket
        }
        #if !hasFeature(Embedded)
        if let pipe {
            pipe.settle()
            startTimer(at: pipe.deadline)
        }
        #endif
        guard let serial else { return }
        startNext()
        flush()
        #if !hasFeature(Embedded)
        if let pipe, isPipe {
            pipe.pass(to: serial)
            startTimer(at: pipe.deadline)
        }
        #endif
        startTimer(at: engine.deadline)
        // What is due already waits for the command in flight.
        if !isDue(pollsAt) { startTimer(at: pollsAt) }
        if let service, !isDue(service.deadline) { startTimer(at: service.deadline) }
        if attachStep >= 0 && !isDue(resumesAt) { startTimer(at: resumesAt) }
        #if !hasFeature(Embedded)
        tellLinkState()
        #endif
    }

    /// Nothing was answered since the bring-up has begun.
    var isSilent: Bool { serial != nil && attachStep == 0 && (engine.phase == .drain || engine.phase == .probe) }

    func isDue(_ time: Duration) -> Bool { time <= loop.now }

    func time(after milliseconds: Int) -> Duration { loop.now + .milliseconds(milliseconds) }

    private func startTimer(at time: Duration) {
        if time >= timer.deadline ?? ATEngine.never { return }
        timer.start(at: time, handler: self)
    }

    /// What a socket waits for that waits for a link.
    private var lack: SocketError {
        if attachStep >= 0 { return .noNetwork }
        #if !hasFeature(Embedded)
        if pipe != nil { return .tooManySockets(code: 0) }
        #endif
        for link in traits.links where socket(at: link) == nil { return .timedOut }
        return .tooManySockets(code: 0)
    }

    /// Does for a socket what is due.
    private func settle(_ socket: ModemSocket) {
        if socket.hasDeadline, isDue(socket.deadline) {
            socket.end(socket.phase == .waiting ? lack : .timedOut)
        }
        if socket.isReceiving {
            socket.offerUntaken()
            socket.tellWritable()
        }
        if let time = socket.opensUntil, isDue(time) { socket.end(.timedOut) }
        if !socket.isEnded { tellSent(socket) }
        switch socket.phase {
        case .open:
            if socket.isPeerDone, !socket.hasData, !socket.isReading, socket.untaken.isEmpty {
                socket.end(socket.error)
                if !traits.keepsClosedLinks { rest(socket) }
            } else if socket.isClosing, socket.outgoing.isEmpty {
                socket.end(nil)
            } else if !isPolling {
                isPolling = true
                pollsAt = loop.now + configuration.pollInterval
            }
        case .resting: if socket.restsAfter < finishedSerial { socket.phase = .gone }
        case .waiting, .opening, .closing, .gone: break
        }
        if socket.isEnded, !socket.isTold {
            socket.isTold = true
            socket.tellClosed()
        }
        if socket.isEnded { tellSent(socket) }
    }

    private func tellSent(_ socket: ModemSocket) {
        guard socket.outgoing.isEmpty, let sent = socket.sent else { return }
        socket.sent = nil
        sent()
    }

    func change(to state: ModemState) {
        switch (self.state, state) {
        case (.down, .down), (.searching, .searching), (.attached, .attached): return
        default: self.state = state
        }
        #if !hasFeature(Embedded)
        tellLinkState()
        #endif
        service?.modemChanged(isAttached: state == .attached)
        handler?.modemChanged(state)
        #if os(Linux)
        rateKeeper?.modemChanged(state)
        #endif
    }
}
