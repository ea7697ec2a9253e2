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

/// What a ``Network`` or a ``DatagramNetwork`` can and cannot do.
public struct NetworkCapabilities: Equatable, Sendable {
    /// How many sockets it can have open at once, or `nil` if only the system limits them.
    public var maximumSockets: Int?
    /// The largest piece that one send hands to the network, in bytes; larger ones are cut.
    public var sendChunkBytes: Int
    /// The largest datagram payload, in bytes.
    public var datagramBytes: Int
    /// Whether a receiver that takes nothing stops the peer. If not, the buffer is bounded and its overflow closes the
    /// stream with ``SocketError/overflow``.
    public var hasReceiveFlowControl: Bool

    /// Capabilities, as given.
    public init(maximumSockets: Int?, sendChunkBytes: Int, datagramBytes: Int, hasReceiveFlowControl: Bool) {
        self.maximumSockets = maximumSockets
        self.sendChunkBytes = sendChunkBytes
        self.datagramBytes = datagramBytes
        self.hasReceiveFlowControl = hasReceiveFlowControl
    }
}
