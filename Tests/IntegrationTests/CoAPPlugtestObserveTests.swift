import CoAPClient
import Kernel
import SAL
import Testing

/// The test descriptions of the ETSI plugtests for RFC 7641, our client against our server: docs/coap-conformance.md.
@Suite(.timeLimit(.minutes(1))) struct CoAPPlugtestObserveTests {
    /// An observation that has begun: steps 1 to 6, which nearly all descriptions begin with.
    private struct Observing {
        let test: Plugtest
        let path: String
        /// The request, and the response to it.
        let request: CoAPMessage
        let response: CoAPMessage
        /// The number of the notification before.
        var number: UInt32
        var states: AsyncThrowingStream<CoAPNotification, any Error>.AsyncIterator?

        init(_ test: Plugtest, _ path: String, isConfirmable: Bool = true, limit: Int = 16) async throws {
            (self.test, self.path) = (test, path)
            states = test.client.observe(CoAPRequest(.get, path: path, isConfirmable: isConfirmable))
                .makeAsyncIterator()
            #expect(try await states?.next() != nil)
            (request, response) = try test.wire.takeExchange(isConfirmable: isConfirmable)
            #expect(request.code == .get && request.options.all(.observe) == [[]])
            #expect(response.code == .content && response.options.contentFormat == .textPlain)
            number = try #require(response.options.observe)
        }

        /// The next state that the client is told.
        mutating func next() async throws -> CoAPResponse? {
            guard case .response(let response)? = try await states?.next() else { return nil }
            return response
        }

        /// Changes the resource; checks that a notification says so, and that it is acknowledged if it is to be.
        mutating func change(
            to text: String,
            isConfirmable: Bool = true,
            by change: (() async throws -> Void)? = nil
        ) async throws {
            if let change { try await change() } else { await test.server.change(Array(text.utf8), at: path) }
            #expect(try await next()?.payload == Array(text.utf8))
            try await checkNotification(of: text, isConfirmable: isConfirmable)
        }

        mutating func checkNotification(of text: String, isConfirmable: Bool = true) async throws {
            let records = test.wire.take()
            try #require(records.map(\.summary) == (isConfirmable ? ["< CON 2.05", "> ACK 0.00"] : ["< NON 2.05"]))
            let message = records[0].message
            #expect(message.token == request.token && message.payload == Array(text.utf8))
            #expect(message.options.contentFormat == response.options.contentFormat)
            let newer = try #require(message.options.observe)
            #expect((newer &- number) & 0xFF_FFFF < 0x80_0000 && newer != number)
            number = newer
            if isConfirmable {
                #expect(records[1].message.messageID == message.messageID && records[1].bytes.count == 4)
            }
        }

        /// Checks that the server's last word is this, and that it says no more.
        mutating func checkEnd(_ code: CoAPCode) async throws {
            #expect(try await next()?.code == code)
            #expect(try await states?.next() == nil)
            let last = test.wire.take()
            try #require(last.map(\.summary) == ["< CON \(code)", "> ACK 0.00"])
            #expect(last[0].message.token == request.token && !last[0].message.options.contains(.observe))
            try await checkSilence()
        }

        /// Checks that changes are told to nobody any more.
        func checkSilence() async throws {
            #expect(await test.server.server.observerCount(path) == 0)
            await test.server.change(Array("unheard".utf8), at: path)
            try await test.client.ping()
            #expect(test.wire.take().map(\.summary) == ["> CON 0.00", "< RST 0.00"])
        }
    }

    private func text(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// TD_COAP_OBS_01: confirmable notifications.
    @Test func obs01() async throws {
        try await Plugtest.with { test in
            var observing = try await Observing(test, "obs")
            for number in 1...4 { try await observing.change(to: "state \(number)") }
        }
    }

    /// TD_COAP_OBS_02: notifications that are not confirmable, and a request that is not.
    @Test func obs02() async throws {
        try await Plugtest.with(server: { $0.confirmableNotificationInterval = 100 }) { test in
            var observing = try await Observing(test, "obs-non", isConfirmable: false)
            for number in 1...4 { try await observing.change(to: "state \(number)", isConfirmable: false) }
        }
    }

    /// TD_COAP_OBS_05: the client is switched off. The server sends the newest state again and again, and then gives up.
    @Test func obs05() async throws {
        try await Plugtest.with(server: {
            $0.messages.acknowledgementTimeout = .milliseconds(250)
            $0.messages.maximumRetransmissions = 2
        }) { test in
            var observing = try await Observing(test, "obs")
            try await observing.change(to: "state 1")
            test.wire.lose { _ in true }
            await test.server.change(text("state 2"))
            let isNotification = { @Sendable (record: RecordedDatagram) in record.isLost && !record.isFromClient }
            #expect(await test.wire.has(where: isNotification))
            await test.server.change(text("state 3"))
            #expect(await test.wire.has(3, where: isNotification))
            let forgets = await isTrue { await test.server.server.observerCount("obs") == 0 }
            #expect(forgets)
            #expect(await test.server.server.counters.unacknowledged == 1)
            let lost = test.wire.take().filter(isNotification).map(\.message)
            #expect(lost.map(\.payload) == ["state 2", "state 3", "state 3"].map { text($0) })
            #expect(lost.allSatisfy { $0.type == .confirmable && $0.token == observing.request.token })
            let numbers = lost.compactMap(\.options.observe)
            #expect(numbers.count == 3 && numbers[0] > observing.number && numbers[1] > numbers[0])
            await test.server.change(text("state 4"))
            let isSilent = await isTrue { await test.server.server.counters.unacknowledged == 1 }
            #expect(isSilent && test.wire.take().isEmpty)
        }
    }

    /// TD_COAP_OBS_06: the client is started anew, at the same port, and knows of no observation.
    @Test func obs06() async throws {
        try await Plugtest.with { test in
            var observing = try await Observing(test, "obs")
            try await observing.change(to: "state 1")
            test.wire.keepSocket(true)
            await test.client.close()
            observing.states = nil
            let endpoint = Endpoint(host: "127.0.0.1", port: test.server.port)
            let next = CoAPClient(to: endpoint, over: test.wire)
            try await next.ping()
            #expect(test.wire.take().map(\.summary) == ["> CON 0.00", "< RST 0.00"])
            await test.server.change(text("state 2"))
            #expect(await test.wire.has { $0.isFromClient && $0.message.type == .reset })
            let records = test.wire.take()
            try #require(records.map(\.summary) == ["< CON 2.05", "> RST 0.00"])
            #expect(records[0].message.token == observing.request.token)
            #expect(records[1].message.messageID == records[0].message.messageID && records[1].bytes.count == 4)
            let forgets = await isTrue { await test.server.server.observerCount("obs") == 0 }
            #expect(forgets)
            await test.server.change(text("state 3"))
            try await next.ping()
            #expect(test.wire.take().map(\.summary) == ["> CON 0.00", "< RST 0.00"])
            test.wire.keepSocket(false)
            await next.close()
        }
    }

    /// TD_COAP_OBS_07: another client deletes the resource.
    @Test func obs07() async throws {
        try await Plugtest.with { test in
            var observing = try await Observing(test, "obs")
            try await observing.change(to: "state 1")
            let other = LoopedClient(port: test.server.port)
            #expect(try await other.client.delete("obs").code == .deleted)
            await test.server.server.notify("obs")
            try await observing.checkEnd(.notFound)
            await other.close()
        }
    }

    /// TD_COAP_OBS_08: another client gives the resource another format.
    @Test func obs08() async throws {
        try await Plugtest.with { test in
            var observing = try await Observing(test, "obs")
            try await observing.change(to: "state 1")
            let other = LoopedClient(port: test.server.port)
            #expect(try await other.client.put("obs", payload: text("<a/>"), format: .xml).code == .changed)
            await test.server.server.notify("obs")
            try await observing.checkEnd(.notAcceptable)
            await other.close()
        }
    }

    /// TD_COAP_OBS_09: another client changes the resource.
    @Test func obs09() async throws {
        try await Plugtest.with { test in
            var observing = try await Observing(test, "obs")
            try await observing.change(to: "state 1")
            let other = LoopedClient(port: test.server.port)
            for number in 2...4 {
                try await observing.change(to: "state \(number)") {
                    let payload = text("state \(number)")
                    let response = try await other.client.put("obs", payload: payload, format: .textPlain)
                    #expect(response.code == .changed)
                    await test.server.server.notify("obs")
                }
            }
            await other.close()
        }
    }

    /// TD_COAP_OBS_10: a GET without the option leaves the observation as it is.
    @Test func obs10() async throws {
        try await Plugtest.with { test in
            var observing = try await Observing(test, "obs")
            try await observing.change(to: "state 1")
            let displayed = try await test.client.get("obs")
            let (request, response) = try test.wire.takeExchange()
            #expect(request.token != observing.request.token && !request.options.contains(.observe))
            #expect(response.code == .content && !response.options.contains(.observe))
            #expect(response.options.contentFormat == .textPlain && displayed.payload == text("state 1"))
            try await observing.change(to: "state 2")
        }
    }

    /// TD_COAP_OBS_11: notifications and their acknowledgements are lost. There is never more than one under way.
    @Test func obs11() async throws {
        try await Plugtest.with(server: { $0.messages.acknowledgementTimeout = .milliseconds(60) }) { test in
            var observing = try await Observing(test, "obs")
            let counts = Guarded([true: 0, false: 0])
            // Every other notification, and every other acknowledgement.
            test.wire.lose { record in
                counts.withLock {
                    $0[record.isFromClient, default: 0] += 1
                    return $0[record.isFromClient]?.isMultiple(of: 2) == false
                }
            }
            for last in ["state 2", "state 4"] {
                await test.server.change(text("state before"))
                await test.server.change(text(last))
                while let state = try await observing.next() { if state.payload == text(last) { break } }
            }
            // What is not acknowledged is sent again, so that this is the last one.
            let wire = test.wire
            #expect(await eventually { wire.records.last.map { $0.isFromClient && !$0.isLost } == true })
            checkOneAtATime(test.wire.take())
            #expect(await test.server.server.counters.unacknowledged == 0)
        }
    }

    /// Checks that each notification comes when the one before is acknowledged, or in its place after the wait for that.
    private func checkOneAtATime(_ records: [RecordedDatagram]) {
        var last: RecordedDatagram?
        var isAcknowledged = true
        #expect(records.contains { $0.isLost && !$0.isFromClient } && records.contains { $0.isLost && $0.isFromClient })
        for record in records {
            if record.isFromClient {
                #expect(record.message.messageID == last?.message.messageID)
                isAcknowledged = isAcknowledged || !record.isLost
                continue
            }
            #expect(record.message.type == .confirmable)
            if let last, !isAcknowledged, record.message.messageID != last.message.messageID {
                // A newer state in place of a retransmission (RFC 7641, 4.5.2).
                #expect(record.message.options.observe != last.message.options.observe)
            }
            // Timers never fire early.
            if let last, !isAcknowledged { #expect(record.time - last.time > .milliseconds(30)) }
            (last, isAcknowledged) = (record, false)
        }
    }

    /// TD_COAP_OBS_12: GET with the option's value 1 ends the observation.
    @Test func obs12() async throws {
        try await Plugtest.with { test in
            var observing = try await Observing(test, "obs")
            try await observing.change(to: "state 1")
            observing.states = nil
            #expect(await test.wire.has(2) { $0.message.code == .get })
            #expect(
                await test.wire.has {
                    $0.message.type == .acknowledgement && !$0.isFromClient && $0.message.options.observe == nil
                }
            )
            let (request, response) = try test.wire.takeExchange()
            #expect(request.code == .get && request.token == observing.request.token && request.options.observe == 1)
            #expect(response.code == .content && response.options.contentFormat == .textPlain)
            #expect(!response.options.contains(.observe))
            try await observing.checkSilence()
        }
    }

    /// TD_COAP_OBS_13 and 14: a resource of several blocks; with 14, of another size each time (RFC 7959, 3.4).
    @Test(arguments: [[2_000, 2_000, 2_000], [2_000, 700, 100, 3_000, 0, 1_024]]) func obs13and14(sizes: [Int])
        async throws
    {
        try await Plugtest.with(server: { $0.messages.blockBytes = 256 }) { test in
            test.server.state.withLock { $0.observed = [UInt8](repeating: UInt8(ascii: "a"), count: 1_500) }
            var states = test.client.observe("obs-large").makeAsyncIterator()
            #expect(try await states.next().flatMap(payload)?.count == 1_500)
            let token = try #require(test.wire.records.first).message.token
            _ = test.wire.take()
            for (index, size) in sizes.enumerated() {
                let body = [UInt8](repeating: UInt8(ascii: "b") + UInt8(index), count: size)
                await test.server.change(body, at: "obs-large")
                #expect(try await states.next().flatMap(payload) == body)
                let records = test.wire.take()
                let notification = try #require(records.first).message
                #expect(notification.type == .confirmable && notification.token == token)
                #expect(notification.options.contains(.observe) && notification.payload == Array(body.prefix(256)))
                #expect(notification.options.block2?.hasMore ?? false == (size > 256))
                // The other blocks are asked for with another token, and without the option.
                let requests = records.filter { $0.message.code == .get }.map(\.message)
                #expect(requests.map { $0.options.block2?.number } == (0..<(size + 255) / 256).dropFirst().map { $0 })
                #expect(requests.allSatisfy { $0.token != token && !$0.options.contains(.observe) })
                let answers = records.filter { $0.message.type == .acknowledgement && !$0.isFromClient }
                #expect(answers.allSatisfy { !$0.message.options.contains(.observe) })
                #expect(answers.count == requests.count)
            }
        }
    }

    private func payload(_ notification: CoAPNotification) -> [UInt8]? {
        if case .response(let response) = notification { response.payload } else { nil }
    }

    /// Whether a condition holds within ten seconds.
    private func isTrue(_ condition: () async -> Bool) async -> Bool {
        for _ in 0..<1_000 {
            if await condition() { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }
}
