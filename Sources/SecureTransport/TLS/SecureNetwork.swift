#if os(Linux) || TLS
public import Kernel
public import SAL

/// A `Network` whose byte streams are secured with TLS 1.2 over the streams of another, be that Linux or a modem.
public final class SecureNetwork: Network {
    private let inner: any Network
    private let context: TLSContext
    private let failed: (@Sendable (SecureTransportError, Endpoint) -> Void)?

    /// A network over `inner`. The certificates and keys of `configuration` are read here, once for all its connections. `failed` is told, on the loop and
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
        stream.attach(to: inner.connect(to: endpoint, deadline: deadline, handler: stream))
        return stream
    }
}
#endif
