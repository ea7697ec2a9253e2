import Kernel
import NetworkSimulator
import SAL
import SecureTransport
import Testing

@testable import CoAPClient

/// A server whose resource is protected, and a network that has only that. Used on its loop.
private final class ProtectedPeer: DatagramNetwork, @unchecked Sendable {
    final class Socket: DatagramSocket, @unchecked Sendable {
        // @unchecked: used on the loop only, as the peer is.
        unowned let peer: ProtectedPeer
        var handler: (any DatagramHandler)?
        let maximumDatagramBytes = 1_152

        init(_ peer: ProtectedPeer, _ handler: any DatagramHandler) { (self.peer, self.handler) = (peer, handler) }

        func send(_ datagram: Span<UInt8>, to address: SocketAddress?) throws(SocketError) {
            peer.receive(try? CoAPMessage(decoding: datagram), self)
        }

        func close() { handler = nil }

        func deliver(_ message: CoAPMessage) {
            let bytes = message.encoded
            let address = SocketAddress(address: .v4(0x7F00_0001), port: 5683)
            peer.loop.execute { [self] in handler?.received(bytes.span, from: address, truncated: false) }
        }
    }

    let loop: EventLoop
    let capabilities = NetworkCapabilities(
        maximumSockets: 1,
        sendChunkBytes: 1_152,
        datagramBytes: 1_152,
        hasReceiveFlowControl: false
    )
    /// What the resource says to a request.
    var respond: (CoAPRequest) -> CoAPResponse = { _ in CoAPResponse(.notFound) }
    private(set) var socket: Socket?
    private(set) var requests: [CoAPRequest] = []
    private(set) var numbers: [UInt64] = []
    private(set) var tokens: [CoAPToken] = []
    private var observer: (token: CoAPToken, exchange: OSCOREServerExchange)?
    private var context: OSCOREContext
    private var messageID: UInt16 = 0

    init(loop: EventLoop) throws {
        self.loop = loop
        context = try Self.context(isServer: true)
    }

    static func context(isServer: Bool) throws(OSCOREError) -> OSCOREContext {
        try OSCOREContext(
            masterSecret: SecretBytes(Array(1...16)),
            senderID: isServer ? [1] : [2],
            recipientID: isServer ? [2] : [1],
            sequence: OSCOREVolatileSequence(),
            replayProtection: .new
        )
    }

