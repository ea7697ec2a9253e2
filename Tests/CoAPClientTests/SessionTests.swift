import Testing

@testable import CoAPClient

private let acknowledgement = CoAPMessageType.acknowledgement

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

    // MARK: Options of responses

    /// RFC 7252, 5.4.1 to 5.4.5.
    @Test(
        arguments: [
            ([(65_001, [1])], 65_001), ([(9, [])], 9), ([(27, [1, 2, 3, 4])], 27), ([(3, [])], 3),
            ([(7, [1, 2, 3])], 7),
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
