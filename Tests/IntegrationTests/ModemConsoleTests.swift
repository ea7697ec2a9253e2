import ModemSimulator
import Testing

/// `apus modem console`: scripts of AT commands.
@Suite(.timeLimit(.minutes(3))) struct ModemConsoleTests {
    @Test func aConsoleSendsAScriptLineByLine() async throws {
        let modem = try CommandModem(.quectel) { $0.faults.resultDelayMilliseconds = 50 }
        let (status, output) = await modem.run(
            ["console", "--tty", modem.path],
            input: Array("ATE0\nAT+CGMM\r\n\nAT+CPIN?".utf8)
        )
        let lines = output.split(separator: "\n").map { $0.drop { $0 == " " } }
        #expect(status == 0, "\(output)")
        #expect(lines.contains { $0.hasSuffix(" ms   EC20F") }, "\(output)")
        // Each came in its time, with its time.
        #expect(lines.allSatisfy { $0.contains(#/^\d+ ms [ *] /#) }, "\(output)")
        #expect(lines.last?.hasSuffix(" ms   OK") == true, "\(output)")
        #expect(lines.contains { $0.hasSuffix(" ms   +CPIN: READY") }, "\(output)")
    }

    @Test func aConsoleTellsErrorsAndMissingAnswers() async throws {
        let modem = try CommandModem(.ublox)
        let wrong = await modem.run(["console", "--tty", modem.path], input: Array("AT+NOSUCH\nAT\n".utf8))
        #expect(wrong.status == 3 && wrong.output.contains("  ERROR\n"), "\(wrong.output)")
        #expect(wrong.output.hasSuffix("   OK\n"), "\(wrong.output)")
        let silent = try SpeakingTerminal(rate: nil)
        let none = try await CommandModem.run(
            ["console", "--tty", silent.path, "--timeout", "1"],
            input: Array("AT\nATI\n".utf8)
        )
        #expect(none.status == 1 && none.output.contains("no answer to 'AT' in 1 s"), "\(none.output)")
    }

    @Test func aConsoleShowsAtOnceWhatComesUnasked() async throws {
        let modem = try CommandModem(.espat)
        let program = try TestProgram(
            "sh",
            ["-c", "(echo AT; sleep 60) | \(modem.command(["console", "--tty", modem.path, "--end", "crlf"]))"]
        )
        #expect(await program.prints("   OK\n"), "\(program.output)")
        modem.simulator.restart()
        #expect(await program.prints(" ms * ready\n"), "\(program.output)")
    }
}
