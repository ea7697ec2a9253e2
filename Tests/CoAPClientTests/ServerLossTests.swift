import SAL
import Testing

@testable import CoAPClient

/// Our clients and our server over a network in virtual time that loses, doubles and reorders datagrams.
@Suite struct ServerLossTests {
    /// Each request that is not safe to repeat is carried out once, whatever the network does, and bodies arrive whole.
    @Test(arguments: [(0, 1), (10, 2), (10, 3), (30, 4), (30, 5)] as [(Int, UInt64)])
    func requestsAreCarriedOutOnce(lossPercent: Int, seed: UInt64) throws {
        let world = LossyWorld(clients: 3, lossPercent: lossPercent, seed: seed) { $0.blockBytes = 256 }
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
        let world = LossyWorld(clients: 4, lossPercent: lossPercent, seed: seed)
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
