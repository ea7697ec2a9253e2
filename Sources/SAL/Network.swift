public import Kernel

/// A way to the network for byte streams: the sockets of Linux, a modem, TLS over another, or a simulated network in a test.
public protocol Network: AnyObject, Sendable {
    /// The loop that its sockets live on.
    var loop: EventLoop { get }

    /// What this network can and cannot do.
    var capabilities: NetworkCapabilities { get }

    /// Opens a byte stream to `endpoint`. The result is told to `handler`: ``ByteStreamHandler/opened()``, or
    /// ``ByteStreamHandler/closed(_:)`` with the cause, at the latest at `deadline`; neither from inside this call.
    func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream
}

/// A way to the network for datagrams. Most networks are this and a ``Network`` too.
public protocol DatagramNetwork: AnyObject, Sendable {
    /// The loop that its sockets live on.
    var loop: EventLoop { get }

    /// What this network can and cannot do.
    var capabilities: NetworkCapabilities { get }

    /// Opens a datagram socket for the peer `endpoint`: datagrams from others are dropped. The result is told to `handler`:
    /// ``DatagramHandler/opened()``, or ``DatagramHandler/closed(_:)`` with the cause, at the latest at `deadline`; neither
    /// from inside this call.
    func openDatagrams(to endpoint: Endpoint, deadline: Duration, handler: any DatagramHandler) -> any DatagramSocket
}

/// A network that peers can connect to, and send datagrams to.
public protocol ServerNetwork: Network, DatagramNetwork {
    /// Accepts streams at `address`; port 0 takes a free one, which ``StreamListener/localAddress`` tells.
    func listen(at address: SocketAddress, handler: any StreamListenerHandler) throws(SocketError) -> any StreamListener

    /// Opens a datagram socket at `address` that takes datagrams from everybody, and whose ``DatagramSocket/send(_:to:)`` must say to whom; port
    /// 0 takes a free one.
    func bindDatagrams(at address: SocketAddress, handler: any DatagramHandler) throws(SocketError)
        -> any DatagramSocket
}

/// A socket that accepts streams. Use it on its loop only. It keeps its handler alive until it is closed.
public protocol StreamListener: AnyObject {
    /// Where it listens; `nil` for a path of the file system.
    var localAddress: SocketAddress? { get }

    /// Accepts no more until ``resume()``: peers wait in the system's line.
    func pause()

    /// Accepts again.
    func resume()

    /// Accepts no more; the streams that it has accepted stay. The handler is told ``StreamListenerHandler/closed(_:)`` once.
    func close()
}

/// What a ``StreamListener`` tells; all calls are made on its loop.
public protocol StreamListenerHandler: AnyObject {
    /// A stream was accepted, from `peer` unless that has no address. Set its handler now; a stream without one is aborted.
    func accepted(_ stream: any ByteStream, from peer: SocketAddress?)

    /// A stream could not be accepted, for lack of file descriptors or memory. It waits in the system's line, and the listener tries again
    /// after a tenth of a second.
    func acceptFailed(_ error: SocketError)

    /// The listener is over: `nil` after ``StreamListener/close()``.
    func closed(_ error: SocketError?)
}

extension StreamListenerHandler {
    /// Nothing is done about it.
    public func acceptFailed(_ error: SocketError) {}

    /// Nothing is done about it.
    public func closed(_ error: SocketError?) {}
}

/// What a ``Network`` or a ``DatagramNetwork`` can and cannot do.
public struct NetworkCapabilities: Equatable, Sendable {
    /// How many sockets it can have open at once, or `nil` if only the system limits them. One more ends with
    /// ``SocketError/tooManySockets(code:)``, at once or at its deadline.
    public var maximumSockets: Int?
    /// The largest piece that one send hands to the network, in bytes; larger ones are cut.
    public var sendChunkBytes: Int
    /// The largest datagram payload, in bytes.
    public var datagramBytes: Int
    /// Whether a receiver that takes nothing stops the peer. If not, the buffer is bounded and its overflow closes the
    /// stream with ``SocketError/overflow``.
    public var hasReceiveFlowControl: Bool
    /// Whether one direction of a stream can be ended before the other: ``ByteStream/finishSending()``.
    public var hasHalfClose: Bool

    /// Capabilities, as given.
    public init(
        maximumSockets: Int?,
        sendChunkBytes: Int,
        datagramBytes: Int,
        hasReceiveFlowControl: Bool,
        hasHalfClose: Bool = false
    ) {
        self.maximumSockets = maximumSockets
        self.sendChunkBytes = sendChunkBytes
        self.datagramBytes = datagramBytes
        self.hasReceiveFlowControl = hasReceiveFlowControl
        self.hasHalfClose = hasHalfClose
    }
}
