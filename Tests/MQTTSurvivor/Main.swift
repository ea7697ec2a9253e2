// Publishes numbered messages from a store, until it is killed: mqtt-survivor PORT DIRECTORY FIRST LAST
// What was accepted is written to DIRECTORY/accepted, a number a line. With FIRST after LAST it only sends what is left, and ends with status 0.
import Glibc
import Kernel
import MQTTClient
import SAL

@main struct Survivor {
    static func main() async throws {
        let words = CommandLine.arguments
        guard words.count == 5, let port = UInt16(words[1]), let first = Int(words[3]), let last = Int(words[4]) else {
            fatalError("usage: mqtt-survivor PORT DIRECTORY FIRST LAST")
        }
        var configuration = MQTTConfiguration(clientID: Array("survivor".utf8))
        configuration.cleanStart = false
        configuration.reconnect.firstDelayMilliseconds = 50
        configuration.queue.requests = 100_000
        let loop = EventLoop.start()
        let client = try MQTTClient(
            toOneOf: [Endpoint(host: "127.0.0.1", port: port)],
            over: LinuxNetwork(loop: loop),
            configuration: configuration,
            store: SQLiteStore(path: "\(words[2])/session", durability: .process)
        )
        let accepted = open("\(words[2])/accepted", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        // Some are accepted before there is a connection.
        let connecting = Task { try await client.connect(retries: true) }
        if first <= last {
            for number in first...last {
                try await client.enqueue(
                    Array("\(number)".utf8),
                    to: "survivor/\(number % 2 + 1)",
                    qos: number % 2 == 0 ? .atLeastOnce : .exactlyOnce
                )
                let line = Array("\(number)\n".utf8)
                _ = write(accepted, line, line.count)
            }
        }
        try await connecting.value
        while await client.waitingCount > 0 { try await Task.sleep(for: .milliseconds(5)) }
        if first > last { exit(0) }
        // It is killed some time.
        try await Task.sleep(for: .seconds(60))
    }
}
