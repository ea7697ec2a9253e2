import SAL
import Testing

@testable import CoAPClient

/// A peer of a server under test: 192.0.2.1, 192.0.2.2 and so on.
func peer(_ number: Int, port: UInt16 = 40_000) -> SocketAddress {
    SocketAddress(address: .v4(0xC000_0200 | UInt32(number)), port: port)
}

/// A server in virtual time, with handlers, and what it has sent.
struct ServerUnderTest: ~Copyable {
    typealias Handler = (CoAPServerRequest) -> CoAPResponse?
    struct Sent: Equatable {
        let message: CoAPMessage
        let peer: SocketAddress
    }

    var session: CoAPServerSession
    var now = Duration.zero
    private var handlers: [CoAPResourceID: Handler] = [:]
    private(set) var handled: [CoAPServerRequest] = []
    private(set) var abandoned: [CoAPServerRequestID] = []
    private var sent: [Sent] = []

    init(seed: UInt64 = 1, change: (inout CoAPServerConfiguration) -> Void = { _ in }) {
        var configuration = CoAPServerConfiguration()
        change(&configuration)
        session = CoAPServerSession(configuration, seed: CoAPSeed(seed, 2))
    }

    /// Adds a resource; a handler that returns `nil` answers later, or never.
    mutating func add(
        _ path: String,
        _ methods: CoAPMethods = .get,
        change: (inout CoAPResource) -> Void = { _ in },
        handler: @escaping Handler
    ) {
        var resource = CoAPResource(path.utf8.span, methods)
        change(&resource)
        handlers[session.add(resource, at: now)] = handler
        drain()
    }

    /// What the server sends when it is given bytes.
    mutating func receive(
        _ bytes: [UInt8],
        from peer: SocketAddress = peer(1),
        isMulticast: Bool = false,
        isTruncated: Bool = false
    ) -> [Sent] {
        session.receive(bytes.span, from: peer, isMulticast: isMulticast, isTruncated: isTruncated, at: now)
        drain()
        return take()
    }

    /// What the server sends its peer when it is given a message.
    mutating func receive(
        _ message: CoAPMessage,
        from peer: SocketAddress = peer(1),
        isMulticast: Bool = false
    ) -> [CoAPMessage] {
        receive(message.encoded, from: peer, isMulticast: isMulticast).map(\.message)
    }

    /// Answers a request that was handed out, and returns what is sent.
    mutating func respond(to index: Int, _ response: CoAPResponse) -> [CoAPMessage] {
        guard handled.indices.contains(index) else {
            Issue.record("the handler was not asked")
            return []
        }
        session.respond(to: handled[index].id, with: response, at: now)
        drain()
        return take().map(\.message)
    }

    mutating func changed(_ path: String) -> [Sent] {
        session.changed(CoAPResource(path.utf8.span, .get).path, at: now)
        drain()
        return take()
    }

    /// Lets time pass up to `time`, and returns what is sent meanwhile.
    mutating func pass(to time: Duration) -> [Sent] {
        while let deadline = session.deadline, deadline <= time {
            now = max(now, deadline)
            session.handleTimeout(at: now)
            drain()
        }
        now = time
        return take()
    }

    mutating func drain() {
        while let output = session.nextOutput() {
            switch output {
            case .transmit(let bytes, let peer):
                if let message = try? decode(bytes) { sent.append(Sent(message: message, peer: peer)) }
            case .request(let request):
                handled.append(request)
                if let response = handlers[request.resource]?(request) {
                    session.respond(to: request.id, with: response, at: now)
                }
            case .abandoned(let id): abandoned.append(id)
            }
        }
    }

    private mutating func take() -> [Sent] {
        defer { sent = [] }
        return sent
    }

    /// How much the server remembers of its peers.
    var remembered: [Int] {
        [
            session.pending.count, session.transmissions.count, session.delayed.count, session.bodies.count,
            session.observers.count,
        ]
    }
}

/// A request as it travels.
func request(
    _ code: CoAPCode,
    _ path: String = "",
    id: UInt16 = 1,
    type: CoAPMessageType = .confirmable,
    token bytes: [UInt8] = [7],
    payload: [UInt8] = [],
    change: (inout CoAPOptions) -> Void = { _ in }
) -> CoAPMessage {
    var options = CoAPOptions()
    options.addPath(path.utf8.span)
    change(&options)
    return CoAPMessage(type: type, code: code, messageID: id, token: token(bytes), options: options, payload: payload)
}

extension CoAPMessage {
    /// A response that comes with the acknowledgement of ``request(_:_:id:type:token:payload:change:)``.
    static func piggybacked(_ code: CoAPCode, id: UInt16 = 1, _ payload: String = "") -> CoAPMessage {
        CoAPMessage(
            type: .acknowledgement,
            code: code,
            messageID: id,
            token: CoAPClientTests.token([7]),
            payload: ascii(payload)
        )
    }
}
