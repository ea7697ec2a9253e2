#if !hasFeature(Embedded)
internal import Kernel
public import SAL

/// A TCP connection that has the serial line to itself.
final class TransparentStream: ByteStream, EndOfTurnHandler {
    private enum Phase {
        /// The modem is not attached yet, or has other work.
        case waiting
        /// The commands that lead to the data, and the next of them.
        case opening(step: Int)
        case open
        /// The line is kept silent before and behind the escape.
        case escaping(until: Duration, hasEscaped: Bool)
        /// The commands that lead back.
        case leaving(step: Int)
        case gone
    }

    var handler: (any ByteStreamHandler)?
    private let modem: Modem
    private let endpoint: Endpoint
    private let transparency: ATTransparency
    private var phase = Phase.waiting
    private var openDeadline: Duration
    private var outgoing = ByteQueue()
    private var owesWritable = false
    private var isClosing = false
    private var error: SocketError?
    /// When a byte last went to the modem.
    private var lastSent = Duration.zero
    /// How many bytes went since the line was silent, and whether they were plus signs; when the next may go.
    private var burstBytes = 0
    private var hasOnlyPluses = true
    private var resumesAt = ATEngine.never
    /// What may be the modem's word that the peer has closed, and when that is sure.
    private var held: [UInt8] = []
    private var heldUntil = ATEngine.never
    private var isTold = false
    private lazy var turnEnd = EndOfTurn(on: modem.loop)

    private static let end: StaticString = "\r\nNO CARRIER\r\n"
    private static var maximumWaiting: Int { 16_384 }

    init(_ modem: Modem, to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) {
        self.modem = modem
        self.endpoint = endpoint
        self.handler = handler
        openDeadline = deadline
        transparency = modem.dialect.transparency ?? ATTransparency()
    }

    // MARK: What the owner does

