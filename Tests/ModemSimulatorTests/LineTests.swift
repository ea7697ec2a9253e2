import CLinux
import ModemSimulator
import Testing

/// What is between the host and the dialects: the line, and the sockets.
@Suite(.timeLimit(.minutes(1))) struct LineTests {
    @Test func aRateHoldsInBothDirections() throws {
        let host = try RawHost(.quectel) { $0.baudRate = 9_600 }
        let peer = RawPeer()
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
        try host.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        peer.acceptConnection()
        try host.expect("AT+QISEND=0,480", "\r\n> ")
        // 480 bytes take half a second.
        var start = clinux_monotonic_ns()
        host.expect(payload: String(repeating: "x", count: 480), "\r\nSEND OK\r\n")
        #expect(400...4_000 ~= (clinux_monotonic_ns() - start) / 1_000_000)
        #expect(peer.receive().utf8.count == 480)
        peer.send(String(repeating: "y", count: 480))
        host.expect("\r\n+QIURC: \"recv\",0\r\n")
        start = clinux_monotonic_ns()
        try host.expect("AT+QIRD=0,1500", "\r\n+QIRD: 480\r\n" + String(repeating: "y", count: 480) + "\r\n\r\nOK\r\n")
        #expect(400...4_000 ~= (clinux_monotonic_ns() - start) / 1_000_000)
    }

    @Test func aPortTakesOneHostAfterAnother() throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = .sim800
        let host = try RawHost(try ModemSimulator(listeningOn: 0, configuration))
        try host.expect("ATE0", "ATE0\r\r\nOK\r\n")
        host.send("AT+CIPMU")
        // What the first has begun does not concern the second, but the modem is the same.
        try host.open()
        try host.expect("AT", "\r\nOK\r\n")
    }

    @Test func aHostThatLeavesEndsNothing() throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = .quectel
        let host = try RawHost(try ModemSimulator(listeningOn: 0, configuration))
        let peer = RawPeer()
        try host.expect("ATE0", "ATE0\r\r\nOK\r\n")
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
        try host.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port),0,1", "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        peer.acceptConnection()
        // While it is deaf it does not see that the host has gone, and goes on writing.
        var faults = Faults()
        faults.isDeaf = true
        host.modem.setFaults(faults)
        host.hangUp()
        for _ in 0..<5 {
            peer.send("x")
            usleep(20_000)
        }
        host.modem.setFaults(Faults())
        try host.open()
        host.send("AT\r")
        #expect(host.read(upTo: "\r\nOK\r\n").hasSuffix("\r\nOK\r\n"))
    }

    @Test func aRestartComesBehindItsAnswer() throws {
        let host = try RawHost(.quectel) { $0.baudRate = 1_200 }
        try host.expect("AT+CFUN=1,1", "\r\nOK\r\n\r\nRDY\r\n")
    }

    @Test func socketsOutliveTheirHost() throws {
        let host = try RawHost(.quectel)
        let peer = RawPeer()
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
        try host.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        try host.open()
        try host.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 0,563\r\n")
    }

    @Test func aPeerIsStoppedThatSendsTooMuch() throws {
        let host = try RawHost(.quectel)
        let peer = RawPeer()
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
        try host.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        peer.acceptConnection()
        peer.send(String(repeating: "0123456789", count: 4_000))
        host.expect("\r\n+QIURC: \"recv\",0\r\n")
        // It holds 5,760 bytes; the rest waits in the network.
        while host.isSilent(milliseconds: 20) {
            host.send("AT+QIRD=0,0\r")
            if host.read(upTo: "OK\r\n") == "\r\n+QIRD: 5760,0,5760\r\n\r\nOK\r\n" { break }
        }
        try host.expect("AT+QIRD=0,0", "\r\n+QIRD: 5760,0,5760\r\n\r\nOK\r\n")
        var received = ""
        while received.utf8.count < 40_000 {
            host.send("AT+QIRD=0,1500\r")
            _ = host.read(upTo: "+QIRD: ")
            guard let count = Int(host.read(upTo: "\r\n").dropLast(1)), count > 0 else {
                _ = host.read(upTo: "OK\r\n")
                continue
            }
            received += host.read(count)
            _ = host.read(upTo: "OK\r\n")
        }
        #expect(received == String(repeating: "0123456789", count: 4_000))
    }

    @Test func aPeerThatDoesNotReadStopsTheHost() throws {
        let host = try RawHost(.quectel)
        let peer = RawPeer()
        try host.expect("AT+QIACT=1", "\r\nOK\r\n")
        try host.expect("AT+QIOPEN=1,0,\"TCP\",\"127.0.0.1\",\(peer.port)", "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n")
        peer.acceptConnection()
        let payload = String(repeating: "x", count: 1_460)
        var sent = 0
        for _ in 0..<20_000 {
            host.send("AT+QISEND=0,1460\r")
            _ = host.read(upTo: "> ")
            host.send(payload)
            guard host.read(upTo: "\n") + host.read(upTo: "\n") == "\r\nSEND OK\r\n" else { break }
            sent += 1_460
        }
        // What was refused was not taken; what was taken arrives, even if the peer sends nothing more.
        host.send("AT+QISEND=0,0\r")
        #expect(host.read(upTo: "OK\r\n").hasPrefix("\r\n+QISEND: \(sent),"))
        peer.endSending()
        host.expect("\r\n+QIURC: \"closed\",0\r\n")
        var received = 0
        while received < sent {
            let count = peer.receive().utf8.count
            guard count > 0 else { break }
            received += count
        }
        #expect(received == sent)
    }
}
