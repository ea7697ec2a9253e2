import SAL
import Testing

@testable import CoAPClient

/// Our clients and our server over a network in virtual time that loses, doubles and reorders datagrams.
@Suite struct ServerLossTests {
    private struct Flight {
        let at: Duration
        let order: Int
        let peer: Int
        let isToServer: Bool
        let bytes: [UInt8]
    }

    private final class Client {
        var session: CoAPSession
        var results: [CoAPExchangeID: Result<CoAPResponse, CoAPError>] = [:]
        var notified: [CoAPResponse] = []
        init(_ configuration: CoAPConfiguration, seed: UInt64) {
            session = CoAPSession(configuration, seed: CoAPSeed(seed, 0))
            session.transportOpened(at: .zero)
        }
    }

    /// What the server's resources have seen.
    private final class Record {
        var posted: [[UInt8]] = []
        var value: [UInt8] = [0]
        var late: [(at: Duration, id: CoAPServerRequestID, response: CoAPResponse)] = []
        var now = Duration.zero
        var random: SeededRandom
        init(_ seed: UInt64) { random = SeededRandom(state: seed) }
    }

    private final class World {
        var server = ServerUnderTest()
        let record: Record
        let clients: [Client]
        private let loss: Int
        private var flights: [Flight] = []
        private var order = 0
        private var random: SeededRandom
        private(set) var now = Duration.zero

        init(clients count: Int, lossPercent: Int, seed: UInt64, change: (inout CoAPConfiguration) -> Void = { _ in }) {
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
            server.add("value") {
                $0.isObservable = true
            } handler: { _ in
                .content(record.value)
            }
        }

        private func fly(_ bytes: [UInt8], _ peer: Int, toServer: Bool) {
            let copies = loss > 0 && Int.random(in: 0..<10, using: &random) == 0 ? 2 : 1
            for _ in 0..<copies where Int.random(in: 0..<100, using: &random) >= loss {
                order += 1
                let delay = Duration.milliseconds(loss > 0 ? Int.random(in: 1...3_000, using: &random) : 10)
                flights.append(Flight(at: now + delay, order: order, peer: peer, isToServer: toServer, bytes: bytes))
            }
        }

        private func drain() {
            for (index, client) in clients.enumerated() {
                while let output = client.session.nextOutput() {
                    switch output {
                    case .transmit(let bytes): fly(bytes, index, toServer: true)
                    case .notification(_, let response): client.notified.append(response)
                    case .stale, .disconnect: break
                    case .finished(let id, let result): client.results[id] = result
                    }
                }
            }
        }

        private func send(_ sent: [ServerUnderTest.Sent]) {
            for sent in sent {
                fly(sent.message.encoded, Int(sent.peer.port), toServer: false)
            }
        }

        /// Runs the world until `time`, or until nothing happens any more.
        func run(to time: Duration) {
            drain()
            while true {
                let times =
                    flights.map(\.at) + clients.compactMap { $0.session.deadline } + record.late.map(\.at)
                    + [server.session.deadline].compactMap { $0 }
                guard let next = times.min(), next <= time else { break }
                now = max(now, next)
                record.now = now
                send(server.pass(to: now))
                for client in clients { client.session.handleTimeout(at: now) }
                while let index = record.late.firstIndex(where: { $0.at <= now }) {
                    let late = record.late.remove(at: index)
                    server.session.respond(to: late.id, with: late.response, at: now)
                    server.drain()
                    send(server.pass(to: now))
                }
                let due = flights.indices.filter { flights[$0].at <= now }
                if let first = due.min(by: { (flights[$0].at, flights[$0].order) < (flights[$1].at, flights[$1].order) }
                ) {
                    let flight = flights.remove(at: first)
                    if flight.isToServer {
                        send(server.receive(flight.bytes, from: peer(1, port: UInt16(flight.peer))))
                    } else {
                        clients[flight.peer].session.receive(flight.bytes.span, at: now)
                    }
                }
                drain()
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

    /// Each request that is not safe to repeat is carried out once, whatever the network does, and bodies arrive whole.
    @Test(arguments: [(0, 1), (10, 2), (10, 3), (30, 4), (30, 5)] as [(Int, UInt64)])
    func requestsAreCarriedOutOnce(lossPercent: Int, seed: UInt64) throws {
        let world = World(clients: 3, lossPercent: lossPercent, seed: seed) { $0.blockBytes = 256 }
        var bodies: [(client: Int, id: CoAPExchangeID, body: [UInt8])] = []
        var random = SeededRandom(state: seed)
        for number in 0..<60 {
            // Each body begins with its number, so that no two are the same.
            let body =
                [UInt8(number)] + random.bytes(number % 3 == 0 ? Int.random(in: 300...2_000, using: &random) : 10)
            let request = CoAPRequest(.post, path: "reverse", payload: body)
            let client = number % 3
            bodies.append((client, try world.clients[client].session.send(request, at: .zero), body))
        }
        world.run(to: .seconds(40_000))
        var answered = 0
        for (client, id, body) in bodies {
            let times = world.record.posted.count { $0 == body }
            #expect(times <= 1, "\(body.count) bytes, seed \(seed)")
            guard case .success(let response)? = world.clients[client].results[id] else { continue }
            answered += 1
            #expect(times == 1 && response.code == .changed && response.payload == body.reversed(), "seed \(seed)")
        }
        #expect(world.clients.map(\.results.count) == [20, 20, 20])
        #expect(world.record.posted.allSatisfy { posted in bodies.contains { $0.body == posted } })
        #expect(answered == 60 || lossPercent > 0 && answered > 40, "\(answered) of 60")
        #expect(world.server.remembered == [0, 0, 0, 0, 0])
    }

    /// Whatever is lost, in the end observers know the last state (RFC 7641, 1.3).
    @Test(arguments: [(0, 10), (20, 11), (20, 12), (40, 13)] as [(Int, UInt64)])
    func observersKnowTheLastState(lossPercent: Int, seed: UInt64) throws {
        let world = World(clients: 4, lossPercent: lossPercent, seed: seed)
        for client in world.clients {
            var request = CoAPRequest(.get, path: "value")
            request.options.observe = 0
            _ = try client.session.send(request, at: .zero)
        }
        world.run(to: .seconds(100))
        for value in 1...40 as ClosedRange<UInt8> {
            world.change([value])
            world.run(to: world.now + .seconds(Int(value % 5)))
        }
        world.run(to: world.now + .seconds(600))
        for client in world.clients {
            // An observation may fail where the network is too bad; then that is told.
            if client.results.isEmpty { #expect(client.notified.last?.payload == [40], "seed \(seed)") }
            if lossPercent <= 20 { #expect(client.results.isEmpty && client.notified.count > 10, "seed \(seed)") }
            let values = client.notified.compactMap(\.payload.first)
            #expect(values == values.sorted(), "no older state behind a newer one")
        }
    }
}
