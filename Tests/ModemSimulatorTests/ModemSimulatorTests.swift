import CLinux
import ModemSimulator
import Testing

/// The simulator against the words of ESP-AT's manual (versions 1.7 and 2.2), spoken over its terminal.
@Suite(.timeLimit(.minutes(1))) struct ModemSimulatorTests {
    typealias Generation = ModemSimulatorConfiguration.Generation

    @Test func answersAndEchoesAsTheManualSays() throws {
        let host = try RawHost()
        try host.expect("AT", "AT\r\n\r\nOK\r\n")
        try host.expect("ATE0", "ATE0\r\n\r\nOK\r\n")
        try host.expect("AT", "\r\nOK\r\n")
        try host.expect("AT+NONSENSE", "\r\nERROR\r\n")
        #expect(host.modem.statistics.unknownCommands == 1)
        host.send("AT+GMR\r\n")
        #expect(host.read(upTo: "OK\r\n").hasPrefix("AT version:2."))
        host.send("AT+CWJAP?\r\n")
        let join = host.read(upTo: "OK\r\n")
        #expect(join.hasPrefix("+CWJAP:\"apus\",\"") && join.contains(",6,-"))
        try host.expect("ATE1", "\r\nOK\r\n")
        try host.expect("AT", "AT\r\n\r\nOK\r\n")
    }

    @Test func theOldFirmwareEchoesTheReturnTwice() throws {
        let host = try RawHost(generation: .v1)
        try host.expect("AT", "AT\r\r\n\r\nOK\r\n")
    }

    @Test(arguments: [Generation.v1, .v2])
    func keepsDataUntilItIsRead(generation: Generation) throws {
        let host = try RawHost(generation: generation)
        let peer = RawPeer()
        try host.setUp(isPassive: true)
        try host.expect("AT+CIPSTART=3,\"TCP\",\"127.0.0.1\",\(peer.port)", "3,CONNECT\r\n\r\nOK\r\n")
        peer.acceptConnection()
        peer.send("hello, world")
        #expect(host.read(upTo: "12\r\n") == "\r\n+IPD,3,12\r\n")
        try host.expect("AT+CIPRECVLEN?", "+CIPRECVLEN:-1,-1,-1,12,-1\r\n\r\nOK\r\n")
        let isOld = generation == .v1
        try host.expect("AT+CIPRECVDATA=3,5", (isOld ? "+CIPRECVDATA,5:" : "+CIPRECVDATA:5,") + "hello\r\nOK\r\n")
        // What the peer sent before it closed is still there, and the notice of the end comes behind it.
        peer.end()
        #expect(host.isSilent())
        try host.expect(
            "AT+CIPRECVDATA=3,100",
            (isOld ? "+CIPRECVDATA,7:" : "+CIPRECVDATA:7,") + ", world\r\nOK\r\n3,CLOSED\r\n"
        )
        try host.expect("AT+CIPRECVDATA=3,1", "\r\nERROR\r\n")
    }

    @Test func pushesDataIfToldTo() throws {
        let host = try RawHost()
        let peer = RawPeer()
        try host.setUp(isPassive: false)
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CONNECT\r\n\r\nOK\r\n")
        peer.acceptConnection()
        peer.send("OK\r\n")
        #expect(host.read(upTo: ":OK\r\n") == "\r\n+IPD,0,4:OK\r\n")
        peer.end()
        #expect(host.read(upTo: "\n") == "0,CLOSED\r\n")
    }

    @Test(arguments: [Generation.v1, .v2])
    func sendsWhatFollowsThePrompt(generation: Generation) throws {
        let host = try RawHost(generation: generation)
        let peer = RawPeer()
        try host.setUp(isPassive: true)
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CONNECT\r\n\r\nOK\r\n")
        peer.acceptConnection()
        try host.expect("AT+CIPSEND=0,8", "\r\nOK\r\n" + (generation == .v1 ? "> " : "\r\n>"))
        host.send("AT\r\nAT\r\n")
        #expect(host.read(upTo: "SEND OK\r\n") == "\r\nRecv 8 bytes\r\n\r\nSEND OK\r\n")
        #expect(peer.receive() == "AT\r\nAT\r\n")
        try host.expect("AT+CIPSEND=0,0", "\r\nERROR\r\n")
        try host.expect("AT+CIPSEND=0,9000", "\r\nERROR\r\n")
        try host.expect("AT+CIPSEND=1,1", "link is not valid\r\n\r\nERROR\r\n")
        try host.expect("AT+CIPCLOSE=0", "0,CLOSED\r\n\r\nOK\r\n")
        #expect(peer.receive().isEmpty)
    }

    @Test func aSingleLinkHasNoNumber() throws {
        let host = try RawHost()
        let peer = RawPeer()
        try host.expect("ATE0", "ATE0\r\n\r\nOK\r\n")
        try host.expect("AT+CIPMUX?", "+CIPMUX:0\r\n\r\nOK\r\n")
        try host.expect("AT+CIPSTART=\"TCP\",\"127.0.0.1\",\(peer.port)", "CONNECT\r\n\r\nOK\r\n")
        peer.acceptConnection()
        try host.expect("AT+CIPSEND=2", "\r\nOK\r\n\r\n>")
        host.expect(payload: "hi", "\r\nRecv 2 bytes\r\n\r\nSEND OK\r\n")
        peer.send("hello")
        host.expect("\r\n+IPD,5:hello")
        try host.expect("AT+CIPCLOSE", "CLOSED\r\n\r\nOK\r\n")
    }

    @Test(arguments: [Generation.v1, .v2]) func namesThePeerIfToldTo(generation: Generation) throws {
        let host = try RawHost(generation: generation)
        let peer = RawPeer()
        try host.setUp(isPassive: false)
        try host.expect("AT+CIPDINFO=1", "\r\nOK\r\n")
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CONNECT\r\n\r\nOK\r\n")
        peer.acceptConnection()
        peer.send("x")
        let address = generation == .v1 ? "127.0.0.1" : "\"127.0.0.1\""
        host.expect("\r\n+IPD,0,1,\(address),\(peer.port):x")
        try host.expect("AT+CIPRECVMODE=1", "\r\nOK\r\n")
        peer.send("y")
        host.expect("\r\n+IPD,0,1\r\n")
        let head = generation == .v1 ? "+CIPRECVDATA,1:" : "+CIPRECVDATA:1,\"127.0.0.1\",\(peer.port),"
        try host.expect("AT+CIPRECVDATA=0,9", "\(head)y\r\nOK\r\n")
        host.send("AT+CIPSTATUS\r\n")
        #expect(host.read(upTo: "OK\r\n").hasPrefix("STATUS:3\r\n+CIPSTATUS:0,\"TCP\",\"127.0.0.1\",\(peer.port),"))
    }

    @Test func waitsWithItsResultUntilThereIsRoom() throws {
        let host = try RawHost()
        let peer = RawPeer()
        try host.setUp(isPassive: true)
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CONNECT\r\n\r\nOK\r\n")
        peer.acceptConnection()
        var sent = 0
        for _ in 0..<2_000 {
            host.send("AT+CIPSEND=0,8192\r\n")
            _ = host.read(upTo: ">")
            host.send([UInt8](repeating: 0x78, count: 8_192))
            host.expect("\r\nRecv 8192 bytes\r\n")
            sent += 8_192
            guard host.read(upTo: "SEND OK\r\n", milliseconds: 300).hasSuffix("SEND OK\r\n") else { break }
        }
        while sent > 0 {
            let count = peer.receive().utf8.count
            guard count > 0 else { break }
            sent -= count
        }
        host.expect("\r\nSEND OK\r\n")
    }

    @Test func keepsTheBoundariesOfDatagrams() throws {
        let host = try RawHost()
        let peer = RawPeer(SOCK_DGRAM)
        try host.setUp(isPassive: true)
        try host.expect("AT+CIPSTART=1,\"UDP\",\"127.0.0.1\",\(peer.port)", "1,CONNECT\r\n\r\nOK\r\n")
        try host.expect("AT+CIPSEND=1,2", "\r\nOK\r\n\r\n>")
        host.send("hi")
        #expect(host.read(upTo: "SEND OK\r\n") == "\r\nRecv 2 bytes\r\n\r\nSEND OK\r\n")
        #expect(peer.receive() == "hi")
        peer.send("one")
        #expect(host.read(upTo: "3\r\n") == "\r\n+IPD,1,3\r\n")
        peer.send("three")
        try host.expect("AT+CIPRECVDATA=1,100", "+CIPRECVDATA:3,one\r\nOK\r\n")
        let notice = host.read(upTo: "+IPD,1,5\r\n", milliseconds: 200)
        try host.expect("AT+CIPRECVDATA=1,2", "+CIPRECVDATA:2,th\r\nOK\r\n")
        // The rest of a datagram that was read in part is gone.
        try host.expect("AT+CIPRECVDATA=1,2", "\r\nERROR\r\n")
        #expect(notice.isEmpty || notice.hasSuffix("+IPD,1,5\r\n"))
    }

    @Test(arguments: [Generation.v1, .v2])
    func resolvesNames(generation: Generation) throws {
        let host = try RawHost(generation: generation)
        try host.setUp(isPassive: true)
        let address = generation == .v1 ? "127.0.0.1" : "\"127.0.0.1\""
        try host.expect("AT+CIPDOMAIN=\"localhost\"", "+CIPDOMAIN:\(address)\r\n\r\nOK\r\n")
        try host.expect("AT+CIPDOMAIN=\"nowhere.invalid\"", "DNS Fail\r\n\r\nERROR\r\n")
        try host.expect("AT+CIPSTART=0,\"TCP\",\"nowhere.invalid\",1", "DNS Fail\r\n\r\nERROR\r\n")
    }

    @Test func hasFiveLinks() throws {
        let host = try RawHost()
        let peer = RawPeer()
        try host.setUp(isPassive: true)
        for link in 0..<5 {
            try host.expect(
                "AT+CIPSTART=\(link),\"TCP\",\"127.0.0.1\",\(peer.port)",
                "\(link),CONNECT\r\n\r\nOK\r\n"
            )
        }
        try host.expect("AT+CIPSTART=5,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nERROR\r\n")
        try host.expect("AT+CIPSTART=4,\"TCP\",\"127.0.0.1\",\(peer.port)", "ALREADY CONNECTED\r\n\r\nERROR\r\n")
        try host.expect("AT+CIPMUX=0", "\r\nERROR\r\n")
        host.send("AT+CIPCLOSE=5\r\n")
        #expect(host.read(upTo: "OK\r\n") == (0..<5).map { "\($0),CLOSED\r\n" }.joined() + "\r\nOK\r\n")
        #expect(host.modem.statistics.linksOpened == 5)
    }

    @Test func opensNothingThatRefuses() throws {
        let host = try RawHost(generation: .v1)
        let peer = RawPeer(SOCK_DGRAM)
        try host.setUp(isPassive: true)
        // Nobody listens for streams there.
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CLOSED\r\n\r\nERROR\r\n")
        try host.expect("AT+CWQAP", "\r\nOK\r\nWIFI DISCONNECT\r\n")
        try host.expect("AT+CIPSTART=0,\"UDP\",\"127.0.0.1\",1", "no ip\r\n\r\nERROR\r\n")
        try host.expect("AT+CWJAP_CUR=\"a,\\\"b\",\"x\"", "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n")
    }

    @Test func aTerminalThatIsUnpluggedIsGoneAndComesBack() throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.link = "/tmp/apus-modem-test-\(getpid())"
        let host = try RawHost(configuration)
        try host.expect("AT", "AT\r\n\r\nOK\r\n")
        host.modem.unplug()
        while access(host.modem.path, F_OK) == 0 { usleep(1_000) }
        #expect(host.read(1).isEmpty)
        host.modem.plugIn()
        while access(host.modem.path, F_OK) != 0 { usleep(1_000) }
        try host.open()
        try host.expect("AT", "AT\r\n\r\nOK\r\n")
        host.modem.stop()
        while access(host.modem.path, F_OK) == 0 { usleep(1_000) }
    }

    @Test func aRestartForgetsEverything() throws {
        let host = try RawHost()
        let peer = RawPeer()
        try host.setUp(isPassive: true)
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CONNECT\r\n\r\nOK\r\n")
        peer.acceptConnection()
        host.modem.restart()
        #expect(host.read(upTo: "ready\r\n").hasSuffix("\r\nready\r\n"))
        #expect(peer.receive().isEmpty)
        try host.expect("AT", "AT\r\n\r\nOK\r\n")
        host.send("AT+RST\r\n")
        #expect(host.read(upTo: "ready\r\n").hasPrefix("AT+RST\r\n\r\nOK\r\n"))
    }
}

