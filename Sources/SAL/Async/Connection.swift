#if !hasFeature(Embedded)
public import Kernel

/// Why there is no connection: what was tried, and what became of it.
public struct ConnectError: Error, Equatable, Sendable, CustomStringConvertible {
    /// An address that could not be connected to, and why.
    public struct Attempt: Equatable, Sendable {
        /// The address.
        public let address: SocketAddress
        /// Why it failed.
        public let error: SocketError
    }

    /// Where to.
    public let endpoint: Endpoint
    /// Why it failed in the end.
    public let cause: SocketError
    /// The addresses that were tried, in the order of their failure.
    public let attempts: [Attempt]

    /// What was tried, in a clause without a full stop.
    public var description: String {
        let tried = attempts.map { "\($0.address) (\($0.error))" }.joined(separator: ", ")
        return "cannot connect to \(endpoint): \(cause)" + (tried.isEmpty ? "" : "; tried \(tried)")
    }
}

extension Endpoint: CustomStringConvertible {
    /// The host and the port, `hub.example:1883`, `[2001:db8::7]:1883`, or the path.
    public var description: String {
        let host = String(decoding: self.host, as: UTF8.self)
        if isPath { return host }
        return host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// A byte stream for async code: it is read from and written to by `await`, from any task.
///
/// It lives on the loop of its network, and so do the calls: from a task on that loop (`Task(executorPreference: loop)`) they take no hop. Up to
/// ``bufferBytes`` that nobody has read yet are kept; then the network is told to stop the peer. Dropping the last reference closes the
/// connection as ``close()`` does.
public actor Connection {
    /// How many bytes wait to be read before the peer is stopped.
    public static let bufferBytes = 65_536

    /// The loop that it lives on.
    public nonisolated let loop: EventLoop
    private let face: StreamFace

    /// Calls run on the loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    private init(_ face: StreamFace, _ loop: EventLoop) {
        self.loop = loop
        self.face = face
    }

    /// The async face of a stream that is open. Call it on the stream's loop.
    public static func adopt(_ stream: any ByteStream, on loop: EventLoop) -> Connection {
        loop.preconditionOnLoop()
        return Connection(StreamFace(stream), loop)
    }

    deinit { loop.execute { [face] in face.stream?.close() } }

    /// Connects to `endpoint` over `network`.
    public static func open(
        to endpoint: Endpoint,
        over network: any Network,
        within time: Duration = .seconds(30)
    ) async throws(ConnectError) -> Connection {
        try await Opening(to: endpoint, over: network).run(within: time).get()
    }

    // MARK: Reading

    /// The next bytes, at least one and at most `limit`; waits for them. `nil`: the peer sends no more. Several tasks get theirs in turn.
    public func read(upTo limit: Int = .max, _ wait: Wait = .forever) async throws(SocketError) -> [UInt8]? {
        let wait = wait.moment(on: loop)
        try await face.reading.wait(for: wait)
        defer { face.reading.give() }
        while true {
            if let bytes = face.take(limit) { return bytes }
            if let end = face.end {
                if let error = end { throw error }
                return nil
            }
            if face.peerHasEnded { return nil }
            try await face.hasBytes.wait(for: wait)
        }
    }

    /// Exactly `count` bytes; throws ``SocketError/closed`` if the peer ends before. What has come until then is lost.
    public func read(exactly count: Int, _ wait: Wait = .forever) async throws(SocketError) -> [UInt8] {
        let wait = wait.moment(on: loop)
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let more = try await read(upTo: count - bytes.count, wait) else { throw .closed }
            if bytes.isEmpty { bytes = more } else { bytes += more }
        }
        return bytes
    }

    /// What the peer sends, as it comes, until its end: `for try await bytes in connection.received`.
    public nonisolated var received: Received { Received(connection: self) }

    /// The pieces of a stream in the order of their arrival.
    public struct Received: AsyncSequence, AsyncIteratorProtocol, Sendable {
        let connection: Connection

        /// Itself.
        public func makeAsyncIterator() -> Received { self }

        /// The next bytes, or `nil` when the peer sends no more.
        public func next() async throws(SocketError) -> [UInt8]? { try await connection.read() }

        /// The next bytes, or `nil` when the peer sends no more.
        public func next(isolation: isolated (any Actor)?) async throws(SocketError) -> [UInt8]? {
            try await connection.read()
        }
    }

    // MARK: Writing

    /// Sends `bytes`: returns when the network has taken them all. Several tasks have their turns, whole writes at a time.
    ///
    /// A write that ends in between, because its time passed or its task was cancelled, leaves the stream with a part of it: later writes throw
    /// ``SocketError/streamDamaged(code:)``.
    public func write(_ bytes: [UInt8], _ wait: Wait = .forever) async throws(SocketError) {
        let wait = wait.moment(on: loop)
        try await face.writing.wait(for: wait)
        defer { face.writing.give() }
        if face.isDamaged { throw .streamDamaged(code: 0) }
        var sent = 0
        while true {
            guard let stream = face.stream, !face.hasFinished else { throw face.end.flatMap { $0 } ?? .closed }
            sent += stream.send(bytes.span.extracting(droppingFirst: sent))
            if sent == bytes.count { return }
            do throws(SocketError) { try await face.hasRoom.wait(for: wait) } catch {
                if sent > 0 { face.isDamaged = true }
                throw error
            }
        }
    }

