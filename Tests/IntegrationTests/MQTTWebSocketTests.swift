import Kernel
import MQTTClient
import SAL
import SecureTransport
import Testing

/// MQTT over WebSocket, at a real broker and by way of a real proxy.
@Suite(.timeLimit(.minutes(1))) struct MQTTWebSocketTests {
    private func client(_ broker: TestBroker, _ url: String) throws -> MQTTClient {
        var configuration = MQTTConfiguration(clientID: Array("web".utf8))
        configuration.connectTimeout = .seconds(1)
        return try MQTTClient(
            url: try #require(MQTTURL(url)),
            loop: broker.loopForClients,
            configuration: configuration,
            reconnects: false
        )
    }

    /// Mosquitto 2.0.11 reads 4 KiB of a WebSocket in a tenth of a second, so there are few of the large ones.
    @Test(arguments: [0, 1, 125, 126, 65_535, 65_536, 100_000])
    func messagesOfAllSizesGoBothWays(size: Int) async throws {
        try await TestBroker.with(webSockets: true) { broker in
            let client = try client(broker, "ws://127.0.0.1:\(broker.webSocketPort)/mqtt")
            try await client.connect()
            let messages = try await client.subscribe(to: "web/#")
            let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let total = size > 1_000 ? 1 : 3
            for number in 0..<total { try await client.publish(payload, to: "web/\(number)", qos: .exactlyOnce) }
            var count = 0
            for await message in messages {
                #expect(Array(message.payload) == payload)
                count += 1
                if count == total { break }
            }
            await client.disconnect()
        }
    }

    /// What a server may answer to the request for a WebSocket (RFC 6455, 4.1).
    @Test(
        arguments: [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", .refused(status: 404)),
            ("HTTP/1.1 200 OK\r\n\r\n", .refused(status: 200)), ("SSH-2.0-server\r\n", .noWebSocket),
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
                .noWebSocket
            ),
            ("HTTP/1.1 101 Switching Protocols\r\nX: \(String(repeating: "x", count: 9_000))\r\n\r\n", .noWebSocket),
        ] as [(String, WebSocketError)]
    )
    func aServerThatIsNoWebSocketIsTold(answer: String, expected: WebSocketError) async throws {
        let listener = try RawListener()
        let serving = Task { await listener.serve(Array(answer.utf8)) }
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let client = try MQTTClient(
            url: try #require(MQTTURL("ws://127.0.0.1:\(listener.port)/mqtt")),
            loop: loop,
            configuration: MQTTConfiguration(clientID: Array("web".utf8)),
            reconnects: false
        )
        await #expect(throws: MQTTError.webSocket(expected)) { try await client.connect() }
        await serving.value
    }

    /// Frames and packets need not begin and end together, and pings may come between the fragments of a message (RFC 6455, 5.4); a frame of text is the
    /// end (MQTT 5.0, 6.0).
    @Test(arguments: [1, 2, 3, 7, 1_000]) func framesAreNotPackets(size: Int) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let listener = try await Listener.open(
            at: SocketAddress(address: .loopbackIPv4, port: 0),
            over: LinuxNetwork(loop: loop)
        )
        let port = try #require(listener.localAddress?.port)
        let client = try MQTTClient(
            url: try #require(MQTTURL("ws://127.0.0.1:\(port)/mqtt")),
            loop: loop,
            configuration: MQTTConfiguration(clientID: Array("web".utf8)),
            reconnects: false
        )
        let messages = await client.messages(matching: "#")
        let serving = Task { () -> String in
            let server = try #require(try await listener.accept())
            var head = ""
            while !head.hasSuffix("\r\n\r\n") {
                head += String(decoding: try await server.read(exactly: 1, .seconds(10)), as: UTF8.self)
            }
            let key = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("sec-websocket-key: ") }?
                .dropFirst(19)
            let digest = Digest.sha1(Array("\(key ?? "")258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8).span)
            let accept = String(decoding: Base64.encode(digest.span), as: UTF8.self)
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: \(accept)\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
            var frames = Array(answer.utf8)
            // CONNACK and three messages, in fragments of one message, with a ping after each.
            let packets: [UInt8] = [0x20, 2, 0, 0] + (0..<3).flatMap { [0x30, 4, 0, 1, 0x61, 0x30 + $0] }
            for start in stride(from: 0, to: packets.count, by: size) {
                let end = min(start + size, packets.count)
                let opcode: UInt8 = start == 0 ? 2 : 0
                frames += [(end == packets.count ? 0x80 : 0) | opcode, UInt8(end - start)] + packets[start..<end]
                frames += [0x89, 1, 0x70]
            }
            try await server.write(frames)
            _ = try await server.read(.seconds(10))
            try await server.write([0x81, 2, 0x68, 0x69])
            while let bytes = try? await server.read(.seconds(10)), !bytes.isEmpty {}
            await server.close()
            return head
        }
        try await client.connect()
        var payloads = ""
        for await message in messages {
            payloads += String(decoding: message.payload, as: UTF8.self)
            if payloads.count == 3 { break }
        }
        #expect(payloads == "012")
        for await state in client.states {
            guard case .disconnected(let error) = state else { continue }
            #expect(error == .webSocket(.textFrame))
            break
        }
        let head = try await serving.value
        #expect(head.contains("Sec-WebSocket-Protocol: mqtt\r\n") && head.contains("Sec-WebSocket-Version: 13\r\n"))
        await listener.close()
    }

    @Test(arguments: ["mqtt", "ws"])
    func aProxyIsGoneThrough(scheme: String) async throws {
        try await TestBroker.with(webSockets: true) { broker in
            let loop = broker.loopForClients
            let proxy = try await TunnelProxy.start(on: loop, authorization: "Basic dXNlcjp3b3Jk")
            let port = scheme == "ws" ? broker.webSocketPort : broker.port
            let url = try #require(MQTTURL("\(scheme)://127.0.0.1:\(port)"))
            let tunnel = HTTPProxyNetwork(
                over: LinuxNetwork(loop: loop),
                proxy: Endpoint(host: "127.0.0.1", port: proxy.port),
                userName: "user",
                password: "word"
            )
            let client = MQTTClient(
                to: url.endpoint,
                over: try url.network(over: tunnel),
                configuration: MQTTConfiguration(clientID: Array("tunnel".utf8)),
                reconnects: false
            )
            try await client.connect()
            let messages = try await client.subscribe(to: "through")
            try await client.publish("hello", to: "through")
            var iterator = messages.makeAsyncIterator()
            #expect(await iterator.next().map { Array($0.payload) } == Array("hello".utf8))
            #expect(proxy.requests == ["CONNECT 127.0.0.1:\(port) HTTP/1.1"])
            await client.disconnect()
            // Without the login it is refused.
            let stranger = MQTTClient(
                to: url.endpoint,
                over: HTTPProxyNetwork(
                    over: LinuxNetwork(loop: loop),
                    proxy: Endpoint(host: "127.0.0.1", port: proxy.port)
                ),
                configuration: MQTTConfiguration(clientID: Array("stranger".utf8)),
                reconnects: false
            )
            await #expect(throws: MQTTError.transport(.refused(code: 407))) { try await stranger.connect() }
            await proxy.stop()
        }
    }
}