    func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = phase, !isClosing else { return 0 }
        let count = min(bytes.count, max(Self.maximumWaiting - outgoing.count, 0))
        if count < bytes.count { owesWritable = true }
        outgoing.append(bytes.extracting(first: count))
        modem.askForEndOfTurn()
        return count
    }

    func resumeReceiving() { modem.resumeSerial() }

    func close() {
        isClosing = true
        modem.askForEndOfTurn()
    }

    func abort() {
        outgoing.removeAll()
        close()
    }

    /// Ends it before there was a line.
    func refuse(_ error: SocketError) {
        self.error = error
        phase = .gone
        turnEnd.request(self)
    }

    func endOfTurn() { settle() }

    // MARK: What the modem tells

    var isOpen: Bool {
        switch phase {
        case .open, .escaping: true
        case .waiting, .opening, .leaving, .gone: false
        }
    }

    var deadline: Duration {
        switch phase {
        case .waiting: openDeadline
        case .open: min(heldUntil, resumesAt)
        case .escaping(let time, _): time
        // Each command has its own time.
        case .opening, .leaving, .gone: ATEngine.never
        }
    }

    func takeTurn() -> Bool {
        switch phase {
        case .waiting:
            if isClosing { return finish(nil) }
            phase = .opening(step: 0)
            return takeTurn()
        case .opening(let step):
            if modem.start(ATRequest(kind: .transparent, step: step), endpoint) { return true }
            begin()
            return false
        case .leaving(let step):
            if modem.start(ATRequest(kind: .leave, step: step), endpoint) { return true }
            return finish(error)
        case .open, .escaping, .gone: return false
        }
    }

    func prompted() { if case .opening = phase { begin() } }

    func commandEnded(_ error: ATError?) {
        switch phase {
        case .opening(let step):
            guard let error, !modem.engine.command.isOptional else { return phase = .opening(step: step + 1) }
            self.error = self.error ?? (error == .timedOut ? .timedOut : .refused(code: 0))
            phase = .leaving(step: 0)
        case .leaving(let step): phase = .leaving(step: step + 1)
        case .waiting, .open, .escaping, .gone: break
        }
    }

    /// The line carries data from now on.
    private func begin() {
        phase = .open
        modem.engine.beginData()
        modem.askForEndOfTurn()
        if isClosing { return escape() }
        handler?.opened()
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        guard case .open = phase, !isClosing else { return bytes.count }
        guard transparency.tellsEnd else { return offer(bytes) }
        // What looks like the modem's last word waits until something follows it.
        var index = 0
        while index < bytes.count {
            let expected = Self.end.byte(min(held.count, Self.end.utf8CodeUnitCount - 1))
            if held.count < Self.end.utf8CodeUnitCount, bytes[index] == expected {
                held.append(bytes[index])
                index += 1
                continue
            }
            if !held.isEmpty {
                guard release() else { return index }
                continue
            }
            let start = index
            while index < bytes.count, bytes[index] != UInt8(ascii: "\r") { index += 1 }
            // Another line end than the one looked for.
            if index == start { index += 1 }
            let taken = offer(bytes.extracting(start..<index))
            if taken < index - start { return start + taken }
        }
        heldUntil = held.isEmpty ? ATEngine.never : modem.loop.now + .milliseconds(transparency.silenceBefore)
        return index
    }

    /// Gives on what was held; returns whether it was taken.
    private func release() -> Bool {
        let offered = held
        held.removeFirst(offer(offered.span))
        if held.isEmpty { heldUntil = ATEngine.never }
        return held.isEmpty
    }

    private func offer(_ bytes: Span<UInt8>) -> Int {
        let taken = handler?.received(bytes) ?? bytes.count
        precondition(taken >= 0 && taken <= bytes.count, "a handler took more than it was given")
        return taken
    }

    func settle() {
        let now = modem.loop.now
        switch phase {
        case .waiting where isClosing: _ = finish(nil)
        case .waiting where now >= openDeadline: _ = finish(modem.state == .attached ? .timedOut : .noNetwork)
        case .open where now >= heldUntil:
            heldUntil = ATEngine.never
            if held.count == Self.end.utf8CodeUnitCount { leave() } else { _ = release() }
        case .escaping(let time, hasEscaped: true) where now >= time: leave()
        case .waiting, .opening, .open, .escaping, .leaving, .gone: break
        }
        if case .gone = phase, !isTold { tellClosed() }
    }

    func pass(to serial: any ByteStream) {
        let now = modem.loop.now
        if case .escaping(let time, hasEscaped: false) = phase {
            guard now >= time else { return }
            let escape: [UInt8] = [UInt8(ascii: "+"), UInt8(ascii: "+"), UInt8(ascii: "+")]
            _ = serial.send(escape.span)
            phase = .escaping(until: now + .milliseconds(transparency.silenceBehind), hasEscaped: true)
        }
        guard case .open = phase else { return }
        if now - lastSent >= .milliseconds(transparency.silenceBefore / 2) { (burstBytes, hasOnlyPluses) = (0, true) }
        resumesAt = ATEngine.never
        while !outgoing.isEmpty {
            var count = outgoing.count
            // Three plus signs between two silences are the escape: the third waits for the one in between, or for what follows it.
            if hasOnlyPluses, burstBytes + count == 3, onlyPluses(in: count) { count -= 1 }
            if count == 0 {
                resumesAt = lastSent + .milliseconds(transparency.silenceBefore)
                break
            }
            let sent = outgoing.withSpan { serial.send($0.extracting(first: count)) }
            if sent == 0 { break }
            hasOnlyPluses = hasOnlyPluses && burstBytes + sent <= 3 && onlyPluses(in: sent)
            burstBytes += sent
            outgoing.removeFirst(sent)
            lastSent = now
        }
        if owesWritable, outgoing.count <= Self.maximumWaiting / 2 {
            owesWritable = false
            handler?.writable()
        }
        if isClosing, outgoing.isEmpty { escape() }
    }

    /// Whether the first `count` bytes to send are plus signs.
    private func onlyPluses(in count: Int) -> Bool {
        outgoing.withSpan { span in
            for index in 0..<count where span[index] != UInt8(ascii: "+") { return false }
            return true
        }
    }

    private func escape() {
        phase = .escaping(until: modem.loop.now + .milliseconds(transparency.silenceBefore), hasEscaped: false)
        modem.askForEndOfTurn()
    }

    /// The line is one for commands again.
    private func leave() {
        phase = .leaving(step: 0)
        modem.engine.resynchronize(at: modem.loop.now)
        modem.askForEndOfTurn()
    }

    func lineEnded(_ error: SocketError) { _ = finish(error) }

    /// It is over; returns that there is no command.
    private func finish(_ error: SocketError?) -> Bool {
        self.error = error
        phase = .gone
        modem.askForEndOfTurn()
        return false
    }

    private func tellClosed() {
        isTold = true
        modem.pipeEnded(self)
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }
}

extension Modem {
    /// Opens a TCP connection that has the serial line to itself (transparent mode): bytes go through as they are, without a command for each piece. It needs a modem without
    /// other sockets, and other sockets wait until it is closed; closing takes two seconds or so, since the line must be silent around the escape.
    ///
    /// It ends with `SocketError.notSupported` where the driver has no such mode (`espAT` and `quectel` have it), and with `.tooManySockets` if there are other sockets.
    /// The end of a peer is told by Quectel's modems in the data, as the line `NO CARRIER` and silence; ESP-AT does not tell it, but connects again by itself.
    public func openTransparent(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any ByteStreamHandler
    ) -> any ByteStream {
        let stream = TransparentStream(self, to: endpoint, deadline: deadline, handler: handler)
        var command = ATCommand()
        command.line.append(quoted: endpoint.host, escaping: traits.hasEscapes)
        if dialect.transparency == nil {
            stream.refuse(.notSupported)
        } else if endpoint.host.isEmpty || command.problem(maximumBytes: traits.commandBytes - 40) != nil {
            stream.refuse(.nameNotFound)
        } else if pipe != nil || firstSocket(where: { $0.phase != .gone && $0.phase != .resting }) != nil {
            stream.refuse(.tooManySockets(code: 0))
        } else {
            pipe = stream
        }
        askForEndOfTurn()
        return stream
    }

    /// Lets go of a pipe that has ended: the line is the modem's again.
    fileprivate func pipeEnded(_ stream: TransparentStream) { if pipe === stream { pipe = nil } }
}
#endif
