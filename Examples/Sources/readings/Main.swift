// Publishes a reading to an MQTT server every second, and prints those of all: `swift run readings mqtt://localhost`.
import Foundation
import Kernel
import MQTTClient

struct Reading: Codable, Sendable {
    let sensor: String
    let celsius: Double
}

let json = MQTTCoding(
    encode: { Array(try JSONEncoder().encode($0)) },
    decode: { try JSONDecoder().decode($0, from: Data($1)) }
)
guard let url = CommandLine.arguments.dropFirst().first.flatMap({ MQTTURL($0) }) else {
    fatalError("usage: readings mqtt[s]://[USER:PASSWORD@]HOST[:PORT], or ws[s]://HOST/PATH")
}
var configuration = MQTTConfiguration(clientID: Array("readings-\(UInt32.random(in: 0 ... .max))".utf8))
configuration.version = .v5_0
let client = try MQTTClient(url: url, loop: .start(), configuration: configuration)
try await client.connect()
let readings = try await client.subscribe(to: "readings/+")  // comes back with the connection, which comes back by itself
Task {
    for count in 0... {
        let reading = Reading(sensor: "boiler", celsius: 60 + Double(count % 10))
        try await client.publish(reading, to: "readings/boiler", by: json)  // returns when the server has it
        try await Task.sleep(for: .seconds(1))
    }
}
for await reading in readings.values(of: Reading.self, by: json) {
    print(reading.message.topicText, (try? reading.value).map { "\($0.celsius) °C" } ?? "is no reading")
}
