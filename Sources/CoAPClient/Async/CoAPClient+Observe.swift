#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// What is told of an observed resource (RFC 7641).
public enum CoAPNotification: Equatable, Sendable {
    /// It is now like this.
    case response(CoAPResponse)
    /// It is not known any more how it is: nothing has been heard for longer than what was told last is valid. The server is asked again.
    case stale
}

extension CoAPClient {
    /// Observes the resource of a request, GET or FETCH (RFC 7641): a sequence of how it is now, and each time that it has changed; not of each state that it had. A reader who is
    /// slow gets the newest `limit` of them.
    ///
    /// It goes on, over lost sockets and servers that forget, until nobody reads it, or the server ends it: by its last word, which is the sequence's last element, or by an error
    /// that is thrown. A resource that cannot be observed is read once. `timeout` is for the first response.
    public nonisolated func observe(
        _ request: CoAPRequest,
        timeout: Duration? = nil,
        limit: Int = 16
    ) -> AsyncThrowingStream<CoAPNotification, any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(
            of: CoAPNotification.self,
            bufferingPolicy: .bufferingNewest(max(1, limit))
        )
        let (box, loop) = (connectionOnLoop, loop)
        let exchange = LoopConfined(ExchangeBox())
        // It runs behind what comes next, however soon nobody reads any more.
        continuation.onTermination = { _ in
            loop.execute { if let id = exchange.value.id { box.value.cancel(id) } }
        }
        loop.execute {
            do throws(CoAPError) {
                exchange.value.id = try box.value.observe(
                    request,
                    timeout: timeout,
                    notified: { continuation.yield($0.map { .response($0) } ?? .stale) },
                    completion: { result in
                        switch result {
                        case .success(let last):
                            continuation.yield(.response(last))
                            continuation.finish()
                        case .failure(let error): continuation.finish(throwing: error)
                        }
                    }
                )
            } catch { continuation.finish(throwing: error) }
        }
        return stream
    }

    /// Observes the resource at `path`, with the arguments `query`, as ``observe(_:timeout:limit:)`` does.
    public nonisolated func observe(
        _ path: String,
        query: [String] = []
    ) -> AsyncThrowingStream<CoAPNotification, any Error> {
        observe(CoAPRequest(.get, path: path, query: query))
    }
}

/// The name of a request, between its start and its end. Confined to the loop.
private final class ExchangeBox {
    var id: CoAPExchangeID?
}
#endif