/// Each fault shows, and nothing else changes.
@Suite(.timeLimit(.minutes(1))) struct ModemFaultKnobTests {
    private func host(_ change: (inout Faults) -> Void) throws -> RawHost {
        let host = try RawHost(generation: .v2)
        try host.setUp(isPassive: true)
        var faults = Faults()
        change(&faults)
        host.modem.setFaults(faults)
        return host
    }

    @Test(arguments: [Faults.Pieces.bytes, .random])
    func piecesMakeNoDifference(pieces: Faults.Pieces) throws {
        let host = try host { $0.pieces = pieces }
        for _ in 0..<20 {
            try host.expect(
                "AT+CIFSR",
                "+CIFSR:STAIP,\"127.0.0.1\"\r\n+CIFSR:STAMAC,\"02:00:00:00:00:02\"\r\n\r\nOK\r\n"
            )
        }
    }

    @Test func echoCanBeStuck() throws {
        let host = try host { $0.echoIsStuck = true }
        try host.expect("AT", "AT\r\n\r\nOK\r\n")
    }

    @Test func itCanBeBusy() throws {
        let host = try host { $0.busyEvery = 2 }
        let answers = (0..<4).map { _ in
            host.send("AT\r\n")
            return host.read(upTo: "\r\n", milliseconds: 1_000) + host.read(upTo: "\r\n", milliseconds: 50)
        }
        #expect(answers.filter { $0 == "busy p...\r\n" }.count == 2)
        #expect(answers.filter { $0 == "\r\nOK\r\n" }.count == 2)
    }

    @Test func resultsCanBeLost() throws {
        let host = try host { $0.losesResultEvery = 1 }
        host.send("AT\r\n")
        #expect(host.isSilent())
        host.modem.setFaults(Faults())
        try host.expect("AT", "\r\nOK\r\n")
    }

    @Test func resultsAndPromptsCanBeLate() throws {
        let host = try host { $0.resultDelayMilliseconds = 150 }
        let peer = RawPeer()
        host.send("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)\r\n")
        #expect(host.read(upTo: "CONNECT\r\n") == "0,CONNECT\r\n")
        #expect(host.isSilent(milliseconds: 50))
        #expect(host.read(6) == "\r\nOK\r\n")
        var faults = Faults()
        faults.promptDelayMilliseconds = 150
        host.modem.setFaults(faults)
        host.send("AT+CIPSEND=0,1\r\n")
        #expect(host.read(6) == "\r\nOK\r\n")
        #expect(host.isSilent(milliseconds: 50))
        #expect(host.read(3) == "\r\n>")
    }

    @Test func itCanBeDeaf() throws {
        let host = try host { $0.isDeaf = true }
        host.send("AT\r\n")
        #expect(host.isSilent())
        host.modem.setFaults(Faults())
        // What it did not take waits in the line.
        #expect(host.read(6) == "\r\nOK\r\n")
    }

    @Test func sendsOpensAndJoinsCanFail() throws {
        let host = try host { $0.failsSendEvery = 1 }
        let peer = RawPeer()
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "0,CONNECT\r\n\r\nOK\r\n")
        try host.expect("AT+CIPSEND=0,1", "\r\nOK\r\n\r\n>")
        host.send("x")
        #expect(host.read(upTo: "FAIL\r\n") == "\r\nRecv 1 bytes\r\n\r\nSEND FAIL\r\n")
        var faults = Faults()
        faults.refusesToOpen = true
        faults.refusesToJoin = true
        host.modem.setFaults(faults)
        try host.expect("AT+CIPSTART=1,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nERROR\r\n")
        try host.expect("AT+CWJAP=\"a\",\"b\"", "+CWJAP:3\r\n\r\nERROR\r\n")
    }

    @Test func linksCanBreakWithAndWithoutNotice() throws {
        let host = try host { _ in }
        let peers = [RawPeer(), RawPeer()]
        for (link, peer) in peers.enumerated() {
            try host.expect(
                "AT+CIPSTART=\(link),\"TCP\",\"127.0.0.1\",\(peer.port)",
                "\(link),CONNECT\r\n\r\nOK\r\n"
            )
            peer.acceptConnection()
            host.modem.breakLinks(hasNotice: link == 0)
            #expect(peer.receive().isEmpty)
            if link == 0 { #expect(host.read(upTo: "\n") == "0,CLOSED\r\n") } else { #expect(host.isSilent()) }
        }
    }

    @Test func noiseStandsBetweenAnswersOnly() throws {
        let host = try host {
            $0.insertsNotices = true
            $0.insertsGarbage = true
        }
        for _ in 0..<30 {
            host.send("AT\r\n")
            #expect(host.read(upTo: "\r\nOK\r\n").hasSuffix("\r\nOK\r\n"))
        }
        #expect(host.modem.statistics.bytesOut > 30 * 6 + 100)
    }

    @Test func garbageFromTheHostIsSurvived() throws {
        let host = try host { _ in }
        for length in [1, 100, 1_024, 5_000] {
            host.send([UInt8](repeating: 0xFF, count: length) + [13, 10])
            _ = host.read(upTo: "ERROR\r\n", milliseconds: 200)
        }
        host.send("\r\n")
        _ = host.read(upTo: "ERROR\r\n", milliseconds: 100)
        try host.expect("AT", "\r\nOK\r\n")
    }
}
