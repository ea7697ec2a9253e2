public import Kernel
public import SAL

/// A CoAP client with callbacks, for a run loop: it opens a datagram socket, or on Linux a stream, when there is something to send,
/// and opens it again when the network loses it. Firmware uses it as it is; on Linux `CoAPClient` puts `async` on top.
///
/// An open socket keeps it alive, so call ``close()`` in the end.
public final class CoAPConnection: DatagramHandler, TimerHandler, EndOfTurnHandler {
    /// What is told how a request went.
    public typealias Completion = (Result<CoAPResponse, CoAPError>) -> Void
    /// What is told of an observed resource: how it is now, or `nil` when that is not known any more, and the server is asked again.
    public typealias Notified = (CoAPResponse?) -> Void

    /// Who is told of a request.
    private struct User {
        let id: CoAPExchangeID
        let completion: Completion
        let notified: Notified?
    }

    private enum State {
        case idle
        case opening(Socket)
        case open(Socket)
        #if !hasFeature(Embedded)
        /// The stream was told to close.
        case closing
        #endif
        case closed
    }

    private enum Way {
        case datagrams(any DatagramNetwork)
        #if !hasFeature(Embedded)
        case streams(any Network)
        #endif
    }

    private enum Socket {
        case datagrams(any DatagramSocket)
        #if !hasFeature(Embedded)
        case stream(any ByteStream)
        #endif
    }

    /// The peer.
    public let endpoint: Endpoint
    private let way: Way
    let loop: EventLoop
    // Nothing that the session calls comes back to it, nor do the queues below; so nobody looks whether something does.
    @safe @exclusivity(unchecked) private var session: CoAPSession
    private var state = State.idle
    /// Who is told of the request at each place of the session.
    @safe @exclusivity(unchecked) private var users: [User?] = []
    private let timer: Timer
    private let turnEnd: EndOfTurn
    private var isDraining = false
    /// Whether this socket was used, or this stream has brought something: only then is another one opened when it breaks, so that none breaks in a circle.
    private var hasTransmitted = false
    #if !hasFeature(Embedded)
    /// What the stream has not taken yet.
    private var unsent = ByteQueue()
    /// Before then the peer wants no other connection.
    private var opensAt = Duration.zero
    #endif
    /// What the network said since the peer was last heard.
    private var lastError: SocketError?

    /// A client for the peer at `endpoint`; nothing is opened yet.
    ///
    /// Tokens and message IDs come from `seed`: who can guess it can forge responses.
    public init(
        to endpoint: Endpoint,
        over network: any DatagramNetwork,
        configuration: CoAPConfiguration = CoAPConfiguration(),
        seed: CoAPSeed
    ) {
        self.endpoint = endpoint
        way = .datagrams(network)
        loop = network.loop
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
        var configuration = configuration
        configuration.maximumMessageBytes = min(
            configuration.maximumMessageBytes,
            network.capabilities.datagramBytes
        )
        session = CoAPSession(configuration, seed: seed)
    }

    #if !hasFeature(Embedded)
    /// A client for the peer at `endpoint` over streams: TCP, or TLS with the application protocol `coap` (RFC 8323). Nothing is opened yet.
    public init(
        to endpoint: Endpoint,
        overStreams network: any Network,
        configuration: CoAPConfiguration = CoAPConfiguration(),
        seed: CoAPSeed
    ) {
        self.endpoint = endpoint
        way = .streams(network)
        loop = network.loop
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
        session = CoAPSession(overStreams: configuration, seed: seed)
    }
    #endif

    /// How many requests are not finished.
    public var requestCount: Int { session.requestCount }

    /// What was met that was not in order.
    public var counters: CoAPCounters { session.counters }

    // MARK: Requests

    /// Sends a request; `completion` is called once, on the loop, and not from inside this call.
    ///
    /// `timeout` counts from now; without one it is what ``CoAPSession/send(_:timeout:at:)`` says.
    @discardableResult
    public func send(
        _ request: CoAPRequest,
        timeout: Duration? = nil,
        completion: @escaping Completion
    ) throws(CoAPError) -> CoAPExchangeID {
        try start(completion, nil) { session, now throws(CoAPError) in
            try session.send(request, timeout: timeout, at: now)
        }
    }

    /// Asks the peer whether it is there, as ``CoAPSession/ping(timeout:at:)`` says.
    @discardableResult
    public func ping(timeout: Duration? = nil, completion: @escaping Completion) throws(CoAPError) -> CoAPExchangeID {
        try start(completion, nil) { session, now throws(CoAPError) in try session.ping(timeout: timeout, at: now) }
    }

