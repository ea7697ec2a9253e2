import CoAPClient
import Kernel
import SAL
import SecureTransport
import Testing

/// A server of ours on 127.0.0.1, on a loop of its own: /body (GET, PUT, POST that answers it backwards, DELETE, observable), /slow, /never.
final class TestServer: Sendable {
    let server: CoAPServer
    let port: UInt16
    let body = Guarded<[UInt8]?>(Array("hello".utf8))
    /// How many requests of each method the handler of /body has seen, notifications aside.
    let seen = Guarded<[CoAPCode: Int]>([:])
    private let loop: EventLoop

    init(
        secure: TLSServerConfiguration? = nil,
        change: (inout CoAPServerConfiguration) -> Void = { _ in }
    ) async throws {
        loop = EventLoop.start()
        var configuration = CoAPServerConfiguration()
        change(&configuration)
        let address = SocketAddress(address: .loopbackIPv4, port: 0)
        let network = LinuxNetwork(loop: loop)
        if let secure {
            server = try await CoAPServer.start(
                at: address,
                over: network,
                secure: secure,
                configuration: configuration
            )
        } else {
            server = try await CoAPServer.start(at: address, over: network, configuration: configuration)
        }
        port = try #require(await server.localAddress?.port)
        let (body, seen, server) = (body, seen, server)
        await server.resource(
            "body",
            methods: [.get, .put, .post, .delete],
            change: {
                $0.isObservable = true
                $0.formats = [.octetStream]
                try? $0.link.add("rt", "body")
            },
            handler: { [weak server] request in
                if !request.isNotification { seen.withLock { $0[request.method, default: 0] += 1 } }
                switch request.method {
                case .post: return CoAPResponse(.changed, payload: request.payload.reversed())
                case .put, .delete:
                    body.withLock { $0 = request.method == .put ? request.payload : nil }
                    await server?.notify("body")
                    return CoAPResponse(request.method == .put ? .changed : .deleted)
                default:
                    guard let body = body.withLock({ $0 }) else { return CoAPResponse(.notFound) }
                    return .content(body, format: .octetStream)
                }
            }
        )
        await server.resource("slow") { _ in
            try await Task.sleep(for: .milliseconds(1_200))
            return .content(Array("slow".utf8))
        }
    }

    func close() async {
        await server.close()
        loop.stop()
    }

    /// Runs `body` with a server, and ends it.
    static func with(
        secure: TLSServerConfiguration? = nil,
        change: (inout CoAPServerConfiguration) -> Void = { _ in },
        _ body: (TestServer) async throws -> Void
    ) async throws {
        let server = try await TestServer(secure: secure, change: change)
        let result = await Result.of { try await body(server) }
        await server.close()
        try result.get()
    }
}

extension Result where Success == Void, Failure == any Error {
    /// What comes of `body`.
    static func of(_ body: () async throws -> Void) async -> Self {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
