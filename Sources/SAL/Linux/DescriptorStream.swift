#if os(Linux)
internal import CLinux
internal import Kernel

/// A ``ByteStream`` over a file descriptor: a TCP socket, or a terminal.
///
/// What one turn of the loop sends goes out in one `write` at its end. What the handler leaves is kept (at most one
/// read buffer), and reading stops until it resumes.
final class DescriptorStream: ByteStream, ReadinessHandler, EndOfTurnHandler, TimerHandler {
    /// How many bytes wait for the kernel to take them before ``send(_:)`` takes less than it is given.
    static let sendBufferBytes = 262_144

    private enum State {
        case resolving
        /// A connect is under way; the addresses still to try, and why the earlier ones failed.
        case connecting(remaining: ArraySlice<SocketAddress>)
        case open
        /// What was sent is still to be written, then the descriptor is closed: it was closed here, or the peer has ended.
        case closing
        /// The end is known and is told at the end of the turn.
        case ending(SocketError?)
        case closed
    }

    var handler: (any ByteStreamHandler)?
    private let loop: EventLoop
    private let isSocket: Bool
    private var state = State.resolving
    private var descriptor: Int32 = -1
    private var registration: EventLoop.Registration?
    private var interest: EventLoop.Readiness = []
    private var outgoing = ByteQueue()
    private var owesWritable = false
    private var peerHasEnded = false
    /// What the handler left; while there is any, or it asked for a pause, nothing is read.
    private var untaken: [UInt8] = []
    private var mayOffer = false
    private lazy var turnEnd = EndOfTurn(on: loop)
    private lazy var deadlineTimer = Timer(on: loop)

    init(loop: EventLoop, handler: (any ByteStreamHandler)?) {
        self.loop = loop
        self.isSocket = true
        self.handler = handler
    }

    /// A stream over a terminal that is open and non-blocking; it owns the descriptor.
    init(loop: EventLoop, terminal descriptor: Int32) throws(SocketError) {
        self.loop = loop
        self.isSocket = false
        self.descriptor = descriptor
        do throws(SystemError) {
            registration = try loop.register(descriptor, for: .readable, handler: self)
        } catch {
            CLinux.close(descriptor)
            throw SocketError(errno: error.code)
        }
        interest = .readable
        state = .open
    }

    deinit { if descriptor >= 0 { CLinux.close(descriptor) } }

    // MARK: Connecting

    func connect(to endpoint: Endpoint, deadline: Duration, resolver: Resolver) {
        deadlineTimer.start(at: deadline, handler: self)
        if let address = IPAddress(String(decoding: endpoint.host, as: UTF8.self)) {
            return tryNext([SocketAddress(address: address, port: endpoint.port)], failure: .nameNotFound)
        }
        let box = LoopConfined(self)
        resolver.resolve(endpoint, on: loop) { addresses in
            guard case .resolving = box.value.state else { return }
            box.value.tryNext(addresses[...], failure: .nameNotFound)
        }
    }

    private func tryNext(_ addresses: ArraySlice<SocketAddress>, failure: SocketError) {
        closeDescriptor()
        guard let address = addresses.first else { return end(failure) }
        state = .connecting(remaining: addresses.dropFirst())
        if let failure = startConnect(to: SystemAddress(address)) {
            tryNext(addresses.dropFirst(), failure: failure)
        }
    }

    /// Returns why it failed at once, or `nil`.
    private func startConnect(to address: SystemAddress) -> SocketError? {
        descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0, clinux_set_nonblocking(descriptor) == 0 else {
            return SocketError(errno: clinux_errno())
        }
        var on: Int32 = 1
        _ = unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        let result = unsafe address.withPointer { unsafe CLinux.connect(descriptor, $0, $1) }
        guard result == 0 || clinux_errno() == EINPROGRESS else { return SocketError(errno: clinux_errno()) }
        do throws(SystemError) {
            registration = try loop.register(descriptor, for: .writable, handler: self)
        } catch { return SocketError(errno: error.code) }
        interest = .writable
        return nil
    }

    private func finishConnect(_ remaining: ArraySlice<SocketAddress>) {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        _ = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        guard code == 0 else { return tryNext(remaining, failure: SocketError(errno: code)) }
        deadlineTimer.stop()
        state = .open
        updateInterest()
        handler?.opened()
    }

