#if os(Linux) || DTLS
public import Kernel
public import SAL

/// A `DatagramNetwork` whose sockets are secured with DTLS 1.2 over those of another, be that Linux or a modem.
public final class SecureDatagramNetwork: DatagramNetwork {
    private let inner: any DatagramNetwork
    private let context: TLSContext
    private let failed: (@Sendable (SecureTransportError, Endpoint) -> Void)?
    #if !hasFeature(Embedded)
    private let agreed: (@Sendable (TLSAgreement, Endpoint) -> Void)?
    #endif

    #if hasFeature(Embedded)
    /// A network over `inner`. The certificates and keys of `configuration` are read here, once for all its sockets. `failed` is told, on the loop and
    /// before the socket's handler, why a socket has failed: the handler is told `SocketError.security(code:)`.
    public init(
        over inner: any DatagramNetwork,
        _ configuration: TLSConfiguration,
        failed: (@Sendable (SecureTransportError, Endpoint) -> Void)? = nil
    ) throws(SecureTransportError) {
        self.inner = inner
        self.failed = failed
        context = try TLSContext(configuration, isDatagram: true)
    }
    #else
    /// A network over `inner`. The certificates and keys of `configuration` are read here, once for all its sockets. `agreed` is told, on the loop, what the
    /// two ends of a socket have agreed on, and `failed` why a socket has failed, before the socket's handler is told `SocketError.security(code:)`.
    public init(
        over inner: any DatagramNetwork,
        _ configuration: TLSConfiguration,
        failed: (@Sendable (SecureTransportError, Endpoint) -> Void)? = nil,
        agreed: (@Sendable (TLSAgreement, Endpoint) -> Void)? = nil
    ) throws(SecureTransportError) {
        self.inner = inner
        self.agreed = agreed
        self.failed = failed
        context = try TLSContext(configuration, isDatagram: true)
    }
    #endif

    #if !hasFeature(Embedded)
    /// The names of the cipher suites that are offered, the best first: what to compare with the other end's when there is nothing in common.
    public var suites: [String] { context.suiteNames }
    #endif

    /// The loop that its sockets live on.
    public var loop: EventLoop { inner.loop }

    /// Those of the network below; a datagram carries at least 64 bytes less.
    public var capabilities: NetworkCapabilities {
        var capabilities = inner.capabilities
        capabilities.datagramBytes = min(context.datagramBytes, capabilities.datagramBytes) - DatagramLimit.overhead
        return capabilities
    }

    /// Opens a socket and runs the handshake; the server's certificate must be for the host of `endpoint`, unless the
    /// configuration names another. `deadline` is for both.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        let socket = SecureDatagramSocket(context, endpoint, loop: loop, deadline: deadline, handler: handler)
        if let failed { socket.failed = { failed($0, endpoint) } }
        #if !hasFeature(Embedded)
        if let agreed { socket.agreed = { agreed($0, endpoint) } }
        #endif
        socket.attach(
            to: inner.openDatagrams(to: endpoint, deadline: deadline, handler: socket),
            of: inner.capabilities.datagramBytes
        )
        return socket
    }
}

/// How long datagrams are.
enum DatagramLimit {
    /// What DTLS adds at most: header, explicit nonce or vector, tag or MAC, padding.
    static let overhead = 64
}

/// A datagram socket that is secured.
public final class SecureDatagramSocket: DatagramSocket, DatagramHandler, TimerHandler, EndOfTurnHandler {
    private enum State {
        case opening, handshaking, open
        case ending(SocketError?)
        case closed
    }

    /// Who is told what happens.
    public var handler: (any DatagramHandler)?
    /// Why the socket failed, if it did.
    public private(set) var failure: SecureTransportError? {
        didSet { if let failure { failed?(failure) } }
    }
    var failed: ((SecureTransportError) -> Void)?
    #if !hasFeature(Embedded)
    var agreed: ((TLSAgreement) -> Void)?
    #endif
    private let loop: EventLoop
    private let context: TLSContext
    private let endpoint: Endpoint
    private var engine: TLSEngine?
    private var below: (any DatagramSocket)?
    private var datagramBytes = 0
    private var state = State.opening
    private var peer: SocketAddress?
    private lazy var turnEnd = EndOfTurn(on: loop)
    private lazy var deadlineTimer = Timer(on: loop)
    private lazy var retransmissionTimer = Timer(on: loop)

    init(
        _ context: TLSContext,
        _ endpoint: Endpoint,
        loop: EventLoop,
        deadline: Duration,
        handler: any DatagramHandler
    ) {
        self.loop = loop
        self.context = context
        self.endpoint = endpoint
        self.handler = handler
        deadlineTimer.start(at: deadline, handler: self)
    }

    deinit { engine?.detach() }

