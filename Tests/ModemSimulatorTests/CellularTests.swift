import CLinux
import ModemSimulator
import Testing

/// What all cellular modems share, against V.250 and 3GPP 27.007.
@Suite(.timeLimit(.minutes(1))) struct CellularTests {
    static let dialects = ModemDialect.allCases.filter { $0 != .espat }
    /// The Neul set has no space behind colons, and no echo at the start.
    static func isNeul(_ dialect: ModemDialect) -> Bool { dialect == .bc28 || dialect == .m5310a }
    static func colon(_ dialect: ModemDialect) -> String { isNeul(dialect) ? ":" : ": " }

    @Test(arguments: dialects) func echoesAsItIsTold(dialect: ModemDialect) throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        let host = try RawHost(configuration)
        try host.expect("AT", Self.isNeul(dialect) ? "\r\nOK\r\n" : "AT\r\r\nOK\r\n")
        try host.expect("ATE1", Self.isNeul(dialect) ? "\r\nOK\r\n" : "ATE1\r\r\nOK\r\n")
        try host.expect("ATE0", "ATE0\r\r\nOK\r\n")
        try host.expect("AT", "\r\nOK\r\n")
        try host.expect("at", "\r\nOK\r\n")
        // Line feeds between lines are nothing.
        host.send("\n\r\nAT\r\n")
        host.expect("\r\nOK\r\n")
        #expect(host.isSilent(milliseconds: 30))
    }

    @Test func resultsCanBeDigitsOrNone() throws {
        let host = try RawHost(.quectel)
        try host.expect("ATV0", "0\r")
        try host.expect("AT+CGATT?", "+CGATT: 1\r\n0\r")
        try host.expect("AT+NONSENSE", "4\r")
        host.send("ATQ1\r")
        #expect(host.isSilent(milliseconds: 50))
        try host.expect("ATQ0", "0\r")
        try host.expect("ATV1", "\r\nOK\r\n")
    }

    @Test func aLineCanHaveSeveralCommandsAndOneResult() throws {
        let host = try RawHost(.quectel)
        try host.expect("AT+CMEE=2;+CREG=2;+CREG?", "\r\n+CREG: 2,1,\"9D6F\",\"01B8DCC8\",7\r\n\r\nOK\r\n")
        try host.expect("AT+CREG=9;+CREG?", "\r\n+CME ERROR: incorrect parameters\r\n")
        try host.expect("ATE0V1Q0", "\r\nOK\r\n")
    }

    @Test(arguments: dialects) func tellsWhatItIs(dialect: ModemDialect) throws {
        let host = try RawHost(dialect)
        for command in ["ATI", "AT+CGMI", "AT+CGMM", "AT+CGMR"] {
            host.send(command + "\r")
            let answer = host.read(upTo: "\r\nOK\r\n")
            #expect(answer.utf8.count > 12 && answer.hasSuffix("\r\n\r\nOK\r\n"), "\(command): \(answer)")
        }
        try host.expect("AT+CGSN", "\r\n860000000000017\r\n\r\nOK\r\n")
        try host.expect("AT+CGSN=1", "\r\n+CGSN\(Self.colon(dialect))\"860000000000017\"\r\n\r\nOK\r\n")
        try host.expect("AT+CIMI", "\r\n460001234567890\r\n\r\nOK\r\n")
        try host.expect("AT+CCID", "\r\n+CCID\(Self.colon(dialect))89860012345678901234\r\n\r\nOK\r\n")
        try host.expect("AT+NONSENSE", "\r\nERROR\r\n")
        #expect(host.modem.statistics.unknownCommands == 1)
    }

    @Test(arguments: dialects) func errorsHaveThreeForms(dialect: ModemDialect) throws {
        let host = try RawHost(dialect) { $0.hasSIM = false }
        try host.expect("AT+CMEE=0", "\r\nOK\r\n")
        try host.expect("AT+CPIN?", "\r\nERROR\r\n")
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        try host.expect("AT+CPIN?", "\r\n+CME ERROR: 10\r\n")
        try host.expect("AT+CIMI", "\r\n+CME ERROR: 10\r\n")
        try host.expect("AT+CMEE=2", "\r\nOK\r\n")
        try host.expect("AT+CPIN?", "\r\n+CME ERROR: SIM not inserted\r\n")
        try host.expect("AT+CMEE=3", "\r\n+CME ERROR: incorrect parameters\r\n")
        try host.expect("AT+CMEE?", "\r\n+CMEE\(Self.colon(dialect))2\r\n\r\nOK\r\n")
    }

    @Test(arguments: dialects) func theSIMWantsItsPIN(dialect: ModemDialect) throws {
        let host = try RawHost(dialect) { $0.pin = "1234" }
        let colon = Self.colon(dialect)
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        try host.expect("AT+CPIN?", "\r\n+CPIN\(colon)SIM PIN\r\n\r\nOK\r\n")
        try host.expect("AT+CEREG?", dialect == .sim800 ? "\r\nERROR\r\n" : "\r\n+CEREG\(colon)0,0\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT?", "\r\n+CME ERROR: 11\r\n")
        try host.expect("AT+CPIN=\"4321\"", "\r\n+CME ERROR: 16\r\n")
        try host.expect("AT+CPIN=\"1234\"", "\r\nOK\r\n\r\n+CPIN\(colon)READY\r\n")
        if dialect == .bc26 { host.expect("\r\n+IP: 10.64.12.7\r\n") }
        try host.expect("AT+CPIN?", "\r\n+CPIN\(colon)READY\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT?", "\r\n+CGATT\(colon)1\r\n\r\nOK\r\n")
        // A restart asks again, and three errors lock the SIM.
        try host.expect("AT+CFUN=1,1", "\r\nOK\r\n")
        usleep(100_000)
        host.send("ATE0;+CMEE=1\r")
        _ = host.read(upTo: "OK\r\n", milliseconds: 300)
        while !host.isSilent(milliseconds: 50) { _ = host.read(upTo: "OK\r\n", milliseconds: 50) }
        for _ in 0..<3 { try host.expect("AT+CPIN=\"0000\"", "\r\n+CME ERROR: 16\r\n") }
        try host.expect("AT+CPIN?", "\r\n+CPIN\(colon)SIM PUK\r\n\r\nOK\r\n")
        try host.expect("AT+CPIN=\"1234\"", "\r\n+CME ERROR: 12\r\n")
        try host.expect("AT+CGATT?", "\r\n+CME ERROR: 12\r\n")
    }

    @Test func registersAfterAWhileAndSaysSo() throws {
        let host = try RawHost(.quectel) {
            $0.registrationMilliseconds = 1_000
            $0.isRoaming = true
        }
        try host.expect("AT+CMEE=1;+CREG=1;+CGREG=2;+CEREG=2", "\r\nOK\r\n")
        try host.expect("AT+CREG?", "\r\n+CREG: 1,2\r\n\r\nOK\r\n")
        try host.expect("AT+CGREG?", "\r\n+CGREG: 2,2\r\n\r\nOK\r\n")
        try host.expect("AT+COPS?", "\r\n+COPS: 0\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT?", "\r\n+CGATT: 0\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT=1", "\r\n+CME ERROR: 30\r\n")
        try host.expect("AT+CGPADDR=1", "\r\n+CGPADDR: 1\r\n\r\nOK\r\n")
        host.expect(
            "\r\n+CREG: 5\r\n\r\n+CGREG: 5,\"9D6F\",\"01B8DCC8\",7\r\n\r\n+CEREG: 5,\"9D6F\",\"01B8DCC8\",7\r\n"
        )
        try host.expect("AT+CREG?", "\r\n+CREG: 1,5\r\n\r\nOK\r\n")
        try host.expect("AT+CEREG?", "\r\n+CEREG: 2,5,\"9D6F\",\"01B8DCC8\",7\r\n\r\nOK\r\n")
        try host.expect("AT+COPS?", "\r\n+COPS: 0,2,\"46000\",7\r\n\r\nOK\r\n")
        try host.expect("AT+CGPADDR=1", "\r\n+CGPADDR: 1,\"10.64.12.7\"\r\n\r\nOK\r\n")
        // Flight mode and back.
        try host.expect("AT+CFUN=4", "\r\nOK\r\n\r\n+CREG: 0\r\n\r\n+CGREG: 0\r\n\r\n+CEREG: 0\r\n")
        try host.expect("AT+CFUN?", "\r\n+CFUN: 4\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT?", "\r\n+CGATT: 0\r\n\r\nOK\r\n")
        try host.expect("AT+CREG=0;+CGREG=0;+CEREG=0", "\r\nOK\r\n")
        try host.expect("AT+CFUN=1", "\r\nOK\r\n")
        try host.expect("AT+CREG?", "\r\n+CREG: 0,2\r\n\r\nOK\r\n")
        #expect(host.isSilent(milliseconds: 1_200))
        try host.expect("AT+CREG?", "\r\n+CREG: 0,5\r\n\r\nOK\r\n")
    }

    @Test func aDeniedRegistrationHasACause() throws {
        let host = try RawHost(.quectel) { $0.faults.refusesToJoin = true }
        try host.expect("AT+CEREG=3;+CEREG?", "\r\n+CEREG: 3,3,,,,0,11\r\n\r\nOK\r\n")
        try host.expect("AT+CREG=1;+CREG?", "\r\n+CREG: 1,3\r\n\r\nOK\r\n")
        try host.expect("AT+COPS=0", "\r\n+CME ERROR: 30\r\n")
    }

    @Test func keepsContextsAndAttachment() throws {
        let host = try RawHost(.sim7600)
        try host.expect("AT+CGDCONT?", "\r\nOK\r\n")
        try host.expect("AT+CGDCONT=1,\"IP\",\"cmnet\"", "\r\nOK\r\n")
        try host.expect("AT+CGDCONT=2,\"IPV4V6\",\"a;b\"", "\r\nOK\r\n")
        try host.expect(
            "AT+CGDCONT?",
            "\r\n+CGDCONT: 1,\"IP\",\"cmnet\"\r\n\r\n+CGDCONT: 2,\"IPV4V6\",\"a;b\"\r\n\r\nOK\r\n"
        )
        try host.expect("AT+CGDCONT=2", "\r\nOK\r\n")
        try host.expect("AT+CGDCONT=1,\"X25\",\"cmnet\"", "\r\n+CME ERROR: 50\r\n")
        try host.expect("AT+CGDCONT?", "\r\n+CGDCONT: 1,\"IP\",\"cmnet\"\r\n\r\nOK\r\n")
        try host.expect("AT+CGACT=1,1;+CGACT?", "\r\n+CGACT: 1,1\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT=0;+CGATT?;+CGACT?", "\r\n+CGATT: 0\r\n\r\n+CGACT: 1,0\r\n\r\nOK\r\n")
        try host.expect("AT+CGACT=1,1", "\r\n+CME ERROR: 30\r\n")
        try host.expect("AT+CGATT=1;+CGATT?", "\r\n+CGATT: 1\r\n\r\nOK\r\n")
    }

    @Test func tellsSignalTimeAndOperators() throws {
        let host = try RawHost(.quectel) { $0.signal = -67 }
        host.send("AT+CSQ\r")
        let signal = host.read(upTo: "OK\r\n").split(separator: " ").last?.prefix { $0 != "," }
        #expect(21...25 ~= Int(signal ?? "") ?? 0)
        host.send("AT+CCLK?\r")
        let clock = host.read(upTo: "OK\r\n")
        #expect(
            clock.wholeMatch(of: #/\r\n\+CCLK: "\d\d/[01]\d/[0-3]\d,[0-2]\d:[0-5]\d:[0-6]\d\+08"\r\n\r\nOK\r\n/#)
                != nil,
            "\(clock)"
        )
        try host.expect("AT+COPS=?", "\r\n+COPS: (2,\"OK net\",\"OK\",\"46000\",7),,(0-4),(0-2)\r\n\r\nOK\r\n")
    }

    static let banners: [(ModemDialect, String)] = [
        (
            .quectel,
            "\r\nRDY\r\n\r\n+CFUN: 1\r\n\r\n+CPIN: READY\r\n\r\n+QUSIM: 1\r\n\r\n+QIND: SMS DONE\r\n\r\n+QIND: PB DONE\r\n"
        ),
        (.sim7600, "\r\nRDY\r\n\r\n+CPIN: READY\r\n\r\nSMS DONE\r\n\r\nPB DONE\r\n"),
        (.ublox, "\0\0"),
        (
            .bc26,
            ["F1: 0000 0000", "V0: 0000 0000 [0001]", "00: 0006 000C", "U0: 0000 0001 [0000]", "Leaving the BROM"]
                .map { "\r\n\($0)\r\n" }.joined() + "\r\n+CPIN: READY\r\n\r\n+IP: 10.64.12.7\r\n"
        ),
        (.bc28, "\0\u{2}\0\r\nNeul \r\nOK\r\n"),
        (.m5310a, "\0\u{2}\0\r\nM5310-A\r\nOK\r\n"),
        (.l610, "\r\n+SIM READY\r\n\r\n+CPIN: READY\r\n"),
        (
            .air724,
            [
                "RDY", "^MODE: 17,17", "+E_UTRAN Service", "+CGEV: ME PDN ACT 5", "+CPIN: READY", "SMS READY",
                "CALL READY",
            ]
            .map { "\r\n\($0)\r\n" }.joined()
        ),
        (.sim800, "\r\nRDY\r\n\r\n+CFUN: 1\r\n\r\n+CPIN: READY\r\n\r\nCall Ready\r\n\r\nSMS Ready\r\n"),
    ]

    @Test(arguments: banners) func aRestartHasABanner(dialect: ModemDialect, banner: String) throws {
        let host = try RawHost(dialect) { $0.bootMilliseconds = 500 }
        try host.expect("AT+CMEE=2", "\r\nOK\r\n")
        try host.expect("AT+CFUN=1,1", "\r\nOK\r\n")
        #expect(host.isSilent(milliseconds: 100))
        host.expect(banner)
        // It has forgotten what it was told.
        host.send("AT\r")
        #expect(host.read(upTo: "OK\r\n") == (Self.isNeul(dialect) ? "\r\nOK\r\n" : "AT\r\r\nOK\r\n"))
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        configuration.announcesPowerUp = true
        let other = try RawHost(configuration)
        other.expect(banner)
    }

    @Test func aSIMThatIsNotReadySaysNoReady() throws {
        let host = try RawHost(.quectel) { $0.pin = "1234" }
        host.modem.restart()
        #expect(host.read(upTo: "PB DONE\r\n").contains("+CPIN") == false)
    }

    @Test(arguments: [nil, "1234"]) func theSIMIsBusyAtFirst(pin: String?) throws {
        let host = try RawHost(.quectel) {
            $0.simMilliseconds = 1_000
            $0.pin = pin
        }
        try host.expect("AT+CPIN?", "\r\n+CME ERROR: 14\r\n")
        try host.expect("AT+CPIN=\"1234\"", "\r\n+CME ERROR: 14\r\n")
        try host.expect("AT+CGATT?", "\r\n+CME ERROR: 14\r\n")
        try host.expect("AT+CREG?", "\r\n+CREG: 0,0\r\n\r\nOK\r\n")
        host.expect("\r\n+CPIN: \(pin == nil ? "READY" : "SIM PIN")\r\n")
        try host.expect("AT+CREG?", "\r\n+CREG: 0,\(pin == nil ? 1 : 0)\r\n\r\nOK\r\n")
    }

    @Test func aNewSearchTakesItsOwnTime() throws {
        let host = try RawHost(.quectel) { $0.registrationMilliseconds = 1_500 }
        usleep(1_000_000)
        try host.expect("AT+CFUN=4", "\r\nOK\r\n")
        try host.expect("AT+CFUN=1", "\r\nOK\r\n")
        usleep(750_000)
        try host.expect("AT+CREG?", "\r\n+CREG: 0,2\r\n\r\nOK\r\n")
        usleep(1_000_000)
        try host.expect("AT+CREG?", "\r\n+CREG: 0,1\r\n\r\nOK\r\n")
    }

    @Test func settingsGoBackToTheirDefaults() throws {
        let host = try RawHost(.sim800)
        try host.expect("AT+CMEE=2", "\r\nOK\r\n")
        try host.expect("ATZ", "\r\nOK\r\n")
        try host.expect("AT+CMEE?", "AT+CMEE?\r\r\n+CMEE: 0\r\n\r\nOK\r\n")
        try host.expect("ATE0V1Q0&F", "ATE0V1Q0&F\r\r\nOK\r\n")
        try host.expect("AT&W", "AT&W\r\r\nOK\r\n")
    }

    static let accepted = [
        "+IPR=115200", "+IFC=2,2", "+CTZU=1", "+CTZR=1", "+CGEREP=2", "+CSCLK=0",
        "+CPSMS=1,,,\"00100001\",\"00000001\"",
        "+CEDRXS=1,5,\"0101\"", "+CSCON=1", "+CMGF=1", "+CNMI=2,1", "+CREG=?",
    ]

    @Test(arguments: accepted) func acceptsWhatChangesNothingHere(command: String) throws {
        try RawHost(.quectel).expect("AT" + command, "\r\nOK\r\n")
    }

    @Test func tellsTheQualityOfLTE() throws {
        let host = try RawHost(.quectel) { $0.signal = -100 }
        host.send("AT+CESQ\r")
        let fields = host.read(upTo: "OK\r\n").split(whereSeparator: { ",\r\n ".contains($0) })
        #expect(fields.dropLast().dropFirst() == ["99", "99", "255", "255", "20", "41"])
    }

    @Test func linksBreakWithAndWithoutNotice() throws {
        let host = try RawHost(.quectel)
        let peers = [RawPeer(), RawPeer(), RawPeer()]
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
        for (id, peer) in peers.enumerated() {
            try host.expect(
                "AT+QIOPEN=1,\(id),\"TCP\",\"127.0.0.1\",\(peer.port)",
                "\r\nOK\r\n\r\n+QIOPEN: \(id),0\r\n"
            )
            peer.acceptConnection()
            switch id {
            case 0:
                host.modem.breakLinks()
                host.expect("\r\n+QIURC: \"closed\",0\r\n")
            case 1:
                host.modem.breakLinks(hasNotice: false)
                #expect(peer.receive().isEmpty)
                #expect(host.isSilent(milliseconds: 50))
            default: try host.expect("AT+CGATT=0", "\r\nOK\r\n")
            }
            #expect(peer.receive().isEmpty)
        }
        try host.expect("AT+QISTATE?", "\r\nOK\r\n")
    }

    @Test func tooLongALineIsAnErrorAndNoMore() throws {
        let host = try RawHost(.sim800)
        try host.expect("AT+CSTT=\"" + String(repeating: "a", count: 600) + "\"", "\r\nERROR\r\n")
        host.send([UInt8](repeating: 0x41, count: 100_000))
        host.send("\r")
        host.expect("\r\nERROR\r\n")
        try host.expect("AT", "\r\nOK\r\n")
    }
}