    /// Observes the resource of a request, GET or FETCH (RFC 7641): `notified` is called with how it is now, and each time that it has changed; not with each state that it
    /// had. It goes on, over lost sockets and servers that forget, until it is cancelled, or the server ends it: with its last word, which `completion` is called with.
    /// `timeout` is for the first response.
    @discardableResult
    public func observe(
        _ request: CoAPRequest,
        timeout: Duration? = nil,
        notified: @escaping Notified,
        completion: @escaping Completion
    ) throws(CoAPError) -> CoAPExchangeID {
        var request = request
        request.options.observe = 0
        return try start(completion, notified) { session, now throws(CoAPError) in
            try session.send(request, timeout: timeout, at: now)
        }
    }

    @inline(__always)
    private func start(
        _ completion: @escaping Completion,
        _ notified: Notified?,
        _ begin: (inout CoAPSession, Duration) throws(CoAPError) -> CoAPExchangeID
    ) throws(CoAPError) -> CoAPExchangeID {
        if case .closed = state { throw .closed }
        let id = try begin(&session, loop.now)
        while users.count <= id.place { users.append(nil) }
        users[id.place] = User(id: id, completion: completion, notified: notified)
        if case .idle = state { open() }
        askForEndOfTurn()
        return id
    }

    /// Registers an observation whose messages are protected once more, as ``CoAPSession/renew(_:with:at:)`` says.
    public func renew(_ id: CoAPExchangeID, with request: CoAPRequest) throws(CoAPError) {
        try session.renew(id, with: request, at: loop.now)
        askForEndOfTurn()
    }

    /// Ends a request with ``CoAPError/cancelled``, unless it is over; its completion is not called from inside this call. `request` is what asks the server to forget an
    /// observation whose messages are protected.
    public func cancel(_ id: CoAPExchangeID, with request: CoAPRequest? = nil) {
        session.cancel(id, with: request, at: loop.now)
        askForEndOfTurn()
    }

    /// Closes for good. What is to be sent now is: that an observation has ended, for instance. Requests that are not finished fail with ``CoAPError/closed``, from inside
    /// this call.
    public func close() {
        #if !hasFeature(Embedded)
        session.releaseStream()
        #endif
        drain()
        switch state {
        case .opening(let socket), .open(let socket): close(socket)
        case .closed: return
        default: break
        }
        state = .closed
        session.transportClosed()
        session.failAll(.closed)
        drain()
    }

    // MARK: The socket

    private func open() {
        hasTransmitted = false
        let deadline = loop.now + session.configuration.openTimeout
        switch way {
        case .datagrams(let network):
            state = .opening(.datagrams(network.openDatagrams(to: endpoint, deadline: deadline, handler: self)))
        #if !hasFeature(Embedded)
        case .streams(let network):
            if opensAt > loop.now { return }
            // A peer that ends each connection is not asked in a circle.
            opensAt = loop.now + .seconds(1)
            state = .opening(.stream(network.connect(to: endpoint, deadline: deadline, handler: self)))
        #endif
        }
    }

    private var isStream: Bool { if case .datagrams = way { false } else { true } }

    private func close(_ socket: Socket) {
        switch socket {
        case .datagrams(let socket):
            socket.handler = nil
            socket.close()
        #if !hasFeature(Embedded)
        case .stream(let stream):
            stream.handler = nil
            stream.close()
        #endif
        }
    }

    /// The socket is ready: part of `DatagramHandler` and of `ByteStreamHandler`.
    public func opened() {
        guard case .opening(let socket) = state else { return }
        state = .open(socket)
        session.transportOpened(at: loop.now)
        drain()
    }

