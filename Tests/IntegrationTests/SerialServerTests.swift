import ATAdapter
import CLinux
import Kernel
import ModemSimulator
import SAL
import Testing

@testable import HubSimulator

/// ser2net in front of a simulated modem: a serial server that shares nothing with this project.
private final class SerialServerProgram: Sendable {
    let port: UInt16
    let rawPort: UInt16
    private let program: TestProgram
    private let directory: String

    init(_ device: String) async throws {
        directory = try temporaryDirectory()
        (port, rawPort) = (Self.freePort(), Self.freePort())
        let configuration = """
            %YAML 1.1
            ---
            connection: &settable
              accepter: telnet(rfc2217),tcp,127.0.0.1,\(port)
              connector: serialdev,\(device),9600n81,local
            connection: &raw
              accepter: tcp,127.0.0.1,\(rawPort)
              connector: serialdev,\(device),115200n81,local

            """
        try replaceFile("\(directory)/ser2net.yaml", with: Array(configuration.utf8))
        program = try TestProgram("ser2net", ["-d", "-u", "-c", "\(directory)/ser2net.yaml"])
        for port in [port, rawPort] {
            #expect(await eventually { Self.isListening(port) }, "ser2net: \(program.output)")
        }
    }

    deinit { removeDirectory(directory) }

    private static func withAddress<Result>(
        _ port: UInt16,
        _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    private static func freePort() -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        return withAddress(0) { address, count in
            var size = count
            _ = bind(descriptor, address, size)
            getsockname(descriptor, address, &size)
            return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                UInt16(bigEndian: $0.pointee.sin_port)
            }
        }
    }

    private static func isListening(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        // To bind says it without taking the one connection that the server has room for.
        return withAddress(port) { bind(descriptor, $0, $1) != 0 }
    }
}

