import CLinux
import ModemSimulator
import Testing

@testable import HubSimulator

/// The image that is a CoAP client, with a modem that is simulated and libcoap's server.
@Suite(.timeLimit(.minutes(1))) struct CoAPTests {
    @Test func writesReadsAndObservesByWayOfAModem() async throws {
        try await offPool {
            let port = try ReservedPort(address: "127.0.0.1", port: 0)
            let server = try ChildProcess(
                "/usr/bin/coap-server-notls",
                arguments: ["-A", "127.0.0.1", "-p", "\(port.number)", "-d", "10"],
                outputPath: "/dev/null"
            )
            defer { server.stop(patience: .seconds(1)) }
            let modem = try ModemSimulator(listeningOn: 0)
            defer { modem.stop() }
            let machine = try Machine("coap", second: MainJobTests.second(of: modem))
            try machine.wait(for: "ready\n")
            machine.type("host=127.0.0.1 port=\(port.number) seed=\(String(repeating: "a5", count: 32))")
            try machine.wait(for: "done\n", seconds: 40)
            let text = machine.text
            #expect(text.contains("put=2.1 bytes="), "\(text)")
            #expect(text.contains("get=2.5 bytes=3000\nsame\n"), "\(text)")
            #expect(text.contains("notified=2.5 bytes=3000\n"), "\(text)")
        }
    }
}
