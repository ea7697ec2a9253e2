import Testing

@testable import MQTTClient

/// A packet that the standard does not allow a server to send, and what the client says of it.
struct MalformedPacket: CustomTestStringConvertible, Sendable {
    enum Versions: Sendable { case both, v3, v5 }

    let name: String
    let versions: Versions
    let bytes: [UInt8]
    let violation: ProtocolViolation

    init(_ name: String, _ versions: Versions, _ bytes: [UInt8], _ violation: ProtocolViolation? = nil) {
        self.name = name
        self.versions = versions
        self.bytes = bytes
        self.violation = violation ?? .malformedPacket(firstByte: bytes[0])
    }

    init(_ name: String, _ bytes: [UInt8], _ violation: ProtocolViolation? = nil) {
        self.init(name, .both, bytes, violation)
    }

    var testDescription: String { name }

    func counts(inVersion5 isVersion5: Bool) -> Bool {
        switch versions {
        case .both: true
        case .v3: !isVersion5
        case .v5: isVersion5
        }
    }

    private static func unexpected(_ name: String, _ versions: Versions, _ bytes: [UInt8]) -> MalformedPacket {
        MalformedPacket(name, versions, bytes, ProtocolViolation.unexpectedPacket(firstByte: bytes[0]))
    }

    private static func unexpected(_ name: String, _ bytes: [UInt8]) -> MalformedPacket {
        unexpected(name, .both, bytes)
    }

    /// A PUBLISH to `a` of 5.0 with these properties.
    private static func publish(_ properties: [UInt8]) -> [UInt8] {
        [0x30, UInt8(4 + properties.count), 0, 1, 0x61, UInt8(properties.count)] + properties
    }

    /// A CONNACK of 5.0 with these properties.
    private static func connack(_ properties: [UInt8]) -> [UInt8] {
        [0x20, UInt8(3 + properties.count), 0, 0, UInt8(properties.count)] + properties
    }

    /// An answer of 5.0 to a packet with this identifier, a reason and these properties.
    private static func answer(_ firstByte: UInt8, _ packetID: UInt8, _ properties: [UInt8]) -> [UInt8] {
        [firstByte, UInt8(4 + properties.count), 0, packetID, 0, UInt8(properties.count)] + properties
    }

    private static let why: [UInt8] = [0x1F, 0, 1, 0x77]

    /// What comes instead of a CONNACK.
    static let beforeConnack: [MalformedPacket] = [
        unexpected("a message", [0x30, 3, 0, 1, 0x61]),
        unexpected("a ping's answer", [0xD0, 0]),
        unexpected("an acknowledgement", [0x40, 2, 0, 1]),
        unexpected("the answer to a subscription", [0x90, 3, 0, 1, 0]),
        unexpected("a goodbye of 3.1.1", .v3, [0xE0, 0]),
        unexpected("CONNECT", [0x10, 0]),
        unexpected("AUTH without a method", .v5, [0xF0, 0]),
        MalformedPacket("reserved flags of the first byte", [0x21, 2, 0, 0]),
        MalformedPacket("reserved acknowledge flags", [0x20, 2, 2, 0]),
        MalformedPacket("a session though it was to be forgotten", .v3, [0x20, 2, 1, 0]),
        MalformedPacket("a session though it was to be forgotten, 5.0", .v5, [0x20, 3, 1, 0, 0]),
        MalformedPacket("a session and a refusal", .v3, [0x20, 2, 1, 5]),
        MalformedPacket("a session and a refusal, 5.0", .v5, [0x20, 3, 1, 0x87, 0]),
        MalformedPacket("CONNACK that is too short", [0x20, 1, 0]),
        MalformedPacket("CONNACK that is too long", .v3, [0x20, 3, 0, 0, 0]),
        MalformedPacket("CONNACK without properties", .v5, [0x20, 2, 0, 0]),
        MalformedPacket("CONNACK with bytes behind its properties", .v5, [0x20, 4, 0, 0, 0, 0]),
        MalformedPacket("CONNACK whose properties end early", .v5, [0x20, 4, 0, 0, 3, 0x21]),
        MalformedPacket("a receive maximum of zero", .v5, connack([0x21, 0, 0]), .invalidProperty(.receiveMaximum)),
        MalformedPacket(
            "a maximum packet size of zero",
            .v5,
            connack([0x27, 0, 0, 0, 0]),
            .invalidProperty(.maximumPacketSize)
        ),
        MalformedPacket("a maximum QoS of two", .v5, connack([0x24, 2]), .invalidProperty(.maximumQoS)),
        MalformedPacket("retain available: two", .v5, connack([0x25, 2]), .invalidProperty(.retainAvailable)),
        MalformedPacket(
            "a property twice",
            .v5,
            connack([0x22, 0, 1, 0x22, 0, 1]),
            .repeatedProperty(.topicAliasMaximum)
        ),
        MalformedPacket("a property of PUBLISH", .v5, connack([0x23, 0, 1]), .misplacedProperty(.topicAlias)),
        MalformedPacket(
            "a property that does not exist",
            .v5,
            connack([0x7F, 0]),
            .malformedProperties(identifier: 0x7F)
        ),
        MalformedPacket("a property that ends early", .v5, connack([0x21, 0]), .malformedProperties(identifier: 0x21)),
    ]

