import Kernel
import Testing

@testable import CoAPClient

@Suite struct QueueTests {
    // MARK: NSTART (RFC 7252, 4.7)

    @Test func requestsWaitForTheOnesBeforeThem() throws {
        var bench = Bench()
        let (first, request) = try bench.start()
        let ids = try (0..<3).map { _ in try bench.session.send(CoAPRequest(.put), at: bench.now) }
        #expect(bench.outputs() == [])
        #expect(bench.session.requestCount == 4)
        var outputs = bench.receive(request.response(.acknowledgement))
        #expect(outputs.first == .finished(first, .success(CoAPResponse(.content, payload: ascii("22.3 C")))))
        for id in ids {
            guard case .transmit(let bytes) = outputs.last else {
                Issue.record("the next one did not go out")
                return
            }
            outputs = bench.receive(try decode(bytes).response(.acknowledgement, .changed, payload: []))
            #expect(outputs.first == .finished(id, .success(CoAPResponse(.changed))))
        }
        #expect(bench.session.requestCount == 0)
    }

    @Test func whatIsAcknowledgedIsNotOutstanding() throws {
        var bench = Bench()
        var requests: [(CoAPExchangeID, CoAPMessage)] = []
        for _ in 0..<5 {
            let (id, request) = try bench.start()
            #expect(bench.receive(request.empty(.acknowledgement)) == [])
            requests.append((id, request))
        }
        for (index, (id, request)) in requests.enumerated().reversed() {
            let outputs = bench.receive(request.response(.nonConfirmable, messageID: UInt16(index)))
            #expect(outputs == [.finished(id, .success(CoAPResponse(.content, payload: ascii("22.3 C"))))])
        }
    }

    @Test func anAcknowledgedRequestThatEndsMakesNoMoreRoom() throws {
        var bench = Bench()
        for _ in 0..<3 {
            let (_, request) = try bench.start()
            _ = bench.receive(request.empty(.acknowledgement))
            _ = bench.receive(request.response(.nonConfirmable, messageID: request.messageID))
        }
        for _ in 0..<3 { _ = try bench.session.send(CoAPRequest(.get), at: bench.now) }
        #expect(try bench.sent().count == 1)
    }

    @Test func anEndOfAnyKindLetsTheNextOneGo() throws {
        for kind in 0..<4 {
            var bench = Bench { $0.maximumRetransmissions = 0 }
            let (first, request) = try bench.start()
            _ = try bench.session.send(CoAPRequest(.put), at: bench.now)
            let outputs: [CoAPSession.Output]
            switch kind {
            case 0: outputs = bench.receive(request.empty(.reset))
            case 1: outputs = bench.runToNextOutput()
            case 2:
                bench.session.cancel(first, at: bench.now)
                outputs = bench.outputs()
            default: outputs = bench.receive(request.response(.acknowledgement), isTruncated: true)
            }
            #expect(outputs.count == 2)
            guard case .finished(first, .failure) = outputs[0], case .transmit(let bytes) = outputs[1] else {
                Issue.record("kind \(kind)")
                return
            }
            #expect(try decode(bytes).code == .put)
        }
    }

    @Test func severalMayBeOutstanding() throws {
        var bench = Bench { $0.outstandingLimit = 3 }
        for _ in 0..<5 { _ = try bench.session.send(CoAPRequest(.get), at: bench.now) }
        let sent = try bench.sent()
        #expect(sent.count == 3)
        #expect(Set(sent.map(\.token)).count == 3 && Set(sent.map(\.messageID)).count == 3)
        #expect(bench.receive(sent[1].response(.acknowledgement)).count == 2)
    }

