#if os(Linux)
internal import CLinux
internal import Kernel

/// A connected UDP socket of the Linux kernel.
final class LinuxDatagramSocket: DatagramSocket, ReadinessHandler, EndOfTurnHandler, TimerHandler {
    private enum State {
        case resolving
        case opening
        case open(peer: SocketAddress)
        case ending(SocketError?)
        case closed
    }

    var handler: (any DatagramHandler)?
    private let loop: EventLoop
    private var state = State.resolving
    private var peer: SocketAddress?
    private var descriptor: Int32 = -1
    private var registration: EventLoop.Registration?
    private lazy var turnEnd = EndOfTurn(on: loop)
    private lazy var deadlineTimer = Timer(on: loop)

    init(loop: EventLoop, handler: (any DatagramHandler)?) {
        self.loop = loop
        self.handler = handler
    }

    deinit { if descriptor >= 0 { CLinux.close(descriptor) } }

    var maximumDatagramBytes: Int { 65_507 }

    func connect(to endpoint: Endpoint, deadline: Duration, resolver: Resolver) {
        if let address = IPAddress(String(decoding: endpoint.host, as: UTF8.self)) {
            return open(SocketAddress(address: address, port: endpoint.port))
        }
        deadlineTimer.start(at: deadline, handler: self)
        let box = LoopConfined(self)
        resolver.resolve(endpoint, on: loop) { addresses in
            guard case .resolving = box.value.state else { return }
            guard let first = addresses.first else { return box.value.end(.nameNotFound) }
            box.value.open(first)
        }
    }

    private func open(_ peer: SocketAddress) {
        deadlineTimer.stop()
        let address = SystemAddress(peer)
        descriptor = socket(address.family, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0, clinux_set_nonblocking(descriptor) == 0,
            unsafe address.withPointer({ unsafe CLinux.connect(descriptor, $0, $1) }) == 0
        else { return end(SocketError(errno: clinux_errno())) }
        do throws(SystemError) {
            registration = try loop.register(descriptor, for: .readable, handler: self)
        } catch { return end(SocketError(errno: error.code)) }
        self.peer = peer
        state = .opening
        turnEnd.request(self)
    }

    func timerFired(_ timer: Timer) { if case .resolving = state { end(.timedOut) } }

    func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) {
        guard case .open(let connected) = state else { throw .closed }
        guard peer == nil || peer == connected else { throw .unreachable(code: EISCONN) }
        let count = unsafe datagram.withUnsafeBufferPointer {
            unsafe CLinux.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count < 0 else { return }
        let code = clinux_errno()
        // A full socket buffer loses the datagram, as any router on the way may.
        if code == EAGAIN || code == ENOBUFS { return }
        throw SocketError(errno: code)
    }

    func ready(_ events: EventLoop.Readiness) {
        // What is left after these waits for the next turn, so that a flood cannot keep the loop from its other work.
        for _ in 0..<64 {
            guard case .open(let peer) = state else { return }
            let buffer = unsafe loop.readBuffer
            let count = unsafe CLinux.recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_TRUNC))
            guard count >= 0 else {
                let code = clinux_errno()
                if code != EAGAIN && code != EINTR { end(SocketError(errno: code)) }
                return
            }
            let bytes = unsafe Span<UInt8>(
                _unsafeElements: UnsafeBufferPointer(buffer.assumingMemoryBound(to: UInt8.self))
            )
            handler?.received(
                bytes.extracting(first: min(count, buffer.count)),
                from: peer,
                truncated: count > buffer.count
            )
        }
    }

    func close() { end(nil) }

    private func end(_ error: SocketError?) {
        switch state {
        case .ending, .closed: return
        case .resolving, .opening, .open: break
        }
        if let registration { loop.deregister(registration) }
        registration = nil
        if descriptor >= 0 { CLinux.close(descriptor) }
        descriptor = -1
        deadlineTimer.stop()
        turnEnd.request(self)
        state = .ending(error)
    }

    func endOfTurn() {
        switch state {
        case .opening:
            guard let peer else { return }
            state = .open(peer: peer)
            handler?.opened()
        case .ending(let error):
            state = .closed
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        case .resolving, .open, .closed: break
        }
    }
}
#endif
