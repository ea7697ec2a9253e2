import SAL
import Testing

@testable import CoAPClient

/// A server's messages, requests and responses (RFC 7252).
@Suite struct ServerTests {
    private func server(change: (inout CoAPServerConfiguration) -> Void = { _ in }) -> ServerUnderTest {
        var server = ServerUnderTest(change: change)
        server.add("hello", [.get, .put]) { .content(ascii("hi " + String(decoding: $0.payload, as: UTF8.self))) }
        server.add("later", [.get, .post]) { _ in nil }
        return server
    }

    // MARK: Messages (4)

    /// Bytes of RFC 7252, appendix A, figure 16: a GET of /temperature, and its piggybacked response.
    @Test func answersAsTheStandardShows() {
        var server = ServerUnderTest()
        server.add("temperature") { _ in .content(ascii("22.3 C")) }
        let sent = server.receive(hex("4001 7d34 bb74656d7065726174757265"))
        #expect(sent.map { hex($0.message.encoded) } == [hex(hex("6045 7d34 ff32322e332043"))])
        #expect(sent.first?.peer == peer(1))
    }

    @Test func aCopyGetsTheSameAnswerAndNoHandler() {
        var server = server()
        let first = server.receive(request(.put, "hello", payload: ascii("you")))
        #expect(first == [.piggybacked(.content, "hi you")])
        server.now = .seconds(200)
        #expect(server.receive(request(.put, "hello", payload: ascii("you"))) == first)
        #expect(server.handled.count == 1 && server.session.counters.duplicates == 1)
        // Another peer, another ID, and the same after EXCHANGE_LIFETIME are requests of their own.
        #expect(server.receive(request(.put, "hello"), from: peer(2)) == [.piggybacked(.content, "hi ")])
        #expect(server.receive(request(.put, "hello"), from: peer(1, port: 9)) == [.piggybacked(.content, "hi ")])
        #expect(server.receive(request(.put, "hello", id: 2)) == [.piggybacked(.content, id: 2, "hi ")])
        server.now = .seconds(248)
        #expect(server.receive(request(.put, "hello")) == [.piggybacked(.content, "hi ")])
        #expect(server.handled.count == 5)
    }

    @Test func aSlowHandlerAnswersSeparately() throws {
        var server = server()
        #expect(server.receive(request(.get, "later")) == [])
        #expect(server.pass(to: .milliseconds(499)).isEmpty)
        #expect(server.pass(to: .milliseconds(500)).map(\.message) == [.empty(.acknowledgement, 1)])
        // Copies are acknowledged too.
        #expect(server.receive(request(.get, "later")) == [.empty(.acknowledgement, 1)])
        server.now = .seconds(5)
        let response = try #require(server.respond(to: 0, .content(ascii("done"))).first)
        #expect(response.type == .confirmable && response.code == .content && response.token == token([7]))
        #expect(server.receive(request(.get, "later")) == [.empty(.acknowledgement, 1)])
        // Unacknowledged, it comes again after 2 to 3 s, and then after twice as long.
        let again = server.pass(to: .seconds(8)).map(\.message)
        #expect(again == [response])
        #expect(server.receive(.empty(.acknowledgement, response.messageID)) == [])
        #expect(server.pass(to: .seconds(500)).isEmpty && server.session.deadline == nil)
        #expect(server.handled.count == 1 && server.remembered == [0, 0, 0, 0, 0])
    }

