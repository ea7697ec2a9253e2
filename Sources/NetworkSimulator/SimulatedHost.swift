public import Kernel
public import SAL

/// A host of a ``SimulatedNetwork``: a network for what runs on it.
public final class SimulatedHost: ServerNetwork, @unchecked Sendable {
    // @unchecked: what changes is used on the loop only.

    /// Its address.
    public let address: IPAddress
    /// The network that it is part of.
    public let network: SimulatedNetwork
    /// The loop that everything happens on.
    public var loop: EventLoop { network.loop }
    /// How many streams and datagram sockets it can have open at once; `nil` for no limit.
    public var maximumSockets: Int?

    private var listeners: [UInt16: SimulatedListener] = [:]
    private var streams: [ObjectIdentifier: SimulatedStream] = [:]
    private var sockets: [UInt16: SimulatedDatagramSocket] = [:]
    private var nextPort: UInt16 = 49_152

    init(_ address: IPAddress, _ network: SimulatedNetwork) {
        self.address = address
        self.network = network
    }

    /// What it can do.
    public var capabilities: NetworkCapabilities {
        NetworkCapabilities(
            maximumSockets: maximumSockets,
            sendChunkBytes: 65_536,
            datagramBytes: 65_507,
            hasReceiveFlowControl: true,
            hasHalfClose: true
        )
    }

    /// Loses all that is open, as by a loss of power: its own handlers are told `SocketError.deviceRestarted`, peers learn of it when they send.
    public func restart() {
        for stream in streams.values { stream.vanish() }
        for socket in sockets.values { socket.end(.deviceRestarted) }
        for listener in listeners.values { listener.close() }
    }

    /// Closes all that is open.
    func closeAll() {
        for stream in streams.values { stream.abort() }
        for socket in sockets.values { socket.close() }
        for listener in listeners.values { listener.close() }
    }

    /// Drops all that is open.
    func forgetAll() {
        for stream in streams.values { stream.forget() }
        streams = [:]
        sockets = [:]
        listeners = [:]
    }

    private var isFull: Bool {
        guard let maximumSockets else { return false }
        return streams.count + sockets.count >= maximumSockets
    }

    // MARK: Streams

    /// Opens a stream: the addresses of a name are tried one after another.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        loop.preconditionOnLoop()
        let stream = SimulatedStream(on: self, handler: handler)
        if isFull {
            stream.end(.tooManySockets(code: 0))
        } else {
            streams[ObjectIdentifier(stream)] = stream
            stream.connect(to: endpoint, deadline: deadline)
        }
        return stream
    }

    /// Accepts streams.
    public func listen(
        at address: SocketAddress,
        handler: any StreamListenerHandler
    ) throws(SocketError) -> any StreamListener {
        loop.preconditionOnLoop()
        let port = try own(address, isTaken: { listeners[$0] != nil })
        let listener = SimulatedListener(SocketAddress(address: self.address, port: port), self, handler)
        listeners[port] = listener
        return listener
    }

    /// The port that a socket gets which asks for `address`.
    private func own(_ address: SocketAddress, isTaken: (UInt16) -> Bool) throws(SocketError) -> UInt16 {
        switch address.address {
        case self.address, .v4(0), .v6(high: 0, low: 0, scope: 0): break
        default: throw .addressUnavailable(code: 0)
        }
        guard address.port == 0 else {
            if isTaken(address.port) { throw .addressInUse(code: 0) }
            return address.port
        }
        return freePort(isTaken: isTaken)
    }

    func freePort(isTaken: (UInt16) -> Bool = { _ in false }) -> UInt16 {
        repeat { nextPort = nextPort == .max ? 49_152 : nextPort + 1 } while isTaken(nextPort)
        return nextPort
    }

    func listener(at port: UInt16) -> SimulatedListener? { listeners[port] }

    func add(_ stream: SimulatedStream) { streams[ObjectIdentifier(stream)] = stream }

    func remove(_ stream: SimulatedStream) { streams[ObjectIdentifier(stream)] = nil }

    func remove(_ listener: SimulatedListener) {
        if let port = listener.localAddress?.port, listeners[port] === listener { listeners[port] = nil }
    }

    // MARK: Datagrams

    /// Opens a datagram socket for one peer.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        loop.preconditionOnLoop()
        let port = freePort { sockets[$0] != nil }
        let socket = SimulatedDatagramSocket(SocketAddress(address: address, port: port), self, handler)
        if isFull {
            socket.end(.tooManySockets(code: 0))
        } else {
            sockets[port] = socket
            socket.open(
                to: network.addresses(of: endpoint).first.map { SocketAddress(address: $0, port: endpoint.port) }
            )
        }
        return socket
    }

    /// Opens a datagram socket for all peers.
    public func bindDatagrams(
        at address: SocketAddress,
        handler: any DatagramHandler
    ) throws(SocketError) -> any DatagramSocket {
        loop.preconditionOnLoop()
        if isFull { throw .tooManySockets(code: 0) }
        let port = try own(address, isTaken: { sockets[$0] != nil })
        let socket = SimulatedDatagramSocket(SocketAddress(address: self.address, port: port), self, handler)
        sockets[port] = socket
        socket.open()
        return socket
    }

    func received(_ bytes: [UInt8], from sender: SocketAddress, to receiver: SocketAddress, truncated: Bool) {
        guard let socket = sockets[receiver.port] else {
            // As ICMP does: port unreachable.
            let conditions = network.conditions(from: receiver.address, to: sender.address)
            guard !conditions.isCut else { return }
            network.after(network.delay(conditions)) { [network] in
                network.host(at: sender.address)?.sockets[sender.port]?.refused(by: receiver)
            }
            return
        }
        socket.received(bytes, from: sender, truncated: truncated)
    }

    func remove(_ socket: SimulatedDatagramSocket) {
        if let port = socket.localAddress?.port, sockets[port] === socket { sockets[port] = nil }
    }
}

