import CoAPClient
import Kernel
import SAL
import Testing

/// A server of ours with the resources that the test descriptions of the ETSI plugtests ask for.
final class PlugtestServer: Sendable {
    /// What a request had.
    struct Received: Equatable, Sendable {
        let method: CoAPCode
        let path: String
        let payload: [UInt8]
        let format: CoAPContentFormat?
    }

    struct State {
        var received: [Received] = []
        var test = Array("a test".utf8)
        var validated = (version: UInt8(1), body: Array("first".utf8))
        var created: [UInt8]?
        var updated: [UInt8] = []
        var parts: [String: [UInt8]] = [:]
        /// What is observed; `nil` if it is deleted.
        var observed: [UInt8]? = Array("state 0".utf8)
        var observedFormat = CoAPContentFormat.textPlain
        /// Whether /separate answers.
        var isSeparateReady = false
    }

    static let large = (0..<3_300).map { UInt8(ascii: "a") + UInt8($0 / 100 % 26) }
    let server: CoAPServer
    let port: UInt16
    let state = Guarded(State())
    private let loop: EventLoop

    /// Starts one; notifications are confirmable, one in so many.
    init(port: UInt16 = 0, change: (inout CoAPServerConfiguration) -> Void = { _ in }) async throws {
        loop = EventLoop.start()
        var configuration = CoAPServerConfiguration()
        configuration.confirmableNotificationInterval = 1
        // On a busy machine too, only what is meant to be separate is.
        configuration.acknowledgementDelay = .milliseconds(1_500)
        change(&configuration)
        server = try await CoAPServer.start(
            at: SocketAddress(address: .loopbackIPv4, port: port),
            over: LinuxNetwork(loop: loop),
            configuration: configuration
        )
        self.port = try #require(await server.localAddress?.port)
        await addBasics()
        await addConditional()
        await addLarge()
        await addObservable()
        await addLinks()
    }

    func close() async {
        await server.close()
        loop.stop()
    }

    var received: [Received] { state.withLock { $0.received } }

    /// Sets what is observed, and has the observers told.
    func change(_ body: [UInt8]?, _ format: CoAPContentFormat = .textPlain, at path: String = "obs") async {
        state.withLock { ($0.observed, $0.observedFormat) = (body, format) }
        await server.notify(path)
    }

    // MARK: Resources

    private func add(
        _ path: String...,
        methods: CoAPMethods = .get,
        change: @Sendable (inout CoAPResource) -> Void = { _ in },
        handler: @escaping @Sendable (CoAPServerRequest, inout State) -> CoAPResponse
    ) async {
        var resource = CoAPResource(path, methods)
        change(&resource)
        let name = path.joined(separator: "/")
        await server.add(resource) { [state] request in
            state.withLock {
                if !request.isNotification {
                    $0.received.append(
                        Received(
                            method: request.method,
                            path: name,
                            payload: request.payload,
                            format: request.options.contentFormat
                        )
                    )
                }
                return handler(request, &$0)
            }
        }
    }

    private static func location(_ number: CoAPOptionNumber, _ values: String...) -> CoAPResponse {
        var response = CoAPResponse(.created)
        for value in values { response.options.add(number, Array(value.utf8)) }
        return response
    }

    private func addBasics() async {
        await add("test", methods: [.get, .put, .post, .delete]) { request, state in
            switch request.method {
            case .put:
                state.test = request.payload
                return CoAPResponse(.changed)
            case .post: return Self.location(.locationPath, "location1", "location2", "location3")
            case .delete: return CoAPResponse(.deleted)
            default: return .content(state.test, format: .textPlain)
            }
        }
        await add("seg1", "seg2", "seg3") { _, _ in .content(Array("three segments".utf8), format: .textPlain) }
        await add("query") { request, _ in
            .content(Array(request.options.queryArguments.joined(separator: [0x20])), format: .textPlain)
        }
        await add("location-query", methods: .post) { _, _ in
            Self.location(.locationQuery, "first=1", "second=2")
        }
        await add("multi-format", change: { $0.formats = [.textPlain, .xml] }) { request, _ in
            request.options.accept == .xml
                ? .content(Array("<a>text</a>".utf8), format: .xml)
                : .content(Array("text".utf8), format: .textPlain)
        }
        await server.resource("separate") { [state] _ in
            while !state.withLock({ $0.isSeparateReady }) { try await Task.sleep(for: .milliseconds(2)) }
            return .content(Array("at last".utf8), format: .textPlain)
        }
    }

    private func addConditional() async {
        await add("validate", methods: [.get, .put]) { request, state in
            if let failure = request.failedPrecondition(current: [state.validated.version]) { return failure }
            if request.method == .put {
                state.validated = (state.validated.version + 1, request.payload)
                return CoAPResponse(.changed)
            }
            return .content(state.validated.body, format: .textPlain, eTag: [state.validated.version])
        }
        await add("create1", methods: .put) { request, state in
            if let failure = request.failedPrecondition(current: state.created == nil ? nil : []) { return failure }
            defer { state.created = request.payload }
            return CoAPResponse(state.created == nil ? .created : .changed)
        }
    }

