import Testing

@testable import CoAPClient

/// A network in virtual time that loses, doubles, delays and thereby reorders datagrams.
private struct LossyPipe {
    struct Flight {
        let at: Duration
        let order: Int
        let isToServer: Bool
        let bytes: [UInt8]
    }

    var loss: Int
    var flights: [Flight] = []
    private var order = 0

    init(lossPercent: Int) { loss = lossPercent }

    mutating func send(_ bytes: [UInt8], toServer: Bool, at now: Duration, random: inout SeededRandom) {
        let copies = loss > 0 && Int.random(in: 0..<10, using: &random) == 0 ? 2 : 1
        for _ in 0..<copies where Int.random(in: 0..<100, using: &random) >= loss {
            order += 1
            let delay = Duration.milliseconds(loss > 0 ? Int.random(in: 1...4_000, using: &random) : 10)
            flights.append(Flight(at: now + delay, order: order, isToServer: toServer, bytes: bytes))
        }
    }

    mutating func arrive(at now: Duration) -> Flight? {
        let due = flights.indices.filter { flights[$0].at <= now }
        guard let first = due.min(by: { (flights[$0].at, flights[$0].order) < (flights[$1].at, flights[$1].order) })
        else { return nil }
        return flights.remove(at: first)
    }
}

/// A server that echoes payloads, piggybacked or separately, and keeps to the standard: it acts on each request once.
private struct EchoServer {
    private struct Pending {
        let message: CoAPMessage
        var resendAt: Duration
        var timeout: Duration
        var transmissions = 0
    }

    private var answers: [UInt16: [UInt8]] = [:]
    private var pending: [Pending] = []
    private var nextMessageID: UInt16 = 0x8000
    private(set) var executed: [[UInt8]] = []
    var deadline: Duration? { pending.map(\.resendAt).min() }

    mutating func receive(_ bytes: [UInt8], at now: Duration, random: inout SeededRandom) -> [[UInt8]] {
        guard let message = try? decode(bytes) else { return [] }
        guard message.code.isRequest else {
            pending.removeAll { $0.message.messageID == message.messageID }
            return []
        }
        if let answer = answers[message.messageID] { return [answer] }
        executed.append(message.payload)
        var answer = CoAPMessage(
            type: .acknowledgement,
            code: .content,
            messageID: message.messageID,
            token: message.token,
            payload: message.payload
        )
        if Bool.random(using: &random) {
            nextMessageID += 1
            var separate = answer
            separate.type = .confirmable
            separate.messageID = nextMessageID
            let delay = Duration.milliseconds(Int.random(in: 0...20_000, using: &random))
            pending.append(Pending(message: separate, resendAt: now + delay, timeout: .seconds(2)))
            answer = .empty(.acknowledgement, message.messageID)
        }
        answers[message.messageID] = answer.encoded
        return [answer.encoded]
    }

    mutating func handleTimeout(at now: Duration) -> [[UInt8]] {
        var sent: [[UInt8]] = []
        for index in pending.indices where pending[index].resendAt <= now {
            sent.append(pending[index].message.encoded)
            pending[index].transmissions += 1
            pending[index].resendAt = now + pending[index].timeout
            pending[index].timeout *= 2
        }
        pending.removeAll { $0.transmissions > 4 && $0.resendAt <= now }
        return sent
    }
}

@Suite struct LossyPipeTests {
    @Test(arguments: [0, 10, 30, 60, 100])
    func everyRequestEndsOnceWithItsOwnAnswerOrAnError(lossPercent: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("lossy pipe, \(lossPercent) % loss, seed \(seed)")
        var random = SeededRandom(state: seed)
        var configuration = CoAPConfiguration()
        configuration.outstandingLimit = 4
        configuration.requestLimit = 100
        var session = CoAPSession(configuration, seed: CoAPSeed(seed, seed))
        var server = EchoServer()
        var pipe = LossyPipe(lossPercent: lossPercent)
        var now = Duration.zero
        session.transportOpened(at: now)
        var expected: [CoAPExchangeID: [UInt8]] = [:]
        for index in 0..<100 {
            let payload = ascii("request \(index)")
            let request = CoAPRequest(.post, payload: payload, isConfirmable: index % 10 != 9)
            expected[try session.send(request, at: now)] = payload
        }
        var succeeded = 0
        while !expected.isEmpty {
            while let output = session.nextOutput() {
                switch output {
                case .transmit(let bytes): pipe.send(bytes, toServer: true, at: now, random: &random)
                case .notification, .stale, .disconnect: Issue.record("nothing is observed")
                case .finished(let id, let result):
                    let known = expected.removeValue(forKey: id)
                    let payload = try #require(known, "finished twice, seed \(seed)")
                    switch result {
                    case .success(let response):
                        #expect(response.payload == payload, "seed \(seed)")
                        succeeded += 1
                    case .failure(.notAcknowledged(transmissions: 5)), .failure(.noResponse): break
                    case .failure(let error): Issue.record("\(error), seed \(seed)")
                    }
                }
            }
            let next = [session.deadline, server.deadline, pipe.flights.map(\.at).min()].compactMap { $0 }.min()
            if expected.isEmpty { break }
            now = max(now, try #require(next, "nothing more happens, seed \(seed)"))
            while let flight = pipe.arrive(at: now) {
                guard flight.isToServer else {
                    session.receive(flight.bytes.span, at: now)
                    continue
                }
                for bytes in server.receive(flight.bytes, at: now, random: &random) {
                    pipe.send(bytes, toServer: false, at: now, random: &random)
                }
            }
            for bytes in server.handleTimeout(at: now) {
                pipe.send(bytes, toServer: false, at: now, random: &random)
            }
            session.handleTimeout(at: now)
        }
        #expect(Set(server.executed).count == server.executed.count, "seed \(seed)")
        #expect(session.requestCount == 0)
        switch lossPercent {
        case 0:
            // Acknowledgements take 20 ms here; non-confirmable requests wait for 10 s, responses for up to 20 s.
            #expect(succeeded >= 90 && session.counters.retransmissions == 0)
        case 10: #expect(succeeded >= 80, "seed \(seed)")
        case 100: #expect(succeeded == 0)
        default: #expect(succeeded > 0, "seed \(seed)")
        }
    }
}
