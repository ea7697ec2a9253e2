#if !hasFeature(Embedded)
public import Kernel

/// A socket that accepts connections, for async code. It lives on the loop of its network, and so do its connections.
///
/// Up to ``waitingConnections`` are accepted ahead; further peers wait in the system's line. Dropping the last reference closes it.
public actor Listener {
    /// How many connections are accepted before somebody asks for them.
    public static let waitingConnections = 64

    /// The loop that it lives on.
    public nonisolated let loop: EventLoop
    /// Where it listens; `nil` for a path.
    public nonisolated let localAddress: SocketAddress?
    private let face: ListenerFace

    /// Calls run on the loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    private init(_ face: ListenerFace, _ loop: EventLoop) {
        self.loop = loop
        self.face = face
        localAddress = face.listener?.localAddress
    }

    deinit { loop.execute { [face] in face.end() } }

    /// Listens at `address` of `network`; port 0 takes a free one.
    public static func open(at address: SocketAddress, over network: any ServerNetwork) async throws(SocketError)
        -> Listener
    {
        try await open(over: network) { (face) throws(SocketError) in try network.listen(at: address, handler: face) }
    }

    #if os(Linux)
    /// Listens at a path of the file system.
    public static func open(atPath path: String, over network: LinuxNetwork) async throws(SocketError) -> Listener {
        try await open(over: network) { (face) throws(SocketError) in try network.listen(atPath: path, handler: face) }
    }
    #endif

    private static func open(
        over network: any ServerNetwork,
        _ listen: @escaping @Sendable (ListenerFace) throws(SocketError) -> any StreamListener
    ) async throws(SocketError) -> Listener {
        let loop = network.loop
        let result: Result<Listener, SocketError> = await loop.call {
            Result { () throws(SocketError) in
                let face = ListenerFace(loop)
                face.listener = try listen(face)
                return Listener(face, loop)
            }
        }
        return try result.get()
    }

    /// The next connection; waits for one. `nil` when the listener was closed.
    public func accept(_ wait: Wait = .forever) async throws(SocketError) -> Connection? {
        let wait = wait.moment(on: loop)
        while true {
            if let connection = face.take() { return connection }
            guard face.listener != nil else { return nil }
            try await face.hasConnections.wait(for: wait)
        }
    }

    /// The connections as they come, until the listener is closed: `for try await connection in listener.connections`.
    public nonisolated var connections: Connections { Connections(listener: self) }

    /// The connections of a listener in the order of their coming.
    public struct Connections: AsyncSequence, AsyncIteratorProtocol, Sendable {
        let listener: Listener

        /// Itself.
        public func makeAsyncIterator() -> Connections { self }

        /// The next connection, or `nil` when the listener was closed.
        public func next() async throws(SocketError) -> Connection? { try await listener.accept() }

        /// The next connection, or `nil` when the listener was closed.
        public func next(isolation: isolated (any Actor)?) async throws(SocketError) -> Connection? {
            try await listener.accept()
        }
    }

    /// Why the last stream could not be accepted, if one could not: it waits in the system's line, and is tried again.
    public var lastFailure: SocketError? { face.lastFailure }

    /// Accepts no more. What was accepted stays open; what nobody has asked for is closed.
    public func close() { face.end() }
}

/// What a ``Listener`` knows of its socket; used on the loop only.
private final class ListenerFace: StreamListenerHandler, @unchecked Sendable {
    // @unchecked: used on its loop only.
    var listener: (any StreamListener)?
    let hasConnections = Signal()
    private(set) var lastFailure: SocketError?
    private let loop: EventLoop
    private var waiting: [Connection] = []

    init(_ loop: EventLoop) { self.loop = loop }

    func take() -> Connection? {
        guard !waiting.isEmpty else { return nil }
        if waiting.count == Listener.waitingConnections { listener?.resume() }
        let connection = waiting.removeFirst()
        // Another task may wait for the next.
        if !waiting.isEmpty { hasConnections.set() }
        return connection
    }

    func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        waiting.append(.adopt(stream, on: loop))
        if waiting.count == Listener.waitingConnections { listener?.pause() }
        hasConnections.set()
    }

    func acceptFailed(_ error: SocketError) { lastFailure = error }

    func closed(_ error: SocketError?) { end() }

    func end() {
        listener?.close()
        listener = nil
        waiting = []
        hasConnections.set()
    }
}
#endif
