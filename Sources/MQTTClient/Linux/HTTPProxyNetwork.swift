#if os(Linux)
public import Kernel
public import SAL
internal import SecureTransport

/// A `Network` whose byte streams go through an HTTP proxy: it is asked to CONNECT (RFC 9110, 9.3.6), and then carries bytes both ways. Put a `SecureNetwork` or a
/// ``WebSocketNetwork`` over it.
public final class HTTPProxyNetwork: Network {
    private let inner: any Network
    private let proxy: Endpoint
    private let authorization: String?

    /// A network over `inner` that reaches all endpoints by way of `proxy`, with a user name and a password if it wants them.
    public init(over inner: any Network, proxy: Endpoint, userName: String? = nil, password: String? = nil) {
        self.inner = inner
        self.proxy = proxy
        authorization = userName.map { name in
            let text = Array("\(name):\(password ?? "")".utf8)
            return "Basic \(String(decoding: Base64.encode(text.span), as: UTF8.self))"
        }
    }

    /// The loop that its sockets live on.
    public var loop: EventLoop { inner.loop }

    /// Those of the network below.
    public var capabilities: NetworkCapabilities { inner.capabilities }

    /// Opens a stream to `endpoint` by way of the proxy; names are resolved by it. A proxy that refuses is told as `SocketError.refused(code:)` with its HTTP status.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let host = String(decoding: endpoint.host, as: UTF8.self)
        let target = "\(host.contains(":") ? "[\(host)]" : host):\(endpoint.port)"
        var request = "CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n"
        if let authorization { request += "Proxy-Authorization: \(authorization)\r\n" }
        let stream = HTTPTunnelStream(
            loop: loop,
            request: Array("\(request)\r\n".utf8),
            deadline: deadline,
            handler: handler
        )
        stream.attach(inner.connect(to: proxy, deadline: deadline, handler: stream))
        return stream
    }
}

/// A stream through an HTTP proxy.
final class HTTPTunnelStream: ByteStream, ByteStreamHandler, TimerHandler, EndOfTurnHandler {
    private enum State {
        /// The request is on its way.
        case asking
        case open
        /// The end is known; it is told at the end of the turn.
        case ending(SocketError?)
        case closed
    }

    var handler: (any ByteStreamHandler)?
    private var below: (any ByteStream)?
    private var state = State.asking
    private var request: [UInt8]
    private let head = HTTPHead()
    private let timer: Timer
    private let turnEnd: EndOfTurn

    init(loop: EventLoop, request: [UInt8], deadline: Duration, handler: any ByteStreamHandler) {
        self.request = request
        self.handler = handler
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
        timer.start(at: deadline, handler: self)
    }

    func attach(_ stream: any ByteStream) { if case .asking = state { below = stream } else { stream.abort() } }

    var allowsHalfOpen: Bool {
        get { below?.allowsHalfOpen ?? false }
        set { below?.allowsHalfOpen = newValue }
    }
    var localAddress: SocketAddress? { below?.localAddress }
    /// The proxy's.
    var peerAddress: SocketAddress? { below?.peerAddress }

    func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state else { return 0 }
        return below?.send(bytes) ?? 0
    }

    func resumeReceiving() { below?.resumeReceiving() }

    func finishSending() { if case .open = state { below?.finishSending() } }

    func close() {
        guard case .open = state else { return abort() }
        below?.close()
    }

    func abort() {
        switch state {
        case .asking: end(nil)
        case .open: below?.abort()
        case .ending, .closed: break
        }
    }

    private func end(_ error: SocketError?) {
        timer.stop()
        below?.handler = nil
        below?.abort()
        below = nil
        state = .ending(error)
        turnEnd.request(self)
    }

    // MARK: ByteStreamHandler, of the stream below

    func attemptFailed(_ address: SocketAddress, _ error: SocketError) { handler?.attemptFailed(address, error) }

    func opened() { sendRequest() }

    private func sendRequest() {
        guard !request.isEmpty, let below else { return }
        request.removeFirst(below.send(request.span))
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        switch state {
        case .open: return handler?.received(bytes) ?? bytes.count
        case .ending, .closed: return bytes.count
        case .asking: break
        }
        guard let taken = head.take(bytes) else {
            end(.streamDamaged(code: 0))
            return bytes.count
        }
        guard head.isComplete else { return taken }
        guard head.status / 100 == 2 else {
            end(.refused(code: Int32(head.status)))
            return bytes.count
        }
        timer.stop()
        state = .open
        handler?.opened()
        guard taken < bytes.count, case .open = state else { return bytes.count }
        return taken + (handler?.received(bytes.extracting(droppingFirst: taken)) ?? 0)
    }

    func writable() {
        switch state {
        case .asking: sendRequest()
        case .open: handler?.writable()
        case .ending, .closed: break
        }
    }

    func peerEnded() { handler?.peerEnded() }

    func closed(_ error: SocketError?) {
        timer.stop()
        below = nil
        switch state {
        case .ending, .closed: return
        case .asking: tell(error ?? .closed)
        case .open: tell(error)
        }
    }

    private func tell(_ error: SocketError?) {
        state = .closed
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }

    func timerFired(_ timer: Timer) { if case .asking = state { end(.timedOut) } }

    func endOfTurn() { if case .ending(let error) = state { tell(error) } }
}
#endif
