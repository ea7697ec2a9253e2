import ATAdapter
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
        #expect(await program.prints("  lost\n"), "\(program.output)")
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
        #expect(lines.last?.contains("lost: there is no SIM in the modem; insert one") == true, "\(output)")
    }

    @Test(arguments: [ModemDialect.espat, .quectel, .sim800, .bc28])
    func linkStatesComeInTheirOrder(dialect: ModemDialect) async throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        configuration.registrationMilliseconds = 700
        configuration.bootMilliseconds = 200
        let modem = try await TestModem(configuration)
        let late = modem.network.linkStates
        var seen: [ModemLinkState] = []
        for await state in modem.network.linkStates {
            seen.append(state)
            if state == .attached { break }
        }
        let up: [ModemLinkState] = dialect == .espat ? [.booting, .searching] : [.booting, .searching, .registered]
        // The first is what it was when it was asked.
        #expect((up + [.attached]).suffix(seen.count) == seen[...], "\(seen)")
        modem.simulator.restart()
        var all: [ModemLinkState] = []
        for await state in late {
            all.append(state)
            if all.count(where: { $0 == .attached }) == 2 { break }
        }
        #expect(all.suffix(up.count + 2) == [.lost(nil)] + up + [.attached], "\(all)")
        modem.simulator.unplug()
        #expect(await comes(.off, in: modem.network.linkStates))
    }

    /// Whether `state` comes; the time limit of the suite ends the wait.
    private func comes(_ state: ModemLinkState, in states: AsyncStream<ModemLinkState>) async -> Bool {
        for await one in states where one == state { return true }
        return false
    }
}
