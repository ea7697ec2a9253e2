import Kernel
import SAL
import Testing

@testable import ATAdapter

/// Datagram sockets of a modem.
@Suite(.timeLimit(.minutes(1))) struct ModemDatagramTests {
    private func open(
        _ host: String,
        cut: Cut = .whole,
        isPassive: Bool = true,
        _ configure: (inout ModemConfiguration) -> Void = { _ in }
    ) -> (ModemBench, any DatagramSocket, Probe) {
        let bench = ModemBench(cut: cut, configure)
        bench.stream.answer = { $0.hasPrefix("AT+CIPRECVM") && !isPassive ? "\r\nERROR\r\n" : nil }
        let probe = Probe()
        let socket = bench.modem.openDatagrams(
            to: Endpoint(host: host, port: 5683),
            deadline: bench.loop.now + .seconds(5),
            handler: probe
        )
        #expect(bench.run { probe.isOpen || probe.isClosed })
        return (bench, socket, probe)
    }

    @Test func aNameIsResolvedFirst() {
        let (bench, socket, probe) = open("coap.example")
        #expect(
            bench.stream.lines.suffix(2) == [#"AT+CIPDOMAIN="coap.example""#, #"AT+CIPSTART=1,"UDP","192.0.2.7",5683"#]
        )
        #expect(throws: SocketError.unreachable(code: 0)) {
            try socket.send([1], to: SocketAddress(address: .v4(0x0102_0304), port: 1))
        }
        #expect(throws: Never.self) {
            try socket.send([1], to: SocketAddress(address: .v4(0xC000_0207), port: 5683))
        }
        _ = probe
    }

    @Test(arguments: ["+CIPDOMAIN:192.0.2.9", "+CIPDOMAIN:\"192.0.2.9\""])
    func bothFormsOfAnAddressAreRead(answer: String) {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPDOMAIN") ? answer + "\r\n\r\nOK\r\n" : nil }
        let probe = Probe()
        _ = bench.modem.openDatagrams(
            to: Endpoint(host: "x", port: 1),
            deadline: bench.loop.now + .seconds(5),
            handler: probe
        )
        #expect(bench.run { probe.isOpen })
        #expect(bench.stream.lines.last == #"AT+CIPSTART=1,"UDP","192.0.2.9",1"#)
    }

    @Test(arguments: [
        "DNS Fail\r\n\r\nERROR\r\n", "\r\nERROR\r\n", "+CIPDOMAIN:\"\"\r\n\r\nOK\r\n",
        "+CIPDOMAIN:\"1.2.3\"\r\n\r\nOK\r\n", "+CIPDOMAIN:\"\r\n\r\nOK\r\n",
    ])
    func aNameWithoutAnAddressIsTold(answer: String) {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPDOMAIN") ? answer : nil }
        let probe = Probe()
        _ = bench.modem.openDatagrams(
            to: Endpoint(host: "nowhere", port: 1),
            deadline: bench.loop.now + .seconds(5),
            handler: probe
        )
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .nameNotFound)
    }

    @Test(arguments: 0..<8)
    func boundariesAreKept(round: Int) throws {
        let cut: Cut = round == 0 ? .whole : round == 1 ? .bytes : .pieces(seed: UInt64(round))
        let (bench, socket, probe) = open("192.0.2.7", cut: cut, isPassive: false)
        for text in ["one", "two", "three"] { try socket.send(Array(text.utf8)) }
        #expect(bench.run { bench.stream.payloads.count == 3 })
        #expect(bench.stream.payloads.map { String(decoding: $0, as: UTF8.self) } == ["one", "two", "three"])
        bench.stream.say("\r\n+IPD,1,3:abc\r\n+IPD,1,0:\r\n+IPD,1,5:OK\r\n.")
        #expect(bench.run { probe.datagrams.count == 3 })
        #expect(probe.datagrams.map { String(decoding: $0, as: UTF8.self) } == ["abc", "", "OK\r\n."])
        #expect(probe.peer == SocketAddress(address: .v4(0xC000_0207), port: 5683))
    }

    @Test(arguments: [Cut.whole, .bytes])
    func aLongDatagramIsMarked(cut: Cut) {
        let (bench, _, probe) = open("192.0.2.7", cut: cut, isPassive: false) { $0.receiveBufferBytes = 10 }
        bench.stream.say("\r\n+IPD,1,12:0123456789ab\r\n+IPD,1,10:0123456789")
        #expect(bench.run { probe.datagrams.count == 2 })
        #expect(probe.datagrams == [Array("0123456789".utf8), Array("0123456789".utf8)])
        #expect(probe.truncated == 1)
    }

    @Test func whatWaitsIsReadOneByOne() {
        let (bench, _, probe) = open("192.0.2.7")
        var waiting = ["first", "second"]
        bench.stream.answer = { line in
            guard line.hasPrefix("AT+CIPRECVDATA="), !waiting.isEmpty else { return nil }
            let data = waiting.removeFirst()
            return "+CIPRECVDATA:\(data.count),\(data)\r\nOK\r\n"
        }
        bench.stream.say("\r\n+IPD,1,5\r\n")
        #expect(bench.run { probe.datagrams.count == 2 })
        #expect(!probe.isClosed)
    }

    @Test func a_failedSendLosesTheDatagramNotTheSocket() throws {
        let (bench, socket, probe) = open("192.0.2.7")
        bench.stream.payloadAnswer = { _ in "\r\nSEND FAIL\r\n" }
        try socket.send([1])
        #expect(bench.run { bench.stream.payloads.count == 1 })
        bench.settle()
        #expect(!probe.isClosed)
        bench.stream.payloadAnswer = { _ in "\r\nSEND OK\r\n" }
        try socket.send([2])
        #expect(bench.run { bench.stream.payloads.count == 2 })
        #expect(bench.stream.payloads == [[1], [2]])
    }

    @Test func limitsAreTold() throws {
        let (bench, socket, probe) = open("192.0.2.7") {
            $0.sendChunkBytes = 100
            $0.sendBufferBytes = 150
        }
        #expect(socket.maximumDatagramBytes == 100)
        #expect(throws: SocketError.messageTooLong) { try socket.send([UInt8](repeating: 0, count: 101)) }
        #expect(throws: SocketError.messageTooLong) { try socket.send(([] as [UInt8])) }
        try socket.send([UInt8](repeating: 0, count: 100))
        #expect(throws: SocketError.overflow) { try socket.send([UInt8](repeating: 0, count: 100)) }
        socket.close()
        #expect(throws: SocketError.closed) { try socket.send([1]) }
        #expect(bench.run { probe.isClosed })
    }
}
