#if os(Linux)
internal import Kernel

/// A serial line behind a server that speaks RFC 2217, as a byte stream over one of TCP.
final class RemoteSerialPort: ByteStream {
    private enum State {
        case connecting
        /// The server sets the line up, until then at the latest.
        case settingUp(until: Duration)
        case open
        /// What was taken is still sent, and then the connection closes.
        case closing
        /// The end is known and is told at the end of the turn.
        case ending(SocketError?)
        case closed
    }

    /// How many bytes wait to be sent before a send takes less than it is given.
    private static let sendBufferBytes = 65_536
    /// How long a server may take to set up a line once it has agreed to.
    private static let setUpTime = Duration.seconds(3)

    var handler: (any ByteStreamHandler)?
    private let loop: EventLoop
    private let deadline: Duration
    private let timer: Timer
    private lazy var turnEnd = EndOfTurn(on: loop)
    private var stream: (any ByteStream)?
    private var state = State.connecting
    private var line: TelnetLine
    private var owesWritable = false
    /// What the handler has not taken; while there is any, the server is stopped.
    private var incoming = ByteQueue()
    private var isWaiting = false

    init(settings: SerialSettings, loop: EventLoop, deadline: Duration, handler: any ByteStreamHandler) {
        self.loop = loop
        self.deadline = deadline
        self.handler = handler
        line = TelnetLine(settings: settings)
        timer = Timer(on: loop)
    }

    func connect(to endpoint: Endpoint, over network: LinuxNetwork) {
        stream = network.connect(to: endpoint, deadline: deadline, handler: self)
    }

    // MARK: What the owner does

    func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state else { return 0 }
        let count = line.send(bytes, limit: Self.sendBufferBytes)
        if count < bytes.count { owesWritable = true }
        if count > 0 { askForEndOfTurn() }
        return count
    }

    func resumeReceiving() {
        isWaiting = false
        askForEndOfTurn()
    }

    func close() {
        switch state {
        case .connecting, .settingUp: abort()
        case .open:
            state = .closing
            incoming.removeAll()
            // A server may have stopped this side for as long as its line likes.
            timer.start(after: .seconds(5), handler: self)
            askForEndOfTurn()
        case .closing, .ending, .closed: break
        }
    }

    func abort() {
        switch state {
        case .ending, .closed: return
        case .connecting, .settingUp, .open, .closing: end(nil)
        }
    }

    /// Ends the stream; the handler is told at the end of the turn.
    private func end(_ error: SocketError?) {
        stream?.handler = nil
        stream?.abort()
        finish(error)
    }

    private func finish(_ error: SocketError?) {
        stream = nil
        timer.stop()
        incoming.removeAll()
        state = .ending(error)
        askForEndOfTurn()
    }

    // MARK: Turns

    private func askForEndOfTurn() { turnEnd.request(self) }

    private func flush() {
        guard let stream, !line.isSuspended || !isOpen else { return }
        while !line.outgoing.isEmpty {
            let count = line.outgoing.withSpan { stream.send($0) }
            if count == 0 { break }
            line.outgoing.removeFirst(count)
        }
        if case .closing = state, line.outgoing.isEmpty {
            stream.handler = nil
            stream.close()
            return finish(nil)
        }
        if owesWritable, line.outgoing.count <= Self.sendBufferBytes / 2, isOpen {
            owesWritable = false
            handler?.writable()
        }
    }

    private var isOpen: Bool { if case .open = state { true } else { false } }

    private func offer() {
        guard case .open = state, !incoming.isEmpty, !isWaiting else { return }
        // The handler may close the stream meanwhile.
        var offered = ByteQueue()
        swap(&offered, &incoming)
        let taken = offered.withSpan { handler?.received($0) ?? 0 }
        precondition(taken >= 0 && taken <= offered.count, "a handler took more than it was given")
        guard case .open = state else { return }
        offered.removeFirst(taken)
        swap(&offered, &incoming)
        isWaiting = !incoming.isEmpty
    }
}

extension RemoteSerialPort: ByteStreamHandler, TimerHandler, EndOfTurnHandler {
    func attemptFailed(_ address: SocketAddress, _ error: SocketError) { handler?.attemptFailed(address, error) }

    func opened() {
        guard case .connecting = state else { return }
        let until = min(deadline, loop.now + Self.setUpTime)
        state = .settingUp(until: until)
        timer.start(at: until, handler: self)
        askForEndOfTurn()
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        // The handler has enough.
        if isWaiting { return 0 }
        line.receive(bytes, data: &incoming)
        if case .settingUp = state {
            // What the line said before it was open belongs to nobody.
            incoming.removeAll()
            lookAtLine()
        } else {
            offer()
        }
        askForEndOfTurn()
        return bytes.count
    }

    private func lookAtLine() {
        switch line.state {
        case .negotiating, .settingUp: break
        case .ready:
            state = .open
            timer.stop()
            handler?.opened()
        case .failed(let error): end(error)
        }
    }

    func writable() { askForEndOfTurn() }

    /// The server has ended the connection, as for a device that has vanished.
    func closed(_ error: SocketError?) {
        switch state {
        case .ending, .closed: break
        case .closing: finish(error)
        case .connecting, .settingUp, .open: finish(error ?? .deviceRestarted)
        }
    }

    func timerFired(_ timer: Timer) {
        switch state {
        case .settingUp:
            line.giveUpWaiting()
            lookAtLine()
        case .closing: end(.timedOut)
        case .connecting, .open, .ending, .closed: break
        }
        askForEndOfTurn()
    }

    func endOfTurn() {
        offer()
        if !isWaiting { stream?.resumeReceiving() }
        flush()
        guard case .ending(let error) = state else { return }
        state = .closed
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }
}
#endif
