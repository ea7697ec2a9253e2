import Testing

@testable import CoAPClient

private let acknowledgement = CoAPMessageType.acknowledgement

@Suite struct UnexpectedMessageTests {
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

    @Test func anAcknowledgementOfANonConfirmableRequestIsNone() throws {
        var bench = Bench()
        let (id, request) = try bench.start(CoAPRequest(.get, isConfirmable: false))
        #expect(bench.receive(request.empty(.acknowledgement)) == [])
        #expect(bench.receive(request.response(.acknowledgement)) == [])
        #expect(bench.session.counters.unexpected == 2)
        #expect(bench.receive(request.response(.nonConfirmable)) == [.finished(id, .success(warm))])
    }

    @Test func aSecondSeparateResponseIsNoCopyOfTheFirst() throws {
        var bench = Bench()
        let (_, request) = try bench.start()
        _ = bench.receive(request.response(.confirmable, messageID: 1))
        #expect(bench.receive(request.response(.confirmable, messageID: 2)) == [.transmit(hex("70000002"))])
    }
}