    /// What comes when the client is connected, has published with QoS 1 (packet identifier 1) and QoS 2 (2), subscribed to one filter (3) and unsubscribed from
    /// one (4).
    static let afterwards =
        unexpectedPackets + reservedFlags + publishes + topics + acknowledgements + wrongAcknowledgements + answers

    private static let unexpectedPackets: [MalformedPacket] =
        [
            unexpected("type zero", [0x00, 0]),
            unexpected("CONNECT", [0x10, 0]),
            unexpected("a second CONNACK", .v3, [0x20, 2, 0, 0]),
            unexpected("a second CONNACK, 5.0", .v5, [0x20, 3, 0, 0, 0]),
            unexpected("SUBSCRIBE", [0x82, 0]),
            unexpected("UNSUBSCRIBE", [0xA2, 0]),
            unexpected("PINGREQ", [0xC0, 0]),
            unexpected("DISCONNECT in 3.1.1", .v3, [0xE0, 0]),
            unexpected("AUTH in 3.1.1", .v3, [0xF0, 0]),
            unexpected("AUTH without a method", .v5, [0xF0, 0]),
            MalformedPacket("a length of five bytes", [0x30, 0x80, 0x80, 0x80, 0x80, 1], .malformedLength),
            MalformedPacket(
                "a length that is longer than it need be",
                [0x30, 0x83, 0x00, 0, 1, 0x61],
                .malformedLength
            ),
        ]

    private static let reservedFlags: [MalformedPacket] =
        ([0x41, 0x51, 0x60, 0x63, 0x6A, 0x71, 0x91, 0xB1] as [UInt8]).map {
            MalformedPacket("reserved flags \($0)", [$0, 2, 0, 1])
        } + [
            MalformedPacket("reserved flags of PINGRESP", [0xD1, 0]),
            MalformedPacket("reserved flags of DISCONNECT", .v5, [0xE1, 0]),
            MalformedPacket("reserved flags of AUTH", .v5, [0xF1, 0]),
        ]

    private static let publishes: [MalformedPacket] =
        [
            MalformedPacket("QoS 3", [0x36, 5, 0, 1, 0x61, 0, 1]),
            MalformedPacket("a duplicate with QoS 0", [0x38, 3, 0, 1, 0x61]),
            MalformedPacket("PUBLISH without a topic", [0x30, 1, 0]),
            MalformedPacket("a topic that ends behind the packet", [0x30, 3, 0, 2, 0x61]),
            MalformedPacket("a packet identifier of zero", [0x32, 5, 0, 1, 0x61, 0, 0]),
            MalformedPacket("a packet identifier that is cut off", [0x32, 4, 0, 1, 0x61, 0]),
            MalformedPacket("an empty topic", .v3, [0x30, 2, 0, 0]),
            MalformedPacket("an empty topic without an alias", .v5, [0x30, 3, 0, 0, 0]),
            MalformedPacket("no properties", .v5, [0x30, 3, 0, 1, 0x61]),
            MalformedPacket("properties that end behind the packet", .v5, [0x30, 5, 0, 1, 0x61, 2, 0x01]),
            MalformedPacket("a length of properties that does not end", .v5, [0x30, 5, 0, 1, 0x61, 0x80, 0x80]),
            MalformedPacket("an alias of zero", .v5, publish([0x23, 0, 0]), .invalidProperty(.topicAlias)),
            MalformedPacket("an alias over the maximum", .v5, publish([0x23, 0, 3]), .topicAliasInvalid),
            MalformedPacket(
                "an alias that stands for nothing",
                .v5,
                [0x30, 6, 0, 0, 3, 0x23, 0, 1],
                .topicAliasInvalid
            ),
            MalformedPacket("an alias twice", .v5, publish([0x23, 0, 1, 0x23, 0, 1]), .repeatedProperty(.topicAlias)),
            MalformedPacket("a format of two", .v5, publish([0x01, 2]), .invalidProperty(.payloadFormatIndicator)),
            MalformedPacket(
                "a subscription identifier of zero",
                .v5,
                publish([0x0B, 0]),
                .invalidProperty(.subscriptionIdentifier)
            ),
            MalformedPacket(
                "a subscription identifier of five bytes",
                .v5,
                publish([0x0B, 0x80, 0x80, 0x80, 0x80, 1]),
                .malformedProperties(identifier: 0x0B)
            ),
            MalformedPacket(
                "a response topic with a wildcard",
                .v5,
                publish([0x08, 0, 1, 0x23]),
                .invalidProperty(.responseTopic)
            ),
            MalformedPacket(
                "a content type that is no text",
                .v5,
                publish([0x03, 0, 1, 0xFF]),
                .malformedProperties(identifier: 0x03)
            ),
            MalformedPacket(
                "a user property whose value is no text",
                .v5,
                publish([0x26, 0, 1, 0x61, 0, 1, 0xC0]),
                .malformedProperties(identifier: 0x26)
            ),
            MalformedPacket(
                "a user property without a value",
                .v5,
                publish([0x26, 0, 1, 0x61]),
                .malformedProperties(identifier: 0x26)
            ),
            MalformedPacket(
                "a property of CONNACK",
                .v5,
                publish([0x12, 0, 1, 0x61]),
                .misplacedProperty(.assignedClientIdentifier)
            ),
        ]

