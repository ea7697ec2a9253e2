import CLinux
import CPahoScript
import Kernel
import MQTTClient
import SAL
import Testing

/// The same calls of Paho and of our client make the same bytes.
@Suite(.timeLimit(.minutes(1))) struct MQTTPahoTests {
    @Test(arguments: [MQTTVersion.v3_1_1, .v5_0])
    func packetsAreTheSameAsPahos(version: MQTTVersion) async throws {
        let paho = try CapturingServer(isVersion5: version == .v5_0)
        let port = paho.port
        let result = await offPool { paho_script(Int32(port), Int32(version.rawValue)) }
        #expect(result == 0)
        let expected = await paho.packets()
        let own = try CapturingServer(isVersion5: version == .v5_0)
        try await script(port: own.port, version)
        let packets = await own.packets()
        #expect(packets.count == expected.count)
        for (packet, other) in zip(packets, expected) {
            // Paho writes that a DISCONNECT has no properties, which goes without saying (MQTT 5.0, 3.14.2.2.1).
            let other = other.first == 0xE0 && other.count == 4 && other[3] == 0 ? [0xE0, 1, other[2]] : other
            // Paho does not always begin with the same identifier.
            #expect(Self.withoutPacketID(packet) == Self.withoutPacketID(other))
        }
        #expect(packets.count == 8)
    }

    /// A packet with a zero for its packet identifier.
    private static func withoutPacketID(_ packet: [UInt8]) -> [UInt8] {
        var packet = packet
        let header = packet[1] < 0x80 ? 2 : 3
        switch packet[0] >> 4 {
        case 3 where packet[0] & 6 != 0:
            let topicEnd = header + 2 + (Int(packet[header]) << 8 | Int(packet[header + 1]))
            packet[topicEnd + 1] = 0
        case 6, 8, 10: packet[header + 1] = 0
        default: break
        }
        return packet
    }

    private func script(port: UInt16, _ version: MQTTVersion) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        var configuration = MQTTConfiguration(clientID: Array("peer".utf8))
        configuration.version = version
        configuration.keepAliveSeconds = 30
        configuration.userName = Array("user".utf8)
        configuration.password = Array("word".utf8)
        configuration.will = .init(
            topic: Array("will/topic".utf8),
            payload: Array("gone".utf8),
            qos: .atLeastOnce,
            isRetained: true
        )
        configuration.will?.properties.willDelaySeconds = 9
        configuration.sessionExpirySeconds = 60
        configuration.receiveMaximum = 20
        configuration.maximumPacketBytes = 5_000
        configuration.topicAliasMaximum = 3
        configuration.connectProperties.userProperties = [MQTTUserProperty("a", "b")]
        let client = MQTTClient(
            to: Endpoint(host: "127.0.0.1", port: port),
            over: LinuxNetwork(loop: loop),
            configuration: configuration,
            reconnects: false
        )
        try await client.connect()
        var options = MQTTSubscriptionOptions(.exactlyOnce)
        options.noLocal = version == .v5_0
        options.retainAsPublished = version == .v5_0
        options.retainHandling = version == .v5_0 ? .doNotSend : .send
        options.identifier = version == .v5_0 ? 300 : nil
        _ = try await client.requestSubscriptions([("some/+/filter", options)])
        var properties = MQTTProperties()
        properties.payloadIsText = true
        properties.contentType = "text"
        properties.responseTopic = "answer/here"
        properties.correlationData = Array("12345".utf8)
        properties.userProperties = [MQTTUserProperty("name", "value")]
        for qos in [QoS.atMostOnce, .atLeastOnce, .exactlyOnce] {
            try await client.publish(
                "payload",
                to: "some/topic",
                qos: qos,
                isRetained: qos == .atLeastOnce,
                properties: properties
            )
        }
        try await client.unsubscribe(from: "some/+/filter")
        await client.disconnect(version == .v5_0 ? .disconnectWithWill : .success)
    }
}

/// A server for one client that keeps what it is sent, and answers so that the client goes on.
private final class CapturingServer: Sendable {
    let port: UInt16
    private let isVersion5: Bool
    private let reading: Task<[[UInt8]], Never>

    init(isVersion5: Bool) throws {
        self.isVersion5 = isVersion5
        let listener = try RawListener()
        port = listener.port
        reading = Task { await offPool { Self.serve(listener, isVersion5) } }
    }

    /// All packets that have come until the client was gone.
    func packets() async -> [[UInt8]] { await reading.value }

    private static func serve(_ listener: RawListener, _ isVersion5: Bool) -> [[UInt8]] {
        let descriptor = listener.accept()
        defer { CLinux.close(descriptor) }
        var packets: [[UInt8]] = []
        var input: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = read(descriptor, &piece, piece.count)
            guard count > 0 else { return packets }
            input += piece[..<count]
            while input.count >= 2 {
                // All packets of this script have a length of one or two bytes.
                var length = Int(input[1] & 0x7F)
                var header = 2
                if input[1] >= 0x80 {
                    guard input.count >= 3 else { break }
                    length |= Int(input[2]) << 7
                    header = 3
                }
                guard input.count >= header + length else { break }
                let packet = Array(input[..<(header + length)])
                input.removeFirst(packet.count)
                packets.append(packet)
                let answer = Self.answer(packet, header, isVersion5)
                _ = write(descriptor, answer, answer.count)
            }
        }
    }

    private static func answer(_ packet: [UInt8], _ header: Int, _ isVersion5: Bool) -> [UInt8] {
        switch packet[0] >> 4 {
        case 1: return isVersion5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]
        case 3:
            let qos = packet[0] >> 1 & 3
            let topicEnd = header + 2 + (Int(packet[header]) << 8 | Int(packet[header + 1]))
            return qos == 0 ? [] : [qos == 1 ? 0x40 : 0x50, 2, packet[topicEnd], packet[topicEnd + 1]]
        case 6: return [0x70, 2, packet[2], packet[3]]
        case 8: return [0x90, isVersion5 ? 4 : 3, packet[header], packet[header + 1]] + (isVersion5 ? [0, 2] : [2])
        case 10: return [0xB0, isVersion5 ? 4 : 2, packet[header], packet[header + 1]] + (isVersion5 ? [0, 0] : [])
        default: return []
        }
    }
}