    @Test func aSeparateResponseIsGivenUpInTheEnd() throws {
        var server = server()
        _ = server.receive(request(.get, "later"))
        _ = server.pass(to: .seconds(1))
        let response = try #require(server.respond(to: 0, .content([])).first)
        // Who has the ID, but another address, acknowledges nothing.
        #expect(server.receive(.empty(.acknowledgement, response.messageID), from: peer(2)) == [])
        var times: [Duration] = []
        while let deadline = server.session.deadline {
            if !server.pass(to: deadline).isEmpty { times.append(deadline) }
        }
        #expect(times.count == 4 && server.session.counters.retransmissions == 4)
        let waits = zip([.seconds(1)] + times, times).map { $1 - $0 }
        let first = try #require(waits.first)
        #expect(first >= .seconds(2) && first <= .seconds(3))
        for (wait, next) in zip(waits, waits.dropFirst()) { #expect(next == wait + wait) }
        #expect(server.session.counters.unacknowledged == 1 && server.session.transmissions.isEmpty)
    }

    @Test func aResetEndsASeparateResponse() throws {
        var server = server()
        _ = server.receive(request(.get, "later"))
        _ = server.pass(to: .seconds(1))
        let response = try #require(server.respond(to: 0, .content([])).first)
        #expect(server.receive(.empty(.reset, response.messageID)) == [])
        #expect(server.pass(to: .seconds(100)).isEmpty)
    }

    @Test func aHandlerThatNeverAnswersIsReplaced() {
        var server = server()
        _ = server.receive(request(.get, "later"))
        let sent = server.pass(to: .seconds(60)).map(\.message)
        #expect(sent.map(\.code) == [.empty, .serviceUnavailable] && server.abandoned == [server.handled[0].id])
        #expect(server.respond(to: 0, .content([])) == [])
    }

    @Test func whatIsNotConfirmedIsAnsweredSo() throws {
        var server = server()
        let request = request(.get, "hello", type: .nonConfirmable)
        let sent = server.receive(request)
        let response = try #require(sent.first)
        #expect(sent.count == 1 && response.type == .nonConfirmable && response.payload == ascii("hi "))
        #expect(response.token == request.token)
        #expect(server.receive(request) == [], "a copy is ignored")
        #expect(server.handled.count == 1)
        #expect(server.pass(to: .seconds(300)).isEmpty)
    }

    /// RFC 7252, 4.2, 4.3 and 3.
    @Test(
        arguments: [
            ("a ping", "40000001", "70000001"), ("an empty message without confirmation", "50000001", ""),
            ("a response", "41450001aa", "70000001"), ("a response without confirmation", "51450001aa", ""),
            ("version 2", "80010001", ""), ("no header", "4001", ""),
            ("a token of nine bytes", "49010001010203040506070809", "70000001"),
            ("a reserved class", "40210001", "70000001"), ("an option that is cut off", "40010001bb74", "70000001"),
            ("a marker without payload", "40010001ff", "70000001"), ("the same without confirmation", "50010001ff", ""),
            ("an acknowledgement of nothing", "60000001", ""), ("a reset of nothing", "70000001", ""),
            ("a response with an acknowledgement", "61450001aa", ""), ("a ping with content", "4000000101", "70000001"),
        ] as [(String, String, String)]
    )
    func rejectsWhatIsNoRequest(name: String, bytes: String, answer: String) {
        var server = server()
        #expect(server.receive(hex(bytes)).map { hex($0.message.encoded) }.joined() == answer, "\(name)")
        #expect(server.handled.isEmpty)
    }

    // MARK: Requests (5)

    @Test(
        arguments: [
            ("nothing there", request(.get, "nowhere"), .notFound), ("below it", request(.get, "hello/you"), .notFound),
            ("the root", request(.get), .notFound), ("another method", request(.delete, "hello"), .methodNotAllowed),
            ("an unknown method", request(CoAPCode(0, 31), "hello"), .methodNotAllowed),
            ("a proxy", request(.get) { $0.add(.proxyUri, ascii("coap://x")) }, .proxyingNotSupported),
            ("a proxy", request(.get, "hello") { $0.add(.proxyScheme, ascii("coap")) }, .proxyingNotSupported),
            ("dots", request(.get, "hello/.."), .badRequest), ("a dot", request(.get, "."), .badRequest),
            ("block size 7", request(.get, "hello") { $0.add(.block2, [7]) }, .badRequest),
        ] as [(String, CoAPMessage, CoAPCode)]
    )
    func refusesWhatItCannotServe(name: String, message: CoAPMessage, code: CoAPCode) {
        var server = server()
        #expect(server.receive(message).map(\.code) == [code], "\(name)")
        #expect(server.handled.isEmpty)
    }

    @Test(arguments: [(65_001, [1]), (9, []), (23, [0, 0, 0, 0]), (5, [1])] as [(UInt16, [UInt8])])
    func refusesCriticalOptions(option: UInt16, value: [UInt8]) {
        var server = server()
        let message = request(.get, "hello") { $0.add(number(option), value) }
        #expect(server.receive(message) == [.piggybacked(.badOption, "option \(option)")])
        #expect(server.receive(request(.get, "hello", type: .nonConfirmable) { $0.add(number(option), value) }) == [])
        #expect(server.handled.isEmpty)
        // Elective ones do not matter.
        #expect(server.receive(request(.get, "hello") { $0.add(number(65_000), [1]) }).map(\.code) == [.content])
    }

    @Test func theHandlerMayUnderstandAnOption() {
        var server = server { $0.messages.understoodOptions = [number(65_001)] }
        #expect(server.receive(request(.get, "hello") { $0.add(number(65_001), [1]) }).map(\.code) == [.content])
    }

    @Test func oneHostIsNotAnother() {
        var server = server { $0.hosts = [ascii("here.example")] }
        for (host, code) in [("HERE.example", .content), ("there.example", .proxyingNotSupported)]
            as [(String, CoAPCode)]
        {
            #expect(
                server.receive(request(.get, "hello", id: 3) { $0.add(.uriHost, ascii(host)) }).map(\.code) == [code]
            )
            server.now += .seconds(250)
        }
        var any = self.server()
        #expect(any.receive(request(.get, "hello") { $0.add(.uriHost, ascii("x")) }).map(\.code) == [.content])
    }

