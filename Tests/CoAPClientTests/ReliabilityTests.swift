import Testing

@testable import CoAPClient

@Suite struct ReliabilityTests {
    // MARK: Retransmission (RFC 7252, 4.2)

    @Test(arguments: 0..<20)
    func aConfirmableRequestIsSentFiveTimesWithDoublingWaits(seed: UInt64) throws {
        var bench = Bench(seed: seed)
        let start = bench.now
        let (id, request) = try bench.start()
        var waits: [Duration] = []
        var last = start
        for _ in 0..<4 {
            #expect(bench.runToNextOutput() == [.transmit(request.encoded)])
            waits.append(bench.now - last)
            last = bench.now
        }
        #expect(waits[0] >= .seconds(2) && waits[0] <= .seconds(3))
        // Drawn once: the others are its multiples.
        #expect(waits == [waits[0], waits[0] * 2, waits[0] * 4, waits[0] * 8])
        #expect(bench.runToNextOutput() == [.finished(id, .failure(.notAcknowledged(transmissions: 5)))])
        // MAX_TRANSMIT_WAIT is 93 s.
        #expect(bench.now - start == waits[0] * 31 && bench.now - start <= .seconds(93))
        #expect(bench.session.counters.retransmissions == 4)
        #expect(bench.session.deadline == nil || bench.runToNextOutput() == [])
    }

    @Test func theFirstWaitDiffersFromRequestToRequest() throws {
        var waits = Set<Duration>()
        for seed in 0..<50 {
            var bench = Bench(seed: UInt64(seed))
            _ = try bench.start()
            let start = bench.now
            _ = bench.runToNextOutput()
            waits.insert(bench.now - start)
        }
        #expect(waits.count == 50)
        #expect((waits.min() ?? .zero) < .milliseconds(2_100) && (waits.max() ?? .zero) > .milliseconds(2_900))
    }

    /// RFC 7252, 4.8.2.
    @Test func theDerivedTimesAreThoseOfTheStandard() {
        let timeouts = CoAPTimeouts(CoAPConfiguration())
        #expect(timeouts.exchangeLifetime == .seconds(247))
        #expect(timeouts.nonConfirmableLifetime == .seconds(145))
    }

    @Test func theParametersAreConfigurable() throws {
        var bench = Bench {
            $0.acknowledgementTimeout = .seconds(5)
            $0.acknowledgementRandomFactorPercent = 100
            $0.maximumRetransmissions = 1
        }
        let start = bench.now
        let (id, request) = try bench.start()
        #expect(bench.runToNextOutput() == [.transmit(request.encoded)])
        #expect(bench.now - start == .seconds(5))
        #expect(bench.runToNextOutput() == [.finished(id, .failure(.notAcknowledged(transmissions: 2)))])
        #expect(bench.now - start == .seconds(15))
    }

    @Test func aRetransmissionMayBeTheOneThatArrives() throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        _ = bench.runToNextOutput()
        _ = bench.runToNextOutput()
        guard case .finished(id, .success) = bench.receive(request.response(.acknowledgement)).first else {
            Issue.record("not finished")
            return
        }
        // The answers to the other copies come late.
        #expect(bench.receive(request.response(.acknowledgement)) == [])
        #expect(bench.runToNextOutput() == [])
    }

    @Test func anAcknowledgementStopsRetransmission() throws {
        var bench = Bench()
        let start = bench.now
        let (id, request) = try bench.start()
        #expect(bench.receive(request.empty(.acknowledgement)) == [])
        #expect(bench.runToNextOutput() == [.finished(id, .failure(.noResponse))])
        #expect(bench.now - start == .seconds(247))
    }

    @Test func aNonConfirmableRequestIsSentOnce() throws {
        var bench = Bench()
        let start = bench.now
        let (id, _) = try bench.start(CoAPRequest(.get, isConfirmable: false))
        #expect(bench.runToNextOutput() == [.finished(id, .failure(.noResponse))])
        #expect(bench.now - start == .seconds(10))
    }

    // MARK: Deadlines

    @Test func aTimeoutEndsWhatIsNotAcknowledged() throws {
        var bench = Bench()
        let start = bench.now
        let (id, _) = try bench.start(timeout: .milliseconds(5_500))
        var outputs = bench.runToNextOutput()
        while case .transmit = outputs.first { outputs = bench.runToNextOutput() }
        #expect(outputs == [.finished(id, .failure(.notAcknowledged(transmissions: 2)))])
        #expect(bench.now - start == .milliseconds(5_500))
    }

    @Test func aTimeoutEndsTheWaitForTheResponse() throws {
        var bench = Bench()
        let start = bench.now
        let (id, request) = try bench.start(timeout: .seconds(100))
        _ = bench.receive(request.empty(.acknowledgement))
        #expect(bench.runToNextOutput() == [.finished(id, .failure(.noResponse))])
        #expect(bench.now - start == .seconds(100))
        // What comes now is rejected.
        #expect(bench.receive(request.response(.confirmable, messageID: 1)) == [.transmit(hex("70000001"))])
    }

    @Test func aTimeoutEndsTheWaitForItsTurn() throws {
        var bench = Bench()
        let (_, request) = try bench.start()
        let second = try bench.session.send(CoAPRequest(.put), timeout: .seconds(1), at: bench.now)
        #expect(bench.outputs() == [])
        #expect(bench.runToNextOutput() == [.finished(second, .failure(.notSent))])
        #expect(bench.runToNextOutput() == [.transmit(request.encoded)])
    }

    @Test func beforeItsDeadlineNothingHappens() throws {
        var bench = Bench()
        _ = try bench.start()
        let deadline = try bench.deadline()
        bench.session.handleTimeout(at: deadline - .nanoseconds(1))
        #expect(bench.outputs() == [])
        bench.session.handleTimeout(at: deadline)
        #expect(bench.outputs().count == 1)
    }
}
