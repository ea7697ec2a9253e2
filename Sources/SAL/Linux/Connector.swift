#if os(Linux)
internal import CLinux
internal import Kernel

/// Finds a connected socket for a stream: it resolves the name, and races its addresses, of both families in turn (RFC 8305).
final class Connector: TimerHandler, EndOfTurnHandler {
    /// How long an attempt goes on alone (RFC 8305, section 5: Connection Attempt Delay).
    static let attemptDelay = Duration.milliseconds(250)

    /// One attempt.
    private final class Attempt: ReadinessHandler {
        let address: SystemAddress
        let connector: Connector
        var descriptor: Int32 = -1
        var registration: EventLoop.Registration?

        init(_ address: SystemAddress, _ connector: Connector) {
            self.address = address
            self.connector = connector
        }

        deinit { if descriptor >= 0 { CLinux.close(descriptor) } }

        func ready(_ events: EventLoop.Readiness) { connector.finish(self) }

        /// Gives the descriptor away.
        func takeDescriptor() -> Int32 {
            defer { descriptor = -1 }
            return descriptor
        }
    }

    private let loop: EventLoop
    private let options: SocketOptions
    /// The stream that waits for the result.
    var stream: LinuxStream?
    private var remaining: ArraySlice<SystemAddress> = []
    private var running: [Attempt] = []
    private var lastFailure = SocketError.nameNotFound
    private var isOver = false
    private lazy var turnEnd = EndOfTurn(on: loop)
    private lazy var deadlineTimer = Timer(on: loop)
    private lazy var delayTimer = Timer(on: loop)

    init(loop: EventLoop, options: SocketOptions) {
        self.loop = loop
        self.options = options
    }

    func start(to endpoint: Endpoint, deadline: Duration, resolver: Resolver) {
        deadlineTimer.start(at: deadline, handler: self)
        let host = String(decoding: endpoint.host, as: UTF8.self)
        if endpoint.isPath {
            guard let path = SystemAddress(path: host) else { return finish(.failure(.nameNotFound)) }
            return race([path])
        }
        if let address = IPAddress(host) {
            return race([SystemAddress(SocketAddress(address: address, port: endpoint.port))])
        }
        let box = LoopConfined(self)
        resolver.resolve(endpoint.host, deadline: deadline, on: loop) { addresses in
            guard !box.value.isOver else { return }
            let addresses = addresses.map { SystemAddress(SocketAddress(address: $0, port: endpoint.port)) }
            box.value.race(Self.inTurn(addresses))
        }
    }

    /// The addresses with the families in turn, beginning with that of the first (RFC 8305, section 4).
    static func inTurn(_ addresses: [SystemAddress]) -> [SystemAddress] {
        guard let family = addresses.first?.family else { return [] }
        var first = addresses.filter { $0.family == family }[...]
        var second = addresses.filter { $0.family != family }[...]
        var result: [SystemAddress] = []
        while let address = first.popFirst() {
            result.append(address)
            if let other = second.popFirst() { result.append(other) }
        }
        return result + second
    }

    /// Begins at the end of the turn: nothing is told from inside the call that asks for the connection.
    private func race(_ addresses: [SystemAddress]) {
        remaining = addresses[...]
        turnEnd.request(self)
    }

    func endOfTurn() { if !isOver { tryNext() } }

    private func tryNext() {
        while let address = remaining.popFirst() {
            let attempt = Attempt(address, self)
            if let failure = start(attempt) {
                if failure == .other(code: EAGAIN), address.family == AF_UNIX {
                    // The listener's line is full, and the system does not tell when there is room.
                    remaining = [address]
                    return delayTimer.start(after: .milliseconds(10), handler: self)
                }
                note(failure, of: address)
                if isOver { return }
                continue
            }
            running.append(attempt)
            if !remaining.isEmpty { delayTimer.start(after: Self.attemptDelay, handler: self) }
            return
        }
        if running.isEmpty { finish(.failure(lastFailure)) }
    }

    private func note(_ failure: SocketError, of address: SystemAddress) {
        lastFailure = failure
        if let address = address.address { stream?.handler?.attemptFailed(address, failure) }
    }

    /// Returns why it failed at once, or `nil`.
    private func start(_ attempt: Attempt) -> SocketError? {
        let address = attempt.address
        let descriptor = socket(address.family, clinux_stream_type(), 0)
        attempt.descriptor = descriptor
        guard descriptor >= 0 else { return SocketError(errno: clinux_errno()) }
        if let failure = options.apply(to: descriptor, family: address.family, isStream: true) { return failure }
        if let local = options.localAddress.map(SystemAddress.init), address.family != AF_UNIX {
            guard local.family == address.family else { return .addressUnavailable(code: EAFNOSUPPORT) }
            // The port is chosen when the peer is known, so that there are as many of them for each peer.
            var setter = OptionSetter(descriptor)
            setter.set(Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1)
            guard unsafe local.withPointer({ unsafe CLinux.bind(descriptor, $0, $1) }) == 0 else {
                return SocketError(errno: clinux_errno())
            }
        }
        let result = unsafe address.withPointer { unsafe CLinux.connect(descriptor, $0, $1) }
        let code = result == 0 ? EINPROGRESS : clinux_errno()
        // Where there is no file, nobody listens.
        if code == ENOENT { return .refused(code: code) }
        guard code == EINPROGRESS else { return SocketError(errno: code) }
        do throws(SystemError) {
            attempt.registration = try loop.register(descriptor, for: .writable, handler: attempt)
        } catch { return SocketError(errno: error.code) }
        return nil
    }

    private func finish(_ attempt: Attempt) {
        if let registration = attempt.registration { loop.deregister(registration) }
        attempt.registration = nil
        running.removeAll { $0 === attempt }
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        _ = unsafe getsockopt(attempt.descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        guard code != 0 else { return finish(.success(attempt.takeDescriptor())) }
        note(SocketError(errno: code), of: attempt.address)
        if isOver { return }
        delayTimer.stop()
        tryNext()
    }

    func timerFired(_ timer: Timer) {
        guard timer === deadlineTimer else { return tryNext() }
        for attempt in running { note(.timedOut, of: attempt.address) }
        finish(.failure(.timedOut))
    }

    private func finish(_ result: Result<Int32, SocketError>) {
        let stream = self.stream
        cancel()
        stream?.connected(result)
    }

    /// Drops all attempts.
    func cancel() {
        isOver = true
        stream = nil
        deadlineTimer.stop()
        delayTimer.stop()
        for attempt in running { if let registration = attempt.registration { loop.deregister(registration) } }
        running = []
        remaining = []
    }
}
#endif
