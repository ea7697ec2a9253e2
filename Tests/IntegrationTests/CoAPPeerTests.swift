import CLinux
import CoAPClient
import Glibc
import HubSimulator
import SAL
import Testing

/// Our client against servers of others, each in a process of its own.
@Suite(.timeLimit(.minutes(1))) struct CoAPPeerTests {
    // MARK: libcoap's example server

    private func withLibcoap(
        _ options: [String] = [],
        overStreams isStream: Bool = false,
        isOrderly: Bool = true,
        change: (inout CoAPConfiguration) -> Void = { _ in },
        _ body: (CoAPClient) async throws -> Void
    ) async throws {
        let server = try #require(
            await PeerProcess.started(["coap-server-notls", "-A", "127.0.0.1", "-p", "PORT"] + options)
        )
        let looped = LoopedClient(port: server.port, overStreams: isStream, change: change)
        try await body(looped.client)
        if isOrderly { #expect(await looped.client.counters == CoAPCounters()) }
        await looped.close()
    }

    /// Observations that nobody reads any more, however soon, leave nothing behind.
    @Test func whatNobodyObservesIsGone() async throws {
        try await withLibcoap(["-d", "10"], isOrderly: false, change: { $0.requestLimit = 300 }) { client in
            for _ in 0..<200 { _ = client.observe("time") }
            let time = try await client.get("time")
            #expect(time.code == .content)
            #expect(await client.requestCount == 0)
        }
    }

    @Test func readsWhatLibcoapOffers() async throws {
        try await withLibcoap { client in
            let core = try await client.get(".well-known/core")
            #expect(core.code == .content && core.options.contentFormat == .linkFormat)
            #expect(String(decoding: core.payload, as: UTF8.self).contains("</time>;if=\"clock\""))
            let root = try await client.get("")
            #expect(root.options.maxAge == 196_607 && !root.payload.isEmpty)
            let time = try await client.get("time", query: ["ticks"], accept: .textPlain)
            #expect(
                time.code == .content && time.options.maxAge == 1
                    && Int(String(decoding: time.payload, as: UTF8.self)) != nil
            )
            #expect(try await client.get("nowhere") == CoAPResponse(.notFound, payload: Array("Not Found".utf8)))
        }
    }

    @Test func choosesTheLinksThatLibcoapChooses() async throws {
        try await withLibcoap { client in
            let core = try await client.get(".well-known/core")
            let all = try CoAPLinkFormat.parse(core.payload.span)
            #expect(all.count > 3 && CoAPLinkFormat.compose(all) == core.payload)
            var isChosen = false
            // Not among them: values with blanks, which libcoap 4.3 does not find in full.
            for text in [
                "rt=ticks", "rt=tick", "rt=tick*", "rt=*", "if=clock", "href=/time", "href=/*", "href=/ti*", "href=/t",
                "ct=0", "rt=x",
                "title=Internal*", "title=Clock", "title=Int*", "foo=*",
            ] {
                let filter = try #require(CoAPLinkFilter(text))
                let chosen = try await client.get(".well-known/core", query: [text])
                let ours = try CoAPLinkFormat.parse(core.payload.span, matching: [filter])
                #expect(try CoAPLinkFormat.parse(chosen.payload.span) == ours, "\(text)")
                isChosen = isChosen || !ours.isEmpty
            }
            #expect(isChosen)
        }
    }

    @Test func writesAndDeletesAtLibcoap() async throws {
        try await withLibcoap(["-d", "10"]) { client in
            let payload = Array("hello".utf8)
            // Its own data came from elsewhere: to libcoap's server the first PUT creates.
            let first = try await client.put("example_data", payload: payload, format: .textPlain)
            let second = try await client.put("example_data", payload: payload, format: .textPlain)
            let data = try await client.get("example_data")
            #expect(first.code == .created && second.code == .changed && data.payload == payload)
            let created = try await client.put("mine/too", payload: payload)
            let mine = try await client.get("mine/too")
            let deleted = try await client.delete("mine/too")
            let gone = try await client.get("mine/too")
            #expect(created.code == .created && mine.payload == payload)
            #expect(deleted.code == .deleted && gone.code == .notFound)
            let refused = try await client.post("time", payload: payload)
            #expect(refused.code == .methodNotAllowed)
        }
    }

    @Test func waitsForASeparateResponseOfLibcoap() async throws {
        try await withLibcoap { client in
            async let slow = client.get("async", query: ["1"])
            // Once it is acknowledged it keeps nobody waiting.
            let code = try await client.get("time").code
            #expect(code == .content)
            let payload = try await slow.payload
            #expect(payload == Array("done".utf8))
        }
    }

    @Test func asksLibcoapWithoutConfirmation() async throws {
        try await withLibcoap { client in
            let response = try await client.send(CoAPRequest(.get, path: "time", isConfirmable: false))
            #expect(response.code == .content)
        }
    }

    /// RFC 7959, with blocks of the sizes that either side may want.
    @Test(arguments: [16, 256, 1_024]) func bodiesGoToLibcoapAndBack(blockBytes: Int) async throws {
        try await withLibcoap(["-d", "10"], change: { $0.blockBytes = blockBytes }) { client in
            #expect(try await client.get("example_data").payload.count == 1_500)
            for count in [1_024, 1_025, 20_000] {
                let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }
                let written = try await client.put("mine", payload: payload)
                #expect(written.code == .created || written.code == .changed)
                let read = try await client.get("mine")
                #expect(read.code == .content && read.payload == payload)
                #expect(read.options.block2 == nil)
            }
        }
    }

    /// RFC 8323: whole, or in several blocks at once, as what is taken by either side wants it.
    @Test(arguments: [1_152, 5_000, 66_688]) func bodiesGoOverTCP(messageBytes: Int) async throws {
        try await withLibcoap(["-d", "10"], overStreams: true, change: { $0.maximumStreamMessageBytes = messageBytes })
        {
            client in
            try await client.ping()
            #expect(try await client.get("example_data").payload.count == 1_500)
            for count in [1_024, 5_000, 300_000] {
                let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }
                let written = try await client.put("mine", payload: payload)
                #expect(written.code == .created || written.code == .changed)
                let read = try await client.get("mine")
                #expect(read.code == .content && read.payload == payload)
            }
            // What libcoap does later comes later, and what was asked behind it before.
            async let slow = client.get("async", query: ["1"])
            #expect(try await client.get("time").code == .content)
            #expect(try await slow.payload == Array("done".utf8))
        }
    }

    /// The same over TLS and DTLS, of libcoap on OpenSSL, with a pre-shared key.
    @Test(arguments: [false, true]) func bodiesGoEncrypted(overStreams isStream: Bool) async throws {
        let server = try #require(
            await PeerProcess.started(
                ["coap-server-openssl", "-A", "127.0.0.1", "-p", "PORT", "-d", "10", "-h", "hint", "-k", "a secret"]
            )
        )
        let looped = try LoopedClient(port: server.port + 1, overStreams: isStream, identity: "device", key: "a secret")
        let payload = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }
        let written = try await looped.client.put("mine", payload: payload)
        #expect(written.code == .created)
        let read = try await looped.client.get("mine")
        #expect(read.payload == payload)
        await looped.close()
    }

    /// RFC 7641: libcoap's clock changes each second, and what was written is notified at once.
    @Test(arguments: [false, true]) func observesLibcoap(overStreams isStream: Bool) async throws {
        try await withLibcoap(["-d", "10"], overStreams: isStream) { client in
            var clock = client.observe("time", query: ["ticks"]).makeAsyncIterator()
            var ticks: [Int] = []
            while ticks.count < 3, case .response(let now)? = try await clock.next() {
                #expect(now.options.observe != nil)
                ticks.append(try #require(Int(String(decoding: now.payload, as: UTF8.self))))
            }
            #expect(ticks == ticks.sorted() && Set(ticks).count == 3)
            // A body of several blocks.
            let created = try await client.put("mine", payload: [1])
            #expect(created.code == .created)
            var mine = client.observe("mine").makeAsyncIterator()
            for count in [1, 3_000, 2] {
                let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: count), count: count)
                let changed = try await client.put("mine", payload: payload)
                #expect(changed.code == .changed)
                while case .response(let now)? = try await mine.next() {
                    if now.payload == payload { break }
                }
            }
            // It is told the end.
            let deleted = try await client.delete("mine")
            #expect(deleted.code == .deleted)
            var last: CoAPResponse?
            while case .response(let now)? = try await mine.next() { last = now }
            #expect(last?.code == .notFound)
        }
    }

    @Test func asksWhatAURLNames() async throws {
        let server = try #require(await PeerProcess.started(["coap-server-notls", "-A", "127.0.0.1", "-p", "PORT"]))
        let url = try CoAPURL(parsing: "coap://LOCALHOST:\(server.port)/%74ime?ticks".utf8.span)
        #expect(url.endpoint == Endpoint(host: "localhost", port: server.port))
        let looped = LoopedClient(port: server.port)
        #expect(try await looped.client.send(CoAPRequest(.get, options: url.options)).code == .content)
        await looped.close()
    }

    @Test func aServerThatIsKilledIsAnError() async throws {
        var server = await PeerProcess.started(["coap-server-notls", "-A", "127.0.0.1", "-p", "PORT"])
        let port = try #require(server?.port)
        let looped = LoopedClient(port: port) {
            $0.acknowledgementTimeout = .milliseconds(300)
            $0.maximumRetransmissions = 1
        }
        #expect(try await looped.client.get("time").code == .content)
        server = nil
        await #expect(throws: CoAPError.transport(.refused(code: ECONNREFUSED))) {
            try await looped.client.get("time")
        }
        await looped.close()
    }

    // MARK: aiocoap

    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    @Test(arguments: [false, true]) func talksWithAiocoap(overStreams isStream: Bool) async throws {
        let python = "\(Self.root)/.build/python/bin/python"
        try #require(access(python, X_OK) == 0, "aiocoap is not installed; install it with scripts/install-aiocoap.sh")
        let script = "\(Self.root)/Fixtures/coap/aiocoap_server.py"
        let server = try #require(await PeerProcess.started([python, script, "PORT"]))
        let looped = LoopedClient(port: server.port, overStreams: isStream)
        let client = looped.client
        #expect(try await client.get(".well-known/core").options.contentFormat == .linkFormat)
        for count in [0, 1, 1_000, 1_025, 50_000] {
            let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
            let echoed = try await client.post("echo", payload: payload)
            #expect(echoed.code == .content && echoed.payload == payload)
        }
        #expect(try await client.put("echo", payload: [1]).code == .changed)
        var value = client.observe("value").makeAsyncIterator()
        for count in [0, 1, 5_000, 3] {
            let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: count), count: count)
            if count > 0 { _ = try await client.put("value", payload: payload) }
            while case .response(let now)? = try await value.next() {
                if now.payload == payload { break }
            }
        }
        #expect(try await client.get("slow").payload == Array("slow".utf8))
        #expect(try await client.get("gone").code == .notFound)
        #expect(try await client.get("echo").code == .methodNotAllowed)
        await #expect(throws: CoAPError.unacceptableOption(CoAPOptionNumber(rawValue: 65_001))) {
            try await client.get("critical")
        }
        #expect(await client.counters == CoAPCounters())
        await looped.close()
    }
}
