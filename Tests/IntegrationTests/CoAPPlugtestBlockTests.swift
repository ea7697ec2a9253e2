import CoAPClient
import Kernel
import Testing

/// The test descriptions of the ETSI plugtests for RFC 7959, our client against our server: docs/coap-conformance.md.
@Suite(.timeLimit(.minutes(1))) struct CoAPPlugtestBlockTests {
    private static let body = (0..<2_500).map { UInt8(ascii: "A") + UInt8($0 / 100 % 26) }

    private func with(
        server: Int,
        client: Int,
        _ body: (Plugtest) async throws -> Void
    ) async throws {
        try await Plugtest.with(
            server: { $0.messages.blockBytes = server },
            client: { $0.blockBytes = client },
            body
        )
    }

    /// The requests and the responses, which follow each other one by one; each response has the message ID and the token of its request.
    private func exchanges(_ test: Plugtest) throws -> [(request: CoAPMessage, response: CoAPMessage)] {
        let records = test.wire.take()
        try #require(records.count % 2 == 0 && !records.isEmpty)
        return try stride(from: 0, to: records.count, by: 2).map { index in
            try #require(records[index].isFromClient && !records[index + 1].isFromClient)
            let (request, response) = (records[index].message, records[index + 1].message)
            #expect(request.type == .confirmable && response.type == .acknowledgement)
            #expect(response.messageID == request.messageID && response.token == request.token)
            return (request, response)
        }
    }

    /// Checks exchanges that fetch a body, of which `offset` bytes are known: each asks for the next block, of no more bytes than `size`.
    private func checkDownload(
        _ exchanges: some Collection<(request: CoAPMessage, response: CoAPMessage)>,
        of body: [UInt8],
        from offset: Int,
        code: CoAPCode,
        size: Int
    ) throws {
        var offset = offset
        for (request, response) in exchanges {
            let asked = try #require(request.options.block2)
            let sent = try #require(response.options.block2)
            #expect(asked.offset == offset && !asked.hasMore && asked.byteCount == size)
            #expect(sent.number == asked.number && sent.sizeExponent == asked.sizeExponent)
            #expect(response.code == code && response.payload == Array(body[offset..<min(offset + size, body.count)]))
            offset += response.payload.count
            #expect(sent.hasMore == (offset < body.count))
        }
        #expect(offset == body.count, "no gaps, all of it")
    }

    /// Checks the exchanges that send a body; returns the last one's response.
    private func checkUpload(
        _ exchanges: some Collection<(request: CoAPMessage, response: CoAPMessage)>,
        of body: [UInt8],
        method: CoAPCode,
        first: Int,
        then size: Int
    ) throws -> CoAPMessage {
        var offset = 0
        var last: CoAPMessage?
        for (request, response) in exchanges {
            let size = offset == 0 ? first : size
            let block = try #require(request.options.block1)
            let echoed = try #require(response.options.block1)
            #expect(request.code == method && block.offset == offset && block.byteCount == size)
            #expect(request.payload == Array(body[offset..<min(offset + size, body.count)]))
            offset += request.payload.count
            #expect(block.hasMore == (offset < body.count))
            // The number is the request's; the size may be less, and is that of the next block then.
            #expect(echoed.number == block.number && echoed.hasMore == block.hasMore)
            #expect(echoed.byteCount <= size)
            if block.hasMore { #expect(response.code == .continue && response.payload.isEmpty) }
            last = response
        }
        #expect(offset == body.count, "no gaps, all of it")
        return try #require(last)
    }

    // MARK: Responses in blocks

    /// TD_COAP_BLOCK_01 and 06: GET, where the client says with its first request how large the blocks shall be; with 06 of 16 bytes.
    @Test(arguments: [(1_024, 256, 256), (256, 256, 256), (64, 512, 64), (1_024, 16, 16)])
    func block01and06(server: Int, client: Int, size: Int) async throws {
        try await with(server: server, client: client) { test in
            let displayed = try await test.client.get("large")
            #expect(displayed.payload == PlugtestServer.large && displayed.options.contentFormat == .textPlain)
            let exchanges = try exchanges(test)
            let (request, response) = exchanges[0]
            let asked = try #require(request.options.block2)
            #expect(asked == CoAPBlock(number: 0, sizeExponent: asked.sizeExponent) && asked.byteCount == client)
            let sent = try #require(response.options.block2)
            #expect(response.code == .content && sent.number == 0 && sent.hasMore && sent.byteCount == size)
            #expect(response.payload == Array(PlugtestServer.large[..<size]))
            let rest = exchanges.dropFirst()
            try checkDownload(rest, of: PlugtestServer.large, from: size, code: .content, size: size)
            #expect(test.server.received.count == 1, "one request, however many blocks")
        }
    }

    /// TD_COAP_BLOCK_02: GET, where the client learns from the response that there are blocks.
    @Test(arguments: [1_024, 256, 16]) func block02(server: Int) async throws {
        try await with(server: server, client: 1_024) { test in
            #expect(try await test.client.get("large").payload == PlugtestServer.large)
            let exchanges = try exchanges(test)
            let (request, response) = exchanges[0]
            #expect(!request.options.contains(.block2))
            let sent = try #require(response.options.block2)
            #expect(response.code == .content && sent.number == 0 && sent.hasMore && sent.byteCount == server)
            #expect(response.payload == Array(PlugtestServer.large[..<server]))
            let rest = exchanges.dropFirst()
            try checkDownload(rest, of: PlugtestServer.large, from: server, code: .content, size: server)
        }
    }

    // MARK: Requests in blocks

    /// TD_COAP_BLOCK_03: PUT; the server may want smaller blocks.
    @Test(arguments: [(1_024, 1_024, 1_024), (1_024, 256, 256), (256, 1_024, 256), (16, 1_024, 16)])
    func block03(server: Int, client: Int, size: Int) async throws {
        try await with(server: server, client: client) { test in
            let displayed = try await test.client.put("large-update", payload: Self.body, format: .textPlain)
            let exchanges = try exchanges(test)
            #expect(exchanges.allSatisfy { $0.request.options.contentFormat == .textPlain })
            let last = try checkUpload(exchanges, of: Self.body, method: .put, first: client, then: size)
            #expect(last.code == .changed && displayed.code == .changed)
            #expect(test.server.state.withLock { $0.updated } == Self.body)
            #expect(test.server.received.count == 1)
        }
    }

    /// TD_COAP_BLOCK_04: POST that creates a resource, which is fetched then.
    @Test(arguments: [(1_024, 1_024, 1_024), (128, 512, 128)])
    func block04(server: Int, client: Int, size: Int) async throws {
        try await with(server: server, client: client) { test in
            _ = try await test.client.post("large-create", payload: Self.body, format: .textPlain)
            let exchanges = try exchanges(test)
            let last = try checkUpload(exchanges, of: Self.body, method: .post, first: client, then: size)
            #expect(last.code == .created)
            let location = last.options.all(.locationPath)
            try #require(location.count == 2)
            #expect(location[0] == Array("large-create".utf8) && !location[1].contains(UInt8(ascii: "/")))
            var request = CoAPRequest(.get)
            for segment in location { request.options.add(.uriPath, segment) }
            let created = try await test.client.send(request)
            #expect(created.code == .content && created.payload == Self.body)
        }
    }

    /// TD_COAP_BLOCK_05: POST with a large body, whose response has one too.
    @Test(arguments: [(1_024, 1_024, 1_024), (256, 1_024, 256), (1_024, 64, 64)])
    func block05(server: Int, client: Int, size: Int) async throws {
        try await with(server: server, client: client) { test in
            let displayed = try await test.client.post("large-post", payload: Self.body, format: .textPlain)
            let answer = [UInt8](Self.body.reversed())
            #expect(displayed.code == .changed && displayed.payload == answer)
            let exchanges = try exchanges(test)
            let uploads = try #require(exchanges.firstIndex { $0.request.options.block1?.hasMore == false }) + 1
            let last = try checkUpload(
                exchanges[..<uploads],
                of: Self.body,
                method: .post,
                first: client,
                then: size
            )
            let first = try #require(last.options.block2)
            #expect(last.code == .changed && first.number == 0 && first.hasMore && first.byteCount == size)
            #expect(last.payload == Array(answer[..<size]))
            let rest = exchanges[uploads...]
            for (request, _) in rest {
                // The same options but for the blocks', and no payload.
                #expect(request.code == .post && request.payload.isEmpty && !request.options.contains(.block1))
                #expect(request.options.pathSegments == [Array("large-post".utf8)])
            }
            try checkDownload(rest, of: answer, from: size, code: .changed, size: size)
            #expect(test.server.received.count == 1)
        }
    }
}
