import Kernel
import Testing

@testable import ATAdapter

/// What fits into the commands of MQTT in a modem's firmware, and how it is written.
@Suite struct TencentCommandTests {
    static let esp = TencentCommands(traits: TencentTraits(escapesAll: true, changesEscapes: true), lineBytes: 254)
    static let l610 = TencentCommands(traits: TencentTraits(), lineBytes: 510)

    private func line(_ commands: TencentCommands, _ topic: String, _ payload: [UInt8]) throws -> String {
        let command = try commands.publish(topic: topic.utf8.span, payload: payload.span, qos: .atLeastOnce)
        #expect(command.line.count <= commands.lineBytes)
        #expect(command.payload.isEmpty || command.payload == payload + [13, 10])
        return String(decoding: command.line, as: UTF8.self)
    }

    @Test(arguments: [
        ("{\"a\":1,\"b\":\"\\\\\"}", "AT+TCMQTTPUB=\"t\",1,\"{\\\"a\\\":1\\,\\\"b\\\":\\\"\\\\\\\\\\\"}\""),
        ("plain", "AT+TCMQTTPUB=\"t\",1,\"plain\""), ("two\nlines", "AT+TCMQTTPUBL=\"t\",1,9"),
        ("gr\u{FC}n", "AT+TCMQTTPUBL=\"t\",1,5"), ("\0", "AT+TCMQTTPUBL=\"t\",1,1"),
        ("say \\\"\n", "AT+TCMQTTPUBRAW=\"t\",1,7"), ("a\\,\u{7F}", "AT+TCMQTTPUBRAW=\"t\",1,4"),
        ("C:\\n\n", "AT+TCMQTTPUBL=\"t\",1,5"),
    ])
    func writesPayloadsForESP8266(payload: String, line: String) throws {
        #expect(try self.line(Self.esp, "t", Array(payload.utf8)) == line)
    }

    @Test(arguments: [
        ("{\"a\":1,\"b\":2}", "AT+TCMQTTPUB=\"t\",1,\"{\\\"a\\\":1,\\\"b\\\":2}\""),
        ("back\\slash", "AT+TCMQTTPUBL=\"t\",1,10"), ("say \\\"\n", "AT+TCMQTTPUBL=\"t\",1,7"),
    ])
    func writesPayloadsForL610(payload: String, line: String) throws {
        #expect(try self.line(Self.l610, "t", Array(payload.utf8)) == line)
    }

    @Test func takesTheLongFormWhereTheLineIsTooShort() throws {
        // 254 characters: 14 for the name and a quote, the topic, 4 for `",1,`, and the payload in quotes.
        let topic = String(repeating: "t", count: 100)
        let fits = [UInt8](repeating: 0x61, count: 134)
        #expect(try line(Self.esp, topic, fits).hasPrefix("AT+TCMQTTPUB="))
        #expect(try line(Self.esp, topic, fits).utf8.count == 254)
        #expect(try line(Self.esp, topic, fits + [0x61]).hasSuffix(",1,135"))
        // Each comma takes two.
        #expect(try line(Self.esp, topic, [UInt8](repeating: 0x2C, count: 68)).hasSuffix(",1,68"))
        #expect(try line(Self.l610, "t", [UInt8](repeating: 0x61, count: 200)).hasPrefix("AT+TCMQTTPUB="))
        #expect(try line(Self.l610, "t", [UInt8](repeating: 0x61, count: 201)).hasPrefix("AT+TCMQTTPUBL="))
    }

    @Test(arguments: [
        ("", ModemMQTTError.payloadEmpty),
        (String(repeating: "x", count: 2_049), .payloadTooLong(bytes: 2_049, limit: 2_048)),
        ("a+++\r\nb", .payloadUnsendable),
    ])
    func refusesPayloads(payload: String, error: ModemMQTTError) {
        #expect(throws: error) { try line(Self.esp, "t", Array(payload.utf8)) }
    }

    @Test(arguments: [
        ("", ModemMQTTError.invalidTopic), ("a/#", .invalidTopic), ("+/b", .invalidTopic), ("a\nb", .invalidTopic),
        (String(repeating: "t", count: 129), .topicTooLong(bytes: 129, limit: 128)),
    ])
    func refusesTopics(topic: String, error: ModemMQTTError) {
        #expect(throws: error) { try line(Self.esp, topic, [0x61]) }
    }

    @Test func refusesATopicWhoseEscapesDoNotFit() {
        let topic = String(repeating: ",", count: 128)
        #expect(throws: ModemMQTTError.topicTooLong(bytes: 128, limit: 128)) { try line(Self.esp, topic, [0x61]) }
        #expect(throws: ModemMQTTError.invalidTopic) { try line(Self.l610, "a\\b", [0x61]) }
    }

    @Test func refusesIdentitiesThatBreakTheLine() {
        for (product, name, secret) in [
            ("", "n", "s"), ("P", "a\"b", "s"), ("P", "n", "s,t"), ("P", "n", "a\r"), ("PRODUCT0011", "n", "s"),
            ("P", String(repeating: "n", count: 49), "s"), ("P", "n", String(repeating: "s", count: 45)),
        ] {
            #expect(throws: ModemMQTTError.invalidIdentity) {
                try ModemMQTTIdentity(
                    productID: Array(product.utf8),
                    deviceName: Array(name.utf8),
                    secret: Array(secret.utf8)
                )
            }
        }
    }
}
