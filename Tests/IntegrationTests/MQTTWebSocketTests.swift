import Kernel
import MQTTClient
import SAL
import Testing

/// MQTT over WebSocket, at a real broker and by way of a real proxy.
@Suite(.timeLimit(.minutes(1))) struct MQTTWebSocketTests {
    private func client(_ broker: TestBroker, _ url: String) throws -> MQTTClient {
        var configuration = MQTTConfiguration(clientID: Array("web".utf8))
        configuration.connectTimeout = .seconds(1)
        return try MQTTClient(
            url: try #require(MQTTURL(url)),
            loop: broker.loopForClients,
            configuration: configuration,
            reconnects: false
        )
    }

    /// Mosquitto 2.0.11 reads 4 KiB of a WebSocket in a tenth of a second, so there are few of the large ones.
    @Test(arguments: [0, 1, 125, 126, 65_535, 65_536, 100_000])
    func messagesOfAllSizesGoBothWays(size: Int) async throws {
        try await TestBroker.with(webSockets: true) { broker in
            let client = try client(broker, "ws://127.0.0.1:\(broker.webSocketPort)/mqtt")
            try await client.connect()
            let messages = try await client.subscribe(to: "web/#")
            let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let total = size > 1_000 ? 1 : 3
            for number in 0..<total { try await client.publish(payload, to: "web/\(number)", qos: .exactlyOnce) }
            var count = 0
            for await message in messages {
                #expect(Array(message.payload) == payload)
                count += 1
                if count == total { break }
            }
            await client.disconnect()
        }
    }

    @Test func aServerThatIsNoWebSocketIsTold() async throws {
        try await TestBroker.with { broker in
            let client = try client(broker, "ws://127.0.0.1:\(broker.port)/mqtt")
            let error = await #expect(throws: MQTTError.self) { try await client.connect() }
            switch error {
            case .webSocket, .closedByServer, .transport: break
            default: Issue.record("\(String(describing: error))")
            }
        }
    }
}
