import Testing

@testable import CoAPClient

/// A session and what comes out of it, with the time as a value.
struct Bench {
    var session: CoAPSession
    var now: Duration = .seconds(1000)

    init(seed: UInt64 = 1, isOpen: Bool = true, change: (inout CoAPConfiguration) -> Void = { _ in }) {
        var configuration = CoAPConfiguration()
        change(&configuration)
        session = CoAPSession(configuration, seed: CoAPSeed(seed, 7))
        if isOpen { session.transportOpened(at: now) }
    }

    mutating func outputs() -> [CoAPSession.Output] {
        var outputs: [CoAPSession.Output] = []
        while let output = session.nextOutput() { outputs.append(output) }
        return outputs
    }

    /// The messages that are sent now; anything else is an error.
    mutating func sent() throws -> [CoAPMessage] {
        try outputs().map {
            guard case .transmit(let bytes) = $0 else { throw UnexpectedOutput() }
            return try decode(bytes)
        }
    }

    mutating func start(
        _ request: CoAPRequest = CoAPRequest(.get, path: "x"),
        timeout: Duration? = nil
    ) throws -> (id: CoAPExchangeID, message: CoAPMessage) {
        let id = try session.send(request, timeout: timeout, at: now)
        let sent = try sent()
        guard sent.count == 1 else { throw UnexpectedOutput() }
        return (id, sent[0])
    }

    mutating func receive(_ message: CoAPMessage, isTruncated: Bool = false) -> [CoAPSession.Output] {
        let bytes = message.encoded
        session.receive(bytes.span, isTruncated: isTruncated, at: now)
        return outputs()
    }

    mutating func receive(_ bytes: [UInt8]) -> [CoAPSession.Output] {
        session.receive(bytes.span, at: now)
        return outputs()
    }

    /// Goes on to the session's next deadline at which it puts something out, or to the end of its deadlines.
    mutating func runToNextOutput() -> [CoAPSession.Output] {
        while let deadline = session.deadline {
            now = max(now, deadline)
            session.handleTimeout(at: now)
            let outputs = outputs()
            if !outputs.isEmpty { return outputs }
        }
        return []
    }

    struct UnexpectedOutput: Error {}
}

extension CoAPMessage {
    func response(
        _ type: CoAPMessageType,
        _ code: CoAPCode = .content,
        messageID: UInt16? = nil,
        options: CoAPOptions = CoAPOptions(),
        payload: [UInt8] = ascii("22.3 C")
    ) -> CoAPMessage {
        CoAPMessage(
            type: type,
            code: code,
            messageID: messageID ?? self.messageID,
            token: token,
            options: options,
            payload: payload
        )
    }

    func empty(_ type: CoAPMessageType) -> CoAPMessage { .empty(type, messageID) }
}

private let acknowledgement = CoAPMessageType.acknowledgement
private let warm = CoAPResponse(.content, payload: ascii("22.3 C"))

@Suite struct SessionTests {
    // MARK: Responses

