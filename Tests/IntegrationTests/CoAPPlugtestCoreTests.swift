import CoAPClient
import Kernel
import Testing

/// The test descriptions of the ETSI plugtests for RFC 7252, our client against our server: docs/coap-conformance.md.
@Suite(.timeLimit(.minutes(1))) struct CoAPPlugtestCoreTests {
    private static let text = Array("some text".utf8)

    struct Method: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let method: CoAPCode
        let isConfirmable: Bool
        let codes: [CoAPCode]
    }

    /// TD_COAP_CORE_01 to 08: GET, DELETE, PUT and POST, confirmable and not.
    @Test(arguments: [
        Method(testDescription: "01", method: .get, isConfirmable: true, codes: [.content]),
        Method(testDescription: "02", method: .delete, isConfirmable: true, codes: [.deleted]),
        Method(testDescription: "03", method: .put, isConfirmable: true, codes: [.changed, .created]),
        Method(testDescription: "04", method: .post, isConfirmable: true, codes: [.changed, .created]),
        Method(testDescription: "05", method: .get, isConfirmable: false, codes: [.content]),
        Method(testDescription: "06", method: .delete, isConfirmable: false, codes: [.deleted]),
        Method(testDescription: "07", method: .put, isConfirmable: false, codes: [.changed, .created]),
        Method(testDescription: "08", method: .post, isConfirmable: false, codes: [.changed, .created]),
    ])
    func core01to08(_ description: Method) async throws {
        try await Plugtest.with { test in
            let hasPayload = description.method == .put || description.method == .post
            let request = CoAPRequest(
                description.method,
                path: "test",
                payload: hasPayload ? Self.text : [],
                format: hasPayload ? .textPlain : nil,
                isConfirmable: description.isConfirmable
            )
            let displayed = try await test.client.send(request)
            let (sent, response) = try test.wire.takeExchange(isConfirmable: description.isConfirmable)
            #expect(sent.code == description.method && sent.payload == request.payload)
            #expect(sent.options.contentFormat == (hasPayload ? .textPlain : nil))
            #expect(sent.options.pathSegments == [Array("test".utf8)])
            #expect(description.codes.contains(response.code))
            #expect(response.payload.isEmpty == (description.method != .get))
            #expect(displayed.code == response.code && displayed.payload == response.payload)
            let received = PlugtestServer.Received(
                method: description.method,
                path: "test",
                payload: request.payload,
                format: request.options.contentFormat
            )
            #expect(test.server.received == [received])
        }
    }

    /// TD_COAP_CORE_09 and 11: GET of what is answered separately, with a token.
    @Test func core09and11() async throws {
        try await Plugtest.with(server: { $0.acknowledgementDelay = .milliseconds(20) }) { test in
            async let displayed = test.client.get("separate")
            #expect(await test.wire.has { $0.summary == "< ACK 0.00" })
            test.server.state.withLock { $0.isSeparateReady = true }
            let payload = try await displayed.payload
            #expect(payload == Array("at last".utf8))
            let records = test.wire.take()
            try #require(records.map(\.summary) == ["> CON 0.01", "< ACK 0.00", "< CON 2.05", "> ACK 0.00"])
            let (request, acknowledgement) = (records[0].message, records[1].message)
            let (response, last) = (records[2].message, records[3])
            #expect((1...8).contains(request.token.count))
            #expect(acknowledgement.messageID == request.messageID && records[1].bytes.count == 4)
            #expect(response.token == request.token)
            #expect(response.options.contentFormat == .textPlain && response.payload == payload)
            #expect(last.message.messageID == response.messageID && last.bytes.count == 4)
        }
    }

    /// TD_COAP_CORE_10: GET with a token, of each length that there is.
    @Test(arguments: 2...8) func core10(tokenBytes: Int) async throws {
        try await Plugtest.with(client: { $0.tokenBytes = tokenBytes }) { test in
            let displayed = try await test.client.get("test")
            let (request, response) = try test.wire.takeExchange()
            #expect(request.code == .get && request.token.count == tokenBytes)
            #expect(response.code == .content && response.payload == displayed.payload && !displayed.payload.isEmpty)
        }
    }

    /// TD_COAP_CORE_12: GET with an empty token. Our client always has one, so that it is not easily deceived; the server has to do without.
    @Test func core12() async throws {
        let server = try await PlugtestServer()
        let socket = RawDatagrams(to: server.port)
        var options = CoAPOptions()
        options.addPath("test".utf8.span)
        let request = CoAPMessage(type: .confirmable, code: .get, messageID: 0x1234, options: options)
        socket.send(request.encoded)
        let datagram = await socket.receivePatiently()
        let response = try CoAPMessage(decoding: datagram.span)
        #expect(response.type == .acknowledgement && response.code == .content)
        #expect(response.messageID == 0x1234 && response.token == .empty)
        #expect(response.options.contentFormat == .textPlain && response.payload == Array("a test".utf8))
        await server.close()
    }

    /// TD_COAP_CORE_13: several Uri-Path options.
    @Test func core13() async throws {
        try await Plugtest.with { test in
            let displayed = try await test.client.get("seg1/seg2/seg3")
            let (request, response) = try test.wire.takeExchange()
            #expect(request.options.list.map(\.number) == [.uriPath, .uriPath, .uriPath])
            #expect(request.options.pathSegments == ["seg1", "seg2", "seg3"].map { Array($0.utf8) })
            #expect(response.code == .content && !response.payload.isEmpty && response.payload == displayed.payload)
        }
    }

    /// TD_COAP_CORE_14: several Uri-Query options.
    @Test func core14() async throws {
        try await Plugtest.with { test in
            let displayed = try await test.client.get("query", query: ["first=1", "second=2", "third=3"])
            let (request, response) = try test.wire.takeExchange()
            #expect(request.options.queryArguments == ["first=1", "second=2", "third=3"].map { Array($0.utf8) })
            #expect(response.code == .content && response.payload == displayed.payload)
            #expect(displayed.payload == Array("first=1 second=2 third=3".utf8))
        }
    }

    /// TD_COAP_CORE_17: GET without confirmation of what is answered later. No acknowledgement is sent.
    @Test func core17() async throws {
        try await Plugtest.with(server: { $0.acknowledgementDelay = .milliseconds(20) }) { test in
            async let displayed = test.client.send(CoAPRequest(.get, path: "separate", isConfirmable: false))
            #expect(await test.wire.has { $0.isFromClient })
            // Several times as long as it takes the server to acknowledge what is confirmable.
            try await Task.sleep(for: .milliseconds(100))
            test.server.state.withLock { $0.isSeparateReady = true }
            let payload = try await displayed.payload
            let (request, response) = try test.wire.takeExchange(isConfirmable: false)
            #expect(request.code == .get && response.code == .content)
            #expect(response.options.contentFormat == .textPlain && response.payload == payload && !payload.isEmpty)
        }
    }

    /// TD_COAP_CORE_18: several Location-Path options in a response.
    @Test func core18() async throws {
        try await Plugtest.with { test in
            let displayed = try await test.client.post("test", payload: Self.text, format: .textPlain)
            let (request, response) = try test.wire.takeExchange()
            #expect(
                request.code == .post && request.payload == Self.text && request.options.contentFormat == .textPlain
            )
            #expect(response.code == .created)
            let location = ["location1", "location2", "location3"].map { Array($0.utf8) }
            #expect(response.options.all(.locationPath) == location)
            #expect(displayed.options.all(.locationPath) == location)
        }
    }

    /// TD_COAP_CORE_19: several Location-Query options in a response.
    @Test func core19() async throws {
        try await Plugtest.with { test in
            let displayed = try await test.client.post("location-query", payload: Self.text, format: .textPlain)
            let (request, response) = try test.wire.takeExchange()
            #expect(request.code == .post && request.options.contentFormat == .textPlain)
            #expect(response.code == .created)
            let query = ["first=1", "second=2"].map { Array($0.utf8) }
            #expect(response.options.all(.locationQuery) == query && displayed.options.all(.locationQuery) == query)
        }
    }

    /// TD_COAP_CORE_20: one resource in two formats.
    @Test(arguments: [(CoAPContentFormat.textPlain, "text"), (.xml, "<a>text</a>")])
    func core20(format: CoAPContentFormat, payload: String) async throws {
        try await Plugtest.with { test in
            let displayed = try await test.client.get("multi-format", accept: format)
            let (request, response) = try test.wire.takeExchange()
            #expect(request.options.accept == format)
            #expect(response.code == .content && response.options.contentFormat == format)
            #expect(response.payload == Array(payload.utf8) && displayed.payload == response.payload)
            // Another is not to be had (RFC 7252, 5.10.4).
            #expect(try await test.client.get("multi-format", accept: .cbor).code == .notAcceptable)
        }
    }

    /// TD_COAP_CORE_21: what is known already is not sent again.
    @Test func core21() async throws {
        try await Plugtest.with { test in
            let first = try await test.client.get("validate")
            let (request, response) = try test.wire.takeExchange()
            let eTag = try #require(response.options.eTag)
            #expect(!request.options.contains(.eTag))
            #expect(response.code == .content && !response.payload.isEmpty && first.payload == response.payload)
            var again = CoAPRequest(.get, path: "validate")
            again.options.eTag = eTag
            #expect(try await test.client.send(again).code == .valid)
            let (asked, valid) = try test.wire.takeExchange()
            #expect(asked.options.all(.eTag) == [eTag] && asked.messageID != request.messageID)
            #expect(valid.code == .valid && valid.options.eTag == eTag && valid.payload.isEmpty)
            _ = try await test.client.put("validate", payload: Self.text, format: .textPlain)
            _ = test.wire.take()
            #expect(try await test.client.send(again).payload == Self.text)
            let (last, changed) = try test.wire.takeExchange()
            #expect(last.options.all(.eTag) == [eTag])
            #expect(changed.code == .content && changed.options.eTag != eTag && changed.payload != response.payload)
            #expect(changed.options.eTag != nil)
        }
    }

    /// TD_COAP_CORE_22: what has changed meanwhile is not overwritten.
    @Test func core22() async throws {
        try await Plugtest.with { test in
            func get() async throws -> [UInt8] {
                _ = try await test.client.get("validate")
                let (request, response) = try test.wire.takeExchange()
                #expect(!request.options.contains(.eTag) && response.code == .content && !response.payload.isEmpty)
                #expect(response.payload == test.server.state.withLock { $0.validated.body })
                return try #require(response.options.eTag)
            }
            func put(_ text: String, ifMatch eTag: [UInt8]?) async throws -> CoAPCode {
                var request = CoAPRequest(.put, path: "validate", payload: Array(text.utf8), format: .textPlain)
                if let eTag { request.options.add(.ifMatch, eTag) }
                let displayed = try await test.client.send(request)
                let (sent, response) = try test.wire.takeExchange()
                #expect(sent.code == .put && sent.options.all(.ifMatch) == (eTag.map { [$0] } ?? []))
                #expect(response.code == displayed.code)
                return response.code
            }
            let first = try await get()
            #expect(try await put("second", ifMatch: first) == .changed)
            #expect(test.server.state.withLock { $0.validated.body } == Array("second".utf8))
            let second = try await get()
            #expect(second != first)
            #expect(try await put("third", ifMatch: nil) == .changed)
            #expect(try await put("fourth", ifMatch: second) == .preconditionFailed)
            #expect(test.server.state.withLock { $0.validated.body } == Array("third".utf8))
        }
    }

    /// TD_COAP_CORE_23: what is there already is not created.
    @Test func core23() async throws {
        try await Plugtest.with { test in
            for (text, code) in [("first", CoAPCode.created), ("second", .preconditionFailed)] {
                var request = CoAPRequest(.put, path: "create1", payload: Array(text.utf8), format: .textPlain)
                request.options.add(.ifNoneMatch, [])
                #expect(try await test.client.send(request).code == code)
                let (sent, response) = try test.wire.takeExchange()
                #expect(sent.options.all(.ifNoneMatch) == [[]] && sent.payload == Array(text.utf8))
                #expect(response.code == code)
                #expect(test.server.state.withLock { $0.created } == Array("first".utf8))
            }
        }
    }

    /// TD_COAP_CORE_31: a ping.
    @Test func core31() async throws {
        try await Plugtest.with { test in
            try await test.client.ping()
            let records = test.wire.take()
            try #require(records.map(\.summary) == ["> CON 0.00", "< RST 0.00"])
            let messageID = records[0].message.messageID
            #expect(records[0].bytes == [0x40, 0, UInt8(messageID >> 8), UInt8(messageID & 0xFF)])
            #expect(records[1].bytes == [0x70, 0, UInt8(messageID >> 8), UInt8(messageID & 0xFF)])
        }
    }

    // MARK: What is lost

    private func withLoss(
        acknowledgementDelay: Duration = .milliseconds(1_500),
        _ body: (Plugtest) async throws -> Void
    ) async throws {
        try await Plugtest.with(
            server: {
                $0.messages.acknowledgementTimeout = .milliseconds(80)
                $0.acknowledgementDelay = acknowledgementDelay
            },
            client: { $0.acknowledgementTimeout = .milliseconds(80) },
            body
        )
    }

    /// TD_COAP_CORE_15: GET, piggybacked response; the request or the response is lost.
    @Test(arguments: ["> CON 0.01", "< ACK 2.05"]) func core15(lost: String) async throws {
        try await withLoss { test in
            test.wire.loseFirst { $0.summary == lost }
            let displayed = try await test.client.get("test")
            #expect(displayed.payload == Array("a test".utf8))
            let records = test.wire.take()
            #expect(records.count { $0.isLost } == 1)
            let requests = records.filter(\.isFromClient)
            let responses = records.filter { !$0.isFromClient }
            #expect(requests.count >= 2 && requests.allSatisfy { $0.bytes == requests[0].bytes })
            #expect(
                responses.last?.message.code == .content && responses.last?.message.token == requests[0].message.token
            )
            #expect(responses.allSatisfy { $0.bytes == responses[0].bytes })
            #expect(test.server.received.count == 1, "a copy is no other request")
            #expect(await test.client.counters.retransmissions >= 1)
        }
    }

    /// TD_COAP_CORE_16: GET, separate response; each of the four messages is lost.
    @Test(arguments: ["> CON 0.01", "< ACK 0.00", "< CON 2.05", "> ACK 0.00"])
    func core16(lost: String) async throws {
        try await withLoss(acknowledgementDelay: .milliseconds(20)) { test in
            // All acknowledgements of the request: the response has to do.
            test.wire.loseFirst(lost == "< ACK 0.00" ? .max : 1) { $0.summary == lost }
            async let displayed = test.client.get("separate")
            #expect(await test.wire.has { $0.message.type == .acknowledgement && !$0.isFromClient })
            test.server.state.withLock { $0.isSeparateReady = true }
            let payload = try await displayed.payload
            #expect(payload == Array("at last".utf8))
            let isAcknowledged = { @Sendable (record: RecordedDatagram) in record.summary == "> ACK 0.00" }
            #expect(await test.wire.has(where: isAcknowledged))
            let isResponse = { @Sendable (record: RecordedDatagram) in record.message.code == .content }
            if lost == "> ACK 0.00" { #expect(await test.wire.has(2, where: isResponse)) }
            // The request would be sent again by now if it were not answered.
            try await Task.sleep(for: .milliseconds(300))
            let records = test.wire.records
            let requests = records.filter { $0.message.code == .get }
            let responses = records.filter { $0.message.code == .content }
            #expect(requests.allSatisfy { $0.bytes == requests[0].bytes })
            #expect(responses.allSatisfy { $0.bytes == responses[0].bytes }, "one message, sent again")
            #expect(responses.last?.message.type == .confirmable)
            #expect(responses.last?.message.token == requests.first?.message.token)
            #expect(records.contains { $0.isLost && $0.message.type != .reset })
            switch lost {
            case "> CON 0.01": #expect(requests.count >= 2)
            case "< CON 2.05", "> ACK 0.00": #expect(responses.count >= 2)
            default:
                let arrival = try #require(records.firstIndex(where: isResponse))
                #expect(!records[arrival...].contains { $0.message.code == .get }, "the response ends that")
            }
            let acknowledgements = records.filter { isAcknowledged($0) && !$0.isLost }
            #expect(acknowledgements.allSatisfy { $0.message.messageID == responses[0].message.messageID })
            #expect(await test.client.requestCount == 0)
            #expect(await test.server.server.counters.unacknowledged == 0)
        }
    }
}
