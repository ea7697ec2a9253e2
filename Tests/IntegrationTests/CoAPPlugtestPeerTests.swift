import CLinux
import CoAPClient
import Kernel
import Testing

/// The test descriptions of the ETSI plugtests, our client against the servers of others: docs/coap-conformance.md.
@Suite(.timeLimit(.minutes(1))) struct CoAPPlugtestPeerTests {
    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    private static let text = Array("some text".utf8)
    private static let body = (0..<2_500).map { UInt8(ascii: "A") + UInt8($0 / 100 % 26) }

    /// A client of ours at a server of somebody else, and what they say to each other.
    private struct Peer {
        let wire: RecordingNetwork
        let client: CoAPClient
        /// Whether the server says what its payloads are: libcoap's example does not always.
        let hasFormats: Bool

        func ask(
            _ method: CoAPCode,
            _ path: String,
            query: [String] = [],
            payload: [UInt8] = [],
            isConfirmable: Bool = true,
            options: (inout CoAPOptions) -> Void = { _ in }
        ) async throws -> (request: CoAPMessage, response: CoAPMessage) {
            let format: CoAPContentFormat? = payload.isEmpty ? nil : .textPlain
            var request = CoAPRequest(
                method,
                path: path,
                query: query,
                payload: payload,
                format: format,
                isConfirmable: isConfirmable
            )
            options(&request.options)
            let displayed = try await client.send(request)
            let exchange = try wire.takeExchange(isConfirmable: isConfirmable, hasFormat: hasFormats)
            #expect(exchange.request.code == method)
            #expect(exchange.response.code == displayed.code && exchange.response.payload == displayed.payload)
            return exchange
        }

        /// The code of the response to a request.
        func code(
            _ method: CoAPCode,
            _ path: String,
            payload: [UInt8] = [],
            isConfirmable: Bool = true,
            options: (inout CoAPOptions) -> Void = { _ in }
        ) async throws -> CoAPCode {
            try await ask(method, path, payload: payload, isConfirmable: isConfirmable, options: options).response.code
        }

        /// CORE_09, 11 and 17.
        func checkSeparate(_ path: String, query: [String], payload: String) async throws {
            for isConfirmable in [true, false] {
                let request = CoAPRequest(.get, path: path, query: query, isConfirmable: isConfirmable)
                #expect(try await client.send(request).payload == Array(payload.utf8))
                let isLast = { @Sendable (record: RecordedDatagram) in record.summary == "> ACK 0.00" }
                if isConfirmable { #expect(await wire.has(where: isLast)) }
                let records = wire.take()
                let expected =
                    isConfirmable
                    ? ["> CON 0.01", "< ACK 0.00", "< CON 2.05", "> ACK 0.00"] : ["> NON 0.01", "< NON 2.05"]
                try #require(records.map(\.summary) == expected)
                #expect(
                    records.allSatisfy { $0.message.code == .empty || $0.message.token == records[0].message.token }
                )
            }
        }

        /// BLOCK_01, 02 and 06, as the client is set up: the requests ask for one block after the other.
        func checkDownload(_ path: String, _ body: [UInt8]?, blockBytes: Int) async throws {
            let displayed = try await client.get(path)
            if let body { #expect(displayed.payload == body) }
            let records = wire.take()
            let requests = records.filter(\.isFromClient).map(\.message)
            let responses = records.filter { !$0.isFromClient }.map(\.message)
            #expect(
                requests.count == responses.count && requests.count == (displayed.payload.count - 1) / blockBytes + 1
            )
            #expect(requests[0].options.block2 == nil || requests[0].options.block2?.byteCount == blockBytes)
            #expect(requests.dropFirst().compactMap { $0.options.block2?.number } == Array(1..<requests.count))
            #expect(responses.compactMap { $0.options.block2?.number } == Array(0..<requests.count))
            #expect(responses.flatMap(\.payload) == displayed.payload)
        }

        /// BLOCK_03 and 04: the blocks of a request; returns the last response.
        func checkUpload(_ method: CoAPCode, _ path: String, _ body: [UInt8]) async throws -> CoAPMessage {
            _ = try await client.send(CoAPRequest(method, path: path, payload: body, format: .textPlain))
            let records = wire.take()
            let requests = records.filter(\.isFromClient).map(\.message)
            let responses = records.filter { !$0.isFromClient }.map(\.message)
            #expect(requests.flatMap(\.payload) == body && requests.count > 1)
            #expect(requests.last?.options.block1?.hasMore == false)
            // libcoap leaves it out of the last.
            let last = responses.last?.options.block1?.number
            #expect(responses.dropLast().map { $0.options.block1?.number } == (0..<requests.count - 1).map { $0 })
            #expect(last == nil || last == requests.count - 1)
            #expect(responses.dropLast().allSatisfy { $0.code == .continue })
            return try #require(responses.last)
        }

        /// OBS_01 or 02, 09, 10 and 12: observes a resource that `change` gives states.
        func checkObserving(_ path: String, _ change: (String) async throws -> Void) async throws {
            var states: AsyncThrowingStream<CoAPNotification, any Error>.AsyncIterator? =
                client.observe(path).makeAsyncIterator()
            _ = try await states?.next()
            let (request, response) = try wire.takeExchange(hasFormat: hasFormats)
            #expect(request.options.all(.observe) == [[]] && response.code == .content)
            var number = try #require(response.options.observe)
            for round in 1...3 {
                try await change("state \(round)")
                let body = Array("state \(round)".utf8)
                while case .response(let state)? = try await states?.next() { if state.payload == body { break } }
                // A GET of the same resource changes nothing.
                _ = try await client.get(path)
                let notifications = wire.take().filter { $0.message.token == request.token && !$0.isFromClient }
                let newest = try #require(notifications.last).message
                #expect(newest.code == .content && newest.payload == body)
                let newer = try #require(newest.options.observe)
                #expect(newer != number && (newer &- number) & 0xFF_FFFF < 0x80_0000)
                number = newer
            }
            states = nil
            let token = request.token
            #expect(await wire.has { $0.isFromClient && $0.message.token == token && $0.message.options.observe == 1 })
            #expect(
                await wire.has {
                    $0.message.token == token && $0.message.type == .acknowledgement
                        && $0.message.options.observe == nil
                }
            )
            _ = wire.take()
            try await change("unheard")
            try await client.ping()
            #expect(!wire.take().contains { $0.message.token == token })
        }
    }

    /// Runs `body` with a client of these settings at the server.
    private func with(
        _ server: PeerProcess,
        blockBytes: Int = 1_024,
        hasFormats: Bool = true,
        _ body: (Peer) async throws -> Void
    ) async throws {
        try await Plugtest.with(port: server.port, client: { $0.blockBytes = blockBytes }) { wire, client in
            try await body(Peer(wire: wire, client: client, hasFormats: hasFormats))
        }
    }

    // MARK: aiocoap

    @Test func aiocoapIsAskedAsTheDescriptionsSay() async throws {
        let python = "\(Self.root)/.build/python/bin/python"
        try #require(access(python, X_OK) == 0, "aiocoap is not installed; install it with scripts/install-aiocoap.sh")
        let script = "\(Self.root)/Fixtures/coap/aiocoap_plugtest.py"
        let server = try #require(await PeerProcess.started([python, script, "PORT"]))
        try await with(server) { peer in
            try await core(peer)
            try await conditional(peer)
            try await links(peer)
            try await blocks(peer)
            // OBS_01, 09, 10 and 12.
            let other = LoopedClient(port: server.port)
            try await peer.checkObserving("obs") {
                let response = try await other.client.put("obs", payload: Array($0.utf8))
                #expect(response.code == .changed)
            }
            await other.close()
        }
        // BLOCK_01 and 06.
        for blockBytes in [256, 16] {
            try await with(server, blockBytes: blockBytes) {
                try await $0.checkDownload("large", PlugtestServer.large, blockBytes: blockBytes)
            }
        }
    }

    /// CORE_01 to 20 and 31, but for 12, 15 and 16.
    private func core(_ peer: Peer) async throws {
        for isConfirmable in [true, false] {
            #expect(try await peer.code(.get, "test", isConfirmable: isConfirmable) == .content)
            #expect(try await peer.code(.delete, "test", isConfirmable: isConfirmable) == .deleted)
            let put = try await peer.code(.put, "test", payload: Self.text, isConfirmable: isConfirmable)
            #expect(put == .changed)
            let post = try await peer.ask(.post, "test", payload: Self.text, isConfirmable: isConfirmable).response
            #expect(post.code == .created)
            #expect(post.options.all(.locationPath) == ["location1", "location2", "location3"].map { Array($0.utf8) })
        }
        try await peer.checkSeparate("separate", query: [], payload: "at last")
        #expect(try await peer.ask(.get, "seg1/seg2/seg3").response.payload == Array("three segments".utf8))
        let query = try await peer.ask(.get, "query", query: ["first=1", "second=2"]).response
        #expect(query.payload == Array("first=1 second=2".utf8))
        let created = try await peer.ask(.post, "location-query", payload: Self.text).response
        #expect(created.options.all(.locationQuery) == ["first=1", "second=2"].map { Array($0.utf8) })
        for format in [CoAPContentFormat.textPlain, .xml] {
            let response = try await peer.ask(.get, "multi-format") { $0.accept = format }.response
            #expect(response.code == .content && response.options.contentFormat == format)
        }
        try await peer.client.ping()
        #expect(peer.wire.take().map(\.summary) == ["> CON 0.00", "< RST 0.00"])
    }

    /// CORE_21 to 23.
    private func conditional(_ peer: Peer) async throws {
        let first = try #require(try await peer.ask(.get, "validate").response.options.eTag)
        let valid = try await peer.ask(.get, "validate") { $0.eTag = first }.response
        #expect(valid.code == .valid && valid.options.eTag == first && valid.payload.isEmpty)
        let put = try await peer.code(.put, "validate", payload: Self.text) { $0.add(.ifMatch, first) }
        #expect(put == .changed)
        let changed = try await peer.ask(.get, "validate") { $0.eTag = first }.response
        #expect(changed.code == .content && changed.options.eTag != first && changed.payload == Self.text)
        let refused = try await peer.code(.put, "validate", payload: [1]) { $0.add(.ifMatch, first) }
        #expect(refused == .preconditionFailed)
        for code in [CoAPCode.created, .preconditionFailed] {
            let created = try await peer.code(.put, "create1", payload: Self.text) { $0.add(.ifNoneMatch, []) }
            #expect(created == code)
        }
    }

    /// LINK_01, 02, 04, 05, 07 to 09: the server chooses the links that we choose. With `rt=*` aiocoap 0.4 chooses those without the attribute too.
    private func links(_ peer: Peer) async throws {
        let all = try await peer.client.get(".well-known/core")
        #expect(all.options.contentFormat == .linkFormat)
        for query in ["rt=Type1", "rt=Type2", "if=If*", "href=/link1", "href=/link*"] {
            let filter = try #require(CoAPLinkFilter(query))
            let chosen = try await peer.client.get(".well-known/core", query: [query])
            #expect(chosen.options.contentFormat == .linkFormat)
            let ours = try CoAPLinkFormat.parse(all.payload.span, matching: [filter])
            #expect(try CoAPLinkFormat.parse(chosen.payload.span) == ours && !ours.isEmpty, "\(query)")
        }
        let list = try await peer.client.get("path")
        let subs = try CoAPLinkFormat.parse(list.payload.span)
        #expect(list.options.contentFormat == .linkFormat && subs.count == 2)
        for sub in subs { #expect(try await peer.client.get(sub.targetText).payload == Array(sub.targetText.utf8)) }
        _ = peer.wire.take()
    }

    /// BLOCK_02 to 05.
    private func blocks(_ peer: Peer) async throws {
        try await peer.checkDownload("large", PlugtestServer.large, blockBytes: 1_024)
        #expect(try await peer.checkUpload(.put, "large-update", Self.body).code == .changed)
        try await peer.checkDownload("large-update", Self.body, blockBytes: 1_024)
        let created = try await peer.checkUpload(.post, "large-create", Self.body)
        #expect(created.code == .created)
        let location = created.options.all(.locationPath).map { String(decoding: $0, as: UTF8.self) }
        #expect(location.count == 2)
        try await peer.checkDownload(location.joined(separator: "/"), Self.body, blockBytes: 1_024)
        let reversed = try await peer.client.post("large-post", payload: Self.body, format: .textPlain)
        #expect(reversed.code == .changed && reversed.payload == Self.body.reversed())
        _ = peer.wire.take()
    }

    // MARK: libcoap

    /// CORE_01 to 03, 05 to 07, 09 to 11, 17 and 31, BLOCK_01 to 03 and 06, and OBS_01, 09, 10 and 12: what its example server has resources for.
    @Test func libcoapIsAskedAsTheDescriptionsSay() async throws {
        let arguments = ["coap-server-notls", "-A", "127.0.0.1", "-p", "PORT", "-d", "10"]
        let server = try #require(await PeerProcess.started(arguments))
        try await with(server, hasFormats: false) { peer in
            for (index, isConfirmable) in [true, false].enumerated() {
                #expect(try await peer.code(.get, "time", isConfirmable: isConfirmable) == .content)
                for code in [CoAPCode.created, .changed] {
                    let put = try await peer.code(.put, "m\(index)", payload: Self.text, isConfirmable: isConfirmable)
                    #expect(put == code)
                }
                #expect(try await peer.code(.delete, "m\(index)", isConfirmable: isConfirmable) == .deleted)
            }
            try await peer.checkSeparate("async", query: ["1"], payload: "done")
            try await peer.client.ping()
            #expect(peer.wire.take().map(\.summary) == ["> CON 0.00", "< RST 0.00"])
            #expect([.created, .changed].contains(try await peer.checkUpload(.put, "large", Self.body).code))
            try await peer.checkDownload("large", Self.body, blockBytes: 1_024)
            let other = LoopedClient(port: server.port)
            _ = try await other.client.put("seen", payload: Self.text)
            try await peer.checkObserving("seen") {
                let response = try await other.client.put("seen", payload: Array($0.utf8))
                #expect(response.code == .changed)
            }
            await other.close()
        }
        for blockBytes in [256, 16] {
            try await with(server, blockBytes: blockBytes) {
                try await $0.checkDownload("large", Self.body, blockBytes: blockBytes)
            }
        }
    }
}
