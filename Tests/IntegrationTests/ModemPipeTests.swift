import CLinux
import Kernel
import ModemSimulator
import Testing

@testable import HubSimulator

/// `apus modem pipe`: bytes and datagrams through a modem to servers of this machine.
@Suite(.timeLimit(.minutes(3))) struct ModemPipeTests {
    @Test(arguments: [ModemDialect.espat, .quectel, .sim800, .bc28, .ublox])
    func aPipeCarriesBytesBothWays(dialect: ModemDialect) async throws {
        let server = RawServer.echo()
        let modem = try CommandModem(dialect)
        let bytes = Array("\r\nOK\r\n> \u{1A}".utf8) + (0..<3_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let (status, _) = await modem.run(
            ["pipe"] + modem.options + ["--wait", "2", "127.0.0.1", "\(server.port)"],
            input: bytes
        )
        #expect(status == 0, "\(modem.transcript)")
        #expect(modem.lastOutput == bytes, "\(modem.transcript)")
    }

    @Test func aPipeEndsWithItsServer() async throws {
        let server = RawServer { RawServer.sendAll(Array("bye".utf8), to: $0) }
        let modem = try CommandModem(.sim7600)
        // The input does not end.
        let program = try TestProgram(
            "sh",
            [
                "-c",
                "sleep 60 | (\(modem.command(["pipe"] + modem.options + ["127.0.0.1", "\(server.port)"])); echo status $?)",
            ]
        )
        #expect(await eventually(within: .seconds(20)) { program.output == "byestatus 0\n" }, "\(program.output)")
    }

    @Test(arguments: [ModemDialect.espat, .quectel, .bc28])
    func aPipeCarriesDatagrams(dialect: ModemDialect) async throws {
        let server = try DatagramEcho()
        let modem = try CommandModem(dialect)
        let (status, _) = await modem.run(
            ["pipe", "--udp"] + modem.options + ["-w", "2", "127.0.0.1", "\(server.port)"],
            input: Array("a datagram".utf8)
        )
        #expect(status == 0 && modem.lastOutput == Array("a datagram".utf8), "\(modem.transcript)")
    }

    @Test func thePipesStatusTellsWhatWentWrong() async throws {
        let modem = try CommandModem(.quectel)
        let free = try ReservedPort(address: "127.0.0.1", port: 0)
        let refused = await modem.run(["pipe"] + modem.options + ["127.0.0.1", "\(free.number)"], input: [])
        #expect(refused.status == 3 && refused.output.contains("cannot connect to 127.0.0.1"), "\(refused.output)")
        let locked = try CommandModem(.quectel) { $0.pin = "9999" }
        let noPIN = await locked.run(
            ["pipe", "--tty", locked.path, "--dialect", "quectel", "127.0.0.1", "9"],
            input: []
        )
        #expect(noPIN.status == 1 && noPIN.output.contains("--pin"), "\(noPIN.output)")
        let lost = try CommandModem(.quectel) { $0.registrationMilliseconds = 60_000 }
        let late = await lost.run(["pipe", "-t", "3"] + lost.options + ["127.0.0.1", "9"], input: [])
        #expect(late.status == 1 && late.output.contains("has not found its network in 3 s"), "\(late.output)")
        let server = RawServer { _ in sleep(60) }
        let broken = try CommandModem(.quectel)
        let program = try TestProgram(
            "sh",
            [
                "-c",
                "sleep 60 | (\(broken.command(["pipe"] + broken.options + ["127.0.0.1", "\(server.port)"])); echo status $?)",
            ]
        )
        #expect(await eventually(within: .seconds(20)) { broken.statistics.linksOpened == 1 })
        try? await Task.sleep(for: .milliseconds(300))
        broken.simulator.restart()
        let isTold = await eventually(within: .seconds(20)) { program.output.contains("status 4") }
        #expect(isTold && program.output.contains("the modem has restarted"), "\(program.output)")
    }
}