    /// A datagram arrived: part of `DatagramHandler`.
    public func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        guard case .open = state else { return }
        lastError = nil
        session.receive(datagram, isTruncated: truncated, at: loop.now)
        drain()
    }

    /// The socket is over: part of `DatagramHandler` and of `ByteStreamHandler`. Requests live on in the next one, unless there is none to be had.
    public func closed(_ error: SocketError?) {
        let error = error ?? .closed
        #if !hasFeature(Embedded)
        unsent.removeAll()
        #endif
        switch state {
        case .idle, .closed: return
        #if !hasFeature(Embedded)
        case .closing:
            state = .idle
            if session.requestCount > 0 { open() }
        #endif
        case .open where hasTransmitted && (error.isTransient || isStream && error == .closed):
            state = .idle
            lastError = error
            session.transportClosed()
            if session.requestCount > 0 { open() }
        case .open, .opening:
            state = .idle
            session.transportClosed()
            session.failAll(.transport(error))
        }
        drain()
    }

    private func transmit(_ bytes: [UInt8]) {
        guard case .open(let socket) = state else { return }
        switch socket {
        case .datagrams(let socket):
            hasTransmitted = true
            do throws(SocketError) {
                try socket.send(bytes.span, to: nil)
            } catch {
                // What may pass is as good as a lost datagram: the retransmission is the next try.
                lastError = error
                if !error.isTransient { session.transmissionFailed(bytes, error, at: loop.now) }
            }
        #if !hasFeature(Embedded)
        case .stream(let stream): transmit(bytes, stream)
        #endif
        }
    }

    // MARK: Outputs

    private func askForEndOfTurn() { turnEnd.request(self) }

    /// Sends what the turn has produced: part of `EndOfTurnHandler`.
    public func endOfTurn() {
        drain()
    }

    /// A completion may send, cancel or close: what comes of that is dealt with by the outermost call.
    private func drain() {
        if isDraining { return }
        isDraining = true
        while let output = session.nextOutput() {
            switch consume output {
            case .transmit(let datagram): transmit(datagram)
            case .finished(let id, let result): complete(id, result)
            case .notification(let id, let response): notify(id, response)
            case .stale(let id): notify(id, nil)
            #if !hasFeature(Embedded)
            case .disconnect(let holdOff): disconnect(holdOff)
            #endif
            }
        }
        isDraining = false
        setTimer()
    }

    private func notify(_ id: CoAPExchangeID, _ response: CoAPResponse?) {
        if let user = users[id.place], user.id == id { user.notified?(response) }
    }

    private func complete(_ id: CoAPExchangeID, _ result: Result<CoAPResponse, CoAPError>) {
        guard let user = users[id.place].take() else { return }
        // "Connection refused" says more than that nobody answered.
        if case .failure(.notAcknowledged) = result, let lastError {
            user.completion(.failure(.transport(lastError)))
        } else {
            user.completion(result)
        }
    }

    #if !hasFeature(Embedded)
    // MARK: Streams

    private func transmit(_ bytes: [UInt8], _ stream: any ByteStream) {
        let count = unsent.isEmpty ? stream.send(bytes.span) : 0
        guard count < bytes.count else { return }
        if unsent.isEmpty { session.streamFilled(true, at: loop.now) }
        unsent.append(bytes.span.extracting(droppingFirst: count))
    }

    /// Bytes arrived: part of `ByteStreamHandler`.
    public func received(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state else { return bytes.count }
        hasTransmitted = true
        lastError = nil
        session.receive(stream: bytes, at: loop.now)
        drain()
        return bytes.count
    }

    /// There is room to send again: part of `ByteStreamHandler`.
    public func writable() {
        guard case .open(.stream(let stream)) = state, !unsent.isEmpty else { return }
        let count = unsent.withSpan { stream.send($0) }
        unsent.removeFirst(count)
        guard unsent.isEmpty else { return }
        session.streamFilled(false, at: loop.now)
        drain()
    }

    /// Closes the stream behind what was sent; another one is opened when there is something to send, though not before the peer wants it.
    private func disconnect(_ holdOff: Duration?) {
        guard case .open(.stream(let stream)) = state else { return }
        if let holdOff { opensAt = max(opensAt, loop.now + holdOff) }
        state = .closing
        session.transportClosed()
        stream.close()
    }
    #endif

    /// A deadline may move later; the timer is only moved when it would come too late.
    private func setTimer() {
        var next = session.isIdle ? nil : session.deadline
        #if !hasFeature(Embedded)
        if case .idle = state, session.requestCount > 0, opensAt > loop.now { next = min(next ?? opensAt, opensAt) }
        #endif
        guard let deadline = next else { return timer.stop() }
        if let running = timer.deadline, running <= deadline { return }
        timer.start(at: deadline, handler: self)
    }

    /// A deadline has passed: part of `TimerHandler`.
    public func timerFired(_ timer: Timer) {
        #if !hasFeature(Embedded)
        if case .idle = state, session.requestCount > 0 { open() }
        #endif
        session.handleTimeout(at: loop.now)
        drain()
    }
}

#if !hasFeature(Embedded)
extension CoAPConnection: ByteStreamHandler {}
#endif
