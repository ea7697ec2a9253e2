import CLinux
import ModemSimulator
import Testing

/// `apus modem probe`: the rate, the dialect, the SIM.
@Suite(.timeLimit(.minutes(3))) struct ModemProbeTests {
    @Test(arguments: ModemDialect.allCases)
    func aProbeNamesTheDialect(dialect: ModemDialect) async throws {
        let modem = try CommandModem(dialect) {
            $0.isRoaming = true
            $0.signal = -71
        }
        let (status, output) = await modem.run(["probe", "--tty", modem.path])
        #expect(status == 0 && output.contains("\nDialect     --dialect \(dialect.rawValue)\n"), "\(output)")
        #expect(output.contains("115200 bits per second"), "\(output)")
        if dialect == .espat {
            #expect(
                output.contains("Firmware    2.2.0.0") && output.contains("Network     wireless network"),
                "\(output)"
            )
            return
        }
        #expect(output.contains("SIM         ready") && output.contains("Registered  roaming"), "\(output)")
        #expect(output.contains("IMEI        860000000000017") && output.contains("Operator    46000"), "\(output)")
        #expect(output.contains("ICCID       89860*************34\n"), "\(output)")
        #expect(output.contains("IMSI        46000********90\n"), "\(output)")
        #expect(output.contains(#/Signal      -(6|7)\d dBm/#), "\(output)")
    }

    @Test func aProbeSaysWhatIsWrongWithTheSIM() async throws {
        let locked = try CommandModem(.sim7600) { $0.pin = "1234" }
        let first = await locked.run(["probe", "--tty", locked.path, "--baud", "9600"])
        #expect(first.status == 0 && first.output.contains("SIM         wants its PIN"), "\(first.output)")
        #expect(first.output.contains("with --pin DIGITS") && first.output.contains("9600 bits"), "\(first.output)")
        let none = try CommandModem(.quectel) { $0.hasSIM = false }
        let second = await none.run(["probe", "--tty", none.path])
        #expect(
            second.output.contains("SIM         none") && second.output.contains("Insert a SIM"),
            "\(second.output)"
        )
        let registered = try CommandModem(.ublox)
        let third = await registered.run(["probe", "--tty", registered.path, "--unmasked"])
        #expect(third.output.contains("IMSI        460001234567890\n"), "\(third.output)")
        #expect(third.output.contains("Registered  home network\n"), "\(third.output)")
    }

    @Test func aProbeFindsTheRate() async throws {
        let modem = try SpeakingTerminal(rate: B57600)
        let (status, output) = await run(programBesideTests("apus"), ["modem", "probe", "--tty", modem.path])
        #expect(status == 0 && output.contains("57600 bits per second"), "\(output)")
        #expect(output.contains("Dialect     not known by its name"), "\(output)")
        let wrong = await run(programBesideTests("apus"), ["modem", "probe", "--tty", modem.path, "--baud", "9600"])
        #expect(wrong.status == 1 && wrong.output.contains("but no OK at 9600"), "\(wrong.output)")
    }

    @Test func aProbeThatFindsNothingSaysWhatToDo() async throws {
        let apus = programBesideTests("apus")
        let silent = try SpeakingTerminal(rate: nil)
        let nothing = await run(apus, ["modem", "probe", "--tty", silent.path, "--baud", "115200"])
        #expect(nothing.status == 1 && nothing.output.contains("nothing answers") && nothing.output.contains("powered"))
    }
}
