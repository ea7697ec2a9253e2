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
    private var isClosed = false

    /// The loop that the client lives on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    /// A client for the peer at `endpoint`. A socket is opened with the first request.
    public init(
        to endpoint: Endpoint,
        over network: any DatagramNetwork,
        configuration: CoAPConfiguration = CoAPConfiguration()
    ) {
        loop = network.loop
        connectionOnLoop = LoopConfined(
            CoAPConnection(to: endpoint, over: network, configuration: configuration, seed: .systemRandom())
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
        let (box, loop) = (connectionOnLoop, loop)
        let exchange = LoopConfined(ExchangeBox())
        let result: Result<CoAPResponse, CoAPError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // The cancellation may have come before the request.
                if exchange.value.isCancelled { return continuation.resume(returning: .failure(.cancelled)) }
                do throws(CoAPError) {
                    exchange.value.id = try connection.send(request, timeout: timeout) {
                        continuation.resume(returning: $0)
                    }
                } catch { continuation.resume(returning: .failure(error)) }
            }
        } onCancel: {
            loop.execute {
                exchange.value.isCancelled = true
                if let id = exchange.value.id { box.value.cancel(id) }
            }
        }
        return try result.get()
    }

    /// Closes for good. Requests that are not finished fail with ``CoAPError/closed``.
    public func close() {
        isClosed = true
        connection.close()
    }

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

/// The name of a request, between its start and its cancellation. Used on the loop only.
final class ExchangeBox {
    var id: CoAPExchangeID?
    var isCancelled = false
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
