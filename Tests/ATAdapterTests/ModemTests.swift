import Kernel
import SAL
import Testing

@testable import ATAdapter

/// The modem as a network, at a script: bring-up, and what becomes of sockets.
@Suite(.timeLimit(.minutes(1))) struct ModemTests {
    // MARK: Bring-up

    @Test func setsTheModemUp() {
        let bench = ModemBench()
        #expect(bench.attach())
        #expect(
            bench.stream.lines == [
                "AT", "ATE0", "AT+GMR", "AT+CWMODE=1", "AT+CWJAP?", "AT+CIPCLOSE=5", "AT+CIPCLOSE", "AT+CIPMUX=1",
                "AT+CIPDINFO=0", "AT+CIPRECVMODE=1",
            ]
        )
        #expect(bench.modem.capabilities.hasReceiveFlowControl)
        #expect(bench.modem.signal == -47)
    }

    @Test(arguments: [
        ("AT version:1.7.4.0(x)", "AT+CIPRECVMODE=1", "AT+CWJAP_CUR="),
        ("AT version:3.2.0.0(x)", "AT+CIPRECVMODE=1", "AT+CWJAP="),
        ("AT version:3.3.0.0(x)", "AT+CIPRECVTYPE=5,1", "AT+CWJAP="),
        ("AT version:4.0.0.0(x)", "AT+CIPRECVTYPE=5,1", "AT+CWJAP="),
    ])
    func speaksTheDialectOfTheFirmware(version: String, mode: String, join: String) {
        let bench = ModemBench { $0.accessPoint = (Array("OK net".utf8), Array("a\"b,c\\d".utf8)) }
        bench.stream.answer = { $0 == "AT+GMR" ? version + "\r\n\r\nOK\r\n" : nil }
        #expect(bench.attach())
        #expect(bench.stream.lines.last == mode)
        #expect(bench.stream.lines.contains(join + #""OK net","a\"b\,c\\d""#))
    }

    @Test func withoutPassiveReceptionTheModemPushes() {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPRECV") ? "\r\nERROR\r\n" : nil }
        #expect(bench.attach())
        #expect(!bench.modem.capabilities.hasReceiveFlowControl)
    }

    /// What is sent between a command and its prompt goes with the next command.
    @Test func aSendCarriesWhatItHasAnnounced() {
        let bench = ModemBench()
        #expect(bench.attach())
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        var hasSentMore = false
        bench.stream.answer = { line in
            if line.hasPrefix("AT+CIPSEND="), !hasSentMore {
                hasSentMore = true
                #expect(stream.send([4, 5].span) == 2)
            }
            return nil
        }
        #expect(stream.send([1, 2, 3].span) == 3)
        #expect(bench.run { bench.stream.payloads.count == 2 })
        #expect(bench.stream.payloads == [[1, 2, 3], [4, 5]])
    }

    @Test func aWrongPasswordIsTold() {
        let bench = ModemBench { $0.accessPoint = (Array("net".utf8), Array("wrong".utf8)) }
        bench.stream.answer = { $0.hasPrefix("AT+CWJAP=") ? "+CWJAP:2\r\n\r\nERROR\r\n" : nil }
        #expect(bench.run { bench.modem.state == .failed(.joinFailed(code: 2)) })
        bench.stream.answer = { _ in nil }
        #expect(bench.attach(), "it is tried again")
    }

    @Test func aModemWithoutANetworkIsSearchedWith() {
        let bench = ModemBench()
        var hasJoined = false
        bench.stream.answer = { $0 == "AT+CWJAP?" && !hasJoined ? "No AP\r\n\r\nOK\r\n" : nil }
        let (_, probe) = bench.connect()
        #expect(bench.run { bench.stream.lines.contains("AT+CWJAP?") })
        #expect(bench.modem.state == .searching)
        hasJoined = true
        #expect(bench.run { probe.isOpen }, "the socket has waited")
    }

    @Test func a_socketThatWaitsTooLongIsTold() {
        let bench = ModemBench()
        bench.stream.answer = { $0 == "AT" ? "" : nil }
        let (_, probe) = bench.connect(deadline: .milliseconds(50))
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .noNetwork)
    }

    // MARK: Streams

    @Test(arguments: 0..<12)
    func sendsAndReceives(round: Int) {
        let cut: Cut = round == 0 ? .whole : round == 1 ? .bytes : .pieces(seed: UInt64(round))
        let bench = ModemBench(cut: cut)
        var waiting = [Array("OK\r\nERROR\r\n0,CLOSED\r\n> ".utf8), Array("+IPD,0,5:".utf8)]
        bench.stream.answer = { line in
            guard line.hasPrefix("AT+CIPRECVDATA="), !waiting.isEmpty else { return nil }
            let data = waiting.removeFirst()
            return "+CIPRECVDATA:\(data.count),\(String(decoding: data, as: UTF8.self))\r\nOK\r\n"
        }
        // Data overtakes the result.
        bench.stream.payloadAnswer = { "\r\nRecv \($0) bytes\r\n\r\n+IPD,1,23\r\n\r\nSEND OK\r\n" }
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        #expect(stream.send("hello ") + stream.send("world") == 11)
        #expect(
            bench.run { bench.stream.payloads.count == 1 && probe.received.count == 23 },
            "\(bench.stream.lines) \(probe.text)"
        )
        bench.stream.say("\r\n+IPD,1,9\r\n1,CLOSED\r\n")
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == nil)
        #expect(probe.text == "OK\r\nERROR\r\n0,CLOSED\r\n> +IPD,0,5:")
        #expect(
            String(decoding: bench.stream.payloads[0], as: UTF8.self) == "hello world",
            "one turn's sends go out as one"
        )
    }

    @Test func largeSendsAreCutAndSmallOnesWait() {
        let bench = ModemBench {
            $0.sendBufferBytes = 5_000
            $0.sendChunkBytes = 2_048
        }
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        #expect(stream.send([UInt8](repeating: 7, count: 6_000)) == 5_000)
        #expect(probe.writableCount == 0)
        #expect(bench.run { bench.stream.payloads.count == 3 })
        #expect(bench.stream.payloads.map(\.count) == [2_048, 2_048, 904])
        #expect(bench.run { probe.writableCount == 1 })
    }

    @Test func a18_nothingComesBetweenASendsCommandAndItsPayload() {
        let bench = ModemBench()
        let (first, a) = bench.connect()
        let (second, b) = bench.connect()
        #expect(bench.run { a.isOpen && b.isOpen })
        for _ in 0..<5 {
            _ = first.send("a")
            _ = second.send("b")
            bench.modem.querySignal()
            bench.settle()
        }
        let lines = bench.stream.lines
        for (index, line) in lines.enumerated() where line.hasPrefix("AT+CIPSEND=") {
            #expect(lines[index + 1].hasPrefix("<"))
        }
        #expect(bench.stream.payloads.flatMap { $0 }.filter { $0 == 97 }.count == 5)
    }

    @Test func socketsTakeTurns() {
        let bench = ModemBench { $0.sendChunkBytes = 100 }
        let sockets = (0..<3).map { _ in bench.connect() }
        #expect(bench.run { sockets.allSatisfy { $0.1.isOpen } })
        for (index, socket) in sockets.enumerated() {
            #expect(socket.0.send([UInt8](repeating: UInt8(index), count: 500)) == 500)
        }
        #expect(bench.run { bench.stream.payloads.count == 15 })
        for round in 0..<5 {
            #expect(Set(bench.stream.payloads[round * 3..<round * 3 + 3].map { $0[0] }) == [0, 1, 2])
        }
    }

    @Test func closeSendsWhatWasTaken() {
        let bench = ModemBench()
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        #expect(stream.send("last words") == 10)
        stream.close()
        #expect(!probe.isClosed)
        #expect(stream.send("more") == 0)
        #expect(bench.run { probe.isClosed })
        bench.settle()
        #expect(probe.error == nil)
        #expect(bench.stream.lines.suffix(3) == ["AT+CIPSEND=1,10", "<10 bytes>", "AT+CIPCLOSE=1"])
    }

    @Test func abortSendsNothing() {
        let bench = ModemBench()
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        #expect(stream.send("never") == 5)
        stream.abort()
        #expect(!probe.isClosed, "no handler is called from inside a call")
        #expect(bench.run { probe.isClosed })
        bench.settle()
        #expect(bench.stream.payloads.isEmpty)
        #expect(bench.stream.lines.last == "AT+CIPCLOSE=1")
    }

    @Test func anAbortBetweenCommandAndPromptStillGivesTheModemItsBytes() {
        let bench = ModemBench()
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        bench.stream.answer = { line in
            guard line.hasPrefix("AT+CIPSEND=") else { return nil }
            stream.abort()
            return "\r\nOK\r\n\r\n>"
        }
        #expect(stream.send("12345") == 5)
        #expect(bench.run { bench.stream.lines.last == "AT+CIPCLOSE=1" })
        #expect(bench.stream.payloads.map(\.count) == [5])
        #expect(probe.isClosed)
    }

    // MARK: Opening

    @Test(arguments: [
        ("DNS Fail\r\n\r\nERROR\r\n", SocketError.nameNotFound), ("no ip\r\n\r\nERROR\r\n", .noNetwork),
        ("\r\nERROR\r\n", .refused(code: 0)), ("1,CLOSED\r\n\r\nERROR\r\n", .refused(code: 0)),
    ])
    func anOpenThatFailsSaysWhy(answer: String, error: SocketError) {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPSTART=") ? answer : nil }
        let (_, probe) = bench.connect()
        #expect(bench.run { probe.isClosed })
        #expect(!probe.isOpen)
        #expect(probe.error == error)
        bench.stream.answer = { _ in nil }
        let (_, again) = bench.connect()
        #expect(bench.run { again.isOpen })
    }

    @Test func aNumberLeftFromEarlierIsClosedFirst() {
        let bench = ModemBench()
        var isTaken = true
        bench.stream.answer = { line in
            if line.hasPrefix("AT+CIPCLOSE=1") { isTaken = false }
            return line.hasPrefix("AT+CIPSTART=1") && isTaken ? "ALREADY CONNECTED\r\n\r\nERROR\r\n" : nil
        }
        let (_, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
    }

    @Test func a_cancelledOpenKeepsItsNumberUntilTheModemAnswers() {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPSTART=1") ? "" : nil }
        let (_, probe) = bench.connect(deadline: .milliseconds(800))
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .timedOut)
        #expect(bench.stream.lines.last?.hasPrefix("AT+CIPSTART=1") == true, "the command is not abandoned")
        bench.stream.say("1,CONNECT\r\n\r\nOK\r\n")
        #expect(bench.run { bench.stream.lines.last == "AT+CIPCLOSE=1" })
    }

    @Test func theSixthSocketWaitsForALink() {
        let bench = ModemBench()
        let sockets = (0..<6).map { _ in bench.connect() }
        #expect(bench.run { sockets.prefix(5).allSatisfy { $0.1.isOpen } })
        bench.settle()
        #expect(!sockets[5].1.isOpen)
        sockets[2].0.close()
        #expect(bench.run { sockets[5].1.isOpen })
        // The number rests while one more command is answered.
        #expect(bench.stream.lines.suffix(3) == ["AT+CIPCLOSE=3", "AT", #"AT+CIPSTART=3,"TCP","peer.example",7000"#])
    }

    @Test func moreSocketsThanTheLimitAreRefused() {
        let bench = ModemBench { $0.maximumSockets = 2 }
        let sockets = (0..<3).map { _ in bench.connect() }
        #expect(bench.run { sockets[2].1.isClosed })
        #expect(sockets[2].1.error == .tooManySockets(code: 0))
        #expect(bench.run { sockets[0].1.isOpen && sockets[1].1.isOpen })
    }

    @Test(arguments: ["", "a\r\nAT+RST", String(repeating: "x", count: 300), String(repeating: "\"", count: 120)])
    func a7_aHostThatDoesNotFitIsNoName(host: String) {
        let bench = ModemBench()
        let (_, probe) = bench.connect(host)
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .nameNotFound)
        #expect(bench.attach())
        #expect(!bench.stream.lines.contains { $0.hasPrefix("AT+CIPSTART") })
    }
}
