import SAL
import Testing

@testable import CoAPClient

/// Our clients and our server in a network in virtual time that loses, doubles, delays and thereby reorders datagrams.
final class LossyWorld {
    private struct Flight {
        let at: Duration
        let peer: Int
        let isToServer: Bool
        let bytes: [UInt8]
    }

    final class Client {
        var session: CoAPSession
        var results: [CoAPExchangeID: Result<CoAPResponse, CoAPError>] = [:]
        var notified: [CoAPResponse] = []
        init(_ configuration: CoAPConfiguration, seed: UInt64) {
            session = CoAPSession(configuration, seed: CoAPSeed(seed, 0))
            session.transportOpened(at: .zero)
        }
    }

    /// What the server's resources have seen.
    final class Record {
        var posted: [[UInt8]] = []
        var put: [[UInt8]] = []
        /// The queries of what was read.
        var read: [[UInt8]] = []
        var value: [UInt8] = [0]
        var late: [(at: Duration, id: CoAPServerRequestID, response: CoAPResponse)] = []
        var now = Duration.zero
        var random: SeededRandom
        init(_ seed: UInt64) { random = SeededRandom(state: seed) }
    }

    var server: ServerUnderTest
    let record: Record
    let clients: [Client]
    private let loss: Int
    /// What is under way; what arrives first is the last.
    private var flights: [Flight] = []
    private var random: SeededRandom
    private(set) var now = Duration.zero

    init(
        clients count: Int,
        lossPercent: Int,
        seed: UInt64,
        change: (inout CoAPConfiguration) -> Void = { _ in },
        changeServer: (inout CoAPServerConfiguration) -> Void = { _ in }
    ) {
        server = ServerUnderTest(change: changeServer)
        var configuration = CoAPConfiguration()
        change(&configuration)
        loss = lossPercent
        random = SeededRandom(state: seed)
        clients = (0..<count).map { [configuration] in Client(configuration, seed: seed << 8 | UInt64($0)) }
        let record = Record(seed &+ 1)
        self.record = record
        server.add("reverse", .post) { request in
            record.posted.append(request.payload)
            let response = CoAPResponse(.changed, payload: request.payload.reversed())
            guard Bool.random(using: &record.random) else { return response }
            record.late.append(
                (record.now + .milliseconds(Int.random(in: 0...9_000, using: &record.random)), request.id, response)
            )
            return nil
        }
        server.add("store", .put) { request in
            record.put.append(request.payload)
            return CoAPResponse(.changed)
        }
        // As many bytes as the query says, which are other ones for another query.
        server.add("bytes") { request in
            let query = request.options.queryArguments.first ?? []
            record.read.append(query)
            return .content(Self.bytes(query))
        }
        server.add("value") {
            $0.isObservable = true
        } handler: { _ in
            .content(record.value)
        }
    }

    /// What is read at /bytes with a query such as `17-300`, the last part of which is how many bytes there are.
    static func bytes(_ query: [UInt8]) -> [UInt8] {
        let count = query.split(separator: UInt8(ascii: "-")).last.map { Int(String(decoding: $0, as: UTF8.self)) ?? 0 }
        return (0..<(count ?? 0)).map { UInt8(truncatingIfNeeded: $0 / 16) &+ query[$0 % query.count] }
    }

    private func fly(_ bytes: [UInt8], _ peer: Int, toServer: Bool) {
        let copies = loss > 0 && Int.random(in: 0..<10, using: &random) == 0 ? 2 : 1
        for _ in 0..<copies where Int.random(in: 0..<100, using: &random) >= loss {
            let time = now + .milliseconds(loss > 0 ? Int.random(in: 1...3_000, using: &random) : 10)
            // Of two at a time that which was sent first is first.
            var place = flights.count
            while place > 0, flights[place - 1].at <= time { place -= 1 }
            flights.insert(Flight(at: time, peer: peer, isToServer: toServer, bytes: bytes), at: place)
        }
    }

    /// Deals with what a client has to say.
    private func drain(_ index: Int) {
        let client = clients[index]
        while let output = client.session.nextOutput() {
            switch output {
            case .transmit(let bytes): fly(bytes, index, toServer: true)
            case .notification(_, let response): client.notified.append(response)
            case .stale, .disconnect: break
            case .finished(let id, let result):
                if client.results.updateValue(result, forKey: id) != nil { Issue.record("it finishes twice") }
            }
        }
    }

    private func send(_ sent: [ServerUnderTest.Sent]) {
        for sent in sent {
            fly(sent.message.encoded, Int(sent.peer.port), toServer: false)
        }
    }

    /// When something happens next.
    private var nextTime: Duration {
        var time = server.session.deadline ?? .seconds(Int64.max)
        for client in clients { if let deadline = client.session.deadline, deadline < time { time = deadline } }
        for late in record.late { time = min(time, late.at) }
        if let flight = flights.last { time = min(time, flight.at) }
        return time
    }

    /// Runs the world until `time`, or until nothing happens any more.
    func run(to time: Duration) {
        for index in clients.indices { drain(index) }
        while true {
            let next = nextTime
            guard next <= time else { break }
            now = max(now, next)
            record.now = now
            send(server.pass(to: now))
            for index in clients.indices {
                guard let deadline = clients[index].session.deadline, deadline <= now else { continue }
                clients[index].session.handleTimeout(at: now)
                drain(index)
            }
            while let index = record.late.firstIndex(where: { $0.at <= now }) {
                let late = record.late.remove(at: index)
                server.session.respond(to: late.id, with: late.response, at: now)
                server.drain()
                send(server.pass(to: now))
            }
            if let flight = flights.last, flight.at <= now {
                flights.removeLast()
                if flight.isToServer {
                    send(server.receive(flight.bytes, from: peer(1, port: UInt16(flight.peer))))
                } else {
                    clients[flight.peer].session.receive(flight.bytes.span, at: now)
                    drain(flight.peer)
                }
            }
        }
        now = time
        record.now = time
    }

    func change(_ value: [UInt8]) {
        record.value = value
        server.now = now
        send(server.changed("value"))
    }
}
