import CLinux
import ModemSimulator
import Testing

/// The NB-IoT families BC26, BC28 and M5310A: the steps of their transcripts, on real sockets.
@Suite(.timeLimit(.minutes(1))) struct NarrowbandTests {
    // MARK: BC26

    private func openedBC26(_ peer: RawPeer, mode: Int = 1) throws -> RawHost {
        let host = try RawHost(.bc26)
        try host.expect("AT+QSCLK=0", "\r\nOK\r\n")
        try host.expect("AT+CGATT?", "\r\n+CGATT: 1\r\n\r\nOK\r\n")
        let command = "AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port),0,\(mode)"
        try host.expect(command, "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        peer.acceptConnection()
        return host
    }

    @Test func bc26PushesWhatArrives() throws {
        let peer = RawPeer()
        let host = try openedBC26(peer)
        try host.expect("AT+QISEND=0,5", "\r\n>")
        host.expect(payload: "hello", "\r\nOK\r\n\r\nSEND OK\r\n")
        #expect(peer.receive() == "hello")
        peer.send("world")
        host.expect("\r\n+QIURC: \"recv\",0,5\r\nworld\r\n")
        peer.end()
        host.expect("\r\n+QIURC: \"closed\",0\r\n")
        try host.expect("AT+QICLOSE=0", "\r\nOK\r\n\r\nCLOSE OK\r\n")
        try host.expect("AT+QISEND=0,1025", "\r\nERROR\r\n")
        try host.expect("AT+QIOPEN=1,5,\"TCP\",\"127.0.0.1\",1,0,1", "\r\nERROR\r\n")
        // Its context comes by itself, and has no commands.
        try host.expect("AT+QIACT=1", "\r\nERROR\r\n")
    }

    @Test func bc26CarriesHexadecimalDigitsIfToldTo() throws {
        let peer = RawPeer()
        let host = try openedBC26(peer)
        try host.expect("AT+QICFG=\"dataformat\",1,1", "\r\nOK\r\n")
        try host.expect("AT+QISEND=0,2", "\r\n>")
        host.expect(payload: "6869", "\r\nOK\r\n\r\nSEND OK\r\n")
        #expect(peer.receive() == "hi")
        peer.send("world")
        host.expect("\r\n+QIURC: \"recv\",0,5,\"776F726C64\"\r\n")
        try host.expect("AT+QICFG=\"dataformat\",1,0", "\r\nERROR\r\n")
    }

    @Test func bc26StartsWithNoiseAndSaysItsAddress() throws {
        let host = try RawHost(.bc26) { $0.registrationMilliseconds = 1_000 }
        host.expect("\r\n+IP: 10.64.12.7\r\n")
        try host.expect("AT+QRST=1", "\r\nOK\r\n")
        #expect(host.read(upTo: "+CPIN: READY\r\n").hasPrefix("\r\nF1: 0000 0000\r\n"))
        host.expect("\r\n+IP: 10.64.12.7\r\n")
    }

    // MARK: BC28

    @Test func bc28CarriesStreams() throws {
        let host = try RawHost(.bc28)
        let peer = RawPeer()
        try host.expect("AT+NRB", "\r\nREBOOTING\r\n")
        #expect(host.read(upTo: "OK\r\n").hasSuffix("\r\nNeul \r\nOK\r\n"))
        try host.expect("AT", "\r\nOK\r\n")
        try host.expect("AT+NCONFIG=AUTOCONNECT,TRUE", "\r\nOK\r\n")
        try host.expect("AT+CFUN=1", "\r\nOK\r\n")
        try host.expect("AT+CGATT?", "\r\n+CGATT:1\r\n\r\nOK\r\n")
        try host.expect("AT+CEREG?", "\r\n+CEREG:0,1\r\n\r\nOK\r\n")
        try host.expect("AT+NSONMI=1", "\r\nOK\r\n")
        try host.expect("AT+NSOCR=STREAM,6,0,1", "\r\n0\r\n\r\nOK\r\n")
        try host.expect("AT+NSOSD=0,5,68656C6C6F", "\r\nERROR\r\n")
        try host.expect("AT+NSOCO=0,127.0.0.1,\(peer.port)", "\r\nOK\r\n")
        peer.acceptConnection()
        try host.expect("AT+NSOSD=0,5,68656C6C6F,0x100,1", "\r\n0,5\r\n\r\nOK\r\n\r\n+NSOSTR:0,1,1\r\n")
        #expect(peer.receive() == "hello")
        peer.send("world")
        host.expect("\r\n+NSONMI:0,5\r\n")
        try host.expect("AT+NSORF=0,4", "\r\n0,127.0.0.1,\(peer.port),4,776F726C,1\r\n\r\nOK\r\n")
        try host.expect("AT+NSORF=0,1358", "\r\n0,127.0.0.1,\(peer.port),1,64,0\r\n\r\nOK\r\n")
        try host.expect("AT+NSORF=0,1358", "\r\nOK\r\n")
        peer.send("bye")
        host.expect("\r\n+NSONMI:0,3\r\n")
        peer.end()
        #expect(host.isSilent())
        try host.expect("AT+NSORF=0,1358", "\r\n0,127.0.0.1,\(peer.port),3,627965,0\r\n\r\nOK\r\n\r\n+NSOCLI:0\r\n")
        try host.expect("AT+NSOCL=0", "\r\nERROR\r\n")
    }

    @Test func bc28CarriesDatagrams() throws {
        let host = try RawHost(.bc28)
        let peer = RawPeer(SOCK_DGRAM)
        try host.expect("AT+NSOCR=DGRAM,17,0,1", "\r\n0\r\n\r\nOK\r\n")
        try host.expect("AT+NSOST=0,127.0.0.1,\(peer.port),2,6869", "\r\n0,2\r\n\r\nOK\r\n")
        #expect(peer.receive() == "hi")
        peer.send("one")
        peer.send("three")
        host.expect("\r\n+NSONMI:0,3\r\n")
        try host.expect("AT+NSORF=0,1358", "\r\n0,127.0.0.1,\(peer.port),3,6F6E65,5\r\n\r\nOK\r\n")
        try host.expect("AT+NSORF=0,2", "\r\n0,127.0.0.1,\(peer.port),2,7468,0\r\n\r\nOK\r\n")
        try host.expect("AT+NSONMI=2", "\r\nOK\r\n")
        peer.send("two")
        host.expect("\r\n+NSONMI:0,127.0.0.1,\(peer.port),3,74776F\r\n")
        try host.expect("AT+NSOST=0,127.0.0.1,\(peer.port),3,6869", "\r\nERROR\r\n")
        let longest = String(repeating: "61", count: 1_358)
        try host.expect("AT+NSOST=0,127.0.0.1,\(peer.port),1358,\(longest)", "\r\n0,1358\r\n\r\nOK\r\n")
        #expect(peer.receive() == String(repeating: "a", count: 1_358))
        try host.expect("AT+NSOST=0,127.0.0.1,\(peer.port),1359,\(longest)61", "\r\nERROR\r\n")
        try host.expect("AT+NSOCL=0", "\r\nOK\r\n")
    }

    @Test func bc28HasSevenSocketsAndResolvesNames() throws {
        let host = try RawHost(.bc28)
        for number in 0..<7 { try host.expect("AT+NSOCR=DGRAM,17,0,1", "\r\n\(number)\r\n\r\nOK\r\n") }
        try host.expect("AT+NSOCR=STREAM,6,0,1", "\r\nERROR\r\n")
        try host.expect("AT+NSOCL=3", "\r\nOK\r\n")
        try host.expect("AT+NSOCR=STREAM,6,0,1", "\r\n3\r\n\r\nOK\r\n")
        let free = RawPeer(SOCK_DGRAM)
        try host.expect("AT+NSOCO=3,127.0.0.1,\(free.port)", "\r\nERROR\r\n")
        try host.expect("AT+QDNS=0,localhost", "\r\nOK\r\n\r\n+QDNS:127.0.0.1\r\n")
        try host.expect("AT+QDNS=0,nowhere.invalid", "\r\nOK\r\n\r\n+QDNS:FAIL\r\n")
        try host.expect("AT+CGATT=0", "\r\nOK\r\n")
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        try host.expect("AT+NSOCR=STREAM,6,0,1", "\r\n+CME ERROR: 30\r\n")
    }

    // MARK: M5310A

    @Test func m5310aNamesItsAnswers() throws {
        let host = try RawHost(.m5310a)
        let peer = RawPeer()
        try host.expect("AT+CGATT?", "\r\n+CGATT:1\r\n\r\nOK\r\n")
        try host.expect("AT+CMDNS=\"localhost\"", "\r\nOK\r\n\r\n+CMDNS:127.0.0.1\r\n")
        try host.expect("AT+NSOCR=STREAM,6", "\r\n+NSOCR:0\r\n\r\nOK\r\n")
        try host.expect("AT+NSOCO=0,127.0.0.1,\(peer.port)", "\r\nOK\r\n\r\nCONNECT OK\r\n")
        peer.acceptConnection()
        try host.expect("AT+NSOSD=0,5,68656C6C6F", "\r\n+NSOSD:0,5\r\n\r\nOK\r\n")
        #expect(peer.receive() == "hello")
        try host.expect("AT+NSOSD=0,201,\(String(repeating: "61", count: 201))", "\r\nERROR\r\n")
        peer.send("world")
        host.expect("\r\n+NSONMI:0,5\r\n")
        try host.expect("AT+NSORF=0,5", "\r\n+NSORF:0,127.0.0.1,\(peer.port),5,776F726C64,0\r\n\r\nOK\r\n")
        peer.end()
        host.expect("\r\n+NSOCLI: 0\r\n")
        try host.expect("AT+NSOCL=0", "\r\nERROR\r\n")
        try host.expect("AT+NSOCR=STREAM,6", "\r\n+NSOCR:0\r\n\r\nOK\r\n")
        let free = RawPeer(SOCK_DGRAM)
        try host.expect("AT+NSOCO=0,127.0.0.1,\(free.port)", "\r\nOK\r\n\r\nCONNECT FAIL\r\n")
        try host.expect("AT+NRB", "\r\nREBOOTING\r\n")
        #expect(host.read(upTo: "OK\r\n").contains("M5310-A"))
    }
}
