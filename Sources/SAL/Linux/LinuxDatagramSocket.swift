#if os(Linux)
internal import CLinux
internal import Kernel

/// A UDP socket of the Linux kernel: connected to one peer, or open to all.
final class LinuxDatagramSocket: DatagramSocket, ReadinessHandler, EndOfTurnHandler, TimerHandler, LoopMember {
    private enum State {
        case resolving
        case opening
        case open
        case ending(SocketError?)
        case closed
    }

    var handler: (any DatagramHandler)?
    package var loopPlace = -1
    private let loop: EventLoop
    private let options: SocketOptions
    private var state = State.resolving
    /// The one peer of a connected socket.
    private var peer: SocketAddress?
    private var family = AF_UNSPEC
    private var descriptor: Int32 = -1
    private var registration: EventLoop.Registration?
    private lazy var turnEnd = EndOfTurn(on: loop)
    private lazy var deadlineTimer = Timer(on: loop)

    init(loop: EventLoop, options: SocketOptions, handler: (any DatagramHandler)?) {
        self.loop = loop
        self.options = options
        self.handler = handler
        loop.join(self)
    }

    /// A socket that is bound to `address`.
    init(
        loop: EventLoop,
        options: SocketOptions,
        handler: (any DatagramHandler)?,
        boundTo address: SocketAddress
    ) throws(SocketError) {
        self.loop = loop
        self.options = options
        self.handler = handler
        let isGroup = address.address.isMulticast
        let address = SystemAddress(address)
        var failure = makeDescriptor(address.family)
        if failure == nil { failure = options.applyBound(to: descriptor, family: family, reusing: isGroup) }
        if failure == nil, unsafe address.withPointer({ unsafe CLinux.bind(descriptor, $0, $1) }) != 0 {
            failure = SocketError(errno: clinux_errno())
        }
        if failure == nil { failure = register() }
        if let failure { throw failure }
        loop.join(self)
        state = .opening
        turnEnd.request(self)
    }

    deinit { if descriptor >= 0 { CLinux.close(descriptor) } }

    /// What goes over both families: IPv4 takes less.
    static let maximumBytes = 65_507
    var maximumDatagramBytes: Int { Self.maximumBytes }

    var localAddress: SocketAddress? { SystemAddress.local(of: descriptor)?.address }

    func connect(to endpoint: Endpoint, deadline: Duration, resolver: Resolver) {
        if let address = IPAddress(String(decoding: endpoint.host, as: UTF8.self)) {
            return open(SocketAddress(address: address, port: endpoint.port))
        }
        deadlineTimer.start(at: deadline, handler: self)
        let box = LoopConfined(self)
        resolver.resolve(endpoint.host, deadline: deadline, on: loop) { addresses in
            guard case .resolving = box.value.state else { return }
            guard let first = addresses.first else { return box.value.end(.nameNotFound) }
            box.value.open(SocketAddress(address: first, port: endpoint.port))
        }
    }

    private func open(_ peer: SocketAddress) {
        deadlineTimer.stop()
        let address = SystemAddress(peer)
        var failure = makeDescriptor(address.family)
        if failure == nil, let local = options.localAddress.map(SystemAddress.init),
            unsafe local.withPointer({ unsafe CLinux.bind(descriptor, $0, $1) }) != 0
        {
            failure = SocketError(errno: clinux_errno())
        }
        if failure == nil, unsafe address.withPointer({ unsafe CLinux.connect(descriptor, $0, $1) }) != 0 {
            failure = SocketError(errno: clinux_errno())
        }
        if failure == nil { failure = register() }
        if let failure { return end(failure) }
        self.peer = peer
        state = .opening
        turnEnd.request(self)
    }

    private func makeDescriptor(_ family: Int32) -> SocketError? {
        self.family = family
        descriptor = socket(family, clinux_datagram_type(), 0)
        guard descriptor >= 0 else { return SocketError(errno: clinux_errno()) }
        return options.apply(to: descriptor, family: family, isStream: false)
            ?? options.applyDatagrams(to: descriptor, family: family)
    }

    private func register() -> SocketError? {
        do throws(SystemError) {
            registration = try loop.register(descriptor, for: .readable, handler: self)
            return nil
        } catch { return SocketError(errno: error.code) }
    }

    func timerFired(_ timer: Timer) { if case .resolving = state { end(.timedOut) } }

    // MARK: Datagrams

    func send(_ datagram: Span<UInt8>, to receiver: SocketAddress?) throws(SocketError) {
        switch state {
        case .open, .opening: break
        case .resolving, .ending, .closed: throw .closed
        }
        if datagram.count > Self.maximumBytes { throw .messageTooLong }
        let count: Int
        if let peer {
            guard receiver == nil || receiver == peer else { throw .unreachable(code: EISCONN) }
            count = unsafe datagram.withUnsafeBufferPointer {
                unsafe CLinux.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
        } else {
            guard let receiver else { throw .unreachable(code: EDESTADDRREQ) }
            let address = SystemAddress(receiver, for: family)
            count = unsafe datagram.withUnsafeBufferPointer { bytes in
                unsafe address.withPointer {
                    unsafe sendto(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL), $0, $1)
                }
            }
        }
        guard count < 0 else { return }
        let code = clinux_errno()
        // A full socket buffer loses the datagram, as any router on the way may.
        if code == EAGAIN || code == ENOBUFS { return }
        throw SocketError(errno: code)
    }

    func ready(_ events: EventLoop.Readiness) {
        let batch = DatagramBatch.of(loop)
        // What is left after these waits for the next turn, so that a flood cannot keep the loop from its other work.
        for _ in 0..<4 {
            guard case .open = state else { return }
            guard let count = batch.receive(from: descriptor, room: options.datagramBytes, withSenders: peer == nil)
            else {
                let code = clinux_errno()
                // What an earlier datagram met on its way is not the end of a socket that is open to all.
                if code != EAGAIN && code != EINTR && peer != nil { end(SocketError(errno: code)) }
                return
            }
            for index in 0..<count {
                // The handler may have closed it.
                guard case .open = state else { return }
                guard let sender = peer ?? batch.sender(index) else { continue }
                let datagram = unsafe Span<UInt8>(_unsafeElements: batch.datagram(index))
                handler?.received(datagram, from: sender, truncated: batch.isTruncated(index))
            }
            if count < DatagramBatch.maximumCount { return }
        }
    }

    // MARK: Groups

    func join(_ group: IPAddress, interface: UInt32) throws(SocketError) {
        try change(group, interface, IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP)
    }

    func leave(_ group: IPAddress, interface: UInt32) throws(SocketError) {
        try change(group, interface, IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP)
    }

    private func change(_ group: IPAddress, _ interface: UInt32, _ v4: Int32, _ v6: Int32) throws(SocketError) {
        guard descriptor >= 0 else { throw .closed }
        var setter = OptionSetter(descriptor)
        switch group {
        case .v4(let address):
            setter.set(Int32(IPPROTO_IP), v4, raw: ip_mreqn(group: address, interface: interface))
        case .v6:
            let request = ipv6_mreq(ipv6mr_multiaddr: in6_addr(group), ipv6mr_interface: interface)
            setter.set(Int32(IPPROTO_IPV6), v6, raw: request)
        }
        if let failure = setter.failure { throw failure }
    }

    // MARK: Ending

    func close() { end(nil) }

    package func loopEnds(atOnce: Bool) { end(nil) }

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
            state = .open
            handler?.opened()
        case .ending(let error):
            state = .closed
            loop.leave(self)
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        case .resolving, .open, .closed: break
        }
    }
}
#endif
