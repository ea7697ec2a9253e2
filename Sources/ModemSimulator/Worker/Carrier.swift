/// Where the links of a modem lead: the sockets of this machine, or a network in memory. A handle stands for one of its sockets.
protocol Carrier: AnyObject {
    /// A new socket: to `peer`, or for datagrams to and from anybody; `nil` if there can be none.
    func open(isStream: Bool, to peer: Peer?, localPort: UInt16) -> Int32?

    /// Whether an opening has succeeded.
    func outcome(_ handle: Int32) -> CarrierOutcome

    /// Sends `bytes`; returns how many were taken, all or none of a datagram.
    func send(_ bytes: [UInt8], on handle: Int32, to peer: Peer?) -> Int

    /// The next piece of a stream, at most `maximum` bytes, or the next datagram.
    func receive(_ maximum: Int, on handle: Int32) -> CarrierArrival

    /// Closes a socket, or breaks it.
    func close(_ handle: Int32, isBroken: Bool)

    /// Looks a name up: tells `completion`, perhaps on another thread, its IPv4 addresses.
    func resolve(_ name: String, _ completion: @escaping @Sendable ([UInt32]) -> Void)
}

/// What became of an opening.
enum CarrierOutcome {
    case pending, failed
    case open(localPort: UInt16)
}

/// What a socket has for its reader.
enum CarrierArrival {
    case nothing
    case bytes([UInt8], sender: Peer?)
    case end, reset
}

/// An IPv4 address and a port, both in host order.
struct Peer: Equatable {
    var address: UInt32
    var port: UInt16

    var host: String { "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)" }
}
