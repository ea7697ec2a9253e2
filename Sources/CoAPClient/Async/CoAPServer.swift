#if !hasFeature(Embedded)
internal import Kernel
public import SAL
public import SecureTransport

/// A CoAP server for async code. It lives on the loop of its network.
///
/// Handlers run beside each other, up to ``CoAPServerConfiguration/exchangeLimit`` at a time, each in a task that is cancelled when nobody waits for its answer any more.
/// Dropping the last reference closes the server.
public actor CoAPServer {
    /// Answers a request. What it throws is a 5.00 to the client.
    public typealias Handler = @Sendable (CoAPServerRequest) async throws -> CoAPResponse

    private var face: ServerFace { faceOnLoop.value }
    private nonisolated let faceOnLoop: LoopConfined<ServerFace>
    private let network: any ServerNetwork
    private nonisolated let loop: EventLoop

    /// Calls run on the loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    private init(_ face: LoopConfined<ServerFace>, _ network: any ServerNetwork) {
        faceOnLoop = face
        self.network = network
        loop = network.loop
    }

    deinit { loop.execute { [faceOnLoop] in faceOnLoop.value.responder.close() } }

    /// Starts a server over UDP at `address` of `network`; port 0 takes a free one.
    public static func start(
        at address: SocketAddress,
        over network: any ServerNetwork,
        configuration: CoAPServerConfiguration = CoAPServerConfiguration()
    ) async throws(SocketError) -> CoAPServer {
        let result: Result<CoAPServer, SocketError> = await network.loop.call {
            Result { () throws(SocketError) in
                let face = ServerFace(on: network.loop, configuration)
                try face.responder.open(at: address, over: network)
                return CoAPServer(LoopConfined(face), network)
            }
        }
        return try result.get()
    }

    /// Starts a server over DTLS at `address` of `network`; port 0 takes a free one.
    public static func start(
        at address: SocketAddress,
        over network: any ServerNetwork,
        secure: TLSServerConfiguration,
        configuration: CoAPServerConfiguration = CoAPServerConfiguration()
    ) async throws(SecureTransportError) -> CoAPServer {
        let result: Result<CoAPServer, SecureTransportError> = await network.loop.call {
            Result { () throws(SecureTransportError) in
                let face = ServerFace(on: network.loop, configuration)
                try face.responder.open { handler throws(SecureTransportError) in
                    let socket = try SecureDatagramServer(at: address, over: network, secure, handler: handler)
                    // Whoever has a session of its own does not get what another has asked for.
                    socket.sessionChanged = { [weak face] peer, _ in face?.responder.forget(peer) }
                    face.secure = socket
                    return socket
                }
                return CoAPServer(LoopConfined(face), network)
            }
        }
        return try result.get()
    }

    // MARK: Resources

    /// Adds a resource, in place of one with the same path if there is one.
    public func add(_ resource: CoAPResource, handler: @escaping Handler) { face.add(resource, handler) }

    /// Adds the resource at a path of these segments: `server.resource("sensors", "temperature") { request in .content(…) }`. `change` says more of it.
    public func resource(
        _ path: String...,
        methods: CoAPMethods = .get,
        change: @Sendable (inout CoAPResource) -> Void = { _ in },
        handler: @escaping Handler
    ) {
        var resource = CoAPResource(path, methods)
        change(&resource)
        face.add(resource, handler)
    }

    /// Removes the resource at a path of these segments; its observers are told.
    public func remove(_ path: String...) { face.responder.remove(path.map { Array($0.utf8) }) }

    /// The resource at a path of these segments has changed: its handler is asked how it is, once for each observer, who are told.
    public func notify(_ path: String...) { notify(path.map { Array($0.utf8) }) }

    /// The resource at a path of these segments has changed, as ``notify(_:)-(String...)`` says it.
    public func notify(_ path: [[UInt8]]) { face.responder.changed(path) }

    /// The paths that are observed.
    public var observedPaths: Set<[[UInt8]]> { Set(face.responder.observedPaths) }

    /// How many observers the resource at a path of these segments has.
    public func observerCount(_ path: String...) -> Int { face.responder.observerCount(path.map { Array($0.utf8) }) }

    // MARK: The socket

    /// What the two ends of a peer's DTLS session have agreed on, such as who the peer is; `nil` without one.
    public func agreement(with peer: SocketAddress) -> TLSAgreement? { face.secure?.agreement(with: peer) }

    /// Where it receives.
    public var localAddress: SocketAddress? { face.responder.localAddress }

    /// What was met that was not in order.
    public var counters: CoAPServerCounters { face.responder.counters }

    /// Takes requests to a group too: see ``CoAPResponder/join(_:port:interface:over:)``.
    public func join(_ group: IPAddress, port: UInt16 = 5683, interface: UInt32 = 0) throws(SocketError) {
        try face.responder.join(group, port: port, interface: interface, over: network)
    }

    /// Waits until the socket is over, and throws why unless it was closed on this side.
    public func untilClosed() async throws(SocketError) {
        if let error = await face.end() { throw error }
    }

    /// Closes for good. Handlers that run are cancelled.
    public func close() {
        face.responder.close()
        face.cancelAll()
    }
}

/// What a ``CoAPServer`` has on its loop.
private final class ServerFace {
    let responder: CoAPResponder
    weak var secure: SecureDatagramServer?
    /// How many handlers run; some may be cancelled already, and go on.
    private var running = 0
    private let runningLimit: Int
    private var tasks: [CoAPServerRequestID: Task<Void, Never>] = [:]
    private var ended: SocketError??
    private var waiting: [CheckedContinuation<SocketError?, Never>] = []

    init(on loop: EventLoop, _ configuration: CoAPServerConfiguration) {
        responder = CoAPResponder(on: loop, configuration: configuration, seed: .systemRandom())
        runningLimit = 2 * configuration.exchangeLimit + configuration.observerLimit
        responder.abandoned = { [weak self] id in self?.tasks.removeValue(forKey: id)?.cancel() }
        responder.ended = { [weak self] error in self?.end(error) }
    }

    func add(_ resource: CoAPResource, _ handler: @escaping CoAPServer.Handler) {
        let box = LoopConfined(self)
        let loop = responder.loop
        responder.add(resource) { [weak self] request in
            guard let self, running < runningLimit else { return CoAPResponse(.serviceUnavailable) }
            running += 1
            tasks[request.id] = Task {
                let response: CoAPResponse
                do { response = try await handler(request) } catch { response = CoAPResponse(.internalServerError) }
                loop.execute { box.value.finish(request.id, response) }
            }
            return nil
        }
    }

    private func finish(_ id: CoAPServerRequestID, _ response: CoAPResponse) {
        running -= 1
        tasks[id] = nil
        responder.respond(to: id, with: response)
    }

    func cancelAll() {
        for task in tasks.values { task.cancel() }
        tasks = [:]
    }

    private func end(_ error: SocketError?) {
        ended = .some(error)
        cancelAll()
        for continuation in waiting { continuation.resume(returning: error) }
        waiting = []
    }

    nonisolated(nonsending) func end() async -> SocketError? {
        if let ended { return ended }
        return await withCheckedContinuation { waiting.append($0) }
    }
}

extension CoAPResource {
    /// A resource at a path of these segments; none for the root.
    public init(_ path: [String], _ methods: CoAPMethods) {
        self.init(segments: path.map { Array($0.utf8) }, methods)
    }
}
#endif
