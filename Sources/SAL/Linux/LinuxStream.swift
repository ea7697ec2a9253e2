#if os(Linux)
internal import CLinux
internal import Kernel

/// A byte stream over a file descriptor: TCP, a Unix-domain socket, or a terminal.
///
/// What one turn of the loop sends goes out in one `write` at its end, but for large pieces, which go at once. What the handler leaves is kept (at most one
/// read buffer), and reading stops until it resumes.
final class LinuxStream: ByteStream {
    /// How many bytes wait for the kernel to take them before ``send(_:)`` takes less than it is given.
    static let sendBufferBytes = 262_144
    /// So many bytes are handed to the system at once.
    private static let directBytes = 16_384

    enum State {
        case connecting(Connector)
        case open
        /// What was sent is still to be written, then the descriptor is closed: it was closed here, or the peer has ended.
        case closing
        /// The end is known and is told at the end of the turn.
        case ending(SocketError?)
        case closed
    }

    private enum Kind {
        case socket, terminal
    }

    /// Who is told what happens.
    var handler: (any ByteStreamHandler)?
    /// Whether the stream stays open for sending after the peer has ended its direction.
    var allowsHalfOpen = false
    package var loopPlace = -1
    private let loop: EventLoop

    private let kind: Kind
    private var state: State
    private var descriptor: Int32
    private var registration: EventLoop.Registration?
    private var interest: EventLoop.Readiness = []
    // Writing calls nobody, so accesses need not be tracked at run time.
    @safe @exclusivity(unchecked) private var outgoing = ByteQueue()
    private var owesWritable = false
    private var hasFinished = false
    private var mustFinish = false
    private var peerHasEnded = false
    /// What the handler left; while there is any, nothing is read.
    private var untaken: [UInt8] = []
    private var mayOffer = false
    private let lingerSeconds: Int
    private lazy var turnEnd = EndOfTurn(on: loop)
    private var lingerTimer: Timer?

    /// A stream that `connector` connects.
    init(loop: EventLoop, handler: (any ByteStreamHandler)?, connector: Connector, lingerSeconds: Int) {
        self.loop = loop
        self.handler = handler
        self.lingerSeconds = lingerSeconds
        kind = .socket
        descriptor = -1
        state = .connecting(connector)
        loop.join(self)
    }

    /// A stream over a descriptor that is open and non-blocking; it owns the descriptor.
    private init(loop: EventLoop, descriptor: Int32, kind: Kind, lingerSeconds: Int) throws(SocketError) {
        self.loop = loop
        self.kind = kind
        self.descriptor = descriptor
        self.lingerSeconds = lingerSeconds
        state = .open
        do throws(SystemError) {
            registration = try loop.register(descriptor, for: .readable, handler: self)
        } catch {
            CLinux.close(descriptor)
            self.descriptor = -1
            throw SocketError(errno: error.code)
        }
        interest = .readable
        loop.join(self)
    }

    /// A stream over a socket that was accepted.
    convenience init(loop: EventLoop, accepted descriptor: Int32, lingerSeconds: Int) throws(SocketError) {
        try self.init(loop: loop, descriptor: descriptor, kind: .socket, lingerSeconds: lingerSeconds)
    }

    /// A stream over a terminal.
    convenience init(loop: EventLoop, terminal descriptor: Int32) throws(SocketError) {
        // A terminal may be stopped by flow control for as long as its device likes.
        try self.init(loop: loop, descriptor: descriptor, kind: .terminal, lingerSeconds: 5)
    }

    deinit { if descriptor >= 0 { CLinux.close(descriptor) } }

    /// Where this end is; `nil` before it is open, and for what has no address.
    var localAddress: SocketAddress? { SystemAddress.local(of: descriptor)?.address }

    /// Where the peer is; `nil` before it is open, and for what has no address.
    var peerAddress: SocketAddress? { SystemAddress.peer(of: descriptor)?.address }

    // MARK: Connecting

    /// What the connector has found out: a connected socket, or why there is none.
    func connected(_ result: Result<Int32, SocketError>) {
        guard case .connecting = state else { return }
        switch result {
        case .success(let descriptor):
            self.descriptor = descriptor
            state = .open
            updateInterest()
            guard case .open = state else { return }
            handler?.opened()
        case .failure(let error): end(error)
        }
    }

    // MARK: Sending

