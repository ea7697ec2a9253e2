import Kernel
import NetworkSimulator
import Testing

@testable import MQTTClient

/// What a real broker never does, and the client must take.
@Suite(.timeLimit(.minutes(1))) struct ScriptedBrokerTests {
    /// What a broker says to a client that has published with QoS 1 (packet identifier 1) and 2 (2), subscribed (3) and unsubscribed (4): messages of all guarantees
    /// and every kind of answer.
    private static func conversation(isVersion5: Bool) -> [UInt8] {
        let none: [UInt8] = isVersion5 ? [0] : []
        func publish(_ firstByte: UInt8, _ packetID: [UInt8], _ payload: String) -> [UInt8] {
            let body = [0, 1, 0x61] + packetID + none + Array(payload.utf8)
            var header: [UInt8] = [firstByte]
            header.appendVariableByteInteger(body.count)
            return header + body
        }
        var bytes: [UInt8] = [0x20, isVersion5 ? 3 : 2, 0, 0] + none
        bytes += publish(0x30, [], "zero")
        bytes += [0x90, isVersion5 ? 4 : 3, 0, 3] + none + [2]
        // A header of two bytes of length.
        bytes += publish(0x32, [0, 7], String(repeating: "x", count: 200))
        bytes += [0xD0, 0]
        bytes += isVersion5 ? [0x40, 4, 0, 1, 0x10, 0] : [0x40, 2, 0, 1]
        bytes += publish(0x34, [0, 8], "two")
        bytes += [0x50, 2, 0, 2]
        bytes += [0x62, 2, 0, 8]
        bytes += isVersion5 ? [0xB0, 4, 0, 4, 0, 0x11] : [0xB0, 2, 0, 4]
        bytes += [0x70, 2, 0, 2]
        bytes += publish(0x31, [], "last")
        return bytes
    }

    /// What the client makes of that, when the broker sends it in these pieces.
    private static func outcome(
        isVersion5: Bool,
        _ pieces: [[UInt8]],
        _ conditions: Conditions = Conditions()
    ) async throws -> (notes: [NotingHandler.Note], packets: [[UInt8]]) {
        try await ScriptedPair.run(isVersion5: isVersion5, conditions: conditions, { $0.keepAliveSeconds = 0 }) {
            pair in
            pair.broker.script = { _, _ in }
            // Asked for before the connection is there: all go out with it.
            try pair.publish("1")
            try pair.publish("2", qos: .exactlyOnce)
            try pair.subscribe("s")
            _ = try pair.connection.unsubscribe(from: Array("u".utf8).span)
            try await pair.connect()
            // The first bytes are the CONNACK; what answers requests must not come before they were sent.
            let connack = isVersion5 ? 5 : 4
            var sent = 0
            for piece in pieces {
                if sent < connack, sent + piece.count > connack {
                    try await pair.send(Array(piece.prefix(connack - sent)))
                    try await pair.send(Array(piece.dropFirst(connack - sent)))
                } else {
                    try await pair.send(piece)
                }
                sent += piece.count
            }
            return (pair.handler.notes, Array(pair.broker.packets))
        }
    }

    private static func expected(isVersion5: Bool) -> [NotingHandler.Note] {
        [
            .connected(MQTTConnectionInfo(sessionPresent: false, properties: MQTTProperties())),
            .message(topic: "a", payload: "zero", .atMostOnce),
            .subscribed(3, codes: [2]),
            .message(topic: "a", payload: String(repeating: "x", count: 200), .atLeastOnce),
            .published(1, isVersion5 ? .noMatchingSubscribers : .success),
            .message(topic: "a", payload: "two", .exactlyOnce),
            .unsubscribed(4, codes: isVersion5 ? [0x11] : []),
            .published(2, .success),
            .message(topic: "a", payload: "last", .atMostOnce),
        ]
    }

    /// A stream may be cut anywhere (4.2): each place, once.
    @Test(arguments: [false, true]) func aConversationCutAtEachByte(isVersion5: Bool) async throws {
        let bytes = Self.conversation(isVersion5: isVersion5)
        let whole = try await Self.outcome(isVersion5: isVersion5, [bytes])
        #expect(whole.notes == Self.expected(isVersion5: isVersion5))
        #expect(whole.packets.map { $0[0] >> 4 } == [1, 3, 3, 8, 10, 4, 5, 6, 7])
        for place in 1..<bytes.count {
            let cut = try await Self.outcome(isVersion5: isVersion5, [Array(bytes[..<place]), Array(bytes[place...])])
            #expect(cut.notes == whole.notes, "cut at \(place)")
            #expect(cut.packets == whole.packets, "cut at \(place)")
        }
    }

    @Test(arguments: [false, true]) func aConversationByteByByte(isVersion5: Bool) async throws {
        let bytes = Self.conversation(isVersion5: isVersion5)
        var conditions = Conditions()
        conditions.pieces = .bytes
        let outcome = try await Self.outcome(isVersion5: isVersion5, [bytes], conditions)
        #expect(outcome.notes == Self.expected(isVersion5: isVersion5))
    }

    /// Acknowledgements in any order, twice, and for what nobody has asked: each request is answered once.
    @Test(arguments: [false, true]) func acknowledgementsOutOfOrderTwiceAndForNothing(isVersion5: Bool) async throws {
        try await ScriptedPair.run(isVersion5: isVersion5) { pair in
            pair.broker.script = { link, bytes in
                if bytes[0] == 0x10 { link.send(ScriptedBroker.answer(to: bytes, isVersion5)) }
            }
            try await pair.connect()
            for number in 1...5 { try pair.publish("\(number)", qos: number == 3 ? .exactlyOnce : .atLeastOnce) }
            try await pair.settle()
            for packet in [
                [0x40, 2, 0, 5], [0x40, 2, 0, 2], [0x40, 2, 0, 2], [0x40, 2, 0x12, 0x34], [0x50, 2, 0, 3],
                [0x40, 2, 0, 1], [0x50, 2, 0, 3], [0x70, 2, 0, 3], [0x70, 2, 0, 3], [0x40, 2, 0, 5], [0x40, 2, 0, 4],
                [0x62, 2, 0, 77], [0x50, 2, 0, 78],
            ] as [[UInt8]] { try await pair.send(packet) }
            let answered = pair.handler.notes.dropFirst()
            #expect(
                Array(answered)
                    == ([5, 2, 1, 3, 4] as [MQTTRequestID]).map { NotingHandler.Note.published($0, .success) }
            )
            #expect(pair.connection.isConnected && pair.connection.waitingCount == 0)
            // The server comes to an end with what it alone knows, too: with the reason in 5.0.
            let unknown: [UInt8] = isVersion5 ? [0x92] : []
            let count = UInt8(2 + unknown.count)
            #expect(pair.broker.packets(.pubcomp) == [[0x70, count, 0, 77] + unknown])
            #expect(pair.broker.packets(.pubrel).last == [0x62, count, 0, 78] + unknown)
        }
    }

    /// A server of 5.0 that sends more than it was told is left with the reason (3.3.4); one of 3.1.1 was told nothing, and is read no faster than the messages
    /// are acknowledged.
    @Test func moreMessagesThanTheReceiveMaximum() async throws {
        try await ScriptedPair.run(isVersion5: true, { $0.receiveMaximum = 2 }) { pair in
            let keeper = KeepingHandler()
            pair.connection.connect(handler: keeper)
            try await pair.settle()
            for number in 1...3 { try await pair.send([0x32, 6, 0, 1, 0x61, 0, UInt8(number), 0]) }
            #expect(keeper.messages == 2)
            #expect(keeper.error == .protocolViolation(.receiveMaximumExceeded))
            #expect(pair.broker.packets(.disconnect) == [[0xE0, 1, 0x93]])
        }
        try await ScriptedPair.run(isVersion5: false, { $0.receiveMaximum = 2 }) { pair in
            let keeper = KeepingHandler()
            pair.connection.connect(handler: keeper)
            try await pair.settle()
            for number in 1...5 { try await pair.send([0x32, 5, 0, 1, 0x61, 0, UInt8(number)]) }
            #expect(keeper.messages == 2 && keeper.error == nil)
            for receipt in keeper.receipts { pair.connection.acknowledge(receipt) }
            try await pair.settle()
            #expect(keeper.messages == 4 && pair.broker.packets(.puback).count == 2)
        }
    }

    /// It is refused by its header, before its bytes have come (3.1.2.11.4).
    @Test(arguments: [false, true]) func aPacketOverTheLimit(isVersion5: Bool) async throws {
        try await ScriptedPair.run(isVersion5: isVersion5, { $0.maximumPacketBytes = 1_000 }) { pair in
            try await pair.connect()
            try await pair.send([0x30, 0xFF, 0xFF, 0x7F])
            #expect(pair.handler.error == .packetTooLarge(bytes: 2_097_155, limit: 1_000))
            #expect(pair.broker.packets(.disconnect) == (isVersion5 ? [[0xE0, 1, 0x95]] : []))
            #expect(pair.broker.links[0].isOver)
        }
    }

    /// After the connection has broken, all comes again as it was, in its order (4.4).
    @Test(arguments: [false, true]) func whatWasNotAcknowledgedComesAgain(isVersion5: Bool) async throws {
        try await ScriptedPair.run(
            isVersion5: isVersion5,
            reconnects: true,
            {
                $0.cleanStart = false
                $0.sessionExpirySeconds = 3_600
            }
        ) { pair in
            pair.broker.script = { link, bytes in
                if bytes[0] == 0x10 { link.send(ScriptedBroker.answer(to: bytes, isVersion5)) }
                // One of each guarantee gets as far as it can.
                if bytes[0] == 0x34, bytes.last == 0x32 { link.send([0x50, 2, 0, 2]) }
            }
            try await pair.connect()
            try pair.publish("1")
            try pair.publish("2", qos: .exactlyOnce)
            try pair.publish("3", qos: .exactlyOnce)
            try await pair.settle()
            #expect(pair.broker.packets(.pubrel) == [[0x62, 2, 0, 2]])
            let before = pair.broker.packets.count
            let session: [UInt8] = isVersion5 ? [0x20, 3, 1, 0, 0] : [0x20, 2, 1, 0]
            pair.broker.script = { link, bytes in
                link.send(bytes[0] == 0x10 ? session : ScriptedBroker.answer(to: bytes, isVersion5))
            }
            pair.broker.links[0].abort()
            try await pair.loop.sleep(for: .seconds(10))
            let again = pair.broker.packets.dropFirst(before)
            let none: [UInt8] = isVersion5 ? [0] : []
            let count = UInt8(6 + none.count)
            let one: [UInt8] = [0x3A, count, 0, 1, 0x61, 0, 1] + none + [0x31]
            let three: [UInt8] = [0x3C, count, 0, 1, 0x61, 0, 3] + none + [0x33]
            #expect(Array(again.dropFirst().prefix(3)) == [one, [0x62, 2, 0, 2], three])
            let answered = pair.handler.notes.filter { if case .published = $0 { true } else { false } }
            #expect(Set(answered.map { "\($0)" }).count == 3)
        }
    }

    /// A server that has forgotten the session gets the subscriptions again; one that refuses is reported.
    @Test(arguments: [false, true]) func subscriptionsComeAgainToAServerThatHasLostThem(isVersion5: Bool) async throws {
        try await ScriptedPair.run(isVersion5: isVersion5, reconnects: true) { pair in
            try await pair.connect()
            try pair.subscribe("one")
            try pair.subscribe("two")
            try await pair.settle()
            let none: [UInt8] = isVersion5 ? [0] : []
            pair.broker.script = { link, bytes in
                // What it granted, it refuses now.
                if bytes[0] == 0x82, bytes.contains(0x77) {
                    return link.send([0x90, UInt8(3 + none.count), bytes[2], bytes[3]] + none + [0x80])
                }
                link.send(ScriptedBroker.answer(to: bytes, isVersion5))
            }
            let before = pair.broker.packets(.subscribe).count
            pair.broker.links[0].abort()
            try await pair.loop.sleep(for: .seconds(10))
            #expect(pair.broker.packets(.subscribe).count == before + 2)
            #expect(pair.handler.notes.contains(.subscriptionLost(filter: Array("two".utf8), .unspecifiedError)))
            // It is not asked for again.
            pair.broker.links.last?.abort()
            try await pair.loop.sleep(for: .seconds(30))
            #expect(pair.broker.packets(.subscribe).count == before + 3)
        }
    }

    /// A goodbye is the last packet, and the connection is closed after it (3.14.4).
    @Test(arguments: [false, true]) func nothingComesAfterAGoodbye(isVersion5: Bool) async throws {
        try await ScriptedPair.run(isVersion5: isVersion5) { pair in
            try await pair.connect()
            try pair.publish("1", qos: .atMostOnce)
            pair.connection.disconnect()
            #expect(throws: MQTTError.notConnected) { try pair.publish("2", qos: .atMostOnce) }
            try await pair.settle()
            #expect(pair.broker.packets.map { $0[0] } == [0x10, 0x30, 0xE0])
            #expect(pair.broker.links[0].isOver)
            #expect(pair.handler.notes.last == .disconnected(.disconnected, retries: false))
        }
    }

    /// What the user does not take is acknowledged too (MQTT-4.5.0-2), and what no filter of the client matches.
    @Test func whatNobodyReadsIsAcknowledged() async throws {
        try await ScriptedPair.run(isVersion5: false) { pair in
            try await pair.connect()
            try await pair.send([0x32, 6, 0, 1, 0x7A, 0, 5, 0x31, 0x34, 6, 0, 1, 0x7A, 0, 6, 0x31])
            #expect(pair.broker.packets.dropFirst() == [[0x40, 2, 0, 5], [0x50, 2, 0, 6], [0x70, 2, 0, 6]])
        }
    }

    /// A ping goes out within the keep alive, answered or not by other packets; a link that is half open is found within one and a half of it.
    @Test(arguments: [false, true]) func pingsAndFindsALinkThatIsHalfOpen(isVersion5: Bool) async throws {
        try await ScriptedPair.run(isVersion5: isVersion5, { $0.keepAliveSeconds = 20 }) { pair in
            try await pair.connect()
            try await pair.loop.sleep(for: .seconds(61))
            #expect(pair.broker.packets(.pingreq).count == 3)
            let start = pair.loop.now
            // From now on nothing gets through, and nobody is told.
            var cut = Conditions()
            cut.isCut = true
            pair.network.conditions = cut
            while pair.handler.error == nil, pair.loop.now - start < .seconds(120) {
                try await pair.loop.sleep(for: .milliseconds(100))
            }
            #expect(pair.handler.error == .keepAliveTimedOut)
            #expect(pair.loop.now - start <= .seconds(30))
        }
    }
}

/// A handler that keeps its messages without acknowledging them.
private final class KeepingHandler: MQTTConnectionHandler {
    private(set) var receipts: [MQTTReceipt] = []
    private(set) var error: MQTTError?
    var messages: Int { receipts.count }

    func received(_ message: MQTTMessage) -> MQTTDisposition {
        receipts.append(message.receipt)
        return .kept
    }
    func disconnected(_ error: MQTTError, retryAt: Duration?) { self.error = self.error ?? error }
}
