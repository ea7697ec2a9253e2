#if os(Linux)
internal import CLinux
public import Kernel

/// The sockets of the Linux kernel, on one event loop.
public final class LinuxNetwork: Network, DatagramNetwork {
    /// The loop that its sockets live on.
    public let loop: EventLoop

    private let resolver: Resolver

    /// A network whose sockets live on `loop`.
    public convenience init(loop: EventLoop) { self.init(loop: loop, resolver: .shared) }

    init(loop: EventLoop, resolver: Resolver) {
        self.loop = loop
        self.resolver = resolver
    }

    /// No limit but the system's; receivers that take nothing stop the peer.
    public var capabilities: NetworkCapabilities {
        NetworkCapabilities(
            maximumSockets: nil,
            sendChunkBytes: 65_536,
            datagramBytes: 65_507,
            hasReceiveFlowControl: true
        )
    }

    /// Opens a TCP connection. A name is resolved off the loop, and its addresses are tried one after another.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        loop.preconditionOnLoop()
        let stream = DescriptorStream(loop: loop, handler: handler)
        stream.connect(to: endpoint, deadline: deadline, resolver: resolver)
        return stream
    }

    /// Opens a UDP socket that is connected to `endpoint`.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        loop.preconditionOnLoop()
        let socket = LinuxDatagramSocket(loop: loop, handler: handler)
        socket.connect(to: endpoint, deadline: deadline, resolver: resolver)
        return socket
    }
}
#endif
