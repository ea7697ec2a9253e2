import Testing

@testable import CoAPClient

/// Echo and Request-Tag (RFC 9175), and No-Response (RFC 7967).
@Suite struct FreshnessTests {
    private var challenge: CoAPOptions {
        var options = CoAPOptions()
        options.add(.echo, [1, 2, 3])
        return options
    }

    private func only(_ outputs: [CoAPSession.Output]) throws -> CoAPMessage {
        guard outputs.count == 1, case .transmit(let datagram) = outputs[0] else { throw Bench.UnexpectedOutput() }
        return try decode(datagram)
    }

    /// RFC 9175, figure 2.
    @Test func aRequestIsSentAgainWithWhatTheServerWantsToSee() throws {
        var bench = Bench()
        let (id, first) = try bench.start(CoAPRequest(.put, path: "lock", payload: [0]))
        let second = try only(
            bench.receive(first.response(.acknowledgement, .unauthorized, options: challenge, payload: []))
        )
        #expect(second.options.first(.echo) == [1, 2, 3] && second.options.pathSegments == [ascii("lock")])
        #expect(second.payload == [0] && second.token != first.token && second.messageID != first.messageID)
        #expect(
            bench.receive(second.response(.acknowledgement, .changed, payload: []))
                == [.finished(id, .success(CoAPResponse(.changed)))]
        )
        // A server that is never content has its answer told.
        let (other, third) = try bench.start()
        let fourth = try only(
            bench.receive(third.response(.acknowledgement, .unauthorized, options: challenge, payload: []))
        )
        let refusal = CoAPResponse(.unauthorized, options: challenge)
        #expect(
            bench.receive(fourth.response(.acknowledgement, .unauthorized, options: challenge, payload: []))
                == [.finished(other, .success(refusal))]
        )
    }

    /// All blocks of a body have it then.
    @Test func aBodyIsSentWithIt() throws {
        var bench = Bench()
        let (_, first) = try bench.start(CoAPRequest(.put, path: "x", payload: [UInt8](repeating: 1, count: 2_000)))
        let second = try only(
            bench.receive(first.response(.acknowledgement, .unauthorized, options: challenge, payload: []))
        )
        #expect(second.options.first(.echo) == [1, 2, 3] && second.options.block1 == first.options.block1)
        var options = CoAPOptions()
        options.block1 = second.options.block1
        let third = try only(bench.receive(second.response(.acknowledgement, .continue, options: options, payload: [])))
        #expect(third.options.first(.echo) == [1, 2, 3] && third.options.block1?.number == 1)
    }

    /// Bodies that go up together have tags of their own; one alone needs none.
    @Test func bodiesThatGoTogetherAreToldApart() throws {
        var bench = Bench { $0.outstandingLimit = 8 }
        let request = CoAPRequest(.put, path: "x", payload: [UInt8](repeating: 1, count: 2_000))
        let tags = try (0..<3).map { _ in try bench.start(request).message.options.first(.requestTag) }
        #expect(tags[0] == nil && tags[1] != nil && tags[2] != nil && tags[1] != tags[2])
    }

    @Test func whatNeedsNoResponseIsOverWhenItIsSent() throws {
        var bench = Bench()
        for (value, isConfirmable, isOver) in [(26, false, true), (26, true, false), (2, false, false)] {
            var request = CoAPRequest(.put, path: "x", payload: [1], isConfirmable: isConfirmable)
            request.options.noResponse = UInt32(value)
            let id = try bench.session.send(request, at: bench.now)
            let outputs = bench.outputs()
            #expect(outputs.count == (isOver ? 2 : 1))
            if isOver { #expect(outputs[1] == .finished(id, .success(CoAPResponse(.empty)))) }
            #expect(bench.session.requestCount == (isOver ? 0 : 1))
            bench.session.cancel(id, at: bench.now)
            _ = bench.outputs()
        }
    }
}