/// Modems at ports of serial servers.
@Suite(.timeLimit(.minutes(2))) struct SerialServerTests {
    private static func simulator() throws -> ModemSimulator {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = .quectel
        return try ModemSimulator(configuration)
    }

    /// All bytes there are, so that Telnet's own are among them.
    private static let payload =
        (0..<8_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 / 251) } + Array(repeating: 0xFF, count: 500)

    private func checkEcho(_ name: String, baudRate: Int? = nil, cmux: Bool = false) async throws {
        let server = RawServer.echo()
        let loop = EventLoop.start()
        let modem: LoopConfined<Modem> = try await loop.call {
            Result { () throws(SocketError) in
                var own = ModemConfiguration()
                own.apn = Array("cmnet".utf8)
                guard cmux else {
                    return LoopConfined(
                        try Modem.open(
                            .quectel,
                            path: name,
                            settings: SerialSettings(baudRate: baudRate),
                            loop: loop,
                            configuration: own
                        )
                    )
                }
                let multiplexer = try Multiplexer.open(
                    .quectel,
                    path: name,
                    settings: SerialSettings(baudRate: baudRate),
                    loop: loop
                )
                return LoopConfined(Modem(over: multiplexer, configuration: own))
            }
        }.get()
        let probe = StreamProbe(on: loop)
        probe.connect(over: modem.value, port: server.port)
        probe.send(Self.payload)
        #expect(await probe.eventually { $0.received == Self.payload })
        await loop.call { modem.value.close() }
        loop.stop()
    }

    @Test func ser2netCarriesAModem() async throws {
        let simulator = try Self.simulator()
        defer { simulator.stop() }
        let server = try await SerialServerProgram(simulator.path)
        try await checkEcho("rfc2217://127.0.0.1:\(server.port)", baudRate: 115_200)
        try await checkEcho("tcp://127.0.0.1:\(server.rawPort)")
        try await checkEcho("rfc2217://127.0.0.1:\(server.port)", baudRate: 460_800, cmux: true)
    }

    @Test func ser2netSetsTheRate() async throws {
        let simulator = try Self.simulator()
        defer { simulator.stop() }
        let server = try await SerialServerProgram(simulator.path)
        let loop = EventLoop.start()
        defer { loop.stop() }
        for (rate, speed) in [(19_200, B19200), (230_400, B230400)] {
            let port = try #require(
                try SerialServer(
                    "rfc2217://127.0.0.1:\(server.port)",
                    settings: SerialSettings(baudRate: rate),
                    loop: loop
                )
            )
            let connection = try await Connection.open(to: port.endpoint, over: port)
            try await connection.write("AT\r", .seconds(5))
            var text = ""
            while !text.hasSuffix("OK\r\n") {
                text += String(decoding: try await connection.read(.seconds(5)) ?? [], as: UTF8.self)
            }
            // The two ends of a pseudo terminal have one set of settings.
            let descriptor = clinux_open(simulator.path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0)
            var settings = termios()
            tcgetattr(descriptor, &settings)
            close(descriptor)
            #expect(cfgetospeed(&settings) == speed_t(speed))
            await connection.close()
        }
    }

    @Test func aPortThatTheSimulatorListensAt() async throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = .quectel
        let simulator = try ModemSimulator(listeningOn: 0, configuration)
        defer { simulator.stop() }
        try await checkEcho("tcp://" + simulator.path.dropFirst(4))
    }

    @Test func aServerThatDoesNotKnowTheOptionIsRefused() async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        // One that says no, one that says nothing, and one that hangs up.
        let servers = [
            RawServer { descriptor in
                RawServer.sendAll([255, 254, 44], to: descriptor)
                var chunk = [UInt8](repeating: 0, count: 100)
                while recv(descriptor, &chunk, chunk.count, 0) > 0 {}
            },
            RawServer { descriptor in
                var chunk = [UInt8](repeating: 0, count: 100)
                while recv(descriptor, &chunk, chunk.count, 0) > 0 {}
            },
            RawServer { descriptor in
                var chunk = [UInt8](repeating: 0, count: 100)
                _ = recv(descriptor, &chunk, 15, Int32(MSG_WAITALL))
            },
        ]
        for (server, cause) in zip(servers, [SocketError.notSupported, .timedOut, .deviceRestarted]) {
            let port = try #require(try SerialServer("rfc2217://127.0.0.1:\(server.port)", loop: loop))
            do throws(ConnectError) {
                _ = try await Connection.open(to: port.endpoint, over: port)
                Issue.record("there is a connection")
            } catch { #expect(error.cause == cause) }
        }
    }

    @Test func commandsTakePortsOfServers() async throws {
        let simulator = try Self.simulator()
        defer { simulator.stop() }
        let server = try await SerialServerProgram(simulator.path)
        for (name, port) in [("rfc2217", server.port), ("tcp", server.rawPort)] {
            let path = "\(name)://127.0.0.1:\(port)"
            let probe = try await CommandModem.run(["probe", "--tty", path], input: [])
            #expect(probe.status == 0 && probe.output.contains("--dialect quectel\n"), "\(probe.output)")
            #expect(probe.output.contains("115200 bits per second") == (name == "rfc2217"), "\(probe.output)")
            let console = try await CommandModem.run(["console", "--tty", path], input: Array("AT+CGMM\n".utf8))
            #expect(console.status == 0 && console.output.contains("OK"), "\(console.output)")
        }
        let echo = RawServer.echo()
        let pipe = try await CommandModem.run(
            [
                "pipe", "--tty", "rfc2217://127.0.0.1:\(server.port)", "--dialect", "quectel", "--apn", "cmnet",
                "--wait", "1",
                "127.0.0.1", "\(echo.port)",
            ],
            input: Self.payload
        )
        #expect(pipe.status == 0 && pipe.bytes == Self.payload, "\(pipe.status)")
    }

    @Test(arguments: [
        (
            ["--tty", "tcp://127.0.0.1"],
            "there is no tcp://127.0.0.1: a port is tcp://HOST:PORT or rfc2217://HOST:PORT"
        ),
        (["--tty", "tcp://127.0.0.1:1"], "nobody listens at tcp://127.0.0.1:1"),
        (["--tty", "rfc2217://127.0.0.1:1", "--baud", "9600"], "nobody listens at rfc2217://127.0.0.1:1"),
        (["--tty", "tcp://127.0.0.1:1", "--baud", "9600"], "leave --baud out"),
    ]) func commandsSayWhatIsWrong(options: [String], text: String) async throws {
        let result = try await CommandModem.run(["probe"] + options, input: [])
        #expect(result.status == 1 && result.output.contains(text), "\(result.output)")
    }
}
