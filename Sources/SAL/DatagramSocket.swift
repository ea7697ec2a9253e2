/// A socket that carries datagrams, each with its boundary. Use it on its loop only.
///
/// It keeps its handler alive until it has told it ``DatagramHandler/closed(_:)``. No handler is ever called from inside
/// ``send(_:to:)`` or ``close()``.
public protocol DatagramSocket: AnyObject {
    /// Who is told what happens.
    var handler: (any DatagramHandler)? { get set }

    /// The largest payload that the network below takes, in bytes.
    var maximumDatagramBytes: Int { get }

    /// Where it receives; `nil` if that is not known.
    var localAddress: SocketAddress? { get }

    /// Sends one datagram: to `peer`, or to the peer that the socket was opened for when that is `nil`.
    /// Datagrams may be lost; what is thrown is what is known at once.
    func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError)

    /// Takes datagrams to `group` too, as they arrive at the interface with the number `interface`, or at one of the system's choice if that is 0.
    func join(_ group: IPAddress, interface: UInt32) throws(SocketError)

    /// Takes no more datagrams to `group`.
    func leave(_ group: IPAddress, interface: UInt32) throws(SocketError)

    /// Closes the socket.
    func close()
}

extension DatagramSocket {
    /// Not known.
    public var localAddress: SocketAddress? { nil }

    /// A network without multicast throws ``SocketError/notSupported``.
    public func join(_ group: IPAddress, interface: UInt32) throws(SocketError) { throw .notSupported }

    /// A network without multicast throws ``SocketError/notSupported``.
    public func leave(_ group: IPAddress, interface: UInt32) throws(SocketError) { throw .notSupported }
}

/// What a ``DatagramSocket`` tells; all calls are made on its loop.
public protocol DatagramHandler: AnyObject {
    /// The socket is ready: the peer's name is resolved, the modem has a socket for it.
    func opened()

    /// A datagram arrived from `peer`; `truncated` if it was longer than what is given.
    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool)

    /// The socket is over: `nil` after ``DatagramSocket/close()``, the cause otherwise. Errors that the network reports
    /// for a connected peer (such as "port unreachable") end the socket too.
    func closed(_ error: SocketError?)
}