    private func addLarge() async {
        await add("large") { _, _ in .content(Self.large, format: .textPlain) }
        await add("large-update", methods: [.get, .put]) { request, state in
            guard request.method == .put else { return .content(state.updated, format: .textPlain) }
            state.updated = request.payload
            return CoAPResponse(.changed)
        }
        await add("large-create", methods: [.get, .post], change: { $0.includesSubpaths = true }) { request, state in
            if request.method == .post {
                let part = "part\(state.parts.count)"
                state.parts[part] = request.payload
                return Self.location(.locationPath, "large-create", part)
            }
            let part = request.subpath.first.flatMap { state.parts[String(decoding: $0, as: UTF8.self)] }
            return part.map { .content($0, format: .textPlain) } ?? CoAPResponse(.notFound)
        }
        await add("large-post", methods: .post) { request, _ in
            var response = CoAPResponse(.changed, payload: request.payload.reversed())
            response.options.contentFormat = .textPlain
            return response
        }
    }

    private func addObservable() async {
        for path in ["obs", "obs-non", "obs-large"] {
            await add(path, methods: [.get, .put, .delete], change: { $0.isObservable = true }) { request, state in
                switch request.method {
                case .put:
                    state.observed = request.payload
                    state.observedFormat = request.options.contentFormat ?? .textPlain
                    return CoAPResponse(.changed)
                case .delete:
                    state.observed = nil
                    return CoAPResponse(.deleted)
                default:
                    return state.observed.map { .content($0, format: state.observedFormat, maxAge: 5) }
                        ?? CoAPResponse(.notFound)
                }
            }
        }
    }

    private func addLinks() async {
        let links: [(path: String, attributes: [(String, String)])] = [
            ("link1", [("rt", "Type1 Type2"), ("if", "If1"), ("sz", "10")]),
            ("link2", [("rt", "Type2 Type3"), ("if", "If2"), ("sz", "20")]),
            ("link3", [("rt", "Type1 Type3"), ("if", "foo")]),
            ("link4", [("rt", "")]),
        ]
        for (path, attributes) in links {
            await add(path, change: { for (name, value) in attributes { try? $0.link.add(name, value) } }) { _, _ in
                .content(Array(path.utf8), format: .textPlain)
            }
        }
        await add("path", change: { $0.formats = [.linkFormat] }) { request, _ in
            let subs = ["/path/sub1", "/path/sub2", "/path/sub3"].compactMap { try? CoAPLink($0) }
            return .links(subs, for: request.options)
        }
        for sub in ["sub1", "sub2", "sub3"] {
            await add("path", sub, change: { $0.isListed = false }) { _, _ in
                .content(Array("/path/\(sub)".utf8), format: .textPlain)
            }
        }
    }
}

/// A server with the plugtests' resources, and a client whose datagrams are recorded.
struct Plugtest {
    let server: PlugtestServer
    let wire: RecordingNetwork
    let client: CoAPClient

    static func with(
        server change: (inout CoAPServerConfiguration) -> Void = { _ in },
        client changeClient: (inout CoAPConfiguration) -> Void = { _ in },
        _ body: (Plugtest) async throws -> Void
    ) async throws {
        let server = try await PlugtestServer(change: change)
        let result = await Result.of {
            try await with(port: server.port, client: changeClient) { wire, client in
                try await body(Plugtest(server: server, wire: wire, client: client))
            }
        }
        await server.close()
        try result.get()
    }

    /// Runs `body` with a client for the server at a port of 127.0.0.1, and ends that.
    static func with(
        port: UInt16,
        client change: (inout CoAPConfiguration) -> Void = { _ in },
        _ body: (RecordingNetwork, CoAPClient) async throws -> Void
    ) async throws {
        var configuration = CoAPConfiguration()
        change(&configuration)
        let loop = EventLoop.start()
        let wire = RecordingNetwork(on: loop)
        let client = CoAPClient(
            to: Endpoint(host: "127.0.0.1", port: port),
            over: wire,
            configuration: configuration
        )
        let result = await Result.of { try await body(wire, client) }
        wire.keepSocket(false)
        await client.close()
        loop.stop()
        try result.get()
    }
}

extension RecordingNetwork {
    /// The request and the response that are all there is since the last call: in an acknowledgement, or both without confirmation.
    /// With `hasFormat`, a payload must have one.
    func takeExchange(
        isConfirmable: Bool = true,
        hasFormat: Bool = true
    ) throws -> (request: CoAPMessage, response: CoAPMessage) {
        let records = take()
        try #require(records.map(\.isFromClient) == [true, false], "\(records.map(\.summary))")
        let (request, response) = (records[0].message, records[1].message)
        #expect(request.type == (isConfirmable ? .confirmable : .nonConfirmable))
        #expect(response.type == (isConfirmable ? .acknowledgement : .nonConfirmable))
        #expect(response.token == request.token && (1...8).contains(request.token.count))
        if isConfirmable { #expect(response.messageID == request.messageID) }
        // A payload has a format, but for the text that says what an error is (RFC 7252, 5.5.2).
        if hasFormat, response.code.isSuccess, !response.payload.isEmpty {
            #expect(response.options.contentFormat != nil)
        }
        return (request, response)
    }
}
