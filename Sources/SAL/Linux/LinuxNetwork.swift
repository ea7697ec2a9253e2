#if os(Linux)
internal import CLinux
public import Kernel

/// The sockets of the Linux kernel, on one event loop.
public final class LinuxNetwork: ServerNetwork {
    /// The loop that its sockets live on.
    public let loop: EventLoop
    /// How its sockets are set up. For sockets that are set up otherwise make another network, which costs nothing.
    public let options: SocketOptions
    private let resolver: Resolver

    /// A network whose sockets live on `loop`, and which looks names up with `resolver`.
    public init(loop: EventLoop, options: SocketOptions = SocketOptions(), resolver: Resolver = .shared) {
        self.loop = loop
        self.options = options
        self.resolver = resolver
    }

    /// No limit but the system's; receivers that take nothing stop the peer.
    public var capabilities: NetworkCapabilities {
        NetworkCapabilities(
            maximumSockets: nil,
            sendChunkBytes: 65_536,
            datagramBytes: LinuxDatagramSocket.maximumBytes,
            hasReceiveFlowControl: true,
            hasHalfClose: true
        )
    }

    /// Opens a TCP connection, or one to a Unix-domain socket if `endpoint` is a path.
    ///
    /// A name is resolved off the loop. Its addresses are tried with the families in turn; when one has not answered after a quarter of a second,
    /// the next is tried beside it, and the first that answers is taken (RFC 8305).
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        loop.preconditionOnLoop()
        let connector = Connector(loop: loop, options: options)
        let stream = LinuxStream(
            loop: loop,
            handler: handler,
            connector: connector,
            lingerSeconds: options.lingerSeconds
        )
        connector.stream = stream
        connector.start(to: endpoint, deadline: deadline, resolver: resolver)
        return stream
    }

    /// Accepts TCP connections at `address`; port 0 takes a free one. At `::` IPv4 peers come too, unless the options say otherwise.
    public func listen(
        at address: SocketAddress,
        handler: any StreamListenerHandler
    ) throws(SocketError) -> any StreamListener {
        loop.preconditionOnLoop()
        return try LinuxListener(at: SystemAddress(address), loop: loop, options: options, handler: handler)
    }

    /// Accepts streams at a path of the file system, which is removed when the listener closes. A socket file that an ended process has left
    /// there is taken over.
    public func listen(atPath path: String, handler: any StreamListenerHandler) throws(SocketError)
        -> any StreamListener
    {
        loop.preconditionOnLoop()
        guard let address = SystemAddress(path: path) else { throw .addressUnavailable(code: ENAMETOOLONG) }
        do throws(SocketError) {
            return try LinuxListener(at: address, path: path, loop: loop, options: options, handler: handler)
        } catch {
            guard case .addressInUse = error, Self.isAbandoned(address) else { throw error }
            unsafe unlink(path)
            return try LinuxListener(at: address, path: path, loop: loop, options: options, handler: handler)
        }
    }

    /// Whether nobody listens at a path where a socket file is.
    private static func isAbandoned(_ address: SystemAddress) -> Bool {
        // A socket of another kind is told that nobody is there, or that somebody of the wrong kind is, who does not notice.
        let descriptor = socket(AF_UNIX, clinux_datagram_type(), 0)
        guard descriptor >= 0 else { return false }
        defer { CLinux.close(descriptor) }
        return unsafe address.withPointer { unsafe CLinux.connect(descriptor, $0, $1) } != 0
            && clinux_errno() == ECONNREFUSED
    }

    /// Opens a UDP socket that is connected to `endpoint`.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        loop.preconditionOnLoop()
        let socket = LinuxDatagramSocket(loop: loop, options: options, handler: handler)
        socket.connect(to: endpoint, deadline: deadline, resolver: resolver)
        return socket
    }

    /// Opens a UDP socket at `address`; port 0 takes a free one.
    public func bindDatagrams(
        at address: SocketAddress,
        handler: any DatagramHandler
    ) throws(SocketError) -> any DatagramSocket {
        loop.preconditionOnLoop()
        return try LinuxDatagramSocket(loop: loop, options: options, handler: handler, boundTo: address)
    }
}
#endif
