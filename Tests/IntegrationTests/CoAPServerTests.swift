import CLinux
import CoAPClient
import Glibc
import Kernel
import SAL
import SecureTransport
import Testing

/// Our server and our client over the sockets of the system.
@Suite(.timeLimit(.minutes(1))) struct CoAPServerTests {
    private static let body = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }

    private func with(
        change: (inout CoAPServerConfiguration) -> Void = { _ in },
        _ body: (TestServer, CoAPClient) async throws -> Void
    ) async throws {
        try await TestServer.with(change: change) { server in
            let looped = LoopedClient(port: server.port)
            try await body(server, looped.client)
            #expect(await looped.client.counters == CoAPCounters())
            await looped.close()
        }
    }

    @Test func requestsAreAnswered() async throws {
        try await with { server, client in
            #expect(try await client.get("body").payload == Array("hello".utf8))
            for count in [0, 1, 1_024, 1_025, 50_000] {
                let body = Array(Self.body.prefix(count))
                #expect(try await client.put("body", payload: body).code == .changed)
                let read = try await client.get("body")
                #expect(read.code == .content && read.payload == body)
                let reversed = try await client.post("body", payload: body)
                #expect(reversed.code == .changed && reversed.payload == body.reversed())
            }
            #expect(try await client.get("slow").payload == Array("slow".utf8))
            #expect(try await client.get("nowhere").code == .notFound)
            let core = try await client.get(".well-known/core", query: ["rt=body"])
            let links = try CoAPLinkFormat.parse(core.payload.span)
            #expect(links.map(\.targetText) == ["/body"] && links[0].isObservable)
            #expect(await server.server.counters == CoAPServerCounters())
        }
    }

    @Test func changesAreObserved() async throws {
        try await with { server, client in
            var states = client.observe("body").makeAsyncIterator()
            _ = try await states.next()
            for count in [1, 5_000, 2, 3, 50_000, 4, 5, 6] {
                let body = [UInt8](repeating: UInt8(truncatingIfNeeded: count), count: count)
                _ = try await client.put("body", payload: body)
                while case .response(let now)? = try await states.next() { if now.payload == body { break } }
            }
            #expect(await server.server.observerCount("body") == 1)
            #expect(try await client.delete("body").code == .deleted)
            var last: CoAPResponse?
            while case .response(let now)? = try await states.next() { last = now }
            #expect(last?.code == .notFound)
            #expect(await server.server.observerCount("body") == 0)
        }
    }

    @Test func manyAskAtOnce() async throws {
        try await with { server, _ in
            let port = server.port
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        let looped = LoopedClient(port: port) { $0.outstandingLimit = 4 }
                        for count in 0..<50 {
                            let body = Array("\(number) \(count)".utf8)
                            let payload = try await looped.client.post("body", payload: body).payload
                            #expect(payload == body.reversed())
                        }
                        await looped.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(server.seen.withLock { $0 } == [.post: 400])
        }
    }

    private struct Broken: Error {}

    /// Callbacks that answer at once, later, and that change the server they are called by.
    @Test func callbacksAnswer() async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let box = await loop.call { LoopConfined(CoAPResponder(on: loop, seed: .systemRandom())) }
        let hasEnded = Guarded(false)
        let port = await loop.call {
            let responder = box.value
            responder.ended = { error in hasEnded.withLock { $0 = error == nil } }
            responder.add(CoAPResource(["now"], .get)) { _ in .content([1]) }
            responder.add(CoAPResource(["later"], .get)) { request in
                loop.execute { box.value.respond(to: request.id, with: .content([2])) }
                return nil
            }
            responder.add(CoAPResource(["remove"], .post)) { _ in
                box.value.remove([Array("now".utf8)])
                return CoAPResponse(.changed)
            }
            responder.add(CoAPResource(["close"], .post)) { _ in
                box.value.close()
                return CoAPResponse(.changed)
            }
            let address = SocketAddress(address: .loopbackIPv4, port: 0)
            do { try responder.open(at: address, over: LinuxNetwork(loop: loop)) } catch { return UInt16(0) }
            return responder.localAddress?.port ?? 0
        }
        let looped = LoopedClient(port: port)
        let now = try await looped.client.get("now")
        let later = try await looped.client.get("later")
        #expect(now.payload == [1] && later.payload == [2])
        #expect(try await looped.client.post("remove", payload: []).code == .changed)
        #expect(try await looped.client.get("now").code == .notFound)
        await #expect(throws: CoAPError.self) {
            try await looped.client.post("close", payload: [], timeout: .milliseconds(200))
        }
        #expect(await eventually { hasEnded.withLock { $0 } })
        await looped.close()
    }

    /// A handler that throws, one that is cancelled, and one that nobody waits for.
    @Test func handlersMayFail() async throws {
        try await with(change: { $0.handlerTimeout = .milliseconds(300) }) { server, client in
            await server.server.resource("broken") { _ in throw Broken() }
            let broken = try await client.get("broken")
            #expect(broken.code == .internalServerError)
            let isCancelled = Guarded(false)
            await server.server.resource("stuck") { _ in
                do { try await Task.sleep(for: .seconds(60)) } catch { isCancelled.withLock { $0 = true } }
                return .content([])
            }
            let stuck = try await client.get("stuck")
            #expect(stuck.code == .serviceUnavailable)
            #expect(await eventually { isCancelled.withLock { $0 } })
        }
    }

    @Test func aServerThatIsClosedIsSilent() async throws {
        let server = try await TestServer()
        let looped = LoopedClient(port: server.port) {
            $0.acknowledgementTimeout = .milliseconds(100)
            $0.maximumRetransmissions = 1
        }
        #expect(try await looped.client.get("body").code == .content)
        async let end: Void = server.server.untilClosed()
        await server.server.close()
        try await end
        await #expect(throws: CoAPError.self) { try await looped.client.get("body") }
        await looped.close()
        await server.close()
    }

    @Test func aTakenPortIsAnError() async throws {
        try await with { server, _ in
            let loop = EventLoop.start()
            let network = LinuxNetwork(loop: loop)
            await #expect(throws: SocketError.addressInUse(code: EADDRINUSE)) {
                try await CoAPServer.start(at: SocketAddress(address: .loopbackIPv4, port: server.port), over: network)
            }
            loop.stop()
        }
    }

    /// Requests to a group are answered by its members (RFC 7252, 8).
    @Test func aGroupIsAsked() async throws {
        try await TestServer.with(change: { $0.leisure = .milliseconds(200) }) { server in
            let group = try #require(IPAddress("224.0.1.187"))
            let groupPort = freePort()
            let loopback = if_nametoindex("lo")
            try await server.server.join(group, port: groupPort, interface: loopback)
            let loop = EventLoop.start()
            defer { loop.stop() }
            var options = SocketOptions()
            options.multicastInterface = "lo"
            let network = LinuxNetwork(loop: loop, options: options)
            let address = SocketAddress(address: group, port: groupPort)
            let second = try await TestServer { $0.leisure = .milliseconds(200) }
            try await second.server.join(group, port: groupPort, interface: loopback)
            var answers: [CoAPGroupResponse] = []
            let request = CoAPRequest(.get, path: "body")
            for try await answer in CoAPGroup.send(request, to: address, over: network, limit: 2) {
                answers.append(answer)
            }
            #expect(Set(answers.map(\.peer.port)) == [server.port, second.port])
            #expect(answers.allSatisfy { $0.response.code == .content && $0.response.payload == Array("hello".utf8) })
            // Who has nothing to say is silent (RFC 7252, 8.2).
            let start = ContinuousClock.now
            let nothing = CoAPRequest(.get, path: "nowhere")
            let silence = CoAPGroup.send(nothing, to: address, over: network, for: .milliseconds(600))
            for try await answer in silence { Issue.record("\(answer)") }
            #expect(ContinuousClock.now - start >= .milliseconds(600))
            let tooLarge = CoAPRequest(.get, path: "body", payload: [UInt8](repeating: 0, count: 65_600))
            await #expect(throws: CoAPError.transport(.messageTooLong)) {
                for try await _ in CoAPGroup.send(tooLarge, to: address, over: network) {}
            }
            await second.close()
        }
    }

    // MARK: DTLS

    /// Whether a condition holds within ten seconds.
    private func isTrue(_ condition: () async -> Bool) async -> Bool {
        for _ in 0..<200 {
            if await condition() { return true }
            await offPool { _ = usleep(50_000) }
        }
        return false
    }

    @Test func requestsAreAnsweredOverDTLS() async throws {
        let key = Array<UInt8>(1...16)
        let secure = TLSServerConfiguration { identity in identity == Array("device".utf8) ? SecretBytes(key) : nil }
        try await TestServer.with(secure: secure) { server in
            let loop = EventLoop.start()
            defer { loop.stop() }
            func client(_ identity: String) throws -> CoAPClient {
                var configuration = TLSConfiguration()
                configuration.identity = .preSharedKey(identity: Array(identity.utf8), key: SecretBytes(key))
                let network = try SecureDatagramNetwork(over: LinuxNetwork(loop: loop), configuration)
                return CoAPClient(to: Endpoint(host: "127.0.0.1", port: server.port), over: network)
            }
            let known = try client("device")
            #expect(try await known.put("body", payload: Self.body).code == .changed)
            #expect(try await known.get("body").payload == Self.body)
            var states = known.observe("body").makeAsyncIterator()
            _ = try await states.next()
            _ = try await known.put("body", payload: [1])
            while case .response(let now)? = try await states.next() { if now.payload == [1] { break } }
            // The handler can tell who asks.
            await server.server.resource("who") { [weak server = server.server] request in
                .content(await server?.agreement(with: request.peer)?.peerIdentity ?? [])
            }
            #expect(try await known.get("who").payload == Array("device".utf8))
            // With the session all that the peer has done is forgotten.
            #expect(await server.server.observerCount("body") == 1)
            await known.close()
            let isForgotten = await isTrue { await server.server.observerCount("body") == 0 }
            #expect(isForgotten)
            let stranger = try client("stranger")
            await #expect(throws: CoAPError.self) { try await stranger.get("body", timeout: .seconds(5)) }
            await stranger.close()
            // Nor is anybody answered in the clear.
            let clear = LoopedClient(port: server.port)
            await #expect(throws: CoAPError.notAcknowledged(transmissions: 1)) {
                try await clear.client.get("body", timeout: .seconds(1))
            }
            await clear.close()
        }
    }
}
