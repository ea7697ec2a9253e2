#if os(Linux)
public import Kernel
public import SAL

/// A `Network` whose byte streams are carried by WebSocket (RFC 6455; MQTT 5.0, 6) over the streams of another: over plain ones `ws:`, over a
/// `SecureNetwork`'s `wss:`.
public final class WebSocketNetwork: Network {
    private let inner: any Network
    private let path: String
    private let fields: [(name: String, value: String)]

    /// A network over `inner`, whose streams ask for `path` with further `fields` of the HTTP request, such as an authorization.
    public init(over inner: any Network, path: String = "/mqtt", fields: [(name: String, value: String)] = []) {
        self.inner = inner
        self.path = path
        self.fields = fields
    }

    /// The loop that its sockets live on.
    public var loop: EventLoop { inner.loop }

    /// Those of the network below, but for half-closes, which WebSocket has not.
    public var capabilities: NetworkCapabilities {
        var capabilities = inner.capabilities
        capabilities.hasHalfClose = false
        return capabilities
    }

    /// Opens a stream; `deadline` is for the connection and the handshake.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let host = String(decoding: endpoint.host, as: UTF8.self)
        let name = endpoint.isPath ? "localhost" : host.contains(":") ? "[\(host)]" : host
        let stream = WebSocketStream(
            loop: loop,
            host: endpoint.isPath ? name : "\(name):\(endpoint.port)",
            path: path,
            fields: fields,
            deadline: deadline,
            handler: handler
        )
        stream.attach(inner.connect(to: endpoint, deadline: deadline, handler: stream))
        return stream
    }
}

/// Why a WebSocket failed.
@nonexhaustive
public enum WebSocketError: Error, Equatable, Sendable {
    /// The server answered the request with this HTTP status, and not with 101.
    case refused(status: Int)
    /// What answered is no WebSocket server: no HTTP, or a wrong `Sec-WebSocket-Accept` (RFC 6455, 4.1).
    case noWebSocket
    /// The server has not agreed to the subprotocol `mqtt` (MQTT 5.0, 6.0).
    case noSubprotocol
    /// A frame that the standard does not allow; wslay's number of the error.
    case badFrame(code: Int32)
    /// A frame of text, where MQTT has bytes only (MQTT 5.0, 6.0).
    case textFrame
    /// The server closed the WebSocket with this status (RFC 6455, 7.4).
    case closed(status: UInt16)
}
#endif
