#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

extension OSCOREClient {
    /// Observes the resource of a request, GET or FETCH, as ``CoAPClient/observe(_:timeout:limit:)`` does. What is notified by somebody who does not know the keys, and what is
    /// older than what was told, is passed over (RFC 8613, 4.1.3.5 and 7.4.1).
    public nonisolated func observe(
        _ request: CoAPRequest,
        timeout: Duration? = nil,
        limit: Int = 16
    ) -> AsyncThrowingStream<CoAPNotification, any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(
            of: CoAPNotification.self,
            bufferingPolicy: .bufferingNewest(max(1, limit))
        )
        let loop = client.loop
        let observation = LoopConfined(ProtectedObservation(self, request, timeout, continuation))
        continuation.onTermination = { _ in loop.execute { observation.value.end() } }
        loop.execute { observation.value.begin() }
        return stream
    }
}

/// An observation whose messages are protected: each registration anew, since the server takes none twice. Confined to the loop.
private final class ProtectedObservation: TimerHandler {
    private let client: OSCOREClient
    private let connection: CoAPConnection
    private let continuation: AsyncThrowingStream<CoAPNotification, any Error>.Continuation
    private let timer: Timer
    private let request: CoAPRequest
    private let timeout: Duration?
    private var isChallenged = false
    /// The registration: its name, what ties the responses to it, and whether it is over.
    private var id: CoAPExchangeID?
    private var exchange: OSCOREClientExchange?
    private var isOver = false
    /// What is told after this many notifications is the newest.
    private var notifications = 0

    init(
        _ client: OSCOREClient,
        _ request: CoAPRequest,
        _ timeout: Duration?,
        _ continuation: AsyncThrowingStream<CoAPNotification, any Error>.Continuation
    ) {
        self.client = client
        var request = request
        request.options.observe = 0
        self.request = request
        self.timeout = timeout
        self.continuation = continuation
        connection = client.client.connectionOnLoop.value
        timer = Timer(on: client.client.loop)
    }

    func begin() { register(request) }

    private func register(_ request: CoAPRequest) {
        do {
            id = try connection.observe(
                try protect(request),
                timeout: timeout,
                notified: { [unowned self] in $0.map { notified($0) } ?? renew() },
                completion: { [self] in completed($0) }
            )
        } catch { finish(error) }
    }

    /// Nobody reads it any more.
    func end() {
        guard !isOver else { return }
        isOver = true
        timer.stop()
        guard let id else { return }
        var last = request
        last.options.observe = 1
        connection.cancel(id, with: try? protect(last))
    }

    /// The registration, protected anew.
    private func protect(_ request: CoAPRequest) throws -> CoAPRequest {
        let protected = try client.assumeIsolated { try $0.protect(request) }
        exchange = protected.exchange
        return protected.request
    }

    private func unprotect(_ response: CoAPResponse) throws -> CoAPResponse {
        guard let exchange else { throw OSCOREError.notProtected(response.code) }
        let plain = try client.assumeIsolated { try $0.unprotect(response, for: exchange) }
        self.exchange = plain.exchange
        return plain.response
    }

    private func notified(_ response: CoAPResponse) {
        guard !isOver, let plain = try? unprotect(response) else { return }
        // Only what is protected says whether the server goes on (RFC 8613, 4.1.3.5).
        guard plain.code.isSuccess, plain.options.observe != nil else {
            if let id { connection.cancel(id) }
            return tell(plain, isLast: true)
        }
        isChallenged = false
        timer.start(after: .seconds(Int64(plain.options.maxAge ?? 60)) + Self.patience(), handler: self)
        tell(plain, isLast: false)
    }

    private func completed(_ result: Result<CoAPResponse, CoAPError>) {
        guard !isOver else { return }
        do {
            let plain = try unprotect(try result.get())
            if !isChallenged, let proven = request.answering(challenge: plain) {
                isChallenged = true
                register(proven)
            } else {
                tell(plain, isLast: true)
            }
        } catch { finish(error) }
    }

    /// Tells of a response, when the rest of it is there.
    private func tell(_ plain: CoAPResponse, isLast: Bool) {
        notifications += 1
        if isLast {
            isOver = true
            timer.stop()
        }
        guard client.assumeIsolated({ [request] in $0.hasMore(plain, request) }) else {
            return tellWhole(plain, isLast)
        }
        let box = LoopConfined(self)
        Task(executorPreference: client.client.loop) { [notifications, request, client] in
            let whole: Result<CoAPResponse, any Error>
            do { whole = .success(try await client.fetchRest(of: plain, request)) } catch { whole = .failure(error) }
            await client.perform {
                // Of an older one nobody wants to know.
                guard box.value.notifications == notifications else { return }
                switch whole {
                case .success(let response): box.value.tellWhole(response, isLast)
                case .failure(let error): if isLast { box.value.finish(error) }
                }
            }
        }
    }

    private func tellWhole(_ response: CoAPResponse, _ isLast: Bool) {
        continuation.yield(.response(response))
        if isLast { continuation.finish() }
    }

    private func finish(_ error: any Error) {
        isOver = true
        timer.stop()
        continuation.finish(throwing: error)
    }

    /// What was told is not valid any more.
    func timerFired(_ timer: Timer) { renew() }

    /// Registers again: the server may have forgotten.
    private func renew() {
        guard !isOver, let id else { return }
        timer.stop()
        continuation.yield(.stale)
        do { try connection.renew(id, with: try protect(request)) } catch { finish(error) }
    }

    /// How much later than its time the server is asked again: between five and fifteen seconds, so that not all clients do it at once.
    private static func patience() -> Duration { .milliseconds(Int.random(in: 5_000...15_000)) }
}

extension OSCOREClient {
    /// Calls `body` on the loop.
    fileprivate func perform(_ body: @Sendable () -> Void) { body() }
}
#endif
