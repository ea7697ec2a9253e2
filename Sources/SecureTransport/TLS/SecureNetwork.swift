#if os(Linux) || TLS
public import Kernel
public import SAL

/// A `Network` whose byte streams are secured with TLS 1.2 over the streams of another, be that Linux or a modem.
public final class SecureNetwork: Network {
    private let inner: any Network
    private let context: TLSContext
    private let failed: (@Sendable (SecureTransportError, Endpoint) -> Void)?
    #if !hasFeature(Embedded)
    private let agreed: (@Sendable (TLSAgreement, Endpoint) -> Void)?
    #endif

    #if hasFeature(Embedded)
    /// A network over `inner`. The certificates and keys of `configuration` are read here, once for all its streams. `failed` is told, on the loop and
    /// before the stream's handler, why a stream has failed: the handler is told `SocketError.security(code:)`.
    public init(
        over inner: any Network,
        _ configuration: TLSConfiguration,
        failed: (@Sendable (SecureTransportError, Endpoint) -> Void)? = nil
    ) throws(SecureTransportError) {
        self.inner = inner
        self.failed = failed
        context = try TLSContext(configuration)
    }
    #else
    /// A network over `inner`. The certificates and keys of `configuration` are read here, once for all its streams. `agreed` is told, on the loop, what the
    /// two ends of a stream have agreed on, and `failed` why a stream has failed, before the stream's handler is told `SocketError.security(code:)`.
    public init(
        over inner: any Network,
        _ configuration: TLSConfiguration,
        failed: (@Sendable (SecureTransportError, Endpoint) -> Void)? = nil,
        agreed: (@Sendable (TLSAgreement, Endpoint) -> Void)? = nil
    ) throws(SecureTransportError) {
        self.inner = inner
        self.agreed = agreed
        self.failed = failed
        context = try TLSContext(configuration)
    }
    #endif

    #if !hasFeature(Embedded)
    /// The names of the cipher suites that are offered, the best first: what to compare with the other end's when there is nothing in common.
    public var suites: [String] { context.suiteNames }
    #endif

    /// The loop that its sockets live on.
    public var loop: EventLoop { inner.loop }

    /// Those of the network below, but for half-closes, which TLS 1.2 has not.
    public var capabilities: NetworkCapabilities {
        var capabilities = inner.capabilities
        capabilities.hasHalfClose = false
        return capabilities
    }

    /// Opens a stream and runs the handshake; the server's certificate must be for the host of `endpoint`, unless the
    /// configuration names another. `deadline` is for both.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let stream = SecureStream(
            context,
            host: endpoint.host,
            port: endpoint.port,
            loop: loop,
            deadline: deadline,
            handler: handler
        )
        if let failed { stream.failed = { failed($0, endpoint) } }
        #if !hasFeature(Embedded)
        if let agreed { stream.agreed = { agreed($0, endpoint) } }
        #endif
        stream.attach(to: inner.connect(to: endpoint, deadline: deadline, handler: stream))
        return stream
    }
}
#endif