    func attach(to socket: any DatagramSocket, of datagramBytes: Int) {
        below = socket
        self.datagramBytes = min(context.datagramBytes, datagramBytes)
        do throws(SecureTransportError) {
            // The engine must not keep the socket that owns it; it is detached before the socket goes away.
            let engine = try TLSEngine(context, host: endpoint.host, port: endpoint.port) {
                [unowned(unsafe) self] bytes in
                do throws(SocketError) { unsafe try below?.send(bytes, to: nil) } catch {}
                return bytes.count
            }
            engine.useDatagrams(
                of: self.datagramBytes,
                clock: { [loop] in loop.now },
                schedule: { [unowned(unsafe) self] in unsafe retransmit(at: $0) }
            )
            self.engine = engine
        } catch { fail(error) }
    }

    private func retransmit(at time: Duration?) {
        if let time { retransmissionTimer.start(at: time, handler: self) } else { retransmissionTimer.stop() }
    }

    // MARK: DatagramSocket

    /// What DTLS leaves of the datagrams of the network below.
    public var maximumDatagramBytes: Int {
        let most = min(context.datagramBytes, below?.maximumDatagramBytes ?? datagramBytes) - DatagramLimit.overhead
        guard let engine, case .open = state else { return most }
        return max(0, min(most, engine.maximumPayload))
    }

    /// Where it receives; `nil` where the network below does not know.
    public var localAddress: SocketAddress? { below?.localAddress }

    #if !hasFeature(Embedded)
    /// What the two ends have agreed on; `nil` before the handshake is over.
    public var agreement: TLSAgreement? {
        guard case .open = state else { return nil }
        return engine?.agreement
    }

    /// As ``SecureStream/exportKeyingMaterial(label:context:count:)``.
    public func exportKeyingMaterial(label: String, context: [UInt8]? = nil, count: Int) -> SecretBytes? {
        guard case .open = state else { return nil }
        return engine?.exportKey(label, context, count)
    }
    #endif

    /// Encrypts and sends a datagram to the peer.
    public func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) {
        guard case .open = state, let engine else { throw .closed }
        if let peer, peer != self.peer { throw .unreachable(code: 0) }
        guard datagram.count <= maximumDatagramBytes else { throw .messageTooLong }
        do throws(SecureTransportError) { _ = try engine.write(datagram) } catch {
            fail(error)
            throw .security(code: 0)
        }
    }

    /// Says goodbye and closes.
    public func close() {
        if case .open = state { _ = try? engine?.closeNotify() }
        end(nil)
    }

    // MARK: DatagramHandler, of the socket below

    /// The socket below is up: the handshake begins.
    public func opened() {
        guard case .opening = state else { return }
        state = .handshaking
        advance()
    }

    /// A datagram arrived.
    public func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        // An empty one means nothing; a part of one would not be authentic.
        guard !truncated, !datagram.isEmpty, let engine else { return }
        self.peer = peer
        switch state {
        case .handshaking, .open: _ = engine.receive(datagram) { advance() }
        case .opening, .ending, .closed: break
        }
    }

    /// The socket below is over.
    public func closed(_ error: SocketError?) {
        below = nil
        switch state {
        case .ending, .closed: break
        case .opening, .handshaking, .open: end(error ?? .closed)
        }
    }

    private func advance() {
        guard let engine else { return }
        do throws(SecureTransportError) {
            if case .handshaking = state {
                guard try engine.handshake() == .done else { return }
                deadlineTimer.stop()
                state = .open
                #if !hasFeature(Embedded)
                agreed?(engine.agreement)
                #endif
                handler?.opened()
            }
            while case .open = state {
                let outcome = try engine.read { bytes in
                    if case .open = state, let peer { handler?.received(bytes, from: peer, truncated: false) }
                    return bytes.count
                }
                switch outcome {
                case .done: continue
                case .blocked, .held: return
                #if !hasFeature(Embedded)
                case .unverified, .reconnects: return
                #endif
                case .ended:
                    _ = try? engine.closeNotify()
                    return end(.closed)
                }
            }
        } catch { fail(error) }
    }

    /// The deadline, or the time of a retransmission, has passed.
    public func timerFired(_ timer: Timer) {
        guard timer === deadlineTimer else { return advance() }
        switch state {
        case .opening, .handshaking:
            failure = .timedOut
            end(.timedOut)
        case .open, .ending, .closed: break
        }
    }

    // MARK: Ending

    private func fail(_ error: SecureTransportError) {
        switch state {
        case .ending, .closed: return
        case .opening, .handshaking, .open: break
        }
        failure = error
        switch error {
        case .timedOut: end(.timedOut)
        case .protocolFailure(let code): end(.security(code: code))
        default: end(.security(code: 0))
        }
    }

    private func end(_ error: SocketError?) {
        switch state {
        case .ending, .closed: return
        case .opening, .handshaking, .open: break
        }
        state = .ending(error)
        deadlineTimer.stop()
        retransmissionTimer.stop()
        if let below {
            self.below = nil
            below.handler = nil
            below.close()
        }
        turnEnd.request(self)
    }

    /// Does what the turn has asked for.
    public func endOfTurn() {
        guard case .ending(let error) = state else { return }
        state = .closed
        engine?.detach()
        engine = nil
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }
}
#endif
