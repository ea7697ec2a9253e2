import SAL
import Testing

@testable import CoAPClient

/// Thousands of exchanges, of all kinds at once, over a network in virtual time that loses, doubles and reorders datagrams.
@Suite struct SoakTests {
    /// What was asked for, and by whom.
    private struct Asked {
        let client: Int
        let id: CoAPExchangeID
        let method: CoAPCode
        /// What the handler of the resource sees of it, which no other request has.
        let mark: [UInt8]
    }

    private static let clients = 8
    private static let observers = 3

    /// Starts a request whose body, or whose response's body, has one to five blocks.
    private func ask(
        _ number: Int,
        _ world: borrowing LossyWorld,
        _ random: inout SeededRandom
    ) throws -> Asked {
        let client = number % Self.clients
        let count = number % 5 == 0 ? Int.random(in: 65...256, using: &random) : Int.random(in: 8...64, using: &random)
        let body = Array("\(number) ".utf8) + random.bytes(count)
        let query = Array("\(number)-\(count)".utf8)
        let (method, mark) = [(CoAPCode.get, query), (.put, body), (.post, body)][number / 5 % 3]
        var request =
            switch method {
            case .get: CoAPRequest(.get, path: "bytes")
            case .put: CoAPRequest(.put, path: "store", payload: body)
            default: CoAPRequest(.post, path: "reverse", payload: body)
            }
        // Responses in blocks to two requests at a time are told from each other by their options only (RFC 7959, 2.4).
        request.options.addQuery(query.span)
        let id = try world.clients[client].session.send(request, at: world.now)
        return Asked(client: client, id: id, method: method, mark: mark)
    }

    private func checkLimits(_ world: borrowing LossyWorld) {
        let configuration = world.server.session.configuration
        for client in world.clients {
            #expect(client.session.outstandingCount <= client.session.configuration.outstandingLimit)
            #expect(client.session.requestCount <= client.session.configuration.requestLimit)
        }
        let remembered = world.server.remembered
        #expect(world.server.session.exchangeCount <= configuration.exchangeLimit)
        #expect(remembered[3] <= configuration.bodyLimit && remembered[4] <= Self.observers)
    }

    /// 10,000 confirmable requests, a fifth of them in blocks, beside observations; a fifth of all datagrams is lost. What was answered was done once, what was not at most
    /// once; answers are those to the request, and nobody is told an older state behind a newer one.
    @Test(.timeLimit(.minutes(1))) func nothingIsLostAndNothingIsDoneTwice() throws {
        let seed: UInt64 = 20
        var random = SeededRandom(state: seed)
        let world = LossyWorld(
            clients: Self.clients,
            lossPercent: 20,
            seed: seed,
            change: {
                $0.blockBytes = 64
                $0.outstandingLimit = 2
                $0.requestLimit = 12
            },
            changeServer: {
                $0.messages.blockBytes = 64
                $0.duplicateLimit = 16_384
                $0.bodyLifetime = .seconds(600)
                $0.bodyLimit = 32
            }
        )
        for client in world.clients[..<Self.observers] {
            var request = CoAPRequest(.get, path: "value")
            request.options.observe = 0
            _ = try client.session.send(request, at: .zero)
        }
        world.run(to: .seconds(60))
        let observing = world.clients.map(\.results.count)
        var asked: [Asked] = []
        var changes: UInt64 = 0
        while asked.count < 10_000 {
            for _ in 0..<10 * Self.clients {
                guard world.clients[asked.count % Self.clients].session.requestCount < 11 else { break }
                asked.append(try ask(asked.count, world, &random))
            }
            changes += 1
            world.change(changes.bigEndianBytes)
            world.run(to: world.now + .seconds(20))
            checkLimits(world)
        }
        world.run(to: world.now + .seconds(2_000))
        checkLimits(world)
        try check(asked, world)
        for (client, count) in zip(world.clients, observing).prefix(Self.observers) {
            let states = client.notified.map(\.payload)
            #expect(states.count > 200 && count == 0)
            #expect(zip(states, states.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) || $0 == $1 })
            #expect(states.last == changes.bigEndianBytes, "the newest is known in the end")
        }
        #expect(Array(world.server.remembered[..<3]) == [0, 0, 0])
    }

    private func check(_ asked: [Asked], _ world: borrowing LossyWorld) throws {
        func count(_ marks: [[UInt8]]) -> [[UInt8]: Int] { marks.reduce(into: [:]) { $0[$1, default: 0] += 1 } }
        let done: [CoAPCode: [[UInt8]: Int]] = [
            .get: count(world.record.read), .put: count(world.record.put), .post: count(world.record.posted),
        ]
        var answered = 0
        for request in asked {
            let times = done[request.method]?[request.mark] ?? 0
            if times > 1 { Issue.record("\(request.method) of \(request.id) is done \(times) times") }
            switch world.clients[request.client].results[request.id] {
            case .success(let response):
                answered += 1
                let expected: (CoAPCode, [UInt8]) =
                    switch request.method {
                    case .get: (.content, LossyWorld.bytes(request.mark))
                    case .put: (.changed, [])
                    default: (.changed, request.mark.reversed())
                    }
                if times != 1 || response.code != expected.0 || response.payload != expected.1 {
                    Issue.record("\(request.method) of \(request.id), done \(times) times: \(response.code)")
                }
            case .failure(.notAcknowledged), .failure(.noResponse): break
            case .failure(let error): Issue.record("\(error)")
            case nil: Issue.record("a request without an end")
            }
        }
        // Five transmissions fail with 0.36 to the power of 5, for each block.
        #expect(answered > 9_500 && answered <= asked.count, "\(answered) of \(asked.count)")
        // Nothing was done that nobody has asked for.
        let marks = Set(asked.map(\.mark))
        for (method, marksOfMethod) in done {
            for mark in marksOfMethod.keys where !marks.contains(mark) { Issue.record("\(method) of \(mark)") }
        }
    }
}

extension UInt64 {
    fileprivate var bigEndianBytes: [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: self >> (56 - 8 * $0)) } }
}