    @Test func unfinishedRequestsAreBounded() throws {
        var bench = Bench { $0.requestLimit = 3 }
        let (_, request) = try bench.start()
        _ = bench.receive(request.empty(.acknowledgement))
        for _ in 0..<2 { _ = try bench.session.send(CoAPRequest(.get), at: bench.now) }
        #expect(throws: CoAPError.tooManyRequests(limit: 3)) {
            try bench.session.send(CoAPRequest(.get), at: bench.now)
        }
        _ = bench.receive(request.response(.nonConfirmable, messageID: 1))
        #expect(throws: Never.self) { try bench.session.send(CoAPRequest(.get), at: bench.now) }
    }

    // MARK: Cancellation

    @Test func aCancelledRequestIsOver() throws {
        var bench = Bench()
        let (first, request) = try bench.start()
        let second = try bench.session.send(CoAPRequest(.put), at: bench.now)
        bench.session.cancel(second, at: bench.now)
        #expect(bench.outputs() == [.finished(second, .failure(.cancelled))])
        bench.session.cancel(first, at: bench.now)
        #expect(bench.outputs() == [.finished(first, .failure(.cancelled))])
        bench.session.cancel(first, at: bench.now)
        #expect(bench.outputs() == [])
        #expect(bench.receive(request.response(.confirmable, messageID: 1)) == [.transmit(hex("70000001"))])
        #expect(bench.runToNextOutput() == [])
    }

    /// Requests that are cancelled before their turn take no place in the line.
    @Test func cancelledRequestsLeaveTheLine() throws {
        var bench = Bench { $0.requestLimit = 4 }
        let (_, first) = try bench.start()
        var last = try bench.session.send(CoAPRequest(.get, path: "0"), at: bench.now)
        for number in 1...100 {
            let next = try bench.session.send(CoAPRequest(.get, path: "\(number)"), at: bench.now)
            bench.session.cancel(last, at: bench.now)
            #expect(bench.outputs() == [.finished(last, .failure(.cancelled))])
            #expect(bench.session.requestCount == 2 && bench.session.queued.count <= 8)
            last = next
        }
        let outputs = bench.receive(first.response(.acknowledgement))
        guard outputs.count == 2, case .transmit(let datagram) = outputs[1] else { throw Bench.UnexpectedOutput() }
        #expect(try decode(datagram).options.pathSegments == [ascii("100")])
    }

    // MARK: The transport

    @Test func requestsWaitForTheTransport() throws {
        var bench = Bench(isOpen: false)
        let id = try bench.session.send(CoAPRequest(.get), timeout: .seconds(60), at: bench.now)
        #expect(bench.outputs() == [])
        bench.now += .seconds(30)
        bench.session.transportOpened(at: bench.now)
        let sent = try bench.sent()
        #expect(sent.count == 1)
        #expect(
            bench.receive(sent[0].response(.acknowledgement)).first
                == .finished(id, .success(CoAPResponse(.content, payload: ascii("22.3 C"))))
        )
    }

    @Test func withoutATransportNothingIsSentAndTimeGoesOn() throws {
        var bench = Bench()
        let (id, request) = try bench.start(timeout: .seconds(20))
        bench.session.transportClosed()
        let waiting = try bench.session.send(CoAPRequest(.get), timeout: .seconds(10), at: bench.now)
        #expect(bench.runToNextOutput() == [.finished(waiting, .failure(.notSent))])
        bench.session.transportOpened(at: bench.now)
        // Due for long: it goes out at once, and once.
        #expect(bench.outputs() == [.transmit(request.encoded)])
        bench.session.transportClosed()
        #expect(bench.runToNextOutput() == [.finished(id, .failure(.notAcknowledged(transmissions: 2)))])
    }

    @Test func requestsOverTheLimitAreNotTaken() throws {
        var bench = Bench()
        // Options cannot be divided into blocks: these have 1,145 bytes.
        var request = CoAPRequest(.post)
        for count in [255, 255, 255, 255, 117] {
            request.options.add(.uriQuery, [UInt8](repeating: 0x61, count: count))
        }
        #expect(throws: CoAPError.messageTooLarge(bytes: 1_156, limit: 1_152)) {
            try bench.session.send(request, at: bench.now)
        }
        // Nor are there blocks so small.
        request.options.remove(.uriQuery)
        for count in [255, 255, 255, 255, 82] { request.options.add(.uriQuery, [UInt8](repeating: 0x61, count: count)) }
        request.payload = [UInt8](repeating: 0, count: 100)
        #expect(throws: CoAPError.messageTooLarge(bytes: 1_222, limit: 1_152)) {
            try bench.session.send(request, at: bench.now)
        }
        #expect(bench.session.requestCount == 0)
    }

    // MARK: Identifiers

    @Test func messageIDsAreNotUsedAgainWithinTheirLifetime() throws {
        var bench = Bench { $0.outstandingLimit = 70_000 }
        var used = Set<UInt16>()
        let start = bench.now
        var count = 0
        while bench.now == start {
            _ = try bench.session.send(CoAPRequest(.get, isConfirmable: false), at: bench.now)
            let sent = try bench.sent()
            if sent.isEmpty { break }
            let isNew = used.insert(sent[0].messageID).inserted
            #expect(isNew)
            count += 1
            _ = bench.receive(sent[0].response(.nonConfirmable, messageID: UInt16(truncatingIfNeeded: count)))
        }
        #expect(count > 61_440 && count <= 65_536)
        // The one that waits goes out when the IDs are free again.
        #expect(bench.runToNextOutput().count == 1)
        #expect(bench.now - start == .seconds(247))
    }

    @Test func tokensAreFreshAndAsLongAsConfigured() throws {
        for bytes in [2, 4, 8] {
            var bench = Bench {
                $0.tokenBytes = bytes
                $0.outstandingLimit = 1_000
                $0.requestLimit = 1_000
            }
            for _ in 0..<1_000 { _ = try bench.session.send(CoAPRequest(.get), at: bench.now) }
            let tokens = try bench.sent().map(\.token)
            #expect(Set(tokens).count == 1_000)
            #expect(tokens.allSatisfy { $0.count == bytes })
        }
    }

    @Test func anotherSeedGivesOtherIdentifiers() throws {
        var first = Bench(seed: 1)
        var second = Bench(seed: 2)
        var same = Bench(seed: 1)
        let message = try first.start().message
        #expect(try second.start().message.token != message.token)
        #expect(try same.start().message == message)
    }
}