    /// Sends `text` as UTF-8.
    public func write(_ text: String, _ wait: Wait = .forever) async throws(SocketError) {
        try await write(Array(text.utf8), wait)
    }

    /// Tells the peer that no more comes; it may go on sending. Over a network without half-closes the connection closes.
    public func finishWriting() {
        face.hasFinished = true
        face.stream?.finishSending()
    }

    // MARK: Ending

    /// Sends what was written, then closes; returns when that is done.
    public func close() async {
        face.stream?.close()
        // A task that is cancelled does not wait for the end.
        do throws(KernelError) { try await face.hasEnded.wait() } catch {}
    }

    /// Closes at once; what was not sent is lost.
    public func abort() { face.stream?.abort() }

    /// Where this end is; `nil` where the network does not know.
    public var localAddress: SocketAddress? { face.stream?.localAddress }

    /// Where the peer is; `nil` where the network does not know.
    public var peerAddress: SocketAddress? { face.stream?.peerAddress }
}

/// A connection that comes about.
private final class Opening: ByteStreamHandler, @unchecked Sendable {
    // @unchecked: what changes is used on the network's loop only.
    private let endpoint: Endpoint
    private let network: any Network
    private var attempts: [ConnectError.Attempt] = []
    private var stream: (any ByteStream)?
    private var isCancelled = false
    private let done = Completion()
    private var result: Result<Connection, ConnectError>?

    init(to endpoint: Endpoint, over network: any Network) {
        self.endpoint = endpoint
        self.network = network
    }

    func run(within time: Duration) async -> Result<Connection, ConnectError> {
        network.loop.execute { [self] in
            if isCancelled { return closed(.cancelled) }
            stream = network.connect(to: endpoint, deadline: network.loop.now + time, handler: self)
        }
        while true {
            // A task that is cancelled waits until the stream has heard of it.
            do throws(KernelError) { try await done.wait() } catch { await network.loop.call { [self] in cancel() } }
            if let result = await network.loop.call({ [self] in result }) { return result }
        }
    }

    private func cancel() {
        isCancelled = true
        stream?.abort()
    }

    func attemptFailed(_ address: SocketAddress, _ error: SocketError) {
        attempts.append(ConnectError.Attempt(address: address, error: error))
    }

    func opened() {
        guard let stream else { return }
        finish(.success(.adopt(stream, on: network.loop)))
    }

    func received(_ bytes: Span<UInt8>) -> Int { 0 }

    func writable() {}

    func closed(_ error: SocketError?) {
        let cause = isCancelled ? .cancelled : error ?? .closed
        finish(.failure(ConnectError(endpoint: endpoint, cause: cause, attempts: attempts)))
    }

    private func finish(_ result: Result<Connection, ConnectError>) {
        stream = nil
        self.result = result
        do throws(KernelError) { try done.post() } catch {}
    }
}

/// What a ``Connection`` knows of its stream; used on the loop only.
final class StreamFace: ByteStreamHandler, @unchecked Sendable {
    // @unchecked: used on its loop only.

    /// `nil` when the stream has ended.
    private(set) var stream: (any ByteStream)?
    /// Why it has ended, if it has.
    private(set) var end: SocketError??
    private(set) var peerHasEnded = false
    var hasFinished = false
    var isDamaged = false
    let reading = Turns()
    let writing = Turns()
    let hasBytes = Signal()
    let hasRoom = Signal()
    let hasEnded = Completion()
    private var buffer: [UInt8] = []
    private var isStopped = false

    init(_ stream: any ByteStream) {
        self.stream = stream
        stream.allowsHalfOpen = true
        stream.handler = self
    }

    /// Bytes that have come, `nil` if none have.
    func take(_ limit: Int) -> [UInt8]? {
        guard !buffer.isEmpty else { return nil }
        var bytes: [UInt8] = []
        if buffer.count <= limit {
            swap(&bytes, &buffer)
        } else {
            bytes = Array(buffer[..<max(1, limit)])
            buffer.removeFirst(bytes.count)
        }
        if isStopped, buffer.count <= Connection.bufferBytes / 2 {
            isStopped = false
            stream?.resumeReceiving()
        }
        return bytes
    }

    func opened() {}

    func received(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, Connection.bufferBytes - buffer.count)
        if count < bytes.count { isStopped = true }
        buffer.append(bytes.extracting(first: count))
        hasBytes.set()
        return count
    }

    func writable() { hasRoom.set() }

    func peerEnded() {
        peerHasEnded = true
        hasBytes.set()
    }

    func closed(_ error: SocketError?) {
        end = .some(error)
        stream = nil
        hasBytes.set()
        hasRoom.set()
        do throws(KernelError) { try hasEnded.post() } catch {}
    }
}
#endif
