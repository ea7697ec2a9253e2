import CLinux
import ModemSimulator
import Testing

/// Fibocom L610: the steps of its transcripts, on real sockets.
@Suite(.timeLimit(.minutes(1))) struct L610Tests {
    private func called(format: Int = 0) throws -> RawHost {
        let host = try RawHost(.l610)
        try host.expect("AT+GTSET=\"IPRFMT\",\(format)", "\r\nOK\r\n")
        try host.expect("AT+MIPCALL=1,\"CMNET\"", "\r\nOK\r\n\r\n+MIPCALL: 10.64.12.7\r\n")
        return host
    }

    @Test func pushesHexadecimalDigits() throws {
        let host = try called()
        let peer = RawPeer()
        try host.expect("AT+MIPCALL?", "\r\n+MIPCALL: 1,10.64.12.7\r\n\r\nOK\r\n")
        try host.expect("AT+MIPOPEN?", "\r\n+MIPOPEN: 1 2 3 4\r\n\r\nOK\r\n")
        try host.expect("AT+MIPOPEN=1,,\"127.0.0.1\",\(peer.port),0", "\r\nOK\r\n\r\n+MIPOPEN: 1,1\r\n")
        peer.acceptConnection()
        try host.expect("AT+MIPOPEN?", "\r\n+MIPOPEN: 2 3 4\r\n\r\nOK\r\n")
        try host.expect("AT+MIPSEND=1,5", "\r\n>")
        host.send("hello")
        let answer = host.read(upTo: "+MIPPUSH: 1,0\r\n")
        #expect(answer == "\r\nOK\r\n\r\n+MIPSEND: 1,0,16384\r\n\r\n+MIPPUSH: 1,0\r\n")
        #expect(peer.receive() == "hello")
        peer.send("world")
        host.expect("\r\n+MIPRTCP: 1,0,776F726C64\r\n")
        peer.end()
        host.expect("\r\n+MIPCLOSE: 1,1\r\n")
        try host.expect("AT+MIPSEND=1,5", "\r\n+CME ERROR: 3\r\n")
    }

    @Test func buffersWhatArrivesIfToldTo() throws {
        let host = try called(format: 2)
        let peer = RawPeer()
        try host.expect("AT+MIPOPEN=4,,\"localhost\",\(peer.port),0", "\r\nOK\r\n\r\n+MIPOPEN: 4,1\r\n")
        peer.acceptConnection()
        peer.send("world")
        host.expect("\r\n+MIPREAD: 4,5\r\n")
        try host.expect("AT+MIPREAD=4,5", "\r\n+MIPDATA: 4,5\r\nworld\r\nOK\r\n")
        try host.expect("AT+MIPREAD=4,5", "\r\n+CME ERROR: 3\r\n")
        try host.expect("AT+MIPCLOSE=4", "\r\nOK\r\n\r\n+MIPCLOSE: 4,0\r\n")
        #expect(peer.receive().isEmpty)
        try host.expect("AT+GTSET=\"IPRFMT\",7", "\r\n+CME ERROR: 4\r\n")
    }

    @Test func carriesDatagrams() throws {
        let host = try called()
        let peer = RawPeer(SOCK_DGRAM)
        try host.expect("AT+MIPOPEN=2,,\"127.0.0.1\",\(peer.port),1", "\r\nOK\r\n\r\n+MIPOPEN: 2,1\r\n")
        try host.expect("AT+MIPSEND=2,2", "\r\n>")
        host.expect(payload: "hi", "\r\nOK\r\n\r\n+MIPSEND: 2,0,16384\r\n\r\n+MIPPUSH: 2,0\r\n")
        #expect(peer.receive() == "hi")
        peer.send("one")
        host.expect("\r\n+MIPRUDP: 127.0.0.1,\(peer.port),2,0,6F6E65\r\n")
    }

    @Test func refusesWhatItCannotDo() throws {
        let host = try RawHost(.l610) { $0.registrationMilliseconds = 1_000 }
        try host.expect("AT+MIPCALL=1,\"CMNET\"", "\r\n+CME ERROR: 30\r\n")
        try host.expect("AT+MIPOPEN=1,,\"127.0.0.1\",1,0", "\r\n+CME ERROR: 3\r\n")
        #expect(host.isSilent(milliseconds: 1_200))
        try host.expect("AT+MIPCALL?", "\r\n+MIPCALL: 0\r\n\r\nOK\r\n")
        try host.expect("AT+MIPCALL=1,\"CMNET\"", "\r\nOK\r\n\r\n+MIPCALL: 10.64.12.7\r\n")
        try host.expect("AT+MIPDNS=\"localhost\"", "\r\n+MIPDNS: \"localhost\",127.0.0.1\r\n\r\nOK\r\n")
        try host.expect("AT+MIPDNS=\"nowhere.invalid\"", "\r\n+CME ERROR: 22\r\n")
        let free = RawPeer(SOCK_DGRAM)
        try host.expect("AT+MIPOPEN=1,,\"127.0.0.1\",\(free.port),0", "\r\nOK\r\n\r\n+MIPOPEN: 1,0\r\n")
        try host.expect("AT+MIPOPEN=5,,\"127.0.0.1\",\(free.port),0", "\r\n+CME ERROR: 50\r\n")
        try host.expect("AT+MIPSEND=1,2049", "\r\n+CME ERROR: 50\r\n")
        host.modem.loseContext()
        host.expect("\r\n+MIPCALL: 0\r\n")
        try host.expect("AT+MIPCALL=0", "\r\nOK\r\n\r\n+MIPCALL: 0\r\n")
    }
}