/// A listener of a simulated host.
final class SimulatedListener: StreamListener, EndOfTurnHandler {
    let localAddress: SocketAddress?
    private let host: SimulatedHost
    private var handler: (any StreamListenerHandler)?
    private(set) var isPaused = false
    private lazy var turnEnd = EndOfTurn(on: host.loop)

    init(_ address: SocketAddress, _ host: SimulatedHost, _ handler: any StreamListenerHandler) {
        localAddress = address
        self.host = host
        self.handler = handler
    }

    func accept(_ stream: SimulatedStream, from peer: SocketAddress) {
        handler?.accepted(stream, from: peer)
        if stream.handler == nil { stream.abort() }
    }

    func pause() { isPaused = true }

    func resume() { isPaused = false }

    func close() {
        guard host.listener(at: localAddress?.port ?? 0) === self else { return }
        host.remove(self)
        turnEnd.request(self)
    }

    func endOfTurn() {
        let handler = self.handler
        self.handler = nil
        handler?.closed(nil)
    }
}

/// A datagram socket of a simulated host.
final class SimulatedDatagramSocket: DatagramSocket, EndOfTurnHandler {
    var handler: (any DatagramHandler)?
    let localAddress: SocketAddress?
    private let address: SocketAddress
    private let host: SimulatedHost
    private var isBound = false
    private var peer: SocketAddress?
    private var isOpen = false
    private var ending: SocketError??
    private lazy var turnEnd = EndOfTurn(on: host.loop)

    init(_ address: SocketAddress, _ host: SimulatedHost, _ handler: any DatagramHandler) {
        self.address = address
        localAddress = address
        self.host = host
        self.handler = handler
    }

    var maximumDatagramBytes: Int { 65_507 }

    /// Opens it for all peers.
    func open() {
        isBound = true
        turnEnd.request(self)
    }

    /// Opens it for one peer, which has a name without an address if it is `nil`.
    func open(to peer: SocketAddress?) {
        self.peer = peer
        if peer == nil { end(.nameNotFound) } else { turnEnd.request(self) }
    }

    func send(_ datagram: Span<UInt8>, to receiver: SocketAddress?) throws(SocketError) {
        guard isOpen, ending == nil else { throw .closed }
        if datagram.count > maximumDatagramBytes { throw .messageTooLong }
        if let receiver, let peer, receiver != peer { throw .unreachable(code: 0) }
        guard let receiver = receiver ?? peer else { throw .unreachable(code: 0) }
        host.network.carry(datagram.withUnsafeBufferPointer { Array($0) }, from: address, to: receiver)
    }

    func received(_ bytes: [UInt8], from sender: SocketAddress, truncated: Bool) {
        guard isOpen, ending == nil, isBound || sender == peer else { return }
        handler?.received(bytes.span, from: sender, truncated: truncated)
    }

    func refused(by receiver: SocketAddress) { if !isBound, receiver == peer { end(.refused(code: 0)) } }

    func close() { end(nil) }

    func end(_ error: SocketError?) {
        guard ending == nil else { return }
        ending = .some(error)
        host.remove(self)
        turnEnd.request(self)
    }

    func endOfTurn() {
        if let error = ending {
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        } else if !isOpen {
            isOpen = true
            handler?.opened()
        }
    }
}
