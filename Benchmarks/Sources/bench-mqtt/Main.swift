import Glibc
import Kernel
import MQTTClient
import SAL

/// One row: how a client publishes `count` messages with `window` of them under way.
struct Scenario {
    let qos: Int32
    let window: Int
    let count: Int
    let payload: [UInt8]
    var name: String { "publish QoS \(qos), \(payload.count) B, window \(window)" }
}

struct Result {
    let peer: String
    let cpuMicroseconds: Double
    let messagesPerSecond: Double
}

func cpuSeconds() -> Double {
    var usage = rusage()
    getrusage(RUSAGE_SELF.rawValue, &usage)
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
}

func measure(_ peer: String, _ scenario: Scenario, _ body: () async throws -> Void) async rethrows -> Result {
    let (cpu, start) = (cpuSeconds(), ContinuousClock.now)
    try await body()
    let elapsed = (ContinuousClock.now - start).components
    let seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
    return Result(
        peer: peer,
        cpuMicroseconds: (cpuSeconds() - cpu) * 1e6 / Double(scenario.count),
        messagesPerSecond: Double(scenario.count) / seconds
    )
}

@main struct Bench {
    static let topic = "bench/topic"

    static func main() async throws {
        if CommandLine.arguments.count == 3, CommandLine.arguments[1] == "sink" {
            Sink.run(listener: Int32(CommandLine.arguments[2]) ?? -1)
        }
        let json = CommandLine.arguments.contains("--json")
        let sink = Sink.start()
        defer { kill(sink.pid, SIGKILL) }
        var scenarios: [Scenario] = []
        for size in [64, 1_024] {
            for (qos, window, count) in [(0, 100, 200_000), (1, 1, 5_000), (1, 20, 100_000), (1, 100, 200_000)] {
                scenarios.append(
                    Scenario(
                        qos: Int32(qos),
                        window: window,
                        count: count,
                        payload: [UInt8](repeating: 0x61, count: size)
                    )
                )
            }
        }
        print("CPU of the client (user and system), microseconds a message; in brackets thousand messages a second.")
        for scenario in scenarios {
            let results = [
                try await apus(scenario, port: sink.port), mosquitto(scenario, port: sink.port),
                paho(scenario, port: sink.port),
            ]
            let cells = results.map { result in
                "\(result.peer) \(rounded(result.cpuMicroseconds)) (\(rounded(result.messagesPerSecond / 1_000)))"
            }
            let ratios = results.dropFirst().map { "\(rounded($0.cpuMicroseconds / results[0].cpuMicroseconds))x" }
            print(
                "\(scenario.name): \(cells.joined(separator: ", ")); apus uses \(ratios.joined(separator: ", ")) less"
            )
            guard json else { continue }
            for result in results {
                for (metric, value, unit) in [
                    ("cpu", result.cpuMicroseconds, "us/message"), ("rate", result.messagesPerSecond, "messages/s"),
                ] {
                    print(
                        "{\"bench\":\"\(scenario.name)\",\"peer\":\"\(result.peer)\",\"metric\":\"\(metric)\","
                            + "\"value\":\(value),\"unit\":\"\(unit)\"}"
                    )
                }
            }
        }
    }

    static func rounded(_ value: Double) -> String {
        let hundredths = Int(value * 100 + 0.5)
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }

    static func apus(_ scenario: Scenario, port: UInt16) async throws -> Result {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let client = MQTTClient(
            to: Endpoint(host: "127.0.0.1", port: port),
            over: LinuxNetwork(loop: loop),
            configuration: MQTTConfiguration(clientID: Array("bench".utf8))
        )
        try await client.connect()
        let result = try await measure("apus", scenario) {
            // As many tasks as the window has places, on the client's loop.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for place in 0..<scenario.window {
                    let share = scenario.count / scenario.window + (place < scenario.count % scenario.window ? 1 : 0)
                    group.addTask(executorPreference: loop) {
                        for _ in 0..<share {
                            while true {
                                do throws(MQTTError) {
                                    try await client.publish(
                                        scenario.payload,
                                        to: topic,
                                        qos: scenario.qos == 0 ? .atMostOnce : .atLeastOnce
                                    )
                                    break
                                } catch .tooManyInFlight { await Task.yield() }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        await client.disconnect()
        return result
    }
}
