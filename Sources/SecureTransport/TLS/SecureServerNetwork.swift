#if !hasFeature(Embedded)
public import Kernel
public import SAL

/// A `ServerNetwork` whose accepted streams are secured with TLS 1.2: a gateway's side of local devices.
///
/// A stream is told to the listener's handler when its handshake is over, as a ``SecureStream``. Streams that it opens itself, and datagrams, are those of the
/// network below.
public final class SecureServerNetwork: ServerNetwork {
    private let inner: any ServerNetwork
    private let context: TLSContext
    private let configuration: TLSServerConfiguration
    private let handshakeFailed: (@Sendable (SecureTransportError, SocketAddress?) -> Void)?

    /// A network over `inner`. The certificates and keys of `configuration` are read here, once for all connections. `handshakeFailed` is told, on the loop, why a
    /// client was not let in, and where it is.
    public init(
        over inner: any ServerNetwork,
        _ configuration: TLSServerConfiguration,
        handshakeFailed: (@Sendable (SecureTransportError, SocketAddress?) -> Void)? = nil
    ) throws(SecureTransportError) {
        self.inner = inner
        self.configuration = configuration
        self.handshakeFailed = handshakeFailed
        context = try TLSContext(configuration)
    }

    /// The names of the cipher suites that are agreed to, the best first: what to compare with the other end's when there is nothing in common.
    public var suites: [String] { context.suiteNames }

    /// The loop that its sockets live on.
    public var loop: EventLoop { inner.loop }

    /// Those of the network below, but for half-closes, which TLS 1.2 has not.
    public var capabilities: NetworkCapabilities {
        var capabilities = inner.capabilities
        capabilities.hasHalfClose = false
        return capabilities
    }

    /// Accepts streams at `address` when their handshakes are over.
    public func listen(
        at address: SocketAddress,
        handler: any StreamListenerHandler
    ) throws(SocketError) -> any StreamListener {
        let listener = SecureListener(context, configuration, loop, handler, handshakeFailed)
        listener.below = try inner.listen(at: address, handler: listener)
        return listener
    }

    /// As the network below.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        inner.connect(to: endpoint, deadline: deadline, handler: handler)
    }

    /// As the network below.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket { inner.openDatagrams(to: endpoint, deadline: deadline, handler: handler) }

    /// As the network below.
    public func bindDatagrams(
        at address: SocketAddress,
        handler: any DatagramHandler
    ) throws(SocketError) -> any DatagramSocket { try inner.bindDatagrams(at: address, handler: handler) }
}

/// A listener whose streams have their handshakes behind them.
private final class SecureListener: StreamListener, StreamListenerHandler {
    var below: (any StreamListener)?
    private let context: TLSContext
    private let configuration: TLSServerConfiguration
    private let loop: EventLoop
    private var handler: (any StreamListenerHandler)?
    private let handshakeFailed: ((SecureTransportError, SocketAddress?) -> Void)?
    private var handshakes: [ObjectIdentifier: Handshake] = [:]
    private var isPaused = false

    init(
        _ context: TLSContext,
        _ configuration: TLSServerConfiguration,
        _ loop: EventLoop,
        _ handler: any StreamListenerHandler,
        _ handshakeFailed: ((SecureTransportError, SocketAddress?) -> Void)?
    ) {
        self.context = context
        self.configuration = configuration
        self.loop = loop
        self.handler = handler
        self.handshakeFailed = handshakeFailed
    }

    var localAddress: SocketAddress? { below?.localAddress }

    func pause() {
        isPaused = true
        below?.pause()
    }

    func resume() {
        isPaused = false
        if handshakes.count < configuration.handshakeCount { below?.resume() }
    }

    /// Clients in the middle of their handshakes are turned away.
    func close() {
        below?.close()
        for handshake in handshakes.values { handshake.stream?.abort() }
    }

    // MARK: Of the listener below

    func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        let handshake = Handshake(self, peer)
        let secure = SecureStream(
            context,
            loop: loop,
            deadline: loop.now + configuration.handshakeTime,
            handler: handshake
        )
        handshake.stream = secure
        handshakes[ObjectIdentifier(handshake)] = handshake
        stream.handler = secure
        secure.attach(to: stream)
        secure.opened()
        if handshakes.count >= configuration.handshakeCount { below?.pause() }
    }

    func acceptFailed(_ error: SocketError) { handler?.acceptFailed(error) }

    func closed(_ error: SocketError?) {
        below = nil
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }

    fileprivate func ended(_ handshake: Handshake, _ result: Result<SecureStream, SecureTransportError>) {
        guard handshakes.removeValue(forKey: ObjectIdentifier(handshake)) != nil else { return }
        if !isPaused, handshakes.count == configuration.handshakeCount - 1 { below?.resume() }
        switch result {
        case .success(let stream):
            stream.handler = nil
            handler?.accepted(stream, from: handshake.peer)
            if stream.handler == nil { stream.abort() }
        case .failure(let error): handshakeFailed?(error, handshake.peer)
        }
    }
}

/// A stream that has not been told of yet.
private final class Handshake: ByteStreamHandler {
    var stream: SecureStream?
    let peer: SocketAddress?
    private var listener: SecureListener?

    init(_ listener: SecureListener, _ peer: SocketAddress?) {
        self.listener = listener
        self.peer = peer
    }

    func opened() { if let stream { end(.success(stream)) } }
    func received(_ bytes: Span<UInt8>) -> Int { 0 }
    func writable() {}
    func closed(_ error: SocketError?) {
        end(.failure(stream?.failure ?? error.map(SecureTransportError.transport) ?? .closedInHandshake))
    }

    private func end(_ result: Result<SecureStream, SecureTransportError>) {
        stream = nil
        listener?.ended(self, result)
        listener = nil
    }
}
#endif
