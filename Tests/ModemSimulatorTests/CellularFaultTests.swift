import CLinux
import ModemSimulator
import Testing

/// Each fault shows in the cellular dialects as their users would see it.
@Suite(.timeLimit(.minutes(1))) struct CellularFaultTests {
    /// A Quectel with an open stream, and the faults from then on.
    private func connected(
        _ change: (inout Faults) -> Void = { _ in },
        mode: Int = 0
    ) throws -> (host: RawHost, peer: RawPeer) {
        let host = try RawHost(.quectel)
        let peer = RawPeer()
        host.peers.append(peer)
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
        try host.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port),0,\(mode)", "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        peer.acceptConnection()
        set(host, change)
        return (host, peer)
    }

    private func set(_ host: RawHost, _ change: (inout Faults) -> Void) {
        var faults = Faults()
        change(&faults)
        host.modem.setFaults(faults)
    }

    // MARK: What changes no meaning

    @Test func noticesComeTwice() throws {
        let (host, peer) = try connected { $0.doublesNotices = true }
        peer.send("x")
        host.expect("\r\n+QIURC: \"recv\",0\r\n\r\n+QIURC: \"recv\",0\r\n")
        peer.end()
        host.expect("\r\n+QIURC: \"closed\",0\r\n\r\n+QIURC: \"closed\",0\r\n")
    }

    @Test func promptsLookOtherwise() throws {
        let (host, _) = try connected { $0.prompt = .bare }
        try host.expect("AT+QISEND=0,2", "\r\n>")
        host.expect(payload: "hi", "\r\nSEND OK\r\n")
        let other = try RawHost(.bc26)
        let peer = RawPeer()
        other.peers.append(peer)
        try other.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        set(other) { $0.prompt = .spaced }
        try other.expect("AT+QISEND=0,2", "\r\n> ")
    }

    @Test func noticesStandWhereverTheyMay() throws {
        let (host, peer) = try connected { $0.insertsNotices = true }
        var places: Set<String> = []
        for _ in 0..<60 {
            host.send("AT+QISTATE?\r")
            let answer = host.read(upTo: "\r\n\r\nOK\r\n")
            #expect(answer.contains("+QISTATE: 0,"), "\(answer)")
            if !answer.hasPrefix("\r\n+QISTATE") { places.insert("before") }
            if answer.split(separator: "\"uart1\"").last != "\r\n\r\nOK\r\n" { places.insert("between") }
            host.send("AT+QISEND=0,1\r")
            _ = host.read(upTo: "\r\n> ")
            if !host.isSilent(milliseconds: 2) { places.insert("behind the prompt") }
            host.send("x")
            #expect(host.read(upTo: "SEND OK\r\n").hasSuffix("\r\nSEND OK\r\n"))
        }
        #expect(places == ["before", "between", "behind the prompt"])
        #expect(!peer.receive().isEmpty)
    }

    @Test func theSeedRepeatsARun() throws {
        func run(_ seed: UInt64) throws -> String {
            let host = try RawHost(.sim800) {
                $0.seed = seed
                $0.faults.insertsNotices = true
                $0.faults.insertsGarbage = true
            }
            for _ in 0..<10 { host.send("AT+CGATT?\r") }
            var text = ""
            while !host.isSilent(milliseconds: 400) { text += host.read(upTo: "\n", milliseconds: 20) }
            return text
        }
        let first = try run(5)
        #expect(try first == run(5))
        #expect(try first != run(6))
    }

    @Test func openingCanTakeLong() throws {
        let host = try RawHost(.sim7600) { $0.faults.openDelayMilliseconds = 600 }
        let peer = RawPeer()
        host.peers.append(peer)
        try host.expect("AT+NETOPEN", "\r\nOK\r\n\r\n+NETOPEN: 0\r\n")
        try host.expect("AT+CIPOPEN=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n")
        peer.acceptConnection()
        peer.send("early")
        #expect(host.isSilent(milliseconds: 100))
        // The peer's data waits for the news.
        host.expect("\r\n+CIPOPEN: 0,0\r\n\r\nRECV FROM:127.0.0.1:\(peer.port)\r\n+IPD5\r\nearly")
    }

    @Test(arguments: Faults.Overlap.allCases) func commandsOverlap(overlap: Faults.Overlap) throws {
        let host = try RawHost(.ublox) {
            $0.faults.openDelayMilliseconds = 150
            $0.faults.overlap = overlap
        }
        let peer = RawPeer()
        host.peers.append(peer)
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        try host.expect("AT+USOCR=6", "\r\n+USOCR: 0\r\n\r\nOK\r\n")
        host.send("AT+USOCO=0,\"127.0.0.1\",\(peer.port)\rAT+CGATT?\r")
        switch overlap {
        case .queue: host.expect("\r\nOK\r\n\r\n+CGATT: 1\r\n\r\nOK\r\n")
        case .busy: host.expect("\r\n+CME ERROR: 14\r\n\r\nOK\r\n")
        case .drop: host.expect("\r\nOK\r\n")
        }
        #expect(host.isSilent(milliseconds: 50))
    }

    @Test func payloadsAreTakenInParts() throws {
        let host = try RawHost(.sim800)
        let peer = RawPeer()
        host.peers.append(peer)
        for line in ["AT+CIPMUX=1", "AT+CIPQSEND=1", "AT+CSTT", "AT+CIICR"] { try host.expect(line, "\r\nOK\r\n") }
        try host.expect("AT+CIFSR", "\r\n10.64.12.7\r\n")
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nOK\r\n\r\n0, CONNECT OK\r\n")
        peer.acceptConnection()
        set(host) { $0.takesPartEvery = 1 }
        try host.expect("AT+CIPSEND=0,5", "\r\n> ")
        host.expect(payload: "hello", "\r\nDATA ACCEPT:0,3\r\n")
        #expect(peer.receive() == "hel")
        let (sara, _) = try opened(.ublox, ["AT+USOCR=6", "AT+USOCO=0,\"127.0.0.1\",PORT"])
        set(sara) { $0.takesPartEvery = 1 }
        try sara.expect("AT+USOWR=0,5", "\r\n@")
        sara.expect(payload: "hello", "\r\n+USOWR: 0,3\r\n\r\nOK\r\n")
        let (simcom, _) = try opened(.sim7600, ["AT+NETOPEN", "AT+CIPOPEN=0,\"TCP\",\"127.0.0.1\",PORT"])
        set(simcom) { $0.takesPartEvery = 1 }
        try simcom.expect("AT+CIPSEND=0,5", "\r\n>")
        simcom.expect(payload: "hello", "\r\nOK\r\n\r\n+CIPSEND: 0,5,3\r\n")
    }

    // MARK: What costs something

    @Test func anEscapeEndsTheWaitForAPayload() throws {
        let (host, peer) = try connected { $0.losesPromptEvery = 1 }
        host.send("AT+QISEND=0,5\r")
        #expect(host.isSilent())
        host.send("\u{1b}")
        host.expect("\r\nERROR\r\n")
        try host.expect("AT", "\r\nOK\r\n")
        // In front of more it is payload like any other byte.
        set(host) { _ in }
        try host.expect("AT+QISEND=0,5", "\r\n> ")
        host.expect(payload: "\u{1b}hell", "\r\nSEND OK\r\n")
        #expect(peer.receive() == "\u{1b}hell")
    }

    @Test func noticesAreLost() throws {
        let (host, peer) = try connected {
            $0.losesNoticeEvery = 1
            $0.closesSilently = true
        }
        peer.send("x")
        #expect(host.isSilent())
        try host.expect("AT+QIRD=0,10", "\r\n+QIRD: 1\r\nx\r\n\r\nOK\r\n")
        peer.end()
        #expect(host.isSilent())
        try host.expect("AT+QISEND=0,1", "\r\nERROR\r\n")
    }

    @Test func itIsDeafForAWhile() throws {
        let (host, _) = try connected {
            $0.deafEvery = 2
            $0.deafMilliseconds = 1_000
        }
        try host.expect("AT", "\r\nOK\r\n")
        try host.expect("AT", "\r\nOK\r\n")
        host.send("AT\r")
        #expect(host.isSilent(milliseconds: 300))
        host.expect("\r\nOK\r\n")
    }

    @Test func commandsAreBusyOrFail() throws {
        let (host, _) = try connected { $0.busyEvery = 2 }
        try host.expect("AT+CGATT?", "\r\n+CGATT: 1\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT?", "\r\n+CME ERROR: 14\r\n")
        set(host) {
            $0.failsCommandEvery = 2
            $0.errorCode = 30
        }
        try host.expect("AT+CGATT?", "\r\n+CGATT: 1\r\n\r\nOK\r\n")
        try host.expect("AT+CGATT=0", "\r\n+CME ERROR: 30\r\n")
        try host.expect("AT+CMEE=2;+CGATT?", "\r\n+CGATT: 1\r\n\r\nOK\r\n")
        try host.expect("AT", "\r\n+CME ERROR: no network service\r\n")
    }

    /// How each dialect opens link 0 (L610: 1), sends `x` on it, and says that nothing was taken or that the link is gone.
    static let sends: [(ModemDialect, open: [String], send: String, failed: String, gone: String)] = [
        (
            .quectel, ["AT+QIACT=1", "AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",PORT"], "AT+QISEND=0,1", "\r\nSEND FAIL\r\n",
            "\r\nERROR\r\n"
        ),
        (
            .bc26, ["AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",PORT"], "AT+QISEND=0,1", "\r\nOK\r\n\r\nSEND FAIL\r\n",
            "\r\nOK\r\n\r\nERROR\r\n"
        ),
        (
            .sim7600, ["AT+NETOPEN", "AT+CIPOPEN=0,\"TCP\",\"127.0.0.1\",PORT"], "AT+CIPSEND=0,1",
            "\r\nOK\r\n\r\n+CIPSEND: 0,1,0\r\n", "\r\nOK\r\n\r\n+CIPSEND: 0,1,-1\r\n"
        ),
        (
            .sim800, ["AT+CIPMUX=1;+CSTT;+CIICR;+CIFSR;E0", "AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",PORT"],
            "AT+CIPSEND=0,1",
            "\r\n0, SEND FAIL\r\n", "\r\n0, SEND FAIL\r\n"
        ),
        (
            .ublox, ["AT+USOCR=6", "AT+USOCO=0,\"127.0.0.1\",PORT"], "AT+USOWR=0,1", "\r\n+USOWR: 0,0\r\n\r\nOK\r\n",
            "\r\nERROR\r\n"
        ),
        (
            .l610, ["AT+MIPCALL=1", "AT+MIPOPEN=1,,\"127.0.0.1\",PORT,0"], "AT+MIPSEND=1,1",
            "\r\nOK\r\n\r\n+MIPSEND: 1,1,16384\r\n", "\r\n+CME ERROR: 3\r\n"
        ),
    ]

    private func opened(_ dialect: ModemDialect, _ lines: [String]) throws -> (RawHost, RawPeer) {
        let host = try RawHost(dialect)
        let peer = RawPeer()
        host.peers.append(peer)
        for line in lines {
            host.send(
                line.split(separator: "PORT", omittingEmptySubsequences: false).joined(separator: "\(peer.port)") + "\r"
            )
            _ = host.read(upTo: "OK\r\n")
        }
        peer.acceptConnection()
        while !host.isSilent(milliseconds: 50) { _ = host.read(upTo: "\n", milliseconds: 10) }
        host.peers.append(peer)
        return (host, peer)
    }

    @Test(arguments: sends.indices) func sendsFail(index: Int) throws {
        let (dialect, open, send, failed, _) = Self.sends[index]
        let (host, peer) = try opened(dialect, open)
        set(host) { $0.failsSendEvery = 1 }
        host.send(send + "\r")
        _ = host.read(upTo: dialect == .ublox ? "@" : ">")
        if [.quectel, .sim800].contains(dialect) { _ = host.read(1) }
        host.expect(payload: "x", failed)
        // It works again, and what failed was not sent.
        set(host) { _ in }
        host.send(send + "\r")
        _ = host.read(upTo: dialect == .ublox ? "@" : ">")
        host.send("y")
        #expect(peer.receive() == "y")
    }

    @Test(arguments: sends.indices) func thePeerIsLostDuringASend(index: Int) throws {
        let (dialect, open, send, _, gone) = Self.sends[index]
        let (host, peer) = try opened(dialect, open)
        set(host) { $0.closesDuringSendEvery = 1 }
        host.send(send + "\r")
        _ = host.read(upTo: dialect == .ublox ? "@" : ">")
        let notice = host.read(upTo: "\r\n") + host.read(upTo: "\r\n")
        let ends = [
            ModemDialect.quectel: "+QIURC: \"closed\",0", .bc26: "+QIURC: \"closed\",0", .sim7600: "+IPCLOSE: 0,2",
            .sim800: "0, CLOSED", .ublox: "+UUSOCL: 0", .l610: "+MIPCLOSE: 1,1",
        ]
        #expect(notice.contains(ends[dialect] ?? "?"), "\(notice)")
        host.expect(payload: "x", gone)
        #expect(peer.receive().isEmpty)
    }

    @Test func neulSendsFailWithTheirCommand() throws {
        let (host, peer) = try opened(.bc28, ["AT+NSOCR=STREAM,6", "AT+NSOCO=0,127.0.0.1,PORT"])
        set(host) { $0.failsSendEvery = 1 }
        try host.expect("AT+NSOSD=0,1,78", "\r\nERROR\r\n")
        set(host) { $0.closesDuringSendEvery = 1 }
        try host.expect("AT+NSOSD=0,1,78", "\r\nERROR\r\n\r\n+NSOCLI:0\r\n")
        #expect(peer.receive().isEmpty)
    }

    @Test func lengthsAreWrong() throws {
        let (host, peer) = try connected { $0.wrongLengthEvery = 2 }
        peer.send("hello")
        host.expect("\r\n+QIURC: \"recv\",0\r\n")
        try host.expect("AT+QIRD=0,2", "\r\n+QIRD: 2\r\nhe\r\n\r\nOK\r\n")
        try host.expect("AT+QIRD=0,9", "\r\n+QIRD: 6\r\nllo\r\n\r\nOK\r\n")
    }

    @Test func linksAreRefusedOrLimited() throws {
        let (host, peer) = try connected { $0.linkLimit = 1 }
        try host.expect("AT+QIOPEN=1,1,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 1,554\r\n")
        set(host) { $0.refusesToOpen = true }
        try host.expect("AT+QIOPEN=1,1,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 1,566\r\n")
    }

    @Test func theContextIsLostAndComesBack() throws {
        let (host, peer) = try connected {
            $0.losesContextEvery = 2
            $0.contextReturnMilliseconds = 1_000
        }
        try host.expect("AT+CEREG=1", "\r\nOK\r\n")
        try host.expect("AT", "\r\nOK\r\n\r\n+QIURC: \"pdpdeact\",1\r\n\r\n+CEREG: 2\r\n")
        set(host) { _ in }
        #expect(peer.receive().isEmpty)
        try host.expect("AT+QIACT=1", "\r\nERROR\r\n")
        host.expect("\r\n+CEREG: 1\r\n")
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
    }

    @Test func itRestartsByItself() throws {
        let (host, peer) = try connected { $0.restartsEvery = 2 }
        try host.expect("AT", "\r\nOK\r\n")
        host.send("AT+CGATT?\r")
        #expect(host.read(upTo: "PB DONE\r\n").hasPrefix("\r\nRDY\r\n"))
        #expect(peer.receive().isEmpty)
        set(host) {
            $0.restartsEvery = 1
            $0.restartsSilently = true
        }
        // What came behind the command is forgotten.
        let commands = host.modem.statistics.commands
        host.send("AT\rAT\r")
        #expect(host.isSilent())
        set(host) { _ in }
        #expect(host.isSilent())
        #expect(host.modem.statistics.commands == commands + 1)
        // Echo tells of it.
        try host.expect("AT", "AT\r\r\nOK\r\n")
    }

    @Test func bytesAreCorrupted() throws {
        let (host, _) = try connected { $0.corruptsByteEvery = 5 }
        host.send("AT\rAT\rAT\r")
        let bytes = Array(host.read(18).utf8)
        let right = Array("\r\nOK\r\n\r\nOK\r\n\r\nOK\r\n".utf8)
        let wrong = zip(bytes, right).enumerated().filter { $1.0 != $1.1 }.map(\.offset)
        // A byte whose highest bit turns is no longer a character of its own, and may become three.
        #expect(wrong.first == 4)
        #expect(bytes != right)
    }

    @Test(arguments: [true, false]) func anOpeningFailsThatTheNetworkLeaves(losesContext: Bool) throws {
        let host = try RawHost(generation: .v2)
        try host.setUp(isPassive: false)
        let peer = RawPeer()
        set(host) { $0.openDelayMilliseconds = 60_000 }
        host.send("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)\r\n")
        peer.acceptConnection()
        if losesContext { host.modem.loseContext() } else { host.modem.breakLinks() }
        host.expect("\r\nERROR\r\n")
        #expect(peer.receive().isEmpty)
    }

    @Test func aConnectionFailsThatItsContextLeaves() throws {
        let host = try RawHost(.ublox)
        let peer = RawPeer()
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        try host.expect("AT+USOCR=6", "\r\n+USOCR: 0\r\n\r\nOK\r\n")
        set(host) { $0.openDelayMilliseconds = 60_000 }
        host.send("AT+USOCO=0,\"127.0.0.1\",\(peer.port)\rAT+CGATT?\r")
        peer.acceptConnection()
        host.modem.loseContext()
        // The command behind it follows at once.
        let start = clinux_monotonic_ns()
        host.expect("\r\n+CME ERROR: 31\r\n\r\n+UUPSDD: 0\r\n\r\n+CGATT: 0\r\n\r\nOK\r\n")
        #expect(clinux_monotonic_ns() - start < 800_000_000)
    }

    @Test func theEspressifFirmwareLosesItsNetwork() throws {
        let host = try RawHost(generation: .v2)
        try host.setUp(isPassive: false)
        var faults = Faults()
        faults.contextReturnMilliseconds = 1_000
        host.modem.setFaults(faults)
        let peer = RawPeer()
        host.peers.append(peer)
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CONNECT\r\n\r\nOK\r\n")
        host.modem.loseContext()
        host.expect("0,CLOSED\r\nWIFI DISCONNECT\r\n")
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "no ip\r\n\r\nERROR\r\n")
        host.expect("WIFI CONNECTED\r\nWIFI GOT IP\r\n")
    }
}