    func timerFired(_ timer: Timer) {
        switch state {
        case .resolving, .connecting: end(.timedOut)
        case .open, .closing, .ending, .closed: break
        }
    }

    // MARK: Sending

    func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state else { return 0 }
        let count = min(bytes.count, Self.sendBufferBytes - outgoing.count)
        if count < bytes.count { owesWritable = true }
        if count > 0 {
            outgoing.append(bytes.extracting(first: count))
            askForEndOfTurn()
        }
        return count
    }

    private func write() {
        while !outgoing.isEmpty {
            let count = outgoing.withSpan { bytes in
                unsafe bytes.withUnsafeBufferPointer {
                    unsafe isSocket
                        ? CLinux.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                        : CLinux.write(descriptor, $0.baseAddress, $0.count)
                }
            }
            guard count > 0 else {
                let code = clinux_errno()
                if code == EINTR { continue }
                if code != EAGAIN { return end(SocketError(errno: code)) }
                break
            }
            outgoing.removeFirst(count)
        }
        if case .closing = state, outgoing.isEmpty { return finishClosing() }
        updateInterest()
        if owesWritable, outgoing.count <= Self.sendBufferBytes / 2 {
            owesWritable = false
            handler?.writable()
        }
    }

    // MARK: Receiving

    func ready(_ events: EventLoop.Readiness) {
        switch state {
        case .connecting(let remaining): return finishConnect(remaining)
        case .resolving, .ending, .closed: return
        case .open, .closing: break
        }
        if events.contains(.writable) { write() }
        if !events.isDisjoint(with: [.readable, .hangUp, .error]) { read() }
    }

    private func read() {
        if case .closing = state { return discard() }
        guard case .open = state, untaken.isEmpty else { return }
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
            peerEnded()
        } else {
            let code = clinux_errno()
            if code != EAGAIN && code != EINTR { end(SocketError(errno: code)) }
        }
    }

    /// While closing, what still arrives is dropped, so that the peer's window cannot keep our bytes from leaving.
    private func discard() {
        let buffer = unsafe loop.readBuffer
        let count = unsafe CLinux.read(descriptor, buffer.baseAddress, buffer.count)
        if count == 0 { return peerEnded() }
        let code = clinux_errno()
        if count < 0 && code != EAGAIN && code != EINTR {
            end(outgoing.isEmpty ? nil : SocketError(errno: code))
        }
    }

    /// The peer sends no more. It may have closed just its own direction: it still gets what waits.
    private func peerEnded() {
        // A terminal has no end but that its device is gone.
        guard isSocket else { return end(.deviceRestarted) }
        guard !outgoing.isEmpty else { return end(nil) }
        peerHasEnded = true
        state = .closing
        updateInterest()
    }

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

    func close() {
        switch state {
        case .resolving, .connecting: abort()
        case .open:
            state = .closing
            untaken = []
            askForEndOfTurn()
            updateInterest()
        case .closing, .ending, .closed: break
        }
    }

    private func finishClosing() {
        if isSocket {
            // If bytes were left unread, the system would reset the connection, and the peer lose what is still under way to it.
            _ = shutdown(descriptor, Int32(SHUT_WR))
            let buffer = unsafe loop.readBuffer
            for _ in 0..<64 {
                guard unsafe CLinux.read(descriptor, buffer.baseAddress, buffer.count) > 0 else { break }
            }
        }
        end(nil)
    }

    func abort() {
        switch state {
        case .ending, .closed: return
        case .resolving, .connecting, .open, .closing: break
        }
        if descriptor >= 0, case .open = state {
            // Reset the connection: nothing more is owed to the peer.
            var linger = linger(l_onoff: 1, l_linger: 0)
            _ = unsafe setsockopt(
                descriptor,
                SOL_SOCKET,
                SO_LINGER,
                &linger,
                socklen_t(MemoryLayout.size(ofValue: linger))
            )
        }
        end(nil)
    }

    /// Ends the stream; the handler is told at the end of the turn, never from inside a call it has made.
    private func end(_ error: SocketError?) {
        closeDescriptor()
        deadlineTimer.stop()
        outgoing.removeAll()
        untaken = []
        state = .ending(error)
        askForEndOfTurn()
    }

    func endOfTurn() {
        switch state {
        case .open, .closing:
            if mayOffer { offerUntaken() }
            if descriptor >= 0 { write() }
        case .ending(let error):
            state = .closed
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        case .resolving, .connecting, .closed: break
        }
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
#endif
