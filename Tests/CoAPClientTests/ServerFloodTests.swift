import SAL
import Testing

@testable import CoAPClient

/// What anybody can send a server, and how much it remembers of that.
@Suite struct ServerFloodTests {
    private static let limits: @Sendable (inout CoAPServerConfiguration) -> Void = {
        $0.exchangeLimit = 16
        $0.observerLimit = 10
        $0.bodyLimit = 8
        $0.bodyBytesLimit = 6_000
        $0.duplicateLimit = 64
    }

    private func server() -> ServerUnderTest {
        var server = ServerUnderTest(change: Self.limits)
        server.add("value", [.get, .put]) {
            $0.isObservable = true
        } handler: { _ in
            .content([1])
        }
        server.add("never", [.get, .put]) { _ in nil }
        return server
    }

    @Test func whatIsBogusCostsNothing() {
        var server = server()
        var random = SeededRandom(state: 1)
        for number in 0..<6_000 {
            let from = SocketAddress(address: .v6(high: random.next(), low: random.next(), scope: 0), port: 1)
            var message = request(.get, "nowhere/\(number)", id: UInt16(truncatingIfNeeded: number))
            switch number % 8 {
            case 0: message = .empty(.confirmable, 1)
            case 1: message.code = .content
            case 2: message.code = CoAPCode(0, 30)
            case 3: message.options.add(number.isMultiple(of: 16) ? .proxyUri : CoAPOptionNumber(rawValue: 65_001), [1])
            case 4: message = .empty(.acknowledgement, UInt16(truncatingIfNeeded: number))
            case 5: message = .empty(.reset, UInt16(truncatingIfNeeded: number))
            case 6:
                message.options.observe = 0
                message.options.block1 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 6)
                message.payload = random.bytes(1_024)
            default: break
            }
            #expect(server.receive(message, from: from).count <= 1)
        }
        #expect(server.remembered == [0, 0, 0, 0, 0] && server.session.deadline == nil && server.handled.isEmpty)
        // It goes on serving.
        #expect(server.receive(request(.get, "value")).map(\.code) == [.content])
    }

    @Test func whatIsRememberedIsBounded() {
        var server = server()
        var random = SeededRandom(state: 2)
        for number in 0..<6_000 {
            let from = SocketAddress(address: .v4(UInt32(truncatingIfNeeded: random.next())), port: 1)
            var message = request(.put, "value", id: UInt16(truncatingIfNeeded: number), payload: random.bytes(1_024))
            switch number % 4 {
            case 0: message.options.block1 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 6)
            case 1: message = request(.get, "value") { $0.observe = 0 }
            case 2: message = request(.get, "never", type: number % 8 == 2 ? .nonConfirmable : .confirmable)
            default: break
            }
            _ = server.receive(message, from: from)
            if number % 100 == 0 {
                _ = server.changed("value")
                _ = server.pass(to: server.now + .milliseconds(50))
            }
            let remembered = server.remembered
            #expect(remembered[0] <= 26 && remembered[1] <= 26 && remembered[3] <= 8 && remembered[4] <= 10)
            #expect(server.session.bodies.byteCount <= 6_000)
        }
        #expect(server.session.counters.refused > 500)
        // In the end all of it is forgotten.
        _ = server.pass(to: server.now + .seconds(600))
        _ = server.changed("value")
        _ = server.pass(to: server.now + .seconds(600))
        for _ in 0..<5 {
            _ = server.changed("value")
            _ = server.pass(to: server.now + .seconds(600))
        }
        #expect(server.remembered == [0, 0, 0, 0, 0] && server.session.deadline == nil)
        #expect(server.receive(request(.get, "value")).map(\.code) == [.content])
    }

    @Test(arguments: [3, 4, 5] as [UInt64]) func randomBytesDoNoHarm(seed: UInt64) {
        var server = server()
        var random = SeededRandom(state: seed)
        let valid = request(.put, "value", payload: [1, 2, 3]) {
            $0.block1 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 0)
        }
        for number in 0..<6_000 {
            var bytes = number % 2 == 0 ? random.bytes(Int.random(in: 0...40, using: &random)) : valid.encoded
            if number % 2 == 1 {
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
            } else if !bytes.isEmpty {
                bytes[0] = bytes[0] & 0x3F | 0x40
            }
            _ = server.receive(bytes, from: peer(number % 250), isMulticast: number % 7 == 0)
            if number % 50 == 0 { _ = server.pass(to: server.now + .seconds(1)) }
        }
        #expect(server.session.counters.malformed > 100)
        #expect(server.receive(request(.get, "value"), from: peer(251)).map(\.code) == [.content])
    }
}
