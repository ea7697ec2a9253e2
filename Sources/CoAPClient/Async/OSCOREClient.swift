#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// A client whose requests to one server are protected by OSCORE (RFC 8613), over a ``CoAPClient`` whose ``CoAPConfiguration/understoodOptions`` have
/// ``CoAPOptionNumber/oscore``.
///
/// Bodies that one message does not hold go in blocks that are protected each (RFC 8613, 4.1.3.4.1), and a server that wants to know that a request is new is told (RFC 9175, 2.3).
public actor OSCOREClient {
    let client: CoAPClient
    private var context: OSCOREContext

    /// The loop that it lives on, which is the client's.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe client.loop.asUnownedSerialExecutor() }

    /// A client with a context for the server of `client`.
    public init(over client: CoAPClient, _ context: consuming OSCOREContext) {
        self.client = client
        self.context = context
    }

    /// Sends a request and returns the response, which nobody but the server can have made. Throws ``CoAPError`` and ``OSCOREError``; of the latter
    /// ``OSCOREError/notProtected(_:)`` says that somebody answered who does not know the keys, or the server because it does not take ours.
    ///
    /// `timeout` is for each message, as ``CoAPClient/send(_:timeout:)`` has it.
    public func send(_ request: CoAPRequest, timeout: Duration? = nil) async throws -> CoAPResponse {
        let isLarge = request.payload.count > CoAPBlock.byteCount(exponent(for: request))
        var transfer = isLarge ? transfer(request, isUploading: true) : nil
        var next = transfer.map { self.next(request, $0) } ?? request
        var isChallenged = false
        while true {
            let response = try await exchange(next, timeout)
            if !isChallenged, let proven = next.answering(challenge: response) {
                isChallenged = true
                next = proven
                continue
            }
            if transfer == nil, hasMore(response, request) { transfer = self.transfer(request, isUploading: false) }
            guard let transfer else { return response }
            switch transfer.take(response) {
            case .finished(let result): return try result.get()
            case .next: next = self.next(request, transfer)
            }
        }
    }

    /// Whether a response is the first block of a body whose rest is to be fetched.
    func hasMore(_ response: CoAPResponse, _ request: CoAPRequest) -> Bool {
        response.code.isSuccess && response.options.block2?.hasMore == true && request.options.block2 == nil
    }

    /// The whole body that `first` is the first block of.
    func fetchRest(of first: CoAPResponse, _ request: CoAPRequest) async throws -> CoAPResponse {
        let transfer = transfer(request, isUploading: false)
        var response = first
        while true {
            switch transfer.take(response) {
            case .finished(let result): return try result.get()
            case .next: response = try await exchange(next(request, transfer), nil)
            }
        }
    }

    func protect(
        _ request: CoAPRequest
    ) throws(OSCOREError) -> (request: CoAPRequest, exchange: OSCOREClientExchange) { try context.protect(request) }

    func unprotect(
        _ response: CoAPResponse,
        for exchange: OSCOREClientExchange
    ) throws(OSCOREError) -> (response: CoAPResponse, exchange: OSCOREClientExchange) {
        var exchange = exchange
        let response = try context.unprotect(response, for: &exchange)
        return (response, exchange)
    }

    /// How large blocks may be: what they become, with the options and all, must go in a message without blocks of its own.
    private func exponent(for request: CoAPRequest) -> UInt8 {
        let room = CoAPBlock.byteCount(client.configuration.blockExponent) - request.options.bytes.count - 32
        return CoAPBlock.exponent(notOver: room)
    }

    private func transfer(_ request: CoAPRequest, isUploading: Bool) -> BlockTransfer {
        BlockTransfer(
            request.method,
            request.options,
            body: request.payload,
            isUploading: isUploading,
            sizeExponent: exponent(for: request),
            downloadExponent: exponent(for: request),
            limits: client.configuration
        )
    }

    private func next(_ request: CoAPRequest, _ transfer: BlockTransfer) -> CoAPRequest {
        let (options, payload) = transfer.nextRequest()
        return CoAPRequest(
            request.method,
            options: options,
            payload: Array(payload),
            isConfirmable: request.isConfirmable
        )
    }

    private func exchange(_ request: CoAPRequest, _ timeout: Duration?) async throws -> CoAPResponse {
        let (protected, exchange) = try protect(request)
        let response = try await client.send(protected, timeout: timeout)
        return try unprotect(response, for: exchange).response
    }
}
#endif
