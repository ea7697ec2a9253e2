#if !hasFeature(Embedded)
public import Kernel
public import SAL

/// A `Network` whose byte streams are secured with TLS 1.2 over the streams of another, be that Linux or a modem.
public final class SecureNetwork: Network {
    private let inner: any Network
    private let context: TLSContext

    /// A network over `inner`. The certificates and keys of `configuration` are read here, once for all its connections.
    public init(over inner: any Network, _ configuration: TLSConfiguration) throws(SecureTransportError) {
        self.inner = inner
        context = try TLSContext(configuration)
    }

    /// The loop that its sockets live on.
    public var loop: EventLoop { inner.loop }

    /// Those of the network below.
    public var capabilities: NetworkCapabilities { inner.capabilities }

    /// Opens a stream and runs the handshake; the server's certificate must be for the host of `endpoint`, unless the
    /// configuration names another. `deadline` is for both.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let stream = SecureStream(context, host: endpoint.host, loop: loop, deadline: deadline, handler: handler)
        stream.attach(to: inner.connect(to: endpoint, deadline: deadline, handler: stream))
        return stream
    }
}
#endif
