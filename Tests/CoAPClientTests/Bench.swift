@testable import CoAPClient

/// A session and what comes out of it, with the time as a value.
struct Bench: ~Copyable {
    var session: CoAPSession
    var now: Duration = .seconds(1000)

    init(seed: UInt64 = 1, isOpen: Bool = true, change: (inout CoAPConfiguration) -> Void = { _ in }) {
        var configuration = CoAPConfiguration()
        change(&configuration)
        session = CoAPSession(configuration, seed: CoAPSeed(seed, 7))
        if isOpen { session.transportOpened(at: now) }
    }

    mutating func outputs() -> [CoAPSession.Output] {
        var outputs: [CoAPSession.Output] = []
        while let output = session.nextOutput() { outputs.append(output) }
        return outputs
    }

    /// The messages that are sent now; anything else is an error.
    mutating func sent() throws -> [CoAPMessage] {
        try outputs().map {
            guard case .transmit(let bytes) = $0 else { throw UnexpectedOutput() }
            return try decode(bytes)
        }
    }

    mutating func start(
        _ request: CoAPRequest = CoAPRequest(.get, path: "x"),
        timeout: Duration? = nil
    ) throws -> (id: CoAPExchangeID, message: CoAPMessage) {
        let id = try session.send(request, timeout: timeout, at: now)
        let sent = try sent()
        guard sent.count == 1 else { throw UnexpectedOutput() }
        return (id, sent[0])
    }

    mutating func receive(_ message: CoAPMessage, isTruncated: Bool = false) -> [CoAPSession.Output] {
        let bytes = message.encoded
        session.receive(bytes.span, isTruncated: isTruncated, at: now)
        return outputs()
    }

    mutating func receive(_ bytes: [UInt8]) -> [CoAPSession.Output] {
        session.receive(bytes.span, at: now)
        return outputs()
    }

    /// Goes on to the session's next deadline at which it puts something out, or to the end of its deadlines.
    mutating func runToNextOutput() -> [CoAPSession.Output] {
        while let deadline = session.deadline {
            now = max(now, deadline)
            session.handleTimeout(at: now)
            let outputs = outputs()
            if !outputs.isEmpty { return outputs }
        }
        return []
    }

    /// The session's next deadline, which it must have.
    func deadline() throws -> Duration {
        guard let deadline = session.deadline else { throw UnexpectedOutput() }
        return deadline
    }

    struct UnexpectedOutput: Error {}
}

extension CoAPMessage {
    func response(
        _ type: CoAPMessageType,
        _ code: CoAPCode = .content,
        messageID: UInt16? = nil,
        options: CoAPOptions = CoAPOptions(),
        payload: [UInt8] = ascii("22.3 C")
    ) -> CoAPMessage {
        CoAPMessage(
            type: type,
            code: code,
            messageID: messageID ?? self.messageID,
            token: token,
            options: options,
            payload: payload
        )
    }

    func empty(_ type: CoAPMessageType) -> CoAPMessage { .empty(type, messageID) }
}

/// What the peer of these tests answers by default.
let warm = CoAPResponse(.content, payload: ascii("22.3 C"))