    /// Wildcards, the null character, and what is not UTF-8.
    private static let topics: [MalformedPacket] =
        ([
            [0x2B], [0x23], [0x61, 0x2F, 0x23], [0x00], [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80],
            [0xF4, 0x90, 0x80, 0x80],
            [0xE2, 0x82],
        ] as [[UInt8]]).flatMap { (topic: [UInt8]) -> [MalformedPacket] in
            let length = UInt8(topic.count)
            return [
                MalformedPacket("the topic \(topic)", .v3, [0x30, length + 2, 0, length] + topic),
                MalformedPacket("the topic \(topic), 5.0", .v5, [0x30, length + 3, 0, length] + topic + [0]),
            ]
        }

    private static let acknowledgements: [MalformedPacket] =
        ([(0x40, 1), (0x50, 2), (0x62, 9), (0x70, 2)] as [(UInt8, UInt8)])
        .flatMap { (type: UInt8, packetID: UInt8) -> [MalformedPacket] in
            [
                MalformedPacket("\(type) that is too short", [type, 1, 0]),
                MalformedPacket("\(type) for packet identifier zero", [type, 2, 0, 0]),
                MalformedPacket("\(type) that is too long", .v3, [type, 3, 0, packetID, 0]),
                MalformedPacket("\(type) whose properties end early", .v5, [type, 5, 0, packetID, 0, 4, 0x1F]),
                MalformedPacket("\(type) with bytes behind its properties", .v5, [type, 5, 0, packetID, 0, 0, 0]),
                MalformedPacket(
                    "\(type) with a property twice",
                    .v5,
                    answer(type, packetID, why + why),
                    .repeatedProperty(.reasonString)
                ),
                MalformedPacket(
                    "\(type) with a property of PUBLISH",
                    .v5,
                    answer(type, packetID, [0x01, 1]),
                    .misplacedProperty(.payloadFormatIndicator)
                ),
            ]
        }

    private static let wrongAcknowledgements: [MalformedPacket] = [
        unexpected("PUBREC for QoS 1", [0x50, 2, 0, 1]),
        unexpected("PUBCOMP for QoS 1", [0x70, 2, 0, 1]),
        unexpected("PUBACK for QoS 2", .v5, [0x40, 2, 0, 2]),
        unexpected("SUBACK for UNSUBSCRIBE", .v3, [0x90, 3, 0, 4, 0]),
        unexpected("SUBACK for UNSUBSCRIBE, 5.0", .v5, [0x90, 4, 0, 4, 0, 0]),
        unexpected("UNSUBACK for SUBSCRIBE", .v3, [0xB0, 2, 0, 3]),
        unexpected("UNSUBACK for SUBSCRIBE, 5.0", .v5, [0xB0, 4, 0, 3, 0, 0]),
    ]

