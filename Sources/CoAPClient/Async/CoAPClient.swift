#if !hasFeature(Embedded)
internal import Kernel
public import SAL

/// A CoAP client for one peer. It lives on the loop of its network: calls that are made there cost no thread switch.
///
/// Requests may be made many at once; how many of them are on their way at a time is
/// ``CoAPConfiguration/outstandingLimit``. A response is a value whatever its code; errors are what kept it from coming.
public actor CoAPClient {
    private var connection: CoAPConnection { connectionOnLoop.value }
    nonisolated let connectionOnLoop: LoopConfined<CoAPConnection>
    nonisolated let loop: EventLoop
    /// How the client behaves.
    public nonisolated let configuration: CoAPConfiguration
    private var isClosed = false
    /// Places that no task waits in.
    private var waits: [ResponseWait] = []

    /// The loop that the client lives on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    /// A client for the peer at `endpoint`. A socket is opened with the first request.
    public init(
        to endpoint: Endpoint,
        over network: any DatagramNetwork,
        configuration: CoAPConfiguration = CoAPConfiguration()
    ) {
        loop = network.loop
        self.configuration = configuration
        connectionOnLoop = LoopConfined(
            CoAPConnection(to: endpoint, over: network, configuration: configuration, seed: .systemRandom())
        )
    }

    /// A client for the peer at `endpoint` over streams: TCP, or TLS with the application protocol `coap` (RFC 8323). One is opened with the first request.
    public init(
        to endpoint: Endpoint,
        overStreams network: any Network,
        configuration: CoAPConfiguration = CoAPConfiguration()
    ) {
        loop = network.loop
        self.configuration = configuration
        connectionOnLoop = LoopConfined(
            CoAPConnection(to: endpoint, overStreams: network, configuration: configuration, seed: .systemRandom())
        )
    }

    deinit {
        if isClosed { return }
        // An open socket keeps the connection alive.
        let box = connectionOnLoop
        loop.execute { box.value.close() }
    }

    /// Sends a request and returns the response. When the calling task is cancelled the request is too.
    ///
    /// `timeout` counts from now; without one it is EXCHANGE_LIFETIME, 247 s by default, from the first transmission of a
    /// confirmable request, and ``CoAPConfiguration/nonConfirmableTimeout`` from that of another.
    public func send(_ request: CoAPRequest, timeout: Duration? = nil) async throws(CoAPError) -> CoAPResponse {
        let wait = waits.popLast() ?? ResponseWait(connection)
        defer { waits.append(wait) }
        try wait.begin { completion throws(CoAPError) in
            try connection.send(request, timeout: timeout, completion: completion)
        }
        await wait.place.wait(isolation: self)
        return try wait.end()
    }

    /// Asks the peer whether it is there, and returns when it has said so: a Reset to an empty message (RFC 7252, 4.3), or over a stream a Pong (RFC 8323, 5.4).
    public func ping(timeout: Duration? = nil) async throws(CoAPError) {
        let wait = waits.popLast() ?? ResponseWait(connection)
        defer { waits.append(wait) }
        try wait.begin { completion throws(CoAPError) in
            try connection.ping(timeout: timeout, completion: completion)
        }
        await wait.place.wait(isolation: self)
        _ = try wait.end()
    }

    /// Calls `body` on the client's loop: what it asks of the client there costs no switch of threads, or of tasks.
    public func perform<Result: Sendable>(
        _ body: @Sendable (isolated CoAPClient) async throws -> Result
    ) async rethrows -> Result {
        // Without the preference, the runtime switches tasks that are on the loop already.
        try await withTaskExecutorPreference(loop) { try await body(self) }
    }

    /// Closes for good. Requests that are not finished fail with ``CoAPError/closed``.
    public func close() {
        isClosed = true
        connection.close()
    }

    /// How many requests are not finished.
    public var requestCount: Int { connection.requestCount }

    /// What was met that was not in order.
    public var counters: CoAPCounters { connection.counters }

    // MARK: Methods

    /// GET of the resource at `path`, as in `sensors/temperature`, with the arguments `query`, each like `unit=C`.
    public func get(
        _ path: String,
        query: [String] = [],
        accept: CoAPContentFormat? = nil,
        timeout: Duration? = nil
    ) async throws(CoAPError) -> CoAPResponse {
        var request = CoAPRequest(.get, path: path, query: query)
        request.options.accept = accept
        return try await send(request, timeout: timeout)
    }

    /// POST of `payload` to the resource at `path`.
    public func post(
        _ path: String,
        query: [String] = [],
        payload: [UInt8],
        format: CoAPContentFormat? = nil,
        timeout: Duration? = nil
    ) async throws(CoAPError) -> CoAPResponse {
        let request = CoAPRequest(.post, path: path, query: query, payload: payload, format: format)
        return try await send(request, timeout: timeout)
    }

    /// PUT of `payload` to the resource at `path`.
    public func put(
        _ path: String,
        query: [String] = [],
        payload: [UInt8],
        format: CoAPContentFormat? = nil,
        timeout: Duration? = nil
    ) async throws(CoAPError) -> CoAPResponse {
        let request = CoAPRequest(.put, path: path, query: query, payload: payload, format: format)
        return try await send(request, timeout: timeout)
    }

    /// DELETE of the resource at `path`.
    public func delete(
        _ path: String,
        query: [String] = [],
        timeout: Duration? = nil
    ) async throws(CoAPError) -> CoAPResponse {
        try await send(CoAPRequest(.delete, path: path, query: query), timeout: timeout)
    }
}

/// A place for a task to wait in for the response to its request. It can be used again and again. Confined to the loop.
final class ResponseWait: LoopWaitOwner {
    let place: LoopWait
    /// Whoever waits keeps the client, and that its connection.
    private unowned let connection: CoAPConnection
    private var id: CoAPExchangeID?
    private var result: Result<CoAPResponse, CoAPError>?
    /// Made once, so that a request allocates none.
    private var completion: CoAPConnection.Completion = { _ in }

    init(_ connection: CoAPConnection) {
        self.connection = connection
        place = LoopWait(on: connection.loop)
        place.owner = self
        completion = { [unowned self] in
            result = $0
            place.finish()
        }
    }

    @inline(__always)
    func begin(
        _ start: (@escaping CoAPConnection.Completion) throws(CoAPError) -> CoAPExchangeID
    ) throws(CoAPError) {
        id = try start(completion)
        place.begin()
    }

    /// What came of the request, once the wait is over.
    func end() throws(CoAPError) -> CoAPResponse {
        guard let result = result.take() else { throw .cancelled }
        return try result.get()
    }

    func waitCancelled() { if let id { connection.cancel(id) } }
}

extension CoAPSeed {
    /// A seed from the system's source of random numbers.
    public static func systemRandom() -> CoAPSeed {
        var generator = SystemRandomNumberGenerator()
        return CoAPSeed(generator.next(), generator.next())
    }
}

extension CoAPRequest {
    /// A request for the resource at `path`, whose segments are separated by slashes, with the arguments `query`. Text is taken as it is: no
    /// percent-encoding, see ``CoAPURL`` for that.
    public init(
        _ method: CoAPCode,
        path: String,
        query: [String] = [],
        payload: [UInt8] = [],
        format: CoAPContentFormat? = nil,
        isConfirmable: Bool = true
    ) {
        var options = CoAPOptions()
        options.addPath(path.utf8.span)
        options.contentFormat = format
        for argument in query { options.addQuery(argument.utf8.span) }
        self.init(method, options: options, payload: payload, isConfirmable: isConfirmable)
    }
}
#endif
