import Testing

@testable import CoAPClient

/// Observing a resource (RFC 7641).
@Suite struct ObserveTests {
    private let observed: CoAPRequest = {
        var request = CoAPRequest(.get, path: "x")
        request.options.observe = 0
        return request
    }()

    private func options(_ number: UInt32, maxAge: UInt32? = nil, block2: CoAPBlock? = nil) -> CoAPOptions {
        var options = CoAPOptions()
        options.observe = number
        options.maxAge = maxAge
        options.block2 = block2
        return options
    }

    private func response(_ text: String, _ options: CoAPOptions) -> CoAPResponse {
        CoAPResponse(.content, options: options, payload: ascii(text))
    }

    /// A session that observes, whose server has answered "1" with the number 10.
    private func registered(_ bench: inout Bench, maxAge: UInt32? = nil) throws -> (CoAPExchangeID, CoAPMessage) {
        let (id, request) = try bench.start(observed)
        #expect(request.options.observe == 0)
        let options = options(10, maxAge: maxAge)
        #expect(
            bench.receive(request.response(.acknowledgement, options: options, payload: ascii("1")))
                == [.notification(id, response("1", options))]
        )
        return (id, request)
    }

    /// RFC 7641, figure 2.
    @Test func notificationsAreTold() throws {
        var bench = Bench()
        let (id, request) = try registered(&bench)
        #expect(bench.session.requestCount == 1)
        for (number, type) in [(11, CoAPMessageType.nonConfirmable), (12, .confirmable), (13, .confirmable)] {
            bench.now += .seconds(10)
            let options = options(UInt32(number))
            let message = request.response(
                type,
                messageID: UInt16(number),
                options: options,
                payload: ascii("\(number)")
            )
            let expected: [CoAPSession.Output] =
                (type == .confirmable ? [.transmit(CoAPMessage.empty(.acknowledgement, UInt16(number)).encoded)] : [])
                + [.notification(id, response("\(number)", options))]
            #expect(bench.receive(message) == expected)
            // A copy is acknowledged, and no more.
            #expect(bench.receive(message) == expected.dropLast())
        }
        #expect(bench.session.counters.duplicates == 3)
    }

    /// RFC 7641, 3.4: the numbers are compared as in a circle of 24 bits, but for 128 seconds only.
    @Test(
        arguments: [
            (10, 11, true), (10, 10, false), (10, 9, false), (0xFF_FFFF, 0, true), (0, 0xFF_FFFF, false),
            (5, 5 + 0x7F_FFFF, true), (5, 5 + 0x80_0000, false), (0x80_0005, 5, false), (0x80_0006, 5, true),
        ] as [(UInt32, UInt32, Bool)]
    )
    func olderNotificationsAreLeftOut(first: UInt32, second: UInt32, isNewer: Bool) throws {
        for isLate in [false, true] {
            var bench = Bench()
            let (id, request) = try bench.start(observed)
            _ = bench.receive(request.response(.acknowledgement, options: options(first)))
            bench.now += .seconds(isLate ? 129 : 128)
            let next = request.response(.confirmable, messageID: 7, options: options(second), payload: ascii("2"))
            let outputs = bench.receive(next)
            let isTold = isNewer || isLate
            #expect(outputs.contains(.notification(id, response("2", options(second)))) == isTold)
            #expect(outputs.contains(.transmit(hex("60000007"))))
            #expect(bench.session.counters.reordered == (isTold ? 0 : 1))
        }
    }

    @Test func aServerThatDoesNotObserveAnswersOnce() throws {
        var bench = Bench()
        let (id, request) = try bench.start(observed)
        #expect(bench.receive(request.response(.acknowledgement)) == [.finished(id, .success(warm))])
        // What it sends nevertheless is rejected (RFC 7641, 3.6).
        let late = request.response(.nonConfirmable, messageID: 8, options: options(11))
        #expect(bench.receive(late) == [.transmit(hex("70000008"))])
    }

    /// An error, or a response without the option, is the last word (RFC 7641, 4.2).
    @Test func theServerMayEndIt() throws {
        for code in [CoAPCode.notFound, .content] {
            var bench = Bench()
            let (id, request) = try registered(&bench)
            let last = request.response(.confirmable, code, messageID: 9, payload: ascii("gone"))
            #expect(
                bench.receive(last)
                    == [
                        .transmit(hex("60000009")), .finished(id, .success(CoAPResponse(code, payload: ascii("gone")))),
                    ]
            )
            #expect(bench.session.requestCount == 0)
        }
    }

    /// RFC 7641, 3.3.1: once what was told is not fresh any more, the server is asked again, with the same token.
    @Test func itIsRegisteredAnew() throws {
        var bench = Bench()
        let (id, request) = try registered(&bench, maxAge: 30)
        let start = bench.now
        let outputs = bench.runToNextOutput()
        let waited = bench.now - start
        #expect(waited >= .seconds(35) && waited <= .seconds(46))
        #expect(outputs.first == .stale(id))
        guard case .transmit(let datagram)? = outputs.last else { throw Bench.UnexpectedOutput() }
        let again = try decode(datagram)
        #expect(again.token == request.token && again.options == request.options)
        #expect(again.messageID != request.messageID)
        // The server has restarted, and counts from the start.
        let options = options(0, maxAge: 100)
        #expect(
            bench.receive(again.response(.acknowledgement, options: options, payload: ascii("2")))
                == [.notification(id, response("2", options))]
        )
        // A server that is gone ends it.
        var ends: [CoAPSession.Output] = []
        while bench.session.requestCount > 0 { ends = bench.runToNextOutput() }
        #expect(ends == [.finished(id, .failure(.notAcknowledged(transmissions: 5)))])
    }

    /// A notification that comes while it is asked again is as good as the answer.
    @Test func aNotificationInTimeIsEnough() throws {
        var bench = Bench()
        let (id, request) = try registered(&bench, maxAge: 30)
        _ = bench.runToNextOutput()
        let options = options(11, maxAge: 1_000)
        let next = request.response(.nonConfirmable, messageID: 3, options: options, payload: ascii("2"))
        #expect(bench.receive(next) == [.notification(id, response("2", options))])
        let start = bench.now
        #expect(bench.runToNextOutput().first == .stale(id))
        #expect(bench.now - start > .seconds(1_000))
    }

    /// A new socket, with another address perhaps: the server must know.
    @Test func aNewTransportRegistersAnew() throws {
        var bench = Bench()
        let (id, request) = try registered(&bench)
        bench.session.transportClosed()
        bench.now += .seconds(5)
        bench.session.transportOpened(at: bench.now)
        let again = try bench.sent()
        #expect(again.count == 1 && again[0].token == request.token && again[0].options.observe == 0)
        let options = options(5)
        #expect(
            bench.receive(again[0].response(.acknowledgement, options: options, payload: ascii("2")))
                == [.notification(id, response("2", options))]
        )
    }

    /// RFC 7641, 3.6: with Observe 1, and the token of the registration.
    @Test func cancellingTellsTheServer() throws {
        var bench = Bench()
        let (id, request) = try registered(&bench)
        bench.session.cancel(id, at: bench.now)
        let outputs = bench.outputs()
        #expect(outputs.first == .finished(id, .failure(.cancelled)) && bench.session.requestCount == 0)
        guard outputs.count == 2, case .transmit(let datagram)? = outputs.last else { throw Bench.UnexpectedOutput() }
        let last = try decode(datagram)
        #expect(last.type == .confirmable && last.token == request.token && last.options.observe == 1)
        #expect(last.options.pathSegments == request.options.pathSegments)
        // One that was under way is acknowledged, so that the server is not told twice.
        let late = request.response(.confirmable, messageID: 4, options: options(11))
        #expect(bench.receive(late) == [.transmit(hex("60000004"))])
        #expect(bench.receive(last.response(.acknowledgement)) == [])
        #expect(bench.session.counters == CoAPCounters() && bench.session.isIdle)
        // Then no more.
        let strange = request.response(.nonConfirmable, messageID: 5, options: options(12))
        #expect(bench.receive(strange) == [.transmit(hex("70000005"))])
    }

    @Test func cancellingBeforeTheAnswerIsSilent() throws {
        var bench = Bench()
        let (id, request) = try bench.start(observed)
        bench.session.cancel(id, at: bench.now)
        #expect(bench.outputs() == [.finished(id, .failure(.cancelled))])
        let late = request.response(.confirmable, messageID: 4, options: options(1))
        #expect(bench.receive(late) == [.transmit(hex("70000004"))])
    }

    /// A notification that does not fit into one message is its first block; the rest is fetched without the option, with another token (RFC 7959, 3.4).
    @Test func largeNotificationsAreFetched() throws {
        var bench = Bench()
        let (id, request) = try bench.start(observed)
        let body = (0..<100).map { UInt8($0) }
        func block(_ number: Int, _ observe: UInt32?) -> CoAPOptions {
            var options = CoAPOptions()
            options.observe = observe
            options.eTag = [7]
            options.block2 = CoAPBlock(number: number, hasMore: number < 1, sizeExponent: 2)
            return options
        }
        for number in [1, 2] as [UInt32] {
            let type: CoAPMessageType = number == 1 ? .acknowledgement : .nonConfirmable
            let first = request.response(
                type,
                messageID: number == 1 ? nil : 99,
                options: block(0, number),
                payload: Array(body[..<64])
            )
            guard case .transmit(let datagram)? = bench.receive(first).last else { throw Bench.UnexpectedOutput() }
            let rest = try decode(datagram)
            #expect(rest.token != request.token && rest.options.observe == nil && rest.options.block2?.number == 1)
            let outputs = bench.receive(
                rest.response(.acknowledgement, options: block(1, nil), payload: Array(body[64...]))
            )
            guard outputs.count == 1, case .notification(id, let whole) = outputs[0] else {
                throw Bench.UnexpectedOutput()
            }
            #expect(whole.payload == body && whole.options.observe == number && whole.options.block2 == nil)
            #expect(bench.session.requestCount == 1)
        }
        // A newer one ends the fetching of the one before.
        for messageID in [100, 101] as [UInt16] {
            let first = request.response(
                .nonConfirmable,
                messageID: messageID,
                options: block(0, UInt32(messageID)),
                payload: Array(body[..<64])
            )
            #expect(bench.receive(first).count == 1)
        }
        #expect(bench.session.exchanges.count == 2 && bench.session.counters.lostNotifications == 0)
        bench.session.cancel(id, at: bench.now)
        #expect(bench.session.exchanges.count == 1 && bench.session.requestCount == 0)
    }

    /// A rest that cannot be had is counted, and the observation goes on.
    @Test func aNotificationWhoseRestIsLostIsCounted() throws {
        var bench = Bench()
        let (_, request) = try bench.start(observed)
        var options = options(1)
        options.block2 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 0)
        guard
            case .transmit(let datagram)? = bench.receive(
                request.response(.acknowledgement, options: options, payload: [UInt8](repeating: 0, count: 16))
            ).last
        else { throw Bench.UnexpectedOutput() }
        #expect(bench.receive(try decode(datagram).response(.acknowledgement, .notFound, payload: [])) == [])
        #expect(bench.session.counters.lostNotifications == 1 && bench.session.requestCount == 1)
    }

    /// Over another socket the server would not know what it shall forget.
    @Test func whatEndsAnObservationEndsWithTheSocket() throws {
        var bench = Bench()
        let (id, _) = try registered(&bench)
        bench.session.cancel(id, at: bench.now)
        #expect(bench.outputs().count == 2 && !bench.session.isIdle)
        bench.session.transportClosed()
        #expect(bench.session.isIdle == true)
        bench.session.transportOpened(at: bench.now)
        let (other, _) = try bench.start(observed)
        bench.session.transportClosed()
        bench.session.cancel(other, at: bench.now)
        #expect(bench.outputs() == [.finished(other, .failure(.cancelled))] && bench.session.isIdle)
    }

    @Test func aRejectedRegistrationEnds() throws {
        var bench = Bench()
        let (id, request) = try bench.start(observed)
        #expect(bench.receive(request.empty(.reset)) == [.finished(id, .failure(.reset))])
        let (other, _) = try registered(&bench)
        bench.session.failAll(.closed)
        #expect(bench.outputs() == [.finished(other, .failure(.closed))])
        #expect(bench.session.isIdle && bench.session.requestCount == 0)
    }
}