    /// RFC 7252, figure 2.
    @Test func aPiggybackedResponseEndsTheRequest() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(request.type == .confirmable && request.code == .get && request.token.count == 4)
        #expect(request.options.pathSegments == [ascii("x")])
        #expect(bench.receive(request.response(.acknowledgement)) == [.finished(id, .success(warm))])
        #expect(bench.session.requestCount == 0)
        #expect(bench.runToNextOutput() == [])
        #expect(bench.session.counters == CoAPCounters())
    }

    /// RFC 7252, figure 4.
    @Test func aSeparateResponseIsAcknowledged() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(bench.receive(request.empty(.acknowledgement)) == [])
        bench.now += .seconds(30)
        let response = request.response(.confirmable, messageID: 0xAD7B)
        #expect(
            bench.receive(response)
                == [.transmit(hex("6000ad7b")), .finished(id, .success(warm))]
        )
    }

    @Test func aSeparateResponseMayBeNonConfirmable() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        _ = bench.receive(request.empty(.acknowledgement))
        let response = request.response(.nonConfirmable, messageID: 5)
        #expect(bench.receive(response) == [.finished(id, .success(warm))])
        // Its copy goes no further, and is not rejected.
        #expect(bench.receive(response) == [])
        #expect(bench.session.counters.duplicates == 1)
    }

    /// RFC 7252, 5.2.2: the response says that the request has arrived.
    @Test func aSeparateResponseThatOvertakesTheAcknowledgementCounts() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        let response = request.response(.confirmable, messageID: 9)
        #expect(bench.receive(response) == [.transmit(hex("60000009")), .finished(id, .success(warm))])
        #expect(bench.receive(request.empty(.acknowledgement)) == [])
        #expect(bench.session.counters.unexpected == 1)
        #expect(bench.runToNextOutput() == [])
    }

    /// RFC 7252, 4.5.
    @Test func aCopyOfASeparateResponseIsAcknowledgedAgainAndDeliveredOnce() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        _ = bench.receive(request.empty(.acknowledgement))
        let response = request.response(.confirmable, messageID: 0xAD7B)
        #expect(bench.receive(response).contains(.finished(id, .success(warm))))
        for count in 1...3 {
            bench.now += .seconds(60)
            #expect(bench.receive(response) == [.transmit(hex("6000ad7b"))])
            #expect(bench.session.counters.duplicates == count)
        }
        // After EXCHANGE_LIFETIME, 247 s, it is a response to nothing.
        bench.now += .seconds(70)
        #expect(bench.receive(response) == [.transmit(hex("7000ad7b"))])
    }

    /// A peer that has restarted uses its message IDs again: another token tells the two apart.
    @Test func anotherResponseWithTheSameMessageIDIsNoCopy() throws {
        var bench = Bench()
        for payload in ["a", "b"] {
            let (id, request) = try bench.start()
            _ = bench.receive(request.empty(.acknowledgement))
            let response = request.response(.confirmable, messageID: 1, payload: ascii(payload))
            let expected = CoAPResponse(.content, payload: ascii(payload))
            #expect(bench.receive(response) == [.transmit(hex("60000001")), .finished(id, .success(expected))])
        }
    }

    @Test func rememberedResponsesAreBounded() throws {
        var bench = Bench { $0.duplicateLimit = 2 }
        var responses: [CoAPMessage] = []
        for index in 0..<3 {
            let (_, request) = try bench.start()
            responses.append(request.response(.confirmable, messageID: UInt16(index)))
            _ = bench.receive(responses[index])
        }
        #expect(bench.receive(responses[0]) == [.transmit(hex("70000000"))])
        #expect(bench.receive(responses[1]) == [.transmit(hex("60000001"))])
        #expect(bench.receive(responses[2]) == [.transmit(hex("60000002"))])
    }

    @Test func anErrorCodeIsAResponse() throws {
        for code in [CoAPCode.notFound, .internalServerError, CoAPCode(2, 31), CoAPCode(4, 29), CoAPCode(5, 31)] {
            var bench = Bench()
            let (id, request) = try bench.start()
            #expect(
                bench.receive(request.response(.acknowledgement, code, payload: []))
                    == [.finished(id, .success(CoAPResponse(code)))]
            )
        }
    }

    /// RFC 7252, figure 22 and 23.
    @Test(arguments: [CoAPMessageType.nonConfirmable, .confirmable])
    func aNonConfirmableRequestIsAnsweredToo(type: CoAPMessageType) throws {
        var bench = Bench()
        let (id, request) = try bench.start(CoAPRequest(.get, isConfirmable: false))
        #expect(request.type == .nonConfirmable)
        let outputs = bench.receive(request.response(type, messageID: 0xAD7E))
        #expect(outputs.last == .finished(id, .success(warm)))
        #expect(outputs.count == (type == .confirmable ? 2 : 1))
    }

    // MARK: What does not belong to a request

    @Test func anAcknowledgementMustHaveTheMessageIDAndTheTokenOfTheRequest() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(bench.receive(request.response(acknowledgement, messageID: request.messageID &+ 1)) == [])
        var foreign = request.response(acknowledgement)
        foreign.token = token([1, 2, 3, 4])
        #expect(bench.receive(foreign) == [])
        foreign.token = .empty
        #expect(bench.receive(foreign) == [])
        // A request in an acknowledgement is nonsense.
        #expect(bench.receive(request.response(acknowledgement, .get)) == [])
        #expect(bench.session.counters.unexpected == 4)
        #expect(bench.receive(request.response(acknowledgement)) == [.finished(id, .success(warm))])
    }

    /// RFC 7252, 4.2 and 4.3, figure 21.
    @Test(arguments: [CoAPMessageType.confirmable, .nonConfirmable])
    func anUnexpectedResponseIsRejected(type: CoAPMessageType) throws {
        var bench = Bench()
        let stray = CoAPMessage(type: type, code: .content, messageID: 0xAD7C, token: token([0x64]))
        #expect(bench.receive(stray) == [.transmit(hex("7000ad7c"))])
        let (id, request) = try bench.start()
        #expect(bench.receive(stray) == [.transmit(hex("7000ad7c"))])
        #expect(bench.receive(request.response(.acknowledgement)) == [.finished(id, .success(warm))])
        // A second response to the same request is as unexpected.
        #expect(bench.receive(request.response(type, messageID: 3)) == [.transmit(hex("70000003"))])
        #expect(bench.session.counters.resetsSent == 3)
    }

    @Test func aPingIsAnsweredWithAReset() {
        var bench = Bench()
        #expect(bench.receive(hex("40001234")) == [.transmit(hex("70001234"))])
    }

    @Test func aRequestToUsIsRejected() {
        var bench = Bench()
        #expect(bench.receive(hex("40011234 b161")) == [.transmit(hex("70001234"))])
    }

    @Test(arguments: [
        ("40011234 f0", "70001234"), ("49451234 00", "70001234"), ("40001234 00", "70001234"),
        ("51451234 00 ff", "70001234"), ("40e11234", "70001234"),
        ("60001234 00", nil), ("70001234 00", nil), ("6f451234", nil), ("80011234", nil), ("400112", nil), ("", nil),
    ])
    func malformedMessagesAreRejectedAndHarmNothing(bytes: String, reset: String?) throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(bench.receive(hex(bytes)) == (reset.map { [.transmit(hex($0))] } ?? []))
        #expect(bench.session.counters.malformed == 1)
        #expect(bench.receive(request.response(.acknowledgement)) == [.finished(id, .success(warm))])
    }

    /// Even one with the request's own message ID, or token, leaves the request as it is.
    @Test func aMalformedAnswerIsAsGoodAsLost() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(bench.receive(request.response(.acknowledgement).encoded + [] + hex("")) != [])
        _ = id
        let (second, next) = try bench.start()
        #expect(bench.receive(next.response(.acknowledgement, payload: []).encoded + [0xFF]) == [])
        #expect(bench.receive(next.response(.acknowledgement)) == [.finished(second, .success(warm))])
    }

    @Test func aResetEndsTheRequest() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(bench.receive(request.empty(.reset)) == [.finished(id, .failure(.reset))])
        let (non, other) = try bench.start(CoAPRequest(.post, isConfirmable: false))
        #expect(bench.receive(other.empty(.reset)) == [.finished(non, .failure(.reset))])
        #expect(bench.receive(other.empty(.reset)) == [])
        #expect(bench.session.counters.unexpected == 1)
    }

    @Test func aResetOfWhatWasAcknowledgedIsIgnored() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        _ = bench.receive(request.empty(.acknowledgement))
        #expect(bench.receive(request.empty(.reset)) == [])
        let response = request.response(.nonConfirmable, messageID: 1)
        #expect(bench.receive(response) == [.finished(id, .success(warm))])
    }

    // MARK: Options of responses

    /// RFC 7252, 5.4.1 to 5.4.5.
    @Test(
        arguments: [
            ([(65_001, [1])], 65_001), ([(9, [])], 9), ([(27, [0])], 27), ([(3, [])], 3), ([(7, [1, 2, 3])], 7),
            ([(17, []), (17, [])], 17), ([(61, [1])], 61),
        ] as [([(UInt16, [UInt8])], UInt16)]
    )
    func aCriticalOptionThatIsNotUnderstoodRejectsTheResponse(options: [(UInt16, [UInt8])], offender: UInt16) throws {
        let failure = Result<CoAPResponse, CoAPError>.failure(.unacceptableOption(number(offender)))
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(
            bench.receive(request.response(.acknowledgement, options: CoAPOptions(options))) == [.finished(id, failure)]
        )
        let (second, next) = try bench.start()
        #expect(
            bench.receive(next.response(.confirmable, messageID: 0x1111, options: CoAPOptions(options)))
                == [.transmit(hex("70001111")), .finished(second, failure)]
        )
    }

    @Test func electiveOptionsAreLeftToTheUser() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        let options = CoAPOptions([(4, []), (12, [0, 0, 50]), (14, []), (14, [9]), (65_000, [1]), (62, [])])
        let response = CoAPResponse(.content, options: options, payload: ascii("22.3 C"))
        #expect(
            bench.receive(request.response(.acknowledgement, options: options)) == [.finished(id, .success(response))]
        )
        #expect(response.options.contentFormat == nil && response.options.maxAge == 0)
    }

    @Test func theUserMayUnderstandMore() throws {
        var bench = Bench { $0.understoodOptions = [CoAPOptionNumber(rawValue: 61)] }
        let (id, request) = try bench.start()
        let options = CoAPOptions([(61, [1, 2])])
        let response = CoAPResponse(.content, options: options, payload: ascii("22.3 C"))
        #expect(
            bench.receive(request.response(.acknowledgement, options: options)) == [.finished(id, .success(response))]
        )
    }

    @Test(arguments: [acknowledgement, .confirmable, .nonConfirmable])
    func aResponseWithoutItsEndIsAnError(type: CoAPMessageType) throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        let outputs = bench.receive(request.response(type), isTruncated: true)
        #expect(outputs.last == .finished(id, .failure(.responseTruncated)))
        #expect(outputs.count == (type == acknowledgement ? 1 : 2))
        #expect(bench.receive(request.response(type), isTruncated: true).count == (type == acknowledgement ? 0 : 1))
    }

    // MARK: The hub's way to acknowledge

    @Test func withTheSwitchAnEmptyValidIsAnAcknowledgement() throws {
        var bench = Bench { $0.treatsEmptyValidAsAcknowledgement = true }
        let (id, request) = try bench.start()
        #expect(bench.receive(request.response(.acknowledgement, .valid, payload: [])) == [])
        #expect(bench.receive(request.response(.acknowledgement, .valid, payload: [])) == [])
        let response = request.response(.confirmable, messageID: 2)
        #expect(bench.receive(response) == [.transmit(hex("60000002")), .finished(id, .success(warm))])
    }

    @Test func withTheSwitchOnlyThisOneIs() throws {
        var bench = Bench { $0.treatsEmptyValidAsAcknowledgement = true }
        // Another token, a payload, options, a request with an ETag, a message of its own: all by the standard.
        let (id, request) = try bench.start()
        var foreign = request.response(.acknowledgement, .valid, payload: [])
        foreign.token = .empty
        #expect(bench.receive(foreign) == [])
        #expect(bench.runToNextOutput() == [.transmit(request.encoded)])
        #expect(
            bench.receive(request.response(.acknowledgement, .valid, payload: [1]))
                == [.finished(id, .success(CoAPResponse(.valid, payload: [1])))]
        )
        let (second, withETag) = try bench.start(CoAPRequest(.get, options: CoAPOptions([(4, [1])])))
        #expect(
            bench.receive(withETag.response(.acknowledgement, .valid, payload: []))
                == [.finished(second, .success(CoAPResponse(.valid)))]
        )
        let (third, last) = try bench.start()
        #expect(
            bench.receive(last.response(.nonConfirmable, .valid, payload: []))
                == [.finished(third, .success(CoAPResponse(.valid)))]
        )
    }

    @Test func withoutTheSwitchAnEmptyValidIsTheResponse() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        #expect(
            bench.receive(request.response(.acknowledgement, .valid, payload: []))
                == [.finished(id, .success(CoAPResponse(.valid)))]
        )
    }
}
