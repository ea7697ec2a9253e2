import CLinux
import ModemSimulator
import Testing

/// SIMCom SIM800 and, with the same commands, Air724UG: the steps of their transcripts, on real sockets.
@Suite(.timeLimit(.minutes(1))) struct SIM800Tests {
    static let dialects = [ModemDialect.sim800, .air724]

    /// The error of a command in the wrong state, as the dialect has it without `AT+CMEE`.
    private static func refusal(_ dialect: ModemDialect) -> String {
        dialect == .sim800 ? "\r\nERROR\r\n" : "\r\n+CME ERROR: 3\r\n"
    }

    private func connected(_ dialect: ModemDialect = .sim800, _ settings: String...) throws -> RawHost {
        let host = try RawHost(dialect)
        for setting in settings { try host.expect(setting, "\r\nOK\r\n") }
        try host.expect("AT+CSTT=\"cmnet\"", "\r\nOK\r\n")
        try host.expect("AT+CIICR", "\r\nOK\r\n")
        try host.expect("AT+CIFSR", "\r\n10.64.12.7\r\n")
        return host
    }

    @Test(arguments: dialects) func buffersWhatArrives(dialect: ModemDialect) throws {
        let host = try RawHost(dialect)
        let refusal = Self.refusal(dialect)
        try host.expect("AT+CREG?", "\r\n+CREG: 0,1\r\n\r\nOK\r\n")
        try host.expect("AT+CIPSHUT", "\r\nSHUT OK\r\n")
        try host.expect("AT+CIPMUX=1", "\r\nOK\r\n")
        try host.expect("AT+CIPQSEND=1", "\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=1", "\r\nOK\r\n")
        try host.expect("AT+CIICR", refusal)
        try host.expect("AT+CSTT", "\r\nOK\r\n")
        try host.expect("AT+CIPMUX=1", refusal)
        try host.expect("AT+CIFSR", refusal)
        try host.expect("AT+CIICR", "\r\nOK\r\n")
        let peer = RawPeer()
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", refusal)
        try host.expect("AT+CIFSR;E0", "\r\n10.64.12.7\r\n\r\nOK\r\n")
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nOK\r\n\r\n0, CONNECT OK\r\n")
        peer.acceptConnection()
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nOK\r\n\r\n0, ALREADY CONNECT\r\n")
        try host.expect("AT+CIPSEND=0,5", "\r\n> ")
        host.expect(payload: "hello", "\r\nDATA ACCEPT:0,5\r\n")
        #expect(peer.receive() == "hello")
        try host.expect("AT+CIPSEND?", "\r\n+CIPSEND: 0,1460\r\n\r\nOK\r\n")
        try host.expect("AT+CIPACK=0", "\r\n+CIPACK: 5,5,0\r\n\r\nOK\r\n")
        // Data that looks like a notice.
        peer.send("\r\n0, CLOSED\r\n")
        host.expect("\r\n+CIPRXGET: 1,0\r\n")
        try host.expect("AT+CIPRXGET=4,0", "\r\n+CIPRXGET: 4,0,13\r\n\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=3,0,2", "\r\n+CIPRXGET: 3,0,2,11\r\n0D0A\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=2,0,1460", "\r\n+CIPRXGET: 2,0,11,0\r\n0, CLOSED\r\n\r\nOK\r\n")
        peer.send("bye")
        host.expect("\r\n+CIPRXGET: 1,0\r\n")
        peer.end()
        host.expect("\r\n0, CLOSED\r\n")
        try host.expect("AT+CIPRXGET=2,0,1460", "\r\n+CIPRXGET: 2,0,3,0\r\nbye\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=2,0,1460", "\r\n+CIPRXGET: 2,0,0,0\r\n\r\nOK\r\n")
        try host.expect("AT+CIPCLOSE=0", refusal)
        // Its number can be used again.
        let other = RawPeer()
        try host.expect("AT+CIPSTART=0,\"TCP\",\"localhost\",\"\(other.port)\"", "\r\nOK\r\n\r\n0, CONNECT OK\r\n")
        other.acceptConnection()
        try host.expect("AT+CIPCLOSE=0", "\r\n0, CLOSE OK\r\n")
        #expect(other.receive().isEmpty)
    }

    @Test(arguments: dialects) func pushesWhatArrives(dialect: ModemDialect) throws {
        let host = try connected(dialect, "AT+CIPMUX=1")
        let peer = RawPeer(SOCK_DGRAM)
        try host.expect("AT+CIPSTART=1,\"UDP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nOK\r\n\r\n1, CONNECT OK\r\n")
        try host.expect("AT+CIPSEND=1,4", "\r\n> ")
        host.expect(payload: "@\u{1}\r\n", "\r\n1, SEND OK\r\n")
        #expect(peer.receive() == "@\u{1}\r\n")
        peer.send("ab\r\n\r\n")
        host.expect("\r\n+RECEIVE,1,6:\r\nab\r\n\r\n")
        try host.expect("AT+CIPCLOSE=1", "\r\n1, CLOSE OK\r\n")
        host.modem.loseContext()
        host.expect("\r\n+PDP: DEACT\r\n")
        try host.expect(
            "AT+CIPSTATUS",
            "\r\nOK\r\n\r\nSTATE: PDP DEACT\r\n"
                + (0..<6).map { "\r\nC: \($0),,\"\",\"\",\"\",\"INITIAL\"\r\n" }.joined()
        )
        try host.expect("AT+CIPSTART=1,\"UDP\",\"127.0.0.1\",\"\(peer.port)\"", Self.refusal(dialect))
        try host.expect("AT+CIPSHUT", "\r\nSHUT OK\r\n")
        try host.expect("AT+CSTT=\"cmnet\"", "\r\nOK\r\n")
    }

    @Test func tellsTheStateOfItsLinks() throws {
        let host = try connected(.sim800, "AT+CIPMUX=1")
        let peer = RawPeer()
        try host.expect("AT+CIPSTART=5,\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nOK\r\n\r\n5, CONNECT OK\r\n")
        let line = "5,0,\"TCP\",\"127.0.0.1\",\"\(peer.port)\",\"CONNECTED\"\r\n"
        try host.expect(
            "AT+CIPSTATUS",
            "\r\nOK\r\n\r\nSTATE: IP PROCESSING\r\n"
                + (0..<5).map { "\r\nC: \($0),,\"\",\"\",\"\",\"INITIAL\"\r\n" }.joined() + "\r\nC: \(line)"
        )
        try host.expect("AT+CIPSTATUS=5", "\r\n+CIPSTATUS: \(line)\r\nOK\r\n")
        try host.expect("AT+CIPSTART=6,\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nERROR\r\n")
        try host.expect("AT+CIPSEND=5,1461", "\r\nERROR\r\n")
        try host.expect("AT+CIPRXGET=1", "\r\nERROR\r\n")
        let free = RawPeer(SOCK_DGRAM)
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\"\(free.port)\"", "\r\nOK\r\n\r\n0, CONNECT FAIL\r\n")
        try host.expect("AT+CIPSTART=0,\"TCP\",\"nowhere.invalid\",\"1\"", "\r\nOK\r\n\r\n0, CONNECT FAIL\r\n")
    }

    @Test func aSingleLinkHasNoNumber() throws {
        let host = try connected(.sim800, "AT+CIPHEAD=1")
        let peer = RawPeer()
        try host.expect("AT+CIPSTATUS", "\r\nOK\r\n\r\nSTATE: IP STATUS\r\n")
        try host.expect("AT+CIPSTART=\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nOK\r\n\r\nCONNECT OK\r\n")
        peer.acceptConnection()
        try host.expect("AT+CIPSTATUS", "\r\nOK\r\n\r\nSTATE: CONNECT OK\r\n")
        try host.expect("AT+CIPSEND=2", "\r\n> ")
        host.expect(payload: "hi", "\r\nSEND OK\r\n")
        peer.send("abc")
        host.expect("\r\n+IPD,3:abc")
        try host.expect("AT+CIPHEAD=0", "\r\nOK\r\n")
        peer.send("bare")
        host.expect("bare")
        peer.end()
        host.expect("\r\nCLOSED\r\n")
        try host.expect("AT+CIPSTATUS", "\r\nOK\r\n\r\nSTATE: TCP CLOSED\r\n")
        let free = RawPeer(SOCK_DGRAM)
        try host.expect(
            "AT+CIPSTART=\"TCP\",\"127.0.0.1\",\"\(free.port)\"",
            "\r\nOK\r\n\r\nSTATE: TCP CLOSED\r\n\r\nCONNECT FAIL\r\n"
        )
    }

    @Test func resolvesNamesAndEchoesPayload() throws {
        let host = try connected(.sim800, "AT+CIPMUX=1")
        try host.expect("AT+CDNSGIP=\"localhost\"", "\r\nOK\r\n\r\n+CDNSGIP: 1,\"localhost\",\"127.0.0.1\"\r\n")
        try host.expect("AT+CDNSGIP=\"nowhere.invalid\"", "\r\nOK\r\n\r\n+CDNSGIP: 0,8\r\n")
        let peer = RawPeer()
        try host.expect("AT+CIPSTART=0,\"TCP\",\"127.0.0.1\",\"\(peer.port)\"", "\r\nOK\r\n\r\n0, CONNECT OK\r\n")
        try host.expect("ATE1", "\r\nOK\r\n")
        try host.expect("AT+CIPSEND=0,2", "AT+CIPSEND=0,2\r\r\n> ")
        host.expect(payload: "hi", "hi\r\n0, SEND OK\r\n")
    }

    @Test func activatesNothingBeforeItIsRegistered() throws {
        let host = try RawHost(.sim800) { $0.registrationMilliseconds = 60_000 }
        try host.expect("AT+CMEE=1", "\r\nOK\r\n")
        try host.expect("AT+CSTT=\"cmnet\"", "\r\nOK\r\n")
        try host.expect("AT+CIICR", "\r\n+CME ERROR: 30\r\n")
    }
}
