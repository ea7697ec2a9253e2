#if !hasFeature(Embedded)
public import Kernel

/// One datagram.
public struct Datagram: Equatable, Sendable {
    /// What it carried.
    public let bytes: [UInt8]
    /// Who sent it.
    public let peer: SocketAddress
    /// Whether it was longer than what is given.
    public let isTruncated: Bool
}

/// A datagram socket for async code. It lives on the loop of its network.
///
/// Up to ``waitingDatagrams``, and ``waitingBytes`` altogether, are kept until somebody asks for them; what comes beyond that is dropped, and counted in
/// ``dropped``. Dropping the last reference closes the socket.
public actor DatagramChannel {
    /// How many datagrams wait to be received.
    public static let waitingDatagrams = 1024
    /// How many bytes they have altogether at most.
    public static let waitingBytes = 1_048_576

    /// The loop that it lives on.
    public nonisolated let loop: EventLoop
    private let face: DatagramFace

    /// Calls run on the loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    private init(_ face: DatagramFace, _ loop: EventLoop) {
        self.loop = loop
        self.face = face
    }

    deinit { loop.execute { [face] in face.socket?.close() } }

    /// Opens a socket for the peer `endpoint` over `network`.
    public static func open(
        to endpoint: Endpoint,
        over network: any DatagramNetwork,
        within time: Duration = .seconds(30)
    ) async throws(SocketError) -> DatagramChannel {
        let loop = network.loop
        let face = DatagramFace()
        await loop.call {
            face.socket = network.openDatagrams(to: endpoint, deadline: loop.now + time, handler: face)
        }
        let channel = DatagramChannel(face, loop)
        try await channel.untilOpen()
        return channel
    }

    /// Opens a socket at `address` of `network`, for all peers; port 0 takes a free one.
    public static func bind(
        at address: SocketAddress,
        over network: any ServerNetwork
    ) async throws(SocketError) -> DatagramChannel {
        let loop = network.loop
        let result: Result<DatagramChannel, SocketError> = await loop.call {
            Result { () throws(SocketError) in
                let face = DatagramFace()
                face.socket = try network.bindDatagrams(at: address, handler: face)
                return DatagramChannel(face, loop)
            }
        }
        let channel = try result.get()
        try await channel.untilOpen()
        return channel
    }

    private func untilOpen() async throws(SocketError) {
        while !face.isOpen {
            if let end = face.end { throw end ?? .closed }
            try await face.hasNews.wait(for: .forever)
        }
    }

    /// Sends a datagram: to `peer`, or to the one that the channel was opened for. It may be lost; what is thrown is what is known at once.
    public func send(_ bytes: [UInt8], to peer: SocketAddress? = nil) throws(SocketError) {
        guard let socket = face.socket else { throw face.end.flatMap { $0 } ?? .closed }
        try socket.send(bytes.span, to: peer)
    }

    /// The next datagram; waits for one. `nil` when the channel was closed on this side.
    public func receive(_ wait: Wait = .forever) async throws(SocketError) -> Datagram? {
        let wait = wait.moment(on: loop)
        while true {
            if let datagram = face.take() { return datagram }
            if let end = face.end {
                if let error = end { throw error }
                return nil
            }
            try await face.hasNews.wait(for: wait)
        }
    }

    /// The datagrams as they come: `for try await datagram in channel.received`.
    public nonisolated var received: Received { Received(channel: self) }

    /// The datagrams of a channel in the order of their arrival.
    public struct Received: AsyncSequence, AsyncIteratorProtocol, Sendable {
        let channel: DatagramChannel

        /// Itself.
        public func makeAsyncIterator() -> Received { self }

        /// The next datagram, or `nil` when the channel was closed.
        public func next() async throws(SocketError) -> Datagram? { try await channel.receive() }

        /// The next datagram, or `nil` when the channel was closed.
        public func next(isolation: isolated (any Actor)?) async throws(SocketError) -> Datagram? {
            try await channel.receive()
        }
    }

    /// How many datagrams came when there was no room for them.
    public var dropped: Int { face.dropped }

    /// Where it receives; `nil` where the network does not know.
    public var localAddress: SocketAddress? { face.socket?.localAddress }

    /// Takes datagrams to `group` too: see ``DatagramSocket/join(_:interface:)``.
    public func join(_ group: IPAddress, interface: UInt32 = 0) throws(SocketError) {
        guard let socket = face.socket else { throw .closed }
        try socket.join(group, interface: interface)
    }

    /// Takes no more datagrams to `group`.
    public func leave(_ group: IPAddress, interface: UInt32 = 0) throws(SocketError) {
        guard let socket = face.socket else { throw .closed }
        try socket.leave(group, interface: interface)
    }

    /// Closes the socket. What has come can still be received.
    public func close() { face.socket?.close() }
}

/// What a ``DatagramChannel`` knows of its socket; used on the loop only.
private final class DatagramFace: DatagramHandler, @unchecked Sendable {
    // @unchecked: used on its loop only.
    var socket: (any DatagramSocket)?
    private(set) var isOpen = false
    private(set) var end: SocketError??
    private(set) var dropped = 0
    let hasNews = Signal()
    private var waiting: [Datagram] = []
    private var first = 0
    private var bytes = 0

    func take() -> Datagram? {
        guard first < waiting.count else { return nil }
        let datagram = waiting[first]
        bytes -= datagram.bytes.count
        first += 1
        if first == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            first = 0
        } else {
            // Another task may wait for the next.
            hasNews.set()
        }
        return datagram
    }

    func opened() {
        isOpen = true
        hasNews.set()
    }

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        guard waiting.count - first < DatagramChannel.waitingDatagrams,
            bytes + datagram.count <= DatagramChannel.waitingBytes
        else {
            dropped += 1
            return
        }
        if first > 0, first >= waiting.count / 2 {
            waiting.removeFirst(first)
            first = 0
        }
        bytes += datagram.count
        waiting.append(Datagram(bytes: Array(copying: datagram), peer: peer, isTruncated: truncated))
        hasNews.set()
    }

    func closed(_ error: SocketError?) {
        end = .some(error)
        socket = nil
        hasNews.set()
    }
}
#endif
