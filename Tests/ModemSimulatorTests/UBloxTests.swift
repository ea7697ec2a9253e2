import CLinux
import ModemSimulator
import Testing

/// u-blox SARA: the steps of its transcripts, on real sockets.
@Suite(.timeLimit(.minutes(1))) struct UBloxTests {
    private func started() throws -> RawHost {
        let host = try RawHost(.ublox)
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        return host
    }

    private func connected(_ host: RawHost, _ number: Int = 0) throws -> RawPeer {
        let peer = RawPeer()
        try host.expect("AT+USOCR=6", "\r\n+USOCR: \(number)\r\n\r\nOK\r\n")
        try host.expect("AT+USOCO=\(number),\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n")
        peer.acceptConnection()
        return peer
    }

    @Test func carriesBytesBothWays() throws {
        let host = try started()
        let peer = try connected(host)
        try host.expect("AT+USOCTL=0,10", "\r\n+USOCTL: 0,10,4\r\n\r\nOK\r\n")
        try host.expect("AT+USOWR=0,5", "\r\n@")
        host.expect(payload: "hello", "\r\n+USOWR: 0,5\r\n\r\nOK\r\n")
        #expect(peer.receive() == "hello")
        // Quotes and results inside the data.
        peer.send("\"\r\n\r\nOK\r\n\"")
        host.expect("\r\n+UUSORD: 0,10\r\n")
        try host.expect("AT+USORD=0,0", "\r\n+USORD: 0,10\r\n\r\nOK\r\n")
        try host.expect("AT+USORD=0,4", "\r\n+USORD: 0,4,\"\"\r\n\r\"\r\n\r\nOK\r\n")
        try host.expect("AT+USORD=0,1024", "\r\n+USORD: 0,6,\"\nOK\r\n\"\"\r\n\r\nOK\r\n")
        try host.expect("AT+USORD=0,1024", "\r\n+USORD: 0,0,\"\"\r\n\r\nOK\r\n")
        peer.send("bye")
        host.expect("\r\n+UUSORD: 0,3\r\n")
        peer.end()
        // The end comes behind the data, and takes the number away.
        #expect(host.isSilent())
        try host.expect("AT+USOCTL=0,10", "\r\n+USOCTL: 0,10,7\r\n\r\nOK\r\n")
        try host.expect("AT+USORD=0,1024", "\r\n+USORD: 0,3,\"bye\"\r\n\r\nOK\r\n\r\n+UUSOCL: 0\r\n")
        try host.expect("AT+USOCL=0", "\r\n+CME ERROR: 3\r\n")
        try host.expect("AT+USORD=0,1", "\r\n+CME ERROR: 3\r\n")
    }

    @Test func carriesDatagramsAsHexadecimalDigits() throws {
        let host = try started()
        let peer = RawPeer(SOCK_DGRAM)
        try host.expect("AT+UDCONF=1,1", "\r\nOK\r\n")
        try host.expect("AT+USOCR=17", "\r\n+USOCR: 0\r\n\r\nOK\r\n")
        let command = "AT+USOST=0,\"127.0.0.1\",\(peer.port)"
        try host.expect("\(command),4,\"40017001\"", "\r\n+USOST: 0,4\r\n\r\nOK\r\n")
        #expect(peer.receive() == "@\u{1}p\u{1}")
        peer.send("`E\0\u{1}")
        peer.send("x")
        host.expect("\r\n+UUSORF: 0,4\r\n")
        try host.expect(
            "AT+USORF=0,512",
            "\r\n+USORF: 0,\"127.0.0.1\",\(peer.port),4,\"60450001\"\r\n\r\nOK\r\n"
        )
        try host.expect("AT+USORF=0,512", "\r\n+USORF: 0,\"127.0.0.1\",\(peer.port),1,\"78\"\r\n\r\nOK\r\n")
        try host.expect("AT+USORF=0,512", "\r\n+USORF: 0,0\r\n\r\nOK\r\n")
        try host.expect("\(command),4,\"4001700\"", "\r\n+CME ERROR: 50\r\n")
        try host.expect("\(command),513,\"00\"", "\r\n+CME ERROR: 50\r\n")
        try host.expect("AT+UDCONF=1,0", "\r\nOK\r\n")
        try host.expect("\(command),2", "\r\n@")
        host.expect(payload: "hi", "\r\n+USOST: 0,2\r\n\r\nOK\r\n")
        #expect(peer.receive() == "hi")
        try host.expect("AT+USOCL=0", "\r\nOK\r\n")
    }

    @Test func connectsInTheBackgroundAndByName() throws {
        let host = try started()
        let peer = RawPeer()
        try host.expect("AT+USOCR=6", "\r\n+USOCR: 0\r\n\r\nOK\r\n")
        try host.expect("AT+USOCTL=0,10", "\r\n+USOCTL: 0,10,0\r\n\r\nOK\r\n")
        try host.expect("AT+USOCO=0,\"localhost\",\(peer.port),1", "\r\nOK\r\n\r\n+UUSOCO: 0,0\r\n")
        try host.expect("AT+USOCL=0,1", "\r\nOK\r\n\r\n+UUSOCL: 0\r\n")
        try host.expect("AT+UDNSRN=0,\"localhost\"", "\r\n+UDNSRN: \"127.0.0.1\"\r\n\r\nOK\r\n")
        try host.expect("AT+UDNSRN=0,\"nowhere.invalid\"", "\r\n+CME ERROR: 22\r\n")
        let free = RawPeer(SOCK_DGRAM)
        try host.expect("AT+USOCR=6", "\r\n+USOCR: 0\r\n\r\nOK\r\n")
        try host.expect("AT+USOWR=0,1", "\r\n+CME ERROR: 3\r\n")
        try host.expect("AT+USOCO=0,\"127.0.0.1\",\(free.port)", "\r\n+CME ERROR: 31\r\n")
        try host.expect("AT+USOER", "\r\n+USOER: 111\r\n\r\nOK\r\n")
        try host.expect("AT+USOCTL=0,1", "\r\n+USOCTL: 0,1,111\r\n\r\nOK\r\n")
        try host.expect("AT+USOCL=0", "\r\nOK\r\n")
    }

    @Test func hasSevenSocketsAndLimits() throws {
        let host = try started()
        let peer = try connected(host)
        for number in 1..<7 { try host.expect("AT+USOCR=17", "\r\n+USOCR: \(number)\r\n\r\nOK\r\n") }
        try host.expect("AT+USOCR=6", "\r\n+CME ERROR: 3\r\n")
        try host.expect("AT+USOWR=0,1025", "\r\n+CME ERROR: 50\r\n")
        try host.expect("AT+USORD=0,1025", "\r\n+CME ERROR: 50\r\n")
        try host.expect("AT+USOWR=7,1", "\r\n+CME ERROR: 3\r\n")
        withExtendedLifetime(peer) {}
    }

    @Test func losesItsContextAndGetsItBack() throws {
        let host = try RawHost(.ublox) { $0.faults.contextReturnMilliseconds = 1_000 }
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        let peer = try connected(host)
        host.modem.loseContext()
        host.expect("\r\n+UUPSDD: 0\r\n")
        #expect(peer.receive().isEmpty)
        try host.expect("AT+USOCR=6", "\r\n+CME ERROR: 30\r\n")
        try host.expect("AT+UPSDA=0,3", "\r\n+CME ERROR: 30\r\n")
        #expect(host.isSilent(milliseconds: 1_200))
        try host.expect("AT+UPSDA=0,3", "\r\nOK\r\n\r\n+UUPSDA: 0,\"10.64.12.7\"\r\n")
        _ = try connected(host)
    }

    @Test func aRestartIsSilentButForTwoZeros() throws {
        let host = try started()
        host.modem.restart()
        host.expect("\0\0")
        try host.expect("AT", "AT\r\r\nOK\r\n")
    }
}