    private static let answers: [MalformedPacket] = [
        MalformedPacket("SUBACK without a code", .v3, [0x90, 2, 0, 3]),
        MalformedPacket("SUBACK without a code, 5.0", .v5, [0x90, 3, 0, 3, 0]),
        MalformedPacket("SUBACK without properties", .v5, [0x90, 2, 0, 3]),
        MalformedPacket("SUBACK with two codes for one filter", .v3, [0x90, 4, 0, 3, 0, 0]),
        MalformedPacket("SUBACK with two codes for one filter, 5.0", .v5, [0x90, 5, 0, 3, 0, 0, 0]),
        MalformedPacket("SUBACK that grants QoS 3", .v3, [0x90, 3, 0, 3, 3]),
        MalformedPacket("SUBACK that grants QoS 3, 5.0", .v5, [0x90, 4, 0, 3, 0, 3]),
        MalformedPacket("SUBACK with a reserved code", .v3, [0x90, 3, 0, 3, 0x7F]),
        MalformedPacket("SUBACK for packet identifier zero", .v3, [0x90, 3, 0, 0, 0]),
        MalformedPacket("SUBACK that is too short", [0x90, 1, 0]),
        MalformedPacket(
            "SUBACK with a property of PUBLISH",
            .v5,
            [0x90, 6, 0, 3, 2, 0x01, 1, 0],
            .misplacedProperty(.payloadFormatIndicator)
        ),
        MalformedPacket("UNSUBACK with a code in 3.1.1", .v3, [0xB0, 3, 0, 4, 0]),
        MalformedPacket("UNSUBACK without a code", .v5, [0xB0, 3, 0, 4, 0]),
        MalformedPacket("UNSUBACK with two codes for one filter", .v5, [0xB0, 5, 0, 4, 0, 0, 0]),
        MalformedPacket("PINGRESP that is too long", [0xD0, 1, 0]),
        MalformedPacket("DISCONNECT whose properties end early", .v5, [0xE0, 3, 0, 4, 0x1F]),
        MalformedPacket("DISCONNECT with bytes behind its properties", .v5, [0xE0, 3, 0, 0, 0]),
        MalformedPacket(
            "DISCONNECT with a property of PUBLISH",
            .v5,
            [0xE0, 4, 0x8B, 2, 0x01, 1],
            .misplacedProperty(.payloadFormatIndicator)
        ),
    ]
}

/// Each packet that a server must not send ends the connection with an error that says why; in 5.0 the server is told, too.
@Suite(.timeLimit(.minutes(1))) struct MalformedPacketTests {
    private func check(_ packet: MalformedPacket, isVersion5: Bool, beforeConnack: Bool) async throws {
        guard packet.counts(inVersion5: isVersion5) else { return }
        try await ScriptedPair.run(isVersion5: isVersion5, { $0.topicAliasMaximum = 2 }) { pair in
            if beforeConnack {
                pair.broker.script = { link, _ in link.send(packet.bytes) }
                try await pair.connect()
            } else {
                // It accepts the connection, and says nothing else.
                pair.broker.script = { link, bytes in
                    if bytes[0] == 0x10 { link.send(ScriptedBroker.answer(to: bytes, isVersion5)) }
                }
                try await pair.connect()
                try pair.publish("1")
                try pair.publish("2", qos: .exactlyOnce)
                try pair.subscribe("s")
                _ = try pair.connection.unsubscribe(from: Array("u".utf8).span)
                try await pair.settle()
                try await pair.send(packet.bytes)
            }
            let expected = MQTTError.protocolViolation(packet.violation)
            #expect(pair.handler.error == expected, "\(packet.name)")
            #expect(
                pair.broker.links.count == 1 && pair.broker.links[0].isOver,
                "\(packet.name): the connection is closed"
            )
            // Before it was accepted there is nobody to tell (3.14).
            let goodbye = pair.broker.packets(.disconnect)
            let code = packet.violation.reasonCode.rawValue
            #expect(goodbye == (isVersion5 && !beforeConnack ? [[0xE0, 1, code]] : []), "\(packet.name)")
        }
    }

    @Test(arguments: [false, true]) func insteadOfConnack(isVersion5: Bool) async throws {
        for packet in MalformedPacket.beforeConnack {
            try await check(packet, isVersion5: isVersion5, beforeConnack: true)
        }
    }

    @Test(arguments: [false, true]) func afterConnack(isVersion5: Bool) async throws {
        for packet in MalformedPacket.afterwards {
            try await check(packet, isVersion5: isVersion5, beforeConnack: false)
        }
    }
}
