#if !hasFeature(Embedded)
internal import CLinux

extension SocketError: CustomStringConvertible {
    /// What it means for the user, in a clause without a full stop.
    public var description: String {
        switch self {
        case .refused: "nobody listens there; is the server running, and is the port right?"
        case .unreachable: "there is no way to that address from here"
        case .timedOut: "no answer in time"
        case .reset: "the connection broke"
        case .nameNotFound: "that host name has no address; is it spelled right?"
        case .noNetwork: "the modem is not attached to its network"
        case .tooManySockets: "no sockets are left; raise the limit of open files, or close some"
        case .addressInUse: "another program has that address and port"
        case .addressUnavailable: "the address is none of this machine's, or all its ports to that peer are taken"
        case .messageTooLong: "the datagram is larger than the network takes"
        case .streamDamaged: "a send may have been taken in part, so the connection was closed"
        case .overflow: "more arrived than there was room for"
        case .deviceRestarted: "the modem restarted or was unplugged"
        case .denied: "access was denied"
        case .notSupported: "the network cannot do that"
        case .closed: "the connection is closed"
        case .cancelled: "interrupted"
        case .security: "the secure connection failed"
        case .other(let code): unsafe String(cString: strerror(code))
        }
    }
}
#endif
