import CLinux
import ModemSimulator
import Testing

@testable import HubSimulator

/// The image in straight-line code, with a modem that is simulated and a broker that is not.
@Suite(.timeLimit(.minutes(1))) struct StraightTests {
    @Test func publishesToItselfWithEachGuarantee() async throws {
        try await offPool {
            let port = try ReservedPort(address: "127.0.0.1", port: 0)
            let broker = try ChildProcess(
                "/usr/sbin/mosquitto",
                arguments: ["-p", "\(port.number)"],
                outputPath: "/dev/null"
            )
            defer { broker.stop(patience: .seconds(1)) }
            #expect(waitUntil(timeout: .seconds(10)) { ReservedPort.accepts(address: "127.0.0.1", port: port.number) })
            let modem = try ModemSimulator(listeningOn: 0)
            defer { modem.stop() }
            let machine = try Machine("straight", second: MainJobTests.second(of: modem))
            try machine.wait(for: "ready\n")
            machine.type("127.0.0.1 \(port.number)")
            try machine.wait(for: "connected\n")
            try machine.wait(for: "done\n", seconds: 40)
            #expect(machine.text.contains("received=0\nreceived=1\nreceived=2\ndone\n"), "\(machine.text)")
        }
    }
}
