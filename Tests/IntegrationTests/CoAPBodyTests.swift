import CoAPClient
import Glibc
import Kernel
import SAL
import SecureTransport
import Testing

/// Bodies that are sent and fetched part by part, discovery, and a client whose requests are protected.
@Suite(.timeLimit(.minutes(1))) struct CoAPBodyTests {
    private static let body = (0..<20_001).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }
    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    /// Runs `body` with a client of libcoap's example server.
    private func withLibcoap(
        overStreams isStream: Bool = false,
        change: (inout CoAPConfiguration) -> Void = { _ in },
        _ body: (CoAPClient) async throws -> Void
    ) async throws {
        let server = try #require(
            await PeerProcess.started(["coap-server-notls", "-A", "127.0.0.1", "-p", "PORT", "-d", "10"])
        )
        let looped = LoopedClient(port: server.port, overStreams: isStream, change: change)
        try await body(looped.client)
        await looped.close()
    }

    @Test(arguments: [(256, false), (1_024, false), (1_024, true)])
    func bodiesGoInParts(blockBytes: Int, overStreams isStream: Bool) async throws {
        try await withLibcoap(overStreams: isStream, change: { $0.blockBytes = blockBytes }) { client in
            var told: [Int] = []
            let written = try await client.upload(
                CoAPRequest(.put, path: "mine"),
                byteCount: Self.body.count,
                progress: { told.append($0) },
                read: { Array(Self.body[$0]) }
            )
            #expect(written.code == .created)
            #expect(told.last == Self.body.count && told.count == (Self.body.count + blockBytes - 1) / blockBytes)
            var fetched: [UInt8] = []
            for try await part in client.download("mine") {
                #expect(part.offset == fetched.count)
                #expect(part.totalBytes == Self.body.count)
                fetched += part.bytes
            }
            #expect(fetched == Self.body)
        }
    }

    /// A download goes on where another was broken off, in the middle of a block too, as long as the resource is the same.
    @Test func aDownloadGoesOn() async throws {
        try await TestServer.with { server in
            let looped = LoopedClient(port: server.port)
            let client = looped.client
            _ = try await client.put("body", payload: Self.body)
            var first = client.download("body").makeAsyncIterator()
            let part = try #require(try await first.next())
            #expect(part.bytes == Array(Self.body[..<1_024]))
            let eTag = try #require(part.eTag)
            var rest: [UInt8] = []
            for try await part in client.download("body", from: 1_500, eTag: eTag) { rest += part.bytes }
            #expect(rest == Array(Self.body[1_500...]))
            _ = try await client.put("body", payload: Array(Self.body.reversed()))
            // Whoever has begun to read may be given the rest of what it was; for another it has changed.
            let other = LoopedClient(port: server.port)
            await #expect(throws: CoAPError.representationChanged) {
                for try await _ in other.client.download("body", from: 1_500, eTag: eTag) {}
            }
            await other.close()
            await #expect(throws: CoAPError.refused(.notFound, diagnostic: [])) {
                for try await _ in client.download("nowhere") {}
            }
            await looped.close()
        }
    }

    /// A small body is one part, and an empty one a part without bytes.
    @Test(arguments: [0, 1, 1_024]) func smallBodiesAreOnePart(count: Int) async throws {
        try await TestServer.with { server in
            let looped = LoopedClient(port: server.port)
            let body = Array(Self.body.prefix(count))
            let request = CoAPRequest(.put, path: "body")
            #expect(
                try await looped.client.upload(request, byteCount: count, read: { Array(body[$0]) }).code == .changed
            )
            var parts: [CoAPBodyPart] = []
            for try await part in looped.client.download("body") { parts.append(part) }
            #expect(parts.map(\.bytes) == [body] && parts.map(\.offset) == [0] && parts[0].totalBytes == count)
            await looped.close()
        }
    }

    /// A body that becomes shorter while it is sent, such as a file that is cut, ends its upload.
    @Test func aBodyThatBecomesShorterEndsItsUpload() async throws {
        try await TestServer.with { server in
            let looped = LoopedClient(port: server.port)
            let request = CoAPRequest(.put, path: "body")
            let error = CoAPError.bodyPartLength(bytes: 76, expected: 1_024, offset: 2_048)
            await #expect(throws: error) {
                try await looped.client.upload(request, byteCount: 10_000) { range in
                    Array(Self.body[range.clamped(to: 0..<2_124)])
                }
            }
            await looped.close()
        }
    }

    /// An upload goes on while the server has what came before; one that has not is given the body from its beginning, and says so by 4.08.
    @Test func anUploadGoesOn() async throws {
        try await TestServer.with { server in
            struct Broken: Error {}
            let looped = LoopedClient(port: server.port)
            let request = CoAPRequest(.put, path: "body")
            var offset = 0
            await #expect(throws: Broken.self) {
                try await looped.client.upload(request, byteCount: Self.body.count, progress: { offset = $0 }) {
                    range in
                    if range.lowerBound >= 8_192 { throw Broken() }
                    return Array(Self.body[range])
                }
            }
            #expect(offset == 8_192)
            var asked: [Int] = []
            func upload() async throws -> CoAPResponse {
                asked = []
                return try await looped.client.upload(request, byteCount: Self.body.count, from: offset) { range in
                    asked.append(range.lowerBound)
                    return Array(Self.body[range])
                }
            }
            let finished = try await upload()
            #expect(finished.code == .changed)
            #expect(asked.first == 8_192 && server.body.withLock { $0 } == Self.body)
            // It is complete now, and so there is nothing to go on with.
            let repeated = try await upload()
            #expect(repeated.code == .changed)
            #expect(asked.prefix(2) == [8_192, 0] && server.body.withLock { $0 } == Self.body)
            await looped.close()
        }
    }

    @Test func discovers() async throws {
        try await withLibcoap { client in
            let all = try await client.discover()
            #expect(all.map(\.targetText) == ["/", "/time", "/async", "/example_data"])
            let filter = CoAPLinkFilter("if", Array("clock".utf8))
            let clocks = try await client.discover(filter)
            #expect(clocks.map(\.targetText) == ["/time"])
        }
    }

    /// Blocks are protected each, and a server that has lost what it knew is told that a request is new.
    @Test func asksAServerOfAiocoapWithProtection() async throws {
        let python = "\(Self.root)/.build/python/bin/python"
        try #require(access(python, X_OK) == 0, "aiocoap is not installed; install it with scripts/install-aiocoap.sh")
        let script = "\(Self.root)/Fixtures/coap/aiocoap_oscore.py"
        let server = try #require(await PeerProcess.started([python, script, "server", "PORT"]))
        let looped = LoopedClient(port: server.port) { $0.understoodOptions = [.oscore] }
        let client = OSCOREClient(
            over: looped.client,
            try OSCOREContext(
                masterSecret: SecretBytes(Array(1...16)),
                masterSalt: [0x9E, 0x7C, 0xA9, 0x22, 0x23, 0x78, 0x63, 0x40],
                senderID: [],
                recipientID: [1],
                idContext: [0x37, 0xCB, 0xF3, 0x21, 0x00, 0x17, 0xA2, 0xD3],
                sequence: OSCOREVolatileSequence(),
                replayProtection: .takesNoRequests
            )
        )
        let hello = try await client.send(CoAPRequest(.get, path: "hello"))
        #expect(hello == CoAPResponse(.content, payload: Array("Hello World!".utf8)))
        let large = try await client.send(CoAPRequest(.get, path: "large"))
        #expect(large.payload == (0..<2_048).map { UInt8(truncatingIfNeeded: $0) })
        for count in [0, 1_024, 5_000] {
            let payload = Array(Self.body.prefix(count))
            let echoed = try await client.send(CoAPRequest(.post, path: "echo", payload: payload))
            #expect(echoed.code == .content && echoed.payload == payload)
        }
        #expect(try await client.send(CoAPRequest(.get, path: "nowhere")).code == .notFound)
        var counts: [String] = []
        for try await case .response(let count) in client.observe(CoAPRequest(.get, path: "count")) {
            counts.append(String(decoding: count.payload, as: UTF8.self))
            if counts.last == "3" { break }
        }
        #expect(counts == ["0", "1", "2", "3"])
        // The server has forgotten it, as it was told.
        var observers = "1"
        for _ in 0..<100 where observers != "0" {
            let response = try await client.send(CoAPRequest(.get, path: "observers"))
            observers = String(decoding: response.payload, as: UTF8.self)
        }
        #expect(observers == "0")
        await looped.close()
    }
}