    @Test func formatsAreAgreedOn() {
        var server = ServerUnderTest()
        server.add("both", [.get, .put]) {
            $0.formats = [.textPlain, .json]
            $0.acceptedFormats = [.json]
        } handler: { _ in
            CoAPResponse(.changed)
        }
        for (id, accept, code) in [(1, .json, .changed), (2, .cbor, .notAcceptable)]
            as [(UInt16, CoAPContentFormat, CoAPCode)]
        {
            #expect(server.receive(request(.get, "both", id: id) { $0.accept = accept }).map(\.code) == [code])
        }
        for (id, format, code) in [(3, .json, .changed), (4, .cbor, .unsupportedContentFormat)]
            as [(UInt16, CoAPContentFormat, CoAPCode)]
        {
            let message = request(.put, "both", id: id, payload: [1]) { $0.contentFormat = format }
            #expect(server.receive(message).map(\.code) == [code])
        }
    }

    @Test func aKnownRepresentationIsOnlyConfirmed() {
        var server = ServerUnderTest()
        server.add("file") { _ in .content([1, 2], format: .octetStream, eTag: [5], maxAge: 9) }
        var valid = CoAPMessage.piggybacked(.valid)
        valid.options.eTag = [5]
        valid.options.maxAge = 9
        #expect(
            server.receive(
                request(.get, "file") {
                    $0.add(.eTag, [4]); $0.add(.eTag, [5])
                }
            ) == [valid]
        )
        #expect(server.receive(request(.get, "file", id: 2) { $0.add(.eTag, [4]) }).first?.payload == [1, 2])
    }

    /// RFC 7252, 5.10.8.
    @Test func preconditionsAreChecked() {
        var server = ServerUnderTest()
        server.add("none", .put) { $0.failedPrecondition(current: nil) ?? CoAPResponse(.created) }
        server.add("five", .put) { $0.failedPrecondition(current: [5]) ?? CoAPResponse(.changed) }
        var id: UInt16 = 0
        for (path, options, code) in [
            ("none", [], .created), ("none", [(5, [])], .created), ("none", [(1, [])], .preconditionFailed),
            ("none", [(1, [5])], .preconditionFailed), ("five", [], .changed), ("five", [(5, [])], .preconditionFailed),
            ("five", [(1, [])], .changed), ("five", [(1, [5])], .changed), ("five", [(1, [4]), (1, [5])], .changed),
            ("five", [(1, [4])], .preconditionFailed),
        ] as [(String, [(UInt16, [UInt8])], CoAPCode)] {
            id += 1
            let message = request(.put, path, id: id) {
                for (option, value) in options { $0.add(number(option), value) }
            }
            #expect(server.receive(message).map(\.code) == [code], "\(path) \(options)")
        }
    }

    /// RFC 7967, 2.1: 2 for success, 8 and 16 for errors.
    @Test(
        arguments: [(0, true, true), (2, false, true), (8, true, false), (24, true, false), (26, false, false)]
            as [(UInt32, Bool, Bool)]
    )
    func unwantedResponsesAreNotSent(value: UInt32, wantsSuccess: Bool, wantsErrors: Bool) {
        var server = server()
        var id: UInt16 = 0
        for (path, isWanted) in [("hello", wantsSuccess), ("nowhere", wantsErrors)] {
            id += 2
            let confirmable = server.receive(request(.get, path, id: id) { $0.noResponse = value })
            #expect(confirmable.map(\.code.isResponse) == [isWanted], "it is acknowledged in any case")
            let other = server.receive(request(.get, path, id: id + 1, type: .nonConfirmable) { $0.noResponse = value })
            #expect(other.count == (isWanted ? 1 : 0))
        }
        // Also when it comes later.
        _ = server.receive(request(.get, "later", id: 9) { $0.noResponse = value })
        #expect(server.pass(to: .seconds(1)).map(\.message) == [.empty(.acknowledgement, 9)])
        #expect(server.respond(to: server.handled.count - 1, CoAPResponse(.changed)).count == (wantsSuccess ? 1 : 0))
    }

    /// RFC 7252, 8.
    @Test func groupsAreAnsweredAtLeisure() {
        var server = server()
        server.now = .seconds(10)
        #expect(server.receive(request(.get, "hello"), isMulticast: true) == [], "confirmable")
        #expect(server.receive(request(.get, "nowhere", id: 2, type: .nonConfirmable), isMulticast: true) == [])
        #expect(
            server.receive([0x40, 0, 0, 1], isMulticast: true).isEmpty
                && server.receive([0x50, 1, 0, 1, 0xFF], isMulticast: true).isEmpty
        )
        #expect(server.session.deadline == nil)
        var times: Set<Duration> = []
        for id in 10..<30 as Range<UInt16> {
            #expect(server.receive(request(.get, "hello", id: id, type: .nonConfirmable), isMulticast: true) == [])
            let time = server.session.deadline ?? .zero
            times.insert(time - server.now)
            let sent = server.pass(to: time)
            #expect(sent.map(\.message.type) == [.nonConfirmable] && sent.first?.message.code == .content)
        }
        #expect(
            times.count > 15 && times.allSatisfy { $0 >= .zero && $0 < .seconds(5) }
                && times.contains { $0 > .seconds(2) }
        )
        // Nothing to list is nothing to say.
        let none = request(.get, ".well-known/core", id: 40, type: .nonConfirmable) { $0.addQuery("rt=x".utf8.span) }
        #expect(server.receive(none, isMulticast: true) == [] && server.pass(to: .seconds(500)).isEmpty)
        // The option says otherwise.
        let wanted = request(.get, "nowhere", id: 41, type: .nonConfirmable) { $0.noResponse = 0 }
        _ = server.receive(wanted, isMulticast: true)
        #expect(server.pass(to: .seconds(600)).map(\.message.code) == [.notFound])
    }

    /// RFC 9175, 2.3.
    @Test func oldRequestsAreFoundOut() throws {
        var server = ServerUnderTest()
        server.add("lock", [.get, .put]) {
            $0.requiresFreshness = true
        } handler: { _ in
            CoAPResponse(.changed)
        }
        server.now = .seconds(1_000)
        #expect(server.receive(request(.get, "lock", id: 1)).map(\.code) == [.changed])
        let challenge = try #require(server.receive(request(.put, "lock", id: 2)).first)
        let echo = try #require(challenge.options.first(.echo))
        #expect(challenge.code == .unauthorized && server.handled.count == 1)
        func put(_ id: UInt16, _ echo: [UInt8]) -> CoAPMessage { request(.put, "lock", id: id) { $0.add(.echo, echo) } }
        #expect(server.receive(put(3, echo)).map(\.code) == [.changed])
        for (id, forged) in [
            (4, Array(echo.dropLast())), (5, [echo[0] ^ 1] + echo[1...]), (6, echo.dropLast() + [echo[11] ^ 1]),
        ]
            as [(UInt16, [UInt8])]
        {
            #expect(server.receive(put(id, forged)).map(\.code) == [.unauthorized])
        }
        #expect(server.receive(put(7, echo), from: peer(2)).map(\.code) == [.unauthorized])
        server.now = .seconds(1_061)
        #expect(server.receive(put(8, echo)).map(\.code) == [.unauthorized])
    }

    @Test func tooMuchAtOnceIsRefused() throws {
        var server = server {
            $0.exchangeLimit = 2
            $0.overloadMaxAge = 7
        }
        for id in 1...2 as ClosedRange<UInt16> { #expect(server.receive(request(.get, "later", id: id)) == []) }
        let refused = try #require(server.receive(request(.get, "later", id: 3)).first)
        #expect(refused.code == .tooManyRequests && refused.options.maxAge == 7 && server.session.counters.refused == 1)
        #expect(server.respond(to: 0, .content([])).count == 1)
        #expect(
            server.receive(request(.get, "hello", id: 3)).map(\.code) == [.content],
            "it is no copy of what was refused"
        )
        // A response that is not acknowledged counts too.
        _ = server.pass(to: .seconds(1))
        #expect(server.receive(request(.get, "later", id: 4)) == [])
        _ = server.pass(to: .seconds(2))
        _ = server.respond(to: 1, .content([]))
        #expect(server.receive(request(.get, "later", id: 5)).map(\.code) == [.tooManyRequests])
    }

    @Test func aDatagramThatIsTooLongIsWantedInBlocks() {
        var server = server()
        for isTruncated in [true, false] {
            let payload = [UInt8](repeating: 1, count: isTruncated ? 10 : 1_200)
            let sent = server.receive(request(.put, "hello", payload: payload).encoded, isTruncated: isTruncated)
            #expect(sent.map(\.message.code) == [.requestEntityTooLarge] && sent.first?.message.options.block1 != nil)
        }
        // What is no request is no better for being long.
        _ = server.receive(request(.get, "later"))
        _ = server.pass(to: .seconds(1))
        let response = server.respond(to: 0, .content([])).first
        let acknowledgement = CoAPMessage.empty(.acknowledgement, response?.messageID ?? 0).encoded
        #expect(server.receive(acknowledgement, isTruncated: true).isEmpty && server.session.transmissions.count == 1)
        #expect(server.receive(acknowledgement).isEmpty && server.session.transmissions.isEmpty)
        #expect(server.handled.count == 1)
    }

    @Test func whatIsNoResponseIsAnErrorOfTheServer() {
        var server = ServerUnderTest()
        server.add("odd") { _ in CoAPResponse(.get) }
        #expect(server.receive(request(.get, "odd")) == [.piggybacked(.internalServerError)])
    }

    // MARK: Resources

    @Test func theNearestResourceIsAsked() {
        var server = ServerUnderTest()
        for path in ["", "a", "a/b/c"] {
            server.add(path) {
                $0.includesSubpaths = path != "a/b/c"
            } handler: {
                .content(
                    ascii(path + ":" + $0.subpath.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/"))
                )
            }
        }
        var id: UInt16 = 0
        for (path, answer) in [
            ("", ":"), ("x/y", ":x/y"), ("a", "a:"), ("a/b", "a:b"), ("a/b/c", "a/b/c:"), ("a/b/c/d", "a:b/c/d"),
        ] {
            id += 1
            #expect(server.receive(request(.get, path, id: id)) == [.piggybacked(.content, id: id, answer)])
        }
    }

    @Test func aResourceThatIsRemovedAnswersItsLast() {
        var server = server()
        _ = server.receive(request(.get, "later"))
        server.session.remove([ascii("later")], at: server.now)
        server.drain()
        #expect(server.receive(request(.get, "later", id: 2)).map(\.code) == [.notFound, .notFound])
        #expect(server.abandoned == [server.handled[0].id])
    }

    /// RFC 6690.
    @Test func listsWhatItHas() throws {
        var server = ServerUnderTest()
        server.add("sensors/temp") {
            $0.isObservable = true
            $0.formats = [.textPlain, .json]
            try? $0.link.add("rt", ascii("temperature-c"))
            try? $0.link.add("title", ascii("a \"b\""))
        } handler: { _ in
            nil
        }
        server.add("hidden") {
            $0.isListed = false
        } handler: { _ in
            nil
        }
        server.add("ä b") { _ in nil }
        var id: UInt16 = 0
        for (query, text) in [
            (nil, #"</sensors/temp>;rt="temperature-c";title="a \"b\"";ct="0 50";obs,</%C3%A4%20b>"#),
            ("rt=temp*", #"</sensors/temp>;rt="temperature-c";title="a \"b\"";ct="0 50";obs"#), ("rt=x", ""),
            ("ct=50", #"</sensors/temp>;rt="temperature-c";title="a \"b\"";ct="0 50";obs"#),
        ] as [(String?, String)] {
            id += 1
            let message = request(.get, ".well-known/core", id: id) { if let query { $0.addQuery(query.utf8.span) } }
            let response = try #require(server.receive(message).first)
            #expect(
                String(decoding: response.payload, as: UTF8.self) == text
                    && response.options.contentFormat == .linkFormat
            )
        }
        #expect(server.receive(request(.put, ".well-known/core", id: 9)).map(\.code) == [.methodNotAllowed])
        #expect(
            server.receive(request(.get, ".well-known/core", id: 10) { $0.accept = .json }).map(\.code) == [
                .notAcceptable
            ]
        )
        server.add(".well-known/core") { _ in .content(ascii("mine")) }
        #expect(server.receive(request(.get, ".well-known/core", id: 11)).first?.payload == ascii("mine"))
    }
}
