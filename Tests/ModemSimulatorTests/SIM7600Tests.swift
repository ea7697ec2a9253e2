import CLinux
import ModemSimulator
import Testing

/// SIMCom SIM7600 and relatives: the steps of its transcript, on real sockets.
@Suite(.timeLimit(.minutes(1))) struct SIM7600Tests {
    private func opened(isManual: Bool = true) throws -> RawHost {
        let host = try RawHost(.sim7600)
        try host.expect("AT+CIPRXGET=\(isManual ? 1 : 0)", "\r\nOK\r\n")
        try host.expect("AT+NETOPEN", "\r\nOK\r\n\r\n+NETOPEN: 0\r\n")
        return host
    }

    @Test func buffersWhatArrives() throws {
        let host = try RawHost(.sim7600)
        let peer = RawPeer()
        try host.expect("AT+CEREG?", "\r\n+CEREG: 0,1\r\n\r\nOK\r\n")
        try host.expect("AT+CSOCKSETPN=1", "\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=1", "\r\nOK\r\n")
        try host.expect("AT+NETOPEN?", "\r\n+NETOPEN: 0\r\n\r\nOK\r\n")
        try host.expect("AT+CIPOPEN=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\n+CIPOPEN: 0,2\r\n\r\nERROR\r\n")
        try host.expect("AT+NETOPEN", "\r\nOK\r\n\r\n+NETOPEN: 0\r\n")
        try host.expect("AT+NETOPEN", "\r\n+IP ERROR: Network is already opened\r\n\r\nERROR\r\n")
        try host.expect("AT+NETOPEN?", "\r\n+NETOPEN: 1\r\n\r\nOK\r\n")
        try host.expect("AT+IPADDR", "\r\n+IPADDR: 10.64.12.7\r\n\r\nOK\r\n")
        try host.expect("AT+CIPOPEN=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+CIPOPEN: 0,0\r\n")
        peer.acceptConnection()
        try host.expect("AT+CIPOPEN=0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\n+CIPOPEN: 0,9\r\n\r\nERROR\r\n")
        try host.expect("AT+CIPSEND=0,5", "\r\n>")
        host.expect(payload: "hello", "\r\nOK\r\n\r\n+CIPSEND: 0,5,5\r\n")
        #expect(peer.receive() == "hello")
        peer.send("\r\nOK\r\n>\u{1a}")
        host.expect("\r\n+CIPRXGET: 1,0\r\n")
        try host.expect("AT+CIPRXGET=4,0", "\r\n+CIPRXGET: 4,0,8\r\n\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=2,0,6", "\r\n+CIPRXGET: 2,0,6,2\r\n\r\nOK\r\n\r\n\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=2,0,1500", "\r\n+CIPRXGET: 2,0,2,0\r\n>\u{1a}\r\n\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=2,0,1500", "\r\n+IP ERROR: No data\r\n\r\nERROR\r\n")
        peer.end()
        host.expect("\r\n+IPCLOSE: 0,1\r\n")
        try host.expect("AT+CIPCLOSE=0", "\r\n+CIPCLOSE: 0,4\r\n\r\nERROR\r\n")
        try host.expect("AT+CIPSEND=0,5", "\r\n+CIPERROR: 4\r\n\r\nERROR\r\n")
    }

    @Test func closesAndLists() throws {
        let host = try opened()
        let peer = RawPeer()
        try host.expect("AT+CIPOPEN=9,\"TCP\",\"localhost\",\(peer.port)", "\r\nOK\r\n\r\n+CIPOPEN: 9,0\r\n")
        try host.expect("AT+CIPCLOSE?", "\r\n+CIPCLOSE: 0,0,0,0,0,0,0,0,0,1\r\n\r\nOK\r\n")
        try host.expect(
            "AT+CIPOPEN?",
            (0..<9).map { "\r\n+CIPOPEN: \($0)\r\n" }.joined()
                + "\r\n+CIPOPEN: 9,\"TCP\",\"127.0.0.1\",\(peer.port),-1\r\n\r\nOK\r\n"
        )
        try host.expect("AT+CIPOPEN=10,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\n+CIPERROR: 3\r\n\r\nERROR\r\n")
        try host.expect("AT+CIPSEND=9,1501", "\r\n+CIPERROR: 3\r\n\r\nERROR\r\n")
        peer.acceptConnection()
        try host.expect("AT+CIPCLOSE=9", "\r\nOK\r\n\r\n+CIPCLOSE: 9,0\r\n")
        #expect(peer.receive().isEmpty)
        try host.expect("AT+CIPOPEN=1,\"TCP\",\"nowhere.invalid\",1", "\r\nOK\r\n\r\n+CIPOPEN: 1,11\r\n")
        let free = RawPeer(SOCK_DGRAM)
        try host.expect("AT+CIPOPEN=1,\"TCP\",\"127.0.0.1\",\(free.port)", "\r\nOK\r\n\r\n+CIPOPEN: 1,1\r\n")
        try host.expect("AT+NETCLOSE", "\r\nOK\r\n\r\n+NETCLOSE: 0\r\n")
        try host.expect("AT+NETCLOSE", "\r\n+NETCLOSE: 2\r\n\r\nERROR\r\n")
    }

    @Test func pushesStreamsAndDatagrams() throws {
        let host = try opened(isManual: false)
        let stream = RawPeer()
        try host.expect("AT+CIPOPEN=0,\"TCP\",\"127.0.0.1\",\(stream.port)", "\r\nOK\r\n\r\n+CIPOPEN: 0,0\r\n")
        stream.acceptConnection()
        stream.send("abc")
        host.expect("\r\nRECV FROM:127.0.0.1:\(stream.port)\r\n+IPD3\r\nabc")
        let datagrams = RawPeer(SOCK_DGRAM)
        try host.expect("AT+CIPOPEN=1,\"UDP\",,,0", "\r\nOK\r\n\r\n+CIPOPEN: 1,0\r\n")
        try host.expect("AT+CIPSEND=1,2", "\r\n+CIPERROR: 3\r\n\r\nERROR\r\n")
        try host.expect("AT+CIPSEND=1,2,\"127.0.0.1\",\(datagrams.port)", "\r\n>")
        host.expect(payload: "hi", "\r\nOK\r\n\r\n+CIPSEND: 1,2,2\r\n")
        #expect(datagrams.receive() == "hi")
        datagrams.send("one")
        datagrams.send("two")
        let head = "\r\nRECV FROM:127.0.0.1:\(datagrams.port)\r\n+IPD3\r\n"
        host.expect("\(head)one\(head)two")
    }

    @Test func resolvesNamesAndLosesTheNetwork() throws {
        let host = try opened()
        try host.expect("AT+CDNSGIP=\"localhost\"", "\r\n+CDNSGIP: 1,\"localhost\",\"127.0.0.1\"\r\n\r\nOK\r\n")
        try host.expect("AT+CDNSGIP=\"nowhere.invalid\"", "\r\n+CDNSGIP: 0,10\r\n\r\nERROR\r\n")
        host.modem.loseContext()
        host.expect("\r\n+CIPEVENT: NETWORK CLOSED UNEXPECTEDLY\r\n")
        try host.expect("AT+NETOPEN", "\r\nOK\r\n\r\n+NETOPEN: 1\r\n")
    }
}
