/// Why a socket, or the network below it, failed: the same cases for Linux sockets and for modems.
///
/// `code` is what the layer below said, for logs: an `errno`, a `+CME ERROR`, a modem's own number; 0 if it said nothing.
@nonexhaustive
public enum SocketError: Error, Equatable, Sendable {
    /// The peer answered that nobody listens there.
    case refused(code: Int32)
    /// No way to the peer: no route, network or host down.
    case unreachable(code: Int32)
    /// The deadline passed, or the peer fell silent.
    case timedOut
    /// The peer, or something on the way, broke the connection; data may be lost.
    case reset(code: Int32)
    /// The name has no address.
    case nameNotFound
    /// The network below is not up: the modem is not attached.
    case noNetwork
    /// All sockets, or file descriptors, are taken.
    case tooManySockets(code: Int32)
    /// Somebody else has the address and the port.
    case addressInUse(code: Int32)
    /// The address is none of this machine's, or no port is free for a connection to that peer.
    case addressUnavailable(code: Int32)
    /// A datagram is larger than the network takes.
    case messageTooLong
    /// A send may have been taken in part only, so the stream cannot go on.
    case streamDamaged(code: Int32)
    /// More arrived than the bounded buffer of a network that cannot be stopped holds.
    case overflow
    /// The device below restarted or vanished: all its sockets are gone.
    case deviceRestarted
    /// Access was denied: firewall, permission, SIM, APN.
    case denied(code: Int32)
    /// The network cannot do what was asked for.
    case notSupported
    /// The stream was closed on this side, so there is nothing to send to.
    case closed
    /// The waiting task was cancelled.
    case cancelled
    /// The secure layer failed; its stream knows why.
    case security(code: Int32)
    /// Anything else.
    case other(code: Int32)

    /// Whether trying again, later, may help without a change of configuration.
    public var isTransient: Bool {
        switch self {
        case .refused, .unreachable, .timedOut, .reset, .nameNotFound, .noNetwork, .tooManySockets, .streamDamaged,
            .overflow, .deviceRestarted, .addressInUse, .addressUnavailable, .other:
            true
        case .messageTooLong, .denied, .closed, .cancelled, .notSupported, .security: false
        }
    }
}
