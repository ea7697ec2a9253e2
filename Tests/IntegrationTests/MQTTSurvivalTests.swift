import CLinux
@testable import HubSimulator
import Kernel
import MQTTClient
import MQTTScenarios
import SAL
import Testing

/// A publisher whose session is in a store, and which is killed again and again.
@Suite(.timeLimit(.minutes(2))) struct MQTTSurvivalTests {
    /// Nothing that was accepted is lost, and nothing with QoS 2 is delivered twice, wherever the process is killed.
    @Test func nothingIsLostWhenTheProcessIsKilled() async throws {
        try await TestBroker.with { broker in
            let reader = try await broker.connect("reader")
            let arrivals = Guarded<[Int: Int]>([:])
            // The handler is called on the client's loop.
            await reader.onMessage(matching: "survivor/+") { message in
                let number = Int(String(decoding: message.payload, as: UTF8.self)) ?? -1
                arrivals.withLock { $0[number, default: 0] += 1 }
            }
            _ = try await reader.requestSubscriptions([("survivor/+", MQTTSubscriptionOptions(.exactlyOnce))])
            var generator = SystemRandomNumberGenerator()
            let seed = UInt64.random(in: .min ... .max, using: &generator)
            var random = ModelRandom(seed: seed)
            // Undisturbed it takes so long, on this machine, now: it is killed before, meanwhile and after.
            let file = "\(broker.directory)/accepted"
            let start = ContinuousClock.now
            let first = try TestProgram(
                programBesideTests("mqtt-survivor"),
                ["\(broker.port)", broker.directory, "1", "30"]
            )
            #expect(await eventually { (try? readFile(file))?.count { $0 == 10 } == 30 })
            let time = Int((ContinuousClock.now - start) / .microseconds(1))
            first.signal(SIGKILL)
            _ = await first.wait()
            var next = 31
            for _ in 0..<200 {
                let program = try TestProgram(
                    programBesideTests("mqtt-survivor"),
                    ["\(broker.port)", broker.directory, "\(next)", "\(next + 29)"]
                )
                try await Task.sleep(for: .microseconds(Int.random(in: time / 4...2 * time, using: &random)))
                program.signal(SIGKILL)
                _ = await program.wait()
                next += 30
            }
            // The last one sends what is left.
            let last = try TestProgram(
                programBesideTests("mqtt-survivor"),
                ["\(broker.port)", broker.directory, "1", "0"]
            )
            #expect(await last.wait() == 0, "\(last.output)")
            let accepted = String(decoding: try readFile(file), as: UTF8.self).split(separator: "\n").compactMap {
                Int($0)
            }
            #expect(accepted.count > 500, "seed \(seed)")
            #expect(await eventually { arrivals.withLock { counts in accepted.allSatisfy { counts[$0] != nil } } })
            let counts = arrivals.withLock { $0 }
            let lost = accepted.filter { counts[$0] == nil }
            #expect(lost.isEmpty, "seed \(seed): \(lost.prefix(10)) of \(accepted.count) were lost")
            let doubled = counts.filter { $0.key % 2 == 1 && $0.value > 1 }
            #expect(doubled.isEmpty, "seed \(seed): \(doubled.prefix(10)) came more than once")
            await reader.disconnect()
        }
    }
}
