import Glibc
import Kernel
import SAL
import Testing

@testable import ATAdapter

/// The modem as a network when the modem, its network or a reader does not do what it should.
@Suite(.timeLimit(.minutes(1))) struct ModemFaultTests {
    private func openBench(
        cut: Cut = .whole,
        _ configure: (inout ModemConfiguration) -> Void = { _ in }
    ) -> (ModemBench, any ByteStream, Probe) {
        let bench = ModemBench(cut: cut, configure)
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        bench.settle()
        return (bench, stream, probe)
    }

    /// A timer in the past would have the loop turn for as long as the command takes.
    @Test func sleepsWhileACommandIsUnderWayAndAPollIsDue() throws {
        let (bench, stream, probe) = openBench { $0.pollInterval = .milliseconds(1) }
        bench.stream.answer = { $0 == "AT+SLOW" ? "" : nil }
        try bench.modem.execute(Array("AT+SLOW".utf8), timeoutMilliseconds: 60_000) { _ in }
        #expect(bench.run { bench.stream.lines.last == "AT+SLOW" })
        usleep(5_000)
        bench.settle()
        let deadline = try #require(bench.modem.timer.deadline)
        #expect(deadline > bench.loop.now + .seconds(30))
        #expect(!probe.isClosed)
        stream.abort()
    }

    // MARK: Receiving (rules 18 to 25)

    @Test func aReaderThatTakesNothingIsNotReadFor() {
        let (bench, stream, probe) = openBench { $0.readChunkBytes = 10 }
        var left = 100
        bench.stream.answer = { line in
            guard line.hasPrefix("AT+CIPRECVDATA="), left > 0 else { return nil }
            left -= 10
            return "+CIPRECVDATA:10,0123456789\r\nOK\r\n"
        }
        probe.window = 4
        bench.stream.say("\r\n+IPD,1,100\r\n")
        bench.settle()
        #expect(left == 90, "one chunk, of which it took four bytes")
        probe.window = 16
        stream.resumeReceiving()
        bench.settle()
        #expect(probe.text == "01234567890123456789")
        #expect(left == 70)
        probe.window = .max
        stream.resumeReceiving()
        bench.settle()
        #expect(probe.received.count == 100)
    }

    @Test func a13_whatCannotBeStoppedEndsTheStreamNotSilently() {
        let bench = ModemBench { $0.receiveBufferBytes = 20 }
        bench.stream.answer = { $0.hasPrefix("AT+CIPRECV") ? "\r\nERROR\r\n" : nil }
        let (_, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        probe.window = 5
        bench.stream.say("\r\n+IPD,1,25:0123456789012345678901234")
        bench.settle()
        #expect(!probe.isClosed)
        bench.stream.say("\r\n+IPD,1,1:x")
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .overflow)
        #expect(probe.text == "01234")
        #expect(bench.run { bench.stream.lines.last == "AT+CIPCLOSE=1" })
    }

    @Test func whatWasPushedIsDeliveredBeforeTheEnd() {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPRECV") ? "\r\nERROR\r\n" : nil }
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        probe.window = 1
        bench.stream.say("\r\n+IPD,1,3:bye1,CLOSED\r\n")
        bench.settle()
        #expect(probe.text == "b")
        #expect(!probe.isClosed)
        probe.window = .max
        stream.resumeReceiving()
        #expect(bench.run { probe.isClosed })
        #expect(probe.text == "bye")
        #expect(probe.error == nil)
    }

    /// Whose bytes they were, nobody can tell: no stream goes on as if it had all of its own.
    @Test func dataForNobodyThatCanBeToldEndsAllStreams() {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPRECV") ? "\r\nERROR\r\n" : nil }
        let (_, first) = bench.connect()
        let (_, second) = bench.connect()
        #expect(bench.run { first.isOpen && second.isOpen })
        bench.stream.say("\r\n+IPD,\u{8E},5:hello\r\n")
        #expect(bench.run { first.isClosed && second.isClosed })
        #expect(first.error == .streamDamaged(code: 0) && second.error == .streamDamaged(code: 0))
    }

    @Test func dataForNumbersThatNobodyOpenedIsDropped() {
        let (bench, _, probe) = openBench()
        bench.stream.say("\r\n+IPD,3,9:3,CLOSED\r3,CLOSED\r\n+IPD,7,2:ab\r\n+IPD,3,5\r\n")
        bench.settle()
        #expect(probe.received.isEmpty && !probe.isClosed)
        #expect(bench.modem.counters.droppedBytes == 11)
    }

    @Test func aMissingNoticeIsMadeGoodByAsking() {
        let (bench, _, probe) = openBench { $0.pollInterval = .milliseconds(20) }
        var hasData = true
        bench.stream.answer = { line in
            if line == "AT+CIPRECVLEN?" { return "+CIPRECVLEN:-1,\(hasData ? 3 : 0),-1,-1,-1\r\n\r\nOK\r\n" }
            guard line.hasPrefix("AT+CIPRECVDATA="), hasData else { return nil }
            hasData = false
            return "+CIPRECVDATA:3,abc\r\nOK\r\n"
        }
        #expect(bench.run { probe.text == "abc" })
        #expect(!probe.isClosed)
    }

    @Test func aMissingCloseNoticeIsMadeGoodByAsking() {
        let (bench, _, probe) = openBench { $0.pollInterval = .milliseconds(20) }
        bench.stream.answer = { $0 == "AT+CIPRECVLEN?" ? "+CIPRECVLEN:-1,-1,-1,-1,-1\r\n\r\nOK\r\n" : nil }
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == nil)
    }

    @Test func aPeerThatClosesWhileItIsOpened() {
        let bench = ModemBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPSTART=") ? "1,CONNECT\r\n1,CLOSED\r\n\r\nOK\r\n" : nil }
        let (_, probe) = bench.connect()
        #expect(bench.run { probe.isClosed })
        #expect(probe.isOpen)
        #expect(probe.error == nil)
    }

    @Test func sendFailDamagesTheStream() {
        let (bench, stream, probe) = openBench()
        bench.stream.payloadAnswer = { "\r\nRecv \($0) bytes\r\n\r\nSEND FAIL\r\n" }
        #expect(stream.send("x") == 1)
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .streamDamaged(code: 0))
        #expect(bench.run { bench.stream.lines.last == "AT+CIPCLOSE=1" })
    }

    @Test func aSendToAPeerThatHasGoneReadsWhatItLeft() {
        let (bench, stream, probe) = openBench()
        var left = ["rest"]
        bench.stream.answer = { line in
            if line.hasPrefix("AT+CIPSEND=") { return "link is not valid\r\n\r\nERROR\r\n" }
            guard line.hasPrefix("AT+CIPRECVDATA="), let data = left.popLast() else { return nil }
            return "+CIPRECVDATA:\(data.count),\(data)\r\nOK\r\n"
        }
        #expect(stream.send("x") == 1)
        #expect(bench.run { probe.isClosed })
        #expect(probe.text == "rest")
        #expect(probe.error == .reset(code: 0))
    }

    @Test(arguments: [
        // With a length that takes the result with it, and more than was asked for.
        "+CIPRECVDATA:9,abc\r\nOK\r\n\r\nERROR\r\n", "+CIPRECVDATA:20,01234567890123456789\r\nOK\r\n",
    ])
    func dataWithAWrongLengthIsNotGivenOn(answer: String) {
        let (bench, _, probe) = openBench { $0.readChunkBytes = 10 }
        bench.stream.answer = { $0.hasPrefix("AT+CIPRECVDATA=") ? answer : nil }
        bench.stream.say("\r\n+IPD,1,6\r\n")
        #expect(bench.run { probe.isClosed })
        #expect(probe.received.isEmpty)
        #expect(probe.error == .streamDamaged(code: 0))
    }

    // MARK: Busy, echo, notices

    @Test func busyIsInvisible() {
        let bench = ModemBench()
        var busy = 2
        bench.stream.answer = { line in
            guard line.hasPrefix("AT+CIPSEND="), busy > 0 else { return nil }
            busy -= 1
            return "busy p...\r\n"
        }
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        #expect(stream.send("once") == 4)
        #expect(bench.run { bench.stream.payloads.count == 1 })
        #expect(bench.stream.payloads == [Array("once".utf8)])
        #expect(bench.modem.counters.busyRepeats == 2)
    }

    @Test func stuckEchoIsInvisible() {
        let bench = ModemBench()
        bench.stream.answer = { line in
            let answer = ScriptedStream.usual(line)
            return answer.hasPrefix(line) ? answer : line + "\r\n" + answer
        }
        let (stream, probe) = bench.connect()
        #expect(bench.run { probe.isOpen })
        #expect(stream.send("x") == 1)
        #expect(bench.run { bench.stream.payloads.count == 1 })
        #expect(bench.modem.counters.restarts == 0)
    }

    // MARK: Restarts, the network, the plug (rules 26 to 28)

    @Test func aBannerEndsAllSocketsAndSetsUpAgain() {
        let (bench, _, probe) = openBench()
        bench.stream.lines = []
        bench.stream.say("\u{1C}rl\r\n\r\nready\r\n")
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .deviceRestarted)
        #expect(bench.modem.state == .searching)
        #expect(bench.attach())
        #expect(bench.stream.lines.contains("AT+CIPMUX=1"))
        let (_, again) = bench.connect()
        #expect(bench.run { again.isOpen })
    }

    @Test func aRestartInTheMiddleOfASendEndsIt() {
        let (bench, stream, probe) = openBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPSEND=") ? "\r\nready\r\n" : nil }
        #expect(stream.send("x") == 1)
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .deviceRestarted)
        #expect(bench.attach())
    }

    @Test func echoThatComesBackIsARestart() {
        let (bench, stream, probe) = openBench()
        bench.stream.answer = { $0.hasPrefix("AT+CIPSEND=") ? $0 + "\r\nlink is not valid\r\n\r\nERROR\r\n" : nil }
        #expect(stream.send("x") == 1)
        #expect(bench.run { probe.isClosed })
        #expect(probe.error == .deviceRestarted)
        bench.stream.answer = { _ in nil }
        #expect(bench.attach())
    }

    @Test func aLostNetworkEndsAllSocketsWithOneError() {
        let (bench, _, first) = openBench()
        let (_, second) = bench.connect()
        #expect(bench.run { second.isOpen })
        bench.stream.say("WIFI DISCONNECT\r\n")
        #expect(bench.run { first.isClosed && second.isClosed })
        #expect(first.error == .noNetwork && second.error == .noNetwork)
        #expect(bench.attach())
    }

    @Test func anUnpluggedModemEndsAllSocketsAndCanBePluggedInAgain() {
        let (bench, stream, probe) = openBench()
        var result: Result<[UInt8], ATError>?
        #expect(throws: Never.self) { try bench.modem.execute(Array("AT+X".utf8)) { result = $0 } }
        _ = stream.send("x")
        bench.stream.unplug()
        #expect(!probe.isClosed || probe.error == .deviceRestarted)
        #expect(bench.run { probe.isClosed })
        #expect(bench.modem.state == .down)
        #expect(result == .failure(.cancelled))
        #expect(stream.send("y") == 0)
        let (_, waiting) = bench.connect()
        let next = ScriptedStream(loop: bench.loop)
        bench.modem.attach(to: next)
        #expect(bench.run { waiting.isOpen }, "the socket that was opened meanwhile")
    }

    @Test func aNewLineReplacesTheOldOne() {
        let (bench, _, probe) = openBench()
        let next = ScriptedStream(loop: bench.loop)
        bench.modem.attach(to: next)
        #expect(bench.stream.isClosed)
        #expect(bench.run { probe.isClosed })
        #expect(bench.attach())
    }

    @Test func aLineThatTakesLittleAtATimeIsWrittenTo() {
        let bench = ModemBench()
        bench.stream.window = 0
        bench.settle()
        bench.stream.window = .max
        bench.modem.writable()
        #expect(bench.attach())
    }

    // MARK: A user's commands

    @Test func a14_commandsCanBeSentFromAnAnswer() {
        let bench = ModemBench { $0.waitingCommands = 2 }
        bench.stream.answer = { line in
            switch line {
            case "AT+ONE": "+ONE: OK?\r\nWIFI GOT IP\r\nsecond line\r\n\r\nOK\r\n"
            case "AT+TWO": "+CME ERROR: 14\r\n"
            default: nil
            }
        }
        var answers: [Result<[UInt8], ATError>] = []
        let modem = bench.modem
        #expect(throws: Never.self) {
            try modem.execute(Array("AT+ONE".utf8)) { answer in
                answers.append(answer)
                try? modem.execute(Array("AT+TWO".utf8)) { answers.append($0) }
            }
        }
        #expect(bench.run { answers.count == 2 })
        #expect(answers == [.success(Array("+ONE: OK?\nsecond line\n".utf8)), .failure(.equipment(code: 14))])
    }

    @Test func commandsThatCannotBeSentAreRefused() {
        let bench = ModemBench { $0.waitingCommands = 1 }
        #expect(throws: ATError.unsendable) { try bench.modem.execute(Array("AT\r\nAT".utf8)) { _ in } }
        #expect(throws: ATError.lineTooLong) {
            try bench.modem.execute([UInt8](repeating: 65, count: 820)) { _ in }
        }
        #expect(throws: Never.self) { try bench.modem.execute(Array("AT".utf8)) { _ in } }
        #expect(throws: ATError.queueFull) { try bench.modem.execute(Array("AT".utf8)) { _ in } }
    }

    @Test func theSignalIsAskedFor() {
        let (bench, _, _) = openBench()
        bench.stream.answer = {
            $0 == "AT+CWJAP?" ? "+CWJAP:\"OK\\\\,6,-1\",\"02:00:00:00:00:01\",11,-63,0\r\n\r\nOK\r\n" : nil
        }
        bench.modem.querySignal()
        #expect(bench.run { bench.modem.signal == -63 })
    }

    @Test func closeEndsTheSocketsWithALinkAndThoseThatWaitForOne() {
        let bench = ModemBench()
        #expect(bench.attach())
        let sockets = (0..<6).map { _ in bench.connect() }
        #expect(bench.run { sockets.prefix(5).allSatisfy { $0.1.isOpen } })
        bench.modem.close()
        #expect(bench.stream.isClosed && bench.modem.state == .down)
        #expect(bench.run { sockets.allSatisfy { $0.1.isClosed } })
        #expect(sockets.map(\.1.error) == [SocketError](repeating: .deviceRestarted, count: 5) + [.closed])
    }
}