    /// Takes bytes to send, as many as there is room for in ``sendBufferBytes``.
    func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state, !mustFinish else { return 0 }
        // So many are not worth waiting for more, nor copying.
        let sent = outgoing.isEmpty && bytes.count >= Self.directBytes ? max(0, put(bytes)) : 0
        let bytes = bytes.extracting(droppingFirst: sent)
        let count = min(bytes.count, Self.sendBufferBytes - outgoing.count)
        if count < bytes.count { owesWritable = true }
        if count > 0 {
            outgoing.append(bytes.extracting(first: count))
            askForEndOfTurn()
        }
        return sent + count
    }

    /// Hands bytes to the system; returns how many it has taken, or -1.
    private func put(_ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer {
            unsafe kind == .socket
                ? CLinux.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                : CLinux.write(descriptor, $0.baseAddress, $0.count)
        }
    }

    /// Sends what was taken, then ends this direction.
    func finishSending() {
        guard case .open = state, !mustFinish else { return }
        // A terminal has but one end.
        guard kind == .socket else { return close() }
        mustFinish = true
        askForEndOfTurn()
    }

    private func write() {
        while !outgoing.isEmpty {
            let count = outgoing.withSpan { put($0) }
            guard count > 0 else {
                let code = clinux_errno()
                if code == EINTR { continue }
                if code != EAGAIN { return end(SocketError(errno: code)) }
                break
            }
            outgoing.removeFirst(count)
        }
        if outgoing.isEmpty, mustFinish, !hasFinished {
            hasFinished = true
            _ = shutdown(descriptor, Int32(SHUT_WR))
            // The peer had ended before: that was the last of it.
            if peerHasEnded { return end(nil) }
        }
        if case .closing = state, outgoing.isEmpty { return finishClosing() }
        updateInterest()
        if owesWritable, !mustFinish, outgoing.count <= Self.sendBufferBytes / 2 {
            owesWritable = false
            handler?.writable()
        }
    }

    // MARK: Receiving

    private func read() {
        if case .closing = state { return discard() }
        guard case .open = state, untaken.isEmpty, !peerHasEnded else { return }
        let buffer = unsafe loop.readBuffer
        let count = unsafe CLinux.read(descriptor, buffer.baseAddress, buffer.count)
        if count > 0 {
            let bytes = unsafe Span<UInt8>(
                _unsafeElements: UnsafeBufferPointer(buffer.assumingMemoryBound(to: UInt8.self))
            )
            .extracting(first: count)
            let taken = handler?.received(bytes) ?? 0
            precondition(taken >= 0 && taken <= count, "a handler took more than it was given")
            // The handler may have closed the stream meanwhile.
            if taken < count, case .open = state {
                untaken = unsafe Array(buffer[taken..<count])
                updateInterest()
            }
        } else if count == 0 {
            receivedEnd()
        } else {
            let code = clinux_errno()
            if code != EAGAIN && code != EINTR { end(SocketError(errno: code)) }
        }
    }

    /// While closing, what still arrives is dropped, so that the peer's window cannot keep our bytes from leaving.
    private func discard() {
        let buffer = unsafe loop.readBuffer
        let count = unsafe CLinux.read(descriptor, buffer.baseAddress, buffer.count)
        if count == 0 { return receivedEnd() }
        let code = clinux_errno()
        if count < 0 && code != EAGAIN && code != EINTR {
            end(outgoing.isEmpty ? nil : SocketError(errno: code))
        }
    }

    /// The peer sends no more. It may have closed just its own direction: it still gets what waits.
    private func receivedEnd() {
        // A terminal has no end but that its device is gone.
        guard kind == .socket else { return end(.deviceRestarted) }
        peerHasEnded = true
        if case .open = state, allowsHalfOpen {
            if hasFinished { return end(nil) }
            updateInterest()
            handler?.peerEnded()
            return
        }
        guard !outgoing.isEmpty else { return end(nil) }
        startClosing()
        updateInterest()
    }

    /// Offers again what the handler left.
    func resumeReceiving() {
        guard case .open = state, !untaken.isEmpty else { return }
        mayOffer = true
        askForEndOfTurn()
    }

    private func offerUntaken() {
        mayOffer = false
        guard case .open = state, !untaken.isEmpty else { return }
        let offered = untaken
        let taken = handler?.received(offered.span) ?? 0
        precondition(taken >= 0 && taken <= offered.count, "a handler took more than it was given")
        guard case .open = state else { return }
        untaken = taken == offered.count ? [] : Array(offered[taken...])
        updateInterest()
    }

    // MARK: Ending

    /// Sends what was taken, for ``SocketOptions/lingerSeconds`` at most, then closes.
    func close() {
        switch state {
        case .connecting: abort()
        case .open:
            untaken = []
            startClosing()
            askForEndOfTurn()
            updateInterest()
        case .closing, .ending, .closed: break
        }
    }

    private func startClosing() {
        state = .closing
        guard !outgoing.isEmpty else { return }
        let timer = Timer(on: loop)
        lingerTimer = timer
        timer.start(after: .seconds(lingerSeconds), handler: self)
    }

    private func finishClosing() {
        if kind == .socket {
            // If bytes were left unread, the system would reset the connection, and the peer lose what is still under way to it.
            _ = shutdown(descriptor, Int32(SHUT_WR))
            let buffer = unsafe loop.readBuffer
            for _ in 0..<64 {
                guard unsafe CLinux.read(descriptor, buffer.baseAddress, buffer.count) > 0 else { break }
            }
        }
        end(nil)
    }

    /// Closes at once, and resets the connection; what was not sent is lost.
    func abort() {
        switch state {
        case .ending, .closed: return
        case .connecting(let connector): connector.cancel()
        case .open, .closing: resetAtClose()
        }
        end(nil)
    }

    /// Nothing more is owed to the peer.
    private func resetAtClose() {
        guard kind == .socket else { return }
        var setter = OptionSetter(descriptor)
        setter.set(SOL_SOCKET, SO_LINGER, raw: linger(l_onoff: 1, l_linger: 0))
    }

    /// Ends the stream; the handler is told at the end of the turn, never from inside a call it has made.
    private func end(_ error: SocketError?) {
        closeDescriptor()
        lingerTimer?.stop()
        lingerTimer = nil
        outgoing.removeAll()
        untaken = []
        state = .ending(error)
        askForEndOfTurn()
    }

    private func askForEndOfTurn() { turnEnd.request(self) }

    private func closeDescriptor() {
        if let registration { loop.deregister(registration) }
        registration = nil
        if descriptor >= 0 { CLinux.close(descriptor) }
        descriptor = -1
        interest = []
    }

    /// Waits for just what can be dealt with. While that is nothing the descriptor leaves the loop altogether, since
    /// epoll reports a hang-up whether one asked for it or not.
    private func updateInterest() {
        var wanted: EventLoop.Readiness = []
        if untaken.isEmpty && !peerHasEnded { wanted.insert(.readable) }
        if !outgoing.isEmpty { wanted.insert(.writable) }
        guard descriptor >= 0, wanted != interest else { return }
        interest = wanted
        guard let registration else {
            do throws(SystemError) {
                self.registration = try loop.register(descriptor, for: wanted, handler: self)
            } catch { end(SocketError(errno: error.code)) }
            return
        }
        if wanted.isEmpty {
            loop.deregister(registration)
            self.registration = nil
        } else {
            loop.modify(registration, for: wanted)
        }
    }
}

extension LinuxStream: ReadinessHandler, EndOfTurnHandler, TimerHandler, LoopMember {
    func ready(_ events: EventLoop.Readiness) {
        switch state {
        case .connecting, .ending, .closed: return
        case .open, .closing: break
        }
        if events.contains(.writable) { write() }
        if !events.isDisjoint(with: [.readable, .hangUp, .error]) { read() }
    }

    func endOfTurn() {
        switch state {
        case .open, .closing:
            if mayOffer { offerUntaken() }
            if descriptor >= 0 { write() }
        case .ending(let error):
            state = .closed
            loop.leave(self)
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        case .connecting, .closed: break
        }
    }

    /// What a closed stream took could not be sent in time.
    func timerFired(_ timer: Timer) {
        guard case .closing = state else { return }
        resetAtClose()
        end(.timedOut)
    }

    package func loopEnds(atOnce: Bool) {
        if atOnce { return abort() }
        #if !hasFeature(Embedded)
        // A layer above has its own goodbye to say first.
        if let above = handler as? any LoopMember { return above.loopEnds(atOnce: false) }
        #endif
        close()
    }
}
#endif
