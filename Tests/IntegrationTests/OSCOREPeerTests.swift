import CLinux
import CoAPClient
import Glibc
import SecureTransport
import Testing

/// OSCORE with an implementation that is not ours: aiocoap.
@Suite(.timeLimit(.minutes(1))) struct OSCOREPeerTests {
    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    private static let python = "\(root)/.build/python/bin/python"
    private static let script = "\(root)/Fixtures/coap/aiocoap_oscore.py"
    private static let hint: Comment = "aiocoap is not installed; install it with scripts/install-aiocoap.sh"

    /// The context of RFC 8613, C.3.
    private static func context(
        isServer: Bool,
        _ replay: OSCOREReplayProtection = .takesNoRequests
    ) throws(OSCOREError) -> OSCOREContext {
        try OSCOREContext(
            masterSecret: SecretBytes(Array(1...16)),
            masterSalt: [0x9E, 0x7C, 0xA9, 0x22, 0x23, 0x78, 0x63, 0x40],
            senderID: isServer ? [1] : [],
            recipientID: isServer ? [] : [1],
            idContext: [0x37, 0xCB, 0xF3, 0x21, 0x00, 0x17, 0xA2, 0xD3],
            sequence: OSCOREVolatileSequence(),
            replayProtection: replay
        )
    }

    @Test func asksAServerOfAiocoap() async throws {
        try #require(access(Self.python, X_OK) == 0, Self.hint)
        let server = try #require(await PeerProcess.started([Self.python, Self.script, "server", "PORT"]))
        let looped = LoopedClient(port: server.port) { $0.understoodOptions = [.oscore] }
        var context = try Self.context(isServer: false)
        // The server has lost its window, and asks for a proof that the first request is new.
        let hello = CoAPRequest(.get, path: "hello")
        var (protected, exchange) = try context.protect(hello)
        let challenge = try context.unprotect(try await looped.client.send(protected), for: &exchange)
        let proven = try #require(hello.answering(challenge: challenge))
        for request in [proven, hello] {
            (protected, exchange) = try context.protect(request)
            let response = try context.unprotect(try await looped.client.send(protected), for: &exchange)
            #expect(response == CoAPResponse(.content, payload: Array("Hello World!".utf8)))
        }
        // Once more the same: a replay, of which it tells without protection.
        let replay = try await looped.client.send(protected)
        #expect(replay.code == .unauthorized && !replay.options.contains(.oscore))
        for count in [0, 1, 900] {
            let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
            (protected, exchange) = try context.protect(CoAPRequest(.post, path: "echo", payload: payload))
            let response = try context.unprotect(try await looped.client.send(protected), for: &exchange)
            #expect(response.code == .content && response.payload == payload)
            #expect(response.options.contentFormat == .octetStream)
        }
        (protected, exchange) = try context.protect(CoAPRequest(.get, path: "nowhere"))
        let missing = try context.unprotect(try await looped.client.send(protected), for: &exchange)
        #expect(missing.code == .notFound)
        // Blocks of 512 bytes, Block2 inside.
        var body: [UInt8] = []
        for number: UInt8 in 0..<4 {
            var request = CoAPRequest(.get, path: "large")
            request.options.add(CoAPOptionNumber(rawValue: 23), [number << 4 | 5])
            (protected, exchange) = try context.protect(request)
            let outer = try await looped.client.send(protected)
            #expect(!outer.options.contains(CoAPOptionNumber(rawValue: 23)))
            body += try context.unprotect(outer, for: &exchange).payload
        }
        #expect(body == (0..<2_048).map { UInt8(truncatingIfNeeded: $0) })
        await looped.close()
    }

    @Test func observesAServerOfAiocoap() async throws {
        try #require(access(Self.python, X_OK) == 0, Self.hint)
        let server = try #require(await PeerProcess.started([Self.python, Self.script, "server", "PORT"]))
        let socket = RawDatagrams(to: server.port)
        var context = try Self.context(isServer: false)
        var request = CoAPRequest(.get, path: "count")
        request.options.observe = 0
        var (exchange, messageID) = (OSCOREClientExchange?.none, UInt16(1))
        func ask(_ request: CoAPRequest) throws {
            let protected = try context.protect(request)
            exchange = protected.exchange
            messageID += 1
            let message = CoAPMessage(
                type: .confirmable,
                code: protected.request.method,
                messageID: messageID,
                token: .empty,
                options: protected.request.options,
                payload: protected.request.payload
            )
            socket.send(message.encoded)
        }
        try ask(request)
        var counts: [String] = []
        var last: UInt32?
        while counts.last != "3" {
            let datagram = await socket.receivePatiently()
            try #require(!datagram.isEmpty)
            let message = try CoAPMessage(decoding: datagram.span)
            if message.code == .empty { continue }
            if message.type == .confirmable {
                socket.send(
                    CoAPMessage(type: .acknowledgement, code: .empty, messageID: message.messageID).encoded
                )
            }
            let response = CoAPResponse(message.code, options: message.options, payload: message.payload)
            var current = try #require(exchange)
            let inner = try context.unprotect(response, for: &current)
            exchange = current
            if let repeated = request.answering(challenge: inner) {
                try ask(repeated)
                continue
            }
            let number = try #require(inner.options.observe)
            if let last { #expect(number > last) }
            last = number
            counts.append(String(decoding: inner.payload, as: UTF8.self))
        }
        #expect(counts == ["0", "1", "2", "3"])
    }

    @Test func answersAClientOfAiocoap() async throws {
        try #require(access(Self.python, X_OK) == 0, Self.hint)
        let server = try #require(OSCOREServer())
        let client = try #require(PeerProcess([Self.python, Self.script, "client", "\(server.port)"]))
        let result = await offPool {
            do throws(OSCOREError) {
                var context = try Self.context(isServer: true, .lost(challenge: [1, 2, 3, 4]))
                return server.serve(&context)
            } catch { return "\(error)" }
        }
        #expect(result == "2.05 Hello 1, 2.05 Hello 2, 4.04 , 2.05 0, 2.05 1, 2.05 2, 2.05 3")
        withExtendedLifetime(client) {}
    }
}

/// The smallest server that there is, with OSCORE only.
private final class OSCOREServer: Sendable {
    let port: UInt16
    private let descriptor: Int32

    init?() {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                let result = bind(descriptor, $0, size)
                getsockname(descriptor, $0, &size)
                return result
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        if result != 0 { return nil }
    }

    deinit { close(descriptor) }

    /// Answers requests until one is for /result, and returns its payload.
    func serve(_ context: inout OSCOREContext) -> String {
        var (hellos, messageID) = (0, UInt16(0))
        while let (datagram, peer) = receive() {
            guard let message = try? CoAPMessage(decoding: datagram.span), message.code.isRequest else { continue }
            var result: String?
            func send(_ response: CoAPResponse, asNotification: Bool = false) {
                if asNotification { messageID += 1 }
                let answer = CoAPMessage(
                    type: asNotification ? .nonConfirmable : .acknowledgement,
                    code: response.code,
                    messageID: asNotification ? messageID : message.messageID,
                    token: message.token,
                    options: response.options,
                    payload: response.payload
                )
                self.send(answer.encoded, to: peer)
            }
            do throws(OSCOREError) {
                let request = CoAPRequest(message.code, options: message.options, payload: message.payload)
                switch try context.unprotect(request) {
                case .unproven(let exchange): send(try context.protectChallenge(for: exchange))
                case .accepted(let request, let exchange):
                    switch request.options.first(.uriPath).map({ String(decoding: $0, as: UTF8.self) }) {
                    case "hello" where request.options.queryArguments == [Array("a=1".utf8)]:
                        hellos += 1
                        let response = CoAPResponse(.content, payload: Array("Hello \(hellos)".utf8))
                        send(try context.protect(response, for: exchange))
                    case "count" where request.options.observe == 0:
                        for count: UInt32 in 0...3 {
                            var notification = CoAPResponse(.content, payload: Array("\(count)".utf8))
                            notification.options.observe = count
                            send(try context.protect(notification, for: exchange), asNotification: count > 0)
                        }
                    case "result":
                        result = String(decoding: request.payload, as: UTF8.self)
                        send(try context.protect(CoAPResponse(.changed), for: exchange))
                    default: send(try context.protect(CoAPResponse(.notFound), for: exchange))
                    }
                }
            } catch {
                if let response = error.response { send(response) }
            }
            if let result { return result }
        }
        return "nobody asks"
    }

    private func receive() -> ([UInt8], sockaddr_in)? {
        var buffer = [UInt8](repeating: 0, count: 2_048)
        var peer = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let count = withUnsafeMutablePointer(to: &peer) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(descriptor, &buffer, buffer.count, 0, $0, &size)
            }
        }
        return count < 0 ? nil : (Array(buffer.prefix(count)), peer)
    }

    private func send(_ bytes: [UInt8], to peer: sockaddr_in) {
        var peer = peer
        let descriptor = descriptor
        withUnsafePointer(to: &peer) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
