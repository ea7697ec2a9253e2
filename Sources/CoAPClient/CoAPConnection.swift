public import Kernel
public import SAL

/// A CoAP client with callbacks, for a run loop: it opens a datagram socket over a `Network` when there is something to send,
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
        case opening(any DatagramSocket)
        case open(any DatagramSocket)
        case closed
    }

    /// The peer.
    public let endpoint: Endpoint
    /// The way to it.
    public let network: any DatagramNetwork
    private let loop: EventLoop
    // Nothing that the session calls comes back to it, nor do the queues below; so nobody looks whether something does.
    @safe @exclusivity(unchecked) private var session: CoAPSession
    private var state = State.idle
    /// Who is told of the request at each place of the session.
    @safe @exclusivity(unchecked) private var users: [User?] = []
    private let timer: Timer
    private let turnEnd: EndOfTurn
    private var isDraining = false
    /// Whether this socket was used: only then is another one opened when it breaks, so that none breaks in a circle.
    private var hasTransmitted = false
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
        self.network = network
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
        try start(request, timeout, completion, nil)
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
        return try start(request, timeout, completion, notified)
    }

    private func start(
        _ request: CoAPRequest,
        _ timeout: Duration?,
        _ completion: @escaping Completion,
        _ notified: Notified?
    ) throws(CoAPError) -> CoAPExchangeID {
        if case .closed = state { throw .closed }
        let id = try session.send(request, timeout: timeout, at: loop.now)
        while users.count <= id.place { users.append(nil) }
        users[id.place] = User(id: id, completion: completion, notified: notified)
        if case .idle = state { open() }
        askForEndOfTurn()
        return id
    }

    /// Ends a request with ``CoAPError/cancelled``, unless it is over; its completion is not called from inside this call.
    public func cancel(_ id: CoAPExchangeID) {
        session.cancel(id, at: loop.now)
        askForEndOfTurn()
    }

    /// Closes for good. What is to be sent now is: that an observation has ended, for instance. Requests that are not finished fail with ``CoAPError/closed``, from inside
    /// this call.
    public func close() {
        drain()
        switch state {
        case .idle: break
        case .opening(let socket), .open(let socket):
            socket.handler = nil
            socket.close()
        case .closed: return
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
        state = .opening(network.openDatagrams(to: endpoint, deadline: deadline, handler: self))
    }

    /// The socket is ready: part of `DatagramHandler`.
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

    /// The socket is over: part of `DatagramHandler`. Requests live on in the next one, unless there is none to be had.
    public func closed(_ error: SocketError?) {
        let error = error ?? .closed
        switch state {
        case .idle, .closed: return
        case .open where hasTransmitted && error.isTransient:
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

    private func transmit(_ datagram: [UInt8]) {
        guard case .open(let socket) = state else { return }
        hasTransmitted = true
        do throws(SocketError) {
            try socket.send(datagram.span, to: nil)
        } catch {
            // What may pass is as good as a lost datagram: the retransmission is the next try.
            lastError = error
            if !error.isTransient { session.transmissionFailed(datagram, error, at: loop.now) }
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

    /// A deadline may move later; the timer is only moved when it would come too late.
    private func setTimer() {
        guard !session.isIdle, let deadline = session.deadline else { return timer.stop() }
        if let running = timer.deadline, running <= deadline { return }
        timer.start(at: deadline, handler: self)
    }

    /// A deadline has passed: part of `TimerHandler`.
    public func timerFired(_ timer: Timer) {
        session.handleTimeout(at: loop.now)
        drain()
    }
}
