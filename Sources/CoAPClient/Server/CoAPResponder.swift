public import Kernel
public import SAL

/// A CoAP server with callbacks, for a run loop. Firmware uses it as it is; on Linux ``CoAPServer`` puts `async` on top. Use it on its loop only.
///
/// An open socket keeps it alive, so call ``close()`` in the end.
public final class CoAPResponder: DatagramHandler, TimerHandler, EndOfTurnHandler {
    /// Answers a request: at once, or with `nil` later, by ``respond(to:with:)``.
    public typealias Handler = (CoAPServerRequest) -> CoAPResponse?

    /// Is told of requests that nobody waits for any more: their handlers need not go on.
    public var abandoned: ((CoAPServerRequestID) -> Void)?
    /// Is told once that the socket is over: `nil` after ``close()``.
    public var ended: ((SocketError?) -> Void)?
    /// The loop that it lives on.
    public let loop: EventLoop
    private var session: CoAPServerSession
    private var handlers: [(id: CoAPResourceID, handler: Handler)] = []
    private var socket: (any DatagramSocket)?
    private var groups: [GroupListener] = []
    private lazy var timer = Timer(on: loop)
    private lazy var turnEnd = EndOfTurn(on: loop)
    private var isDraining = false

    /// A server without resources and sockets. All that is random about it comes from `seed`.
    public init(
        on loop: EventLoop,
        configuration: CoAPServerConfiguration = CoAPServerConfiguration(),
        seed: CoAPSeed
    ) {
        self.loop = loop
        session = CoAPServerSession(configuration, seed: seed)
    }

    /// Where it receives, once it is open.
    public var localAddress: SocketAddress? { socket?.localAddress }
    /// What was met that was not in order.
    public var counters: CoAPServerCounters { session.counters }

    /// How many observers the resource at `path` has.
    public func observerCount(_ path: [[UInt8]]) -> Int { session.observerCount(path) }

    /// The paths that are observed, one for each observer.
    public var observedPaths: [[[UInt8]]] { session.observedPaths }

    // MARK: Resources

    /// Adds a resource, in place of one with the same path if there is one. Its handler is called on the loop.
    public func add(_ resource: CoAPResource, handler: @escaping Handler) {
        let id = session.add(resource, at: loop.now)
        handlers.removeAll { entry in !session.contains(entry.id) }
        handlers.append((id, handler))
        turnEnd.request(self)
    }

    /// Removes the resource at `path`; its observers are told.
    public func remove(_ path: [[UInt8]]) {
        session.remove(path, at: loop.now)
        handlers.removeAll { entry in !session.contains(entry.id) }
        turnEnd.request(self)
    }

    /// The resource at `path` has changed: its handler is asked how it is, once for each observer, who are told.
    public func changed(_ path: [[UInt8]]) {
        session.changed(path, at: loop.now)
        turnEnd.request(self)
    }

    /// Answers a request whose handler has returned `nil`; does nothing if nobody waits for it any more.
    public func respond(to id: CoAPServerRequestID, with response: CoAPResponse) {
        session.respond(to: id, with: response, at: loop.now)
        turnEnd.request(self)
    }

    /// Forgets all that a peer has done, as ``CoAPServerSession/forget(_:)`` does.
    public func forget(_ peer: SocketAddress) {
        session.forget(peer)
        turnEnd.request(self)
    }

    // MARK: Sockets

    /// Opens a socket at `address` of `network`; port 0 takes a free one.
    public func open(at address: SocketAddress, over network: any ServerNetwork) throws(SocketError) {
        try open { handler throws(SocketError) in try network.bindDatagrams(at: address, handler: handler) }
    }

    /// Opens what `makeSocket` makes for the handler that it is given: a socket for all peers, such as a `SecureDatagramServer`, or, on a modem, for the one peer who may ask.
    public func open<Failure: Error>(
        _ makeSocket: (any DatagramHandler) throws(Failure) -> any DatagramSocket
    ) throws(Failure) {
        precondition(socket == nil, "it is open already")
        let socket = try makeSocket(self)
        session.limitMessages(to: socket.maximumDatagramBytes)
        self.socket = socket
    }

    /// Takes requests to `group` at `port` too, as they arrive at the interface with the number `interface`, or at one of the system's choice if that is 0. They are answered
    /// from the socket that is open (RFC 7252, 8).
    public func join(
        _ group: IPAddress,
        port: UInt16 = 5683,
        interface: UInt32 = 0,
        over network: any ServerNetwork
    ) throws(SocketError) {
        let listener = GroupListener(self)
        // Bound to the group, it hears nothing else.
        let socket = try network.bindDatagrams(at: SocketAddress(address: group, port: port), handler: listener)
        do throws(SocketError) { try socket.join(group, interface: interface) } catch {
            socket.close()
            throw error
        }
        listener.socket = socket
        groups.append(listener)
    }

    /// Closes for good. Requests that are not answered stay so.
    public func close() {
        drain()
        timer.stop()
        for group in groups { group.socket?.close() }
        groups = []
        socket?.close()
        socket = nil
    }

    /// The socket is ready: part of `DatagramHandler`.
    public func opened() {}

    /// A datagram arrived: part of `DatagramHandler`.
    public func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        received(datagram, from: peer, isMulticast: false, truncated)
    }

    fileprivate func received(_ datagram: Span<UInt8>, from peer: SocketAddress, isMulticast: Bool, _ truncated: Bool) {
        session.receive(datagram, from: peer, isMulticast: isMulticast, isTruncated: truncated, at: loop.now)
        drain()
    }

    /// The socket is over: part of `DatagramHandler`.
    public func closed(_ error: SocketError?) {
        socket = nil
        close()
        ended?(error)
        ended = nil
    }

    // MARK: Outputs

    /// Sends what the turn has produced: part of `EndOfTurnHandler`.
    public func endOfTurn() { drain() }

    /// A handler may answer, add or close: what comes of that is dealt with by the outermost call.
    private func drain() {
        if isDraining { return }
        isDraining = true
        while let output = session.nextOutput() {
            switch output {
            // What cannot be sent is as good as lost on the way.
            case .transmit(let datagram, let peer): try? socket?.send(datagram.span, to: peer)
            case .request(let request): ask(request)
            case .abandoned(let id): abandoned?(id)
            }
        }
        isDraining = false
        setTimer()
    }

    private func ask(_ request: CoAPServerRequest) {
        // Without one the resource is gone, and the request was answered.
        guard let handler = handlers.first(where: { $0.id == request.resource })?.handler,
            let response = handler(request)
        else { return }
        session.respond(to: request.id, with: response, at: loop.now)
    }

    /// A deadline may move later; the timer is only moved when it would come too late.
    private func setTimer() {
        guard socket != nil, let deadline = session.deadline else { return timer.stop() }
        if let running = timer.deadline, running <= deadline { return }
        timer.start(at: deadline, handler: self)
    }

    /// A deadline has passed: part of `TimerHandler`.
    public func timerFired(_ timer: Timer) {
        session.handleTimeout(at: loop.now)
        drain()
    }
}

/// Hears what is sent to a group.
private final class GroupListener: DatagramHandler {
    // A circle, which `close()` opens.
    private let responder: CoAPResponder
    var socket: (any DatagramSocket)?

    init(_ responder: CoAPResponder) { self.responder = responder }

    func opened() {}

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        responder.received(datagram, from: peer, isMulticast: true, truncated)
    }

    func closed(_ error: SocketError?) { socket = nil }
}
