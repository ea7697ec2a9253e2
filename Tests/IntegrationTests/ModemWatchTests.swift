import CLinux
import ModemSimulator
import Testing

/// `apus modem watch`: what changes, a line each.
@Suite(.timeLimit(.minutes(3))) struct ModemWatchTests {
    @Test(arguments: [ModemDialect.espat, .quectel, .sim800, .bc28])
    func aWatchShowsWhatChanges(dialect: ModemDialect) async throws {
        let modem = try CommandModem(dialect) {
            $0.isRoaming = true
            $0.registrationMilliseconds = 1_500
        }
        let program = try TestProgram(programBesideTests("apus"), ["modem", "watch"] + modem.options)
        let details =
            dialect == .espat ? "attached; wireless network 'net'; signal -" : "attached; roaming; operator 46000"
        #expect(await eventually(within: .seconds(20)) { program.output.contains(details) }, "\(program.output)")
        #expect(program.output.contains("  searching\n"), "\(program.output)")
        #expect(
            program.output.split(separator: "\n").allSatisfy { $0.contains(#/^\d\d:\d\d:\d\d  /#) },
            "\(program.output)"
        )
        modem.simulator.restart()
        #expect(await program.prints("  lost, searching\n"), "\(program.output)")
        let isBack = await eventually(within: .seconds(30)) { program.output.ranges(of: details).count == 2 }
        #expect(isBack, "\(program.output)")
        program.signal(SIGINT)
        #expect(await program.wait() == 0)
    }

    @Test func aWatchPrintsAsOftenAsItIsTold() async throws {
        let modem = try CommandModem(.quectel) { $0.hasSIM = false }
        let (status, output) = await modem.run(["watch"] + modem.options + ["--every", "1", "--count", "4"])
        let lines = output.split(separator: "\n")
        #expect(status == 0 && lines.count >= 4, "\(output)")
        #expect(lines.last?.contains("failed: there is no SIM in the modem; insert one") == true, "\(output)")
    }
}