/// An HTTP proxy that knows CONNECT only.
private final class TunnelProxy: Sendable {
    let port: UInt16
    private let listener: Listener
    private let serving: Task<Void, Never>
    private let seen = Guarded<[String]>([])

    /// The request lines of those it has let through.
    var requests: [String] { seen.withLock { $0 } }

    static func start(on loop: EventLoop, authorization: String) async throws -> TunnelProxy {
        let network = LinuxNetwork(loop: loop)
        let listener = try await Listener.open(at: SocketAddress(address: .loopbackIPv4, port: 0), over: network)
        return TunnelProxy(listener, try #require(listener.localAddress?.port), network, authorization)
    }

    private init(_ listener: Listener, _ port: UInt16, _ network: LinuxNetwork, _ authorization: String) {
        self.listener = listener
        self.port = port
        let seen = seen
        serving = Task {
            await withDiscardingTaskGroup { group in
                do {
                    for try await connection in listener.connections {
                        group.addTask { try? await Self.serve(connection, network, authorization, seen) }
                    }
                } catch { Issue.record(error) }
            }
        }
    }

    private static func serve(
        _ client: Connection,
        _ network: LinuxNetwork,
        _ authorization: String,
        _ seen: Guarded<[String]>
    ) async throws {
        var head = ""
        while !head.hasSuffix("\r\n\r\n") {
            head += String(decoding: try await client.read(exactly: 1, .seconds(10)), as: UTF8.self)
        }
        let lines = head.split(separator: "\r\n")
        guard lines.contains("Proxy-Authorization: \(authorization)") else {
            try await client.write(Array("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".utf8))
            return await client.close()
        }
        seen.withLock { $0.append(String(lines[0])) }
        let target = lines[0].split(separator: " ")[1].split(separator: ":")
        let server = try await Connection.open(
            to: Endpoint(host: String(target[0]), port: UInt16(target[1]) ?? 0),
            over: network
        )
        try await client.write(Array("HTTP/1.1 200 Connection established\r\n\r\n".utf8))
        await withTaskGroup(of: Void.self) { group in
            for (from, to) in [(client, server), (server, client)] {
                group.addTask {
                    while let bytes = try? await from.read(.seconds(30)), !bytes.isEmpty {
                        guard (try? await to.write(bytes)) != nil else { break }
                    }
                    await to.close()
                }
            }
        }
    }

    func stop() async {
        await listener.close()
        serving.cancel()
    }
}