    func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        let socket = Socket(self, handler)
        self.socket = socket
        loop.execute { socket.handler?.opened() }
        return socket
    }

    private func receive(_ message: CoAPMessage?, _ socket: Socket) {
        guard let message, message.code.isRequest else { return }
        let request = CoAPRequest(message.code, options: message.options, payload: message.payload)
        let response: CoAPResponse
        do throws(OSCOREError) {
            guard case .accepted(let inner, let exchange) = try context.unprotect(request) else { return }
            requests.append(inner)
            numbers.append(exchange.sequenceNumber)
            tokens.append(message.token)
            if inner.options.observe == 0 { observer = (message.token, exchange) }
            response = try context.protect(respond(inner), for: exchange)
        } catch {
            guard let refusal = error.response else { return }
            response = refusal
        }
        let answer = CoAPMessage(
            type: .acknowledgement,
            code: response.code,
            messageID: message.messageID,
            token: message.token,
            options: response.options,
            payload: response.payload
        )
        socket.deliver(answer)
    }

    /// The protected notification that says this.
    func notification(_ response: CoAPResponse) throws -> CoAPMessage {
        let observer = try #require(observer)
        return message(try context.protect(response, for: observer.exchange), observer.token)
    }

    private func message(_ response: CoAPResponse, _ token: CoAPToken) -> CoAPMessage {
        messageID += 1
        return CoAPMessage(
            type: .nonConfirmable,
            code: response.code,
            messageID: messageID,
            token: token,
            options: response.options,
            payload: response.payload
        )
    }

    /// A notification by somebody who does not know the keys.
    func forgery() throws -> CoAPMessage { message(Self.state("forged", 200), try #require(observer).token) }

    static func state(_ text: String, _ number: UInt32, maxAge: UInt32? = nil) -> CoAPResponse {
        var response = CoAPResponse(.content, payload: Array(text.utf8))
        response.options.observe = number
        response.options.maxAge = maxAge
        return response
    }
}

/// Observing by messages that are protected (RFC 8613, 4.1.3.5).
@Suite(.timeLimit(.minutes(1))) struct OSCOREObserveTests {
    private static let request = CoAPRequest(.get, path: "x")

    /// Runs `body` in virtual time, with a server and a client of it.
    private func run(
        _ body: @escaping @Sendable (EventLoop, ProtectedPeer, OSCOREClient) async throws -> Void
    ) async throws {
        try await EventLoop.inVirtualTime { loop in
            let peer = try ProtectedPeer(loop: loop)
            var configuration = CoAPConfiguration()
            configuration.understoodOptions = [.oscore]
            let endpoint = Endpoint(host: "peer", port: 5683)
            let client = CoAPClient(to: endpoint, over: peer, configuration: configuration)
            try await body(loop, peer, OSCOREClient(over: client, try ProtectedPeer.context(isServer: false)))
            await client.close()
            // It may know the peer.
            peer.respond = { _ in CoAPResponse(.notFound) }
        }
    }

    private func text(_ notification: CoAPNotification?) -> String? {
        guard case .response(let response)? = notification else { return nil }
        return String(decoding: response.payload, as: UTF8.self)
    }

    /// When what was told is not valid any more, the server is asked again by a message of its own, which is no replay; and in the end it is asked to forget.
    @Test func itIsRegisteredAnew() async throws {
        try await run { loop, peer, client async throws in
            peer.respond = { _ in ProtectedPeer.state("\(peer.requests.count)", 5, maxAge: 30) }
            var notifications = client.observe(Self.request).makeAsyncIterator()
            #expect(text(try await notifications.next()) == "1")
            let start = loop.now
            #expect(try await notifications.next() == .stale)
            #expect((.seconds(35)...(.seconds(45) + .milliseconds(1))).contains(loop.now - start))
            #expect(text(try await notifications.next()) == "2")
            // A notification in time is enough.
            try await loop.sleep(for: .seconds(25))
            peer.socket?.deliver(try peer.notification(ProtectedPeer.state("news", 6, maxAge: 30)))
            #expect(text(try await notifications.next()) == "news")
            try await loop.sleep(for: .seconds(25))
            #expect(peer.requests.map(\.options.observe) == [0, 0])
            #expect(peer.numbers == [0, 1] && peer.tokens[0] == peer.tokens[1])
        }
    }

    @Test func whoReadsNoMoreTellsTheServer() async throws {
        try await run { loop, peer, client async throws in
            peer.respond = { _ in ProtectedPeer.state("1", 5) }
            for try await notification in client.observe(Self.request) {
                #expect(text(notification) == "1")
                break
            }
            try await loop.sleep(for: .seconds(1))
            #expect(peer.requests.map(\.options.observe) == [0, 1] && peer.tokens[0] == peer.tokens[1])
        }
    }

    /// What somebody else says, and what was said before, is passed over.
    @Test func forgeriesAndReplaysAreNotTold() async throws {
        try await run { loop, peer, client async throws in
            peer.respond = { _ in ProtectedPeer.state("1", 5) }
            var notifications = client.observe(Self.request).makeAsyncIterator()
            _ = try await notifications.next()
            let (older, newer) = (
                try peer.notification(ProtectedPeer.state("2", 6)), try peer.notification(ProtectedPeer.state("3", 7))
            )
            peer.socket?.deliver(try peer.forgery())
            try await loop.sleep(for: .seconds(1))
            peer.socket?.deliver(newer)
            peer.socket?.deliver(older)
            try await loop.sleep(for: .seconds(1))
            peer.socket?.deliver(try peer.notification(ProtectedPeer.state("4", 250)))
            // The first is newer than all for who reads what is outside.
            #expect(text(try await notifications.next()) == "3")
            #expect(text(try await notifications.next()) == "4")
        }
    }

    @Test func largeNotificationsAreFetched() async throws {
        try await run { _, peer, client async throws in
            let body = (0..<3_000).map { UInt8(truncatingIfNeeded: $0 / 10) }
            peer.respond = { request in
                let block = request.options.block2 ?? CoAPBlock(number: 0, sizeExponent: 5)
                let end = min(block.offset + 512, body.count)
                var response = CoAPResponse(.content, payload: Array(body[block.offset..<end]))
                response.options.observe = request.options.observe == 0 ? 5 : nil
                response.options.block2 = CoAPBlock(at: block.offset, hasMore: end < body.count, sizeExponent: 5)
                return response
            }
            var notifications = client.observe(Self.request).makeAsyncIterator()
            guard case .response(let whole)? = try await notifications.next() else {
                Issue.record("a first notification is a response")
                return
            }
            #expect(whole.payload == body)
        }
    }

    /// The server ends it with an error, or by a response without the option.
    @Test(arguments: [CoAPResponse(.notFound), CoAPResponse(.content, payload: [1])])
    func theServerMayEndIt(last: CoAPResponse) async throws {
        try await run { _, peer, client async throws in
            peer.respond = { _ in ProtectedPeer.state("1", 5) }
            var notifications = client.observe(Self.request).makeAsyncIterator()
            _ = try await notifications.next()
            peer.socket?.deliver(try peer.notification(last))
            #expect(try await notifications.next() == .response(last))
            #expect(try await notifications.next() == nil)
        }
    }

    /// With a new socket the server may know another address.
    @Test func aNewSocketRegistersAnew() async throws {
        try await run { loop, peer, client async throws in
            peer.respond = { _ in ProtectedPeer.state("\(peer.requests.count)", 5) }
            var notifications = client.observe(Self.request).makeAsyncIterator()
            _ = try await notifications.next()
            let socket = peer.socket
            loop.execute {
                let handler = socket?.handler
                socket?.handler = nil
                handler?.closed(.reset(code: 104))
            }
            #expect(try await notifications.next() == .stale)
            #expect(text(try await notifications.next()) == "2")
            #expect(peer.numbers == [0, 1] && peer.socket !== socket)
        }
    }

    @Test func aServerThatIsNotObservedAnswersOnce() async throws {
        try await run { _, peer, client async throws in
            peer.respond = { _ in CoAPResponse(.content, payload: [7]) }
            var notifications = client.observe(Self.request).makeAsyncIterator()
            #expect(try await notifications.next() == .response(CoAPResponse(.content, payload: [7])))
            #expect(try await notifications.next() == nil)
        }
    }
}
