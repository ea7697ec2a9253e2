#if os(Linux)
internal import CLinux
internal import Kernel

/// A socket that accepts streams: TCP, or Unix-domain at a path.
final class LinuxListener: StreamListener, ReadinessHandler, EndOfTurnHandler, TimerHandler, LoopMember {
    /// How long nothing is accepted when descriptors or memory have run out.
    static let recovery = Duration.milliseconds(100)

    package var loopPlace = -1
    private let loop: EventLoop
    private var handler: (any StreamListenerHandler)?
    private var descriptor: Int32
    private var registration: EventLoop.Registration?
    private let lingerSeconds: Int
    /// The file that a Unix-domain socket has made.
    private let path: String?
    private var isPaused = false
    private lazy var turnEnd = EndOfTurn(on: loop)
    private lazy var recoveryTimer = Timer(on: loop)

    init(
        at address: SystemAddress,
        path: String? = nil,
        loop: EventLoop,
        options: SocketOptions,
        handler: any StreamListenerHandler
    ) throws(SocketError) {
        self.loop = loop
        self.handler = handler
        self.path = path
        lingerSeconds = options.lingerSeconds
        descriptor = socket(address.family, clinux_stream_type(), 0)
        guard descriptor >= 0 else { throw SocketError(errno: clinux_errno()) }
        var failure = options.apply(to: descriptor, family: address.family, isStream: true)
        if failure == nil { failure = options.applyBound(to: descriptor, family: address.family, reusing: true) }
        if let failure { throw failure }
        let isBound = unsafe address.withPointer { unsafe CLinux.bind(descriptor, $0, $1) } == 0
        guard isBound, CLinux.listen(descriptor, Int32(clamping: options.backlog)) == 0 else {
            throw SocketError(errno: clinux_errno())
        }
        try register()
        loop.join(self)
    }

    deinit { if descriptor >= 0 { CLinux.close(descriptor) } }

    var localAddress: SocketAddress? { SystemAddress.local(of: descriptor)?.address }

    private func register() throws(SocketError) {
        guard registration == nil, descriptor >= 0 else { return }
        do throws(SystemError) {
            registration = try loop.register(descriptor, for: .readable, handler: self)
        } catch { throw SocketError(errno: error.code) }
    }

    private func deregister() {
        if let registration { loop.deregister(registration) }
        registration = nil
    }

    func pause() {
        isPaused = true
        deregister()
    }

    func resume() {
        isPaused = false
        do throws(SocketError) { try register() } catch { rest(error) }
    }

    /// Leaves the peers in the system's line for a while.
    private func rest(_ error: SocketError) {
        deregister()
        recoveryTimer.start(after: Self.recovery, handler: self)
        handler?.acceptFailed(error)
    }

    func timerFired(_ timer: Timer) { if !isPaused { resume() } }

    func ready(_ events: EventLoop.Readiness) {
        // The rest waits for the next turn, so that a rush cannot keep the loop from its other work.
        for _ in 0..<64 {
            guard registration != nil else { return }
            var accepted: Int32 = -1
            let peer = unsafe SystemAddress.read {
                accepted = unsafe clinux_accept(descriptor, $0, $1)
                return accepted
            }
            guard accepted >= 0 else {
                let code = clinux_errno()
                switch code {
                case EAGAIN: return
                // The peer, or the way to it, is gone already.
                case EINTR, ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP,
                    ENETUNREACH, EPERM:
                    continue
                default: return rest(SocketError(errno: code))
                }
            }
            do throws(SocketError) {
                let stream = try LinuxStream(loop: loop, accepted: accepted, lingerSeconds: lingerSeconds)
                handler?.accepted(stream, from: peer?.address?.withoutMapping)
                if stream.handler == nil { stream.abort() }
            } catch { return rest(error) }
        }
    }

    func close() {
        guard descriptor >= 0 else { return }
        deregister()
        recoveryTimer.stop()
        CLinux.close(descriptor)
        descriptor = -1
        if let path { unsafe unlink(path) }
        turnEnd.request(self)
    }

    func endOfTurn() {
        loop.leave(self)
        let handler = self.handler
        self.handler = nil
        handler?.closed(nil)
    }

    package func loopEnds(atOnce: Bool) { close() }
}
#endif
