#if os(Linux)
internal import CLinux
public import Kernel

/// The sockets of the Linux kernel, on one event loop.
public final class LinuxNetwork: Network, DatagramNetwork {
    /// The loop that its sockets live on.
    public let loop: EventLoop

    /// A network whose sockets live on `loop`.
    public init(loop: EventLoop) { self.loop = loop }

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
        stream.connect(to: endpoint, deadline: deadline)
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
        socket.connect(to: endpoint, deadline: deadline)
        return socket
    }
}
#endif
