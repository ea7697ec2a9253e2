import Testing

@testable import ATAdapter

/// What an engine does when answers do not come, or come late.
@Suite struct ATRecoveryTests {
    // MARK: Timeouts (rules 10 to 13)

    @Test func linesDoNotExtendATimeout() {
        let bench = EngineBench()
        bench.start("AT+CWMODE=1", timeout: 1_000)
        for _ in 0..<9 {
            bench.pass(milliseconds: 100)
            bench.receive("WIFI CONNECTED\r\n")
        }
        bench.pass(milliseconds: 100)
        #expect(bench.log.last == "failed timedOut")
        #expect(bench.counters.timeouts == 1)
    }

    @Test func aTimeoutCountsFromTheEndOfWriting() {
        let bench = EngineBench()
        let line = Array("AT".utf8)
        bench.engine.start(ATCommand(line: line, timeout: 1_000), at: .zero)
        bench.engine.wrote(1, at: .milliseconds(500))
        bench.engine.wrote(3, at: .milliseconds(900))
        let deadline = bench.engine.deadline
        #expect(deadline == .milliseconds(1_900))
    }

    @Test func aLateOKDoesNotCompleteTheNextCommand() {
        let bench = EngineBench()
        bench.start("AT+CIPSTART=0", timeout: 1_000)
        bench.pass(milliseconds: 1_500)
        bench.receive("OK\r\n")
        #expect(!bench.isIdle)
        #expect(bench.counters.lateResults == 1)
        bench.sent = ""
        bench.pass(milliseconds: 600)
        #expect(bench.sent == "AT\r\n", "after a second without a word")
        bench.receive("OK\r\n")
        bench.pass(milliseconds: 100)
        #expect(bench.log == ["failed timedOut", "recovered"])
    }

    @Test func moreResultsThanCommandsAreNoSynchrony() {
        let bench = EngineBench()
        bench.start("AT+CIPSTART=0", timeout: 1_000)
        bench.pass(milliseconds: 2_000)
        // One for the late command, one for AT.
        bench.receive("OK\r\nOK\r\n")
        bench.pass(milliseconds: 100)
        #expect(bench.log == ["failed timedOut"])
        bench.receive("OK\r\n")
        bench.pass(milliseconds: 100)
        #expect(bench.log.last == "recovered")
    }

    @Test func busyRepeatsTheCommand() {
        let bench = EngineBench()
        bench.start("AT+CIPMUX=1")
        for count in 1...20 {
            bench.receive(count % 2 == 0 ? "busy p...\r\n" : "busy s...\r\n")
            bench.sent = ""
            bench.pass(milliseconds: 499)
            #expect(bench.sent.isEmpty)
            bench.pass(milliseconds: 1)
            #expect(bench.sent == "AT+CIPMUX=1\r\n")
        }
        bench.receive("busy p...\r\n")
        #expect(bench.log == ["failed busy"])
        #expect(bench.isIdle)
    }

    @Test func theEarlierCommandsResultEndsTheWait() {
        let bench = EngineBench()
        bench.start("AT+CIPMUX=1")
        bench.receive("busy p...\r\n")
        bench.sent = ""
        bench.receive("OK\r\n")
        bench.pass(milliseconds: 0)
        #expect(bench.sent == "AT+CIPMUX=1\r\n")
        bench.receive("OK\r\n")
        #expect(bench.log == ["finished"])
    }

    // MARK: The ladder (rules 14 and 15)

    @Test func theFirstContactIsMadeWithAT() {
        let bench = EngineBench()
        bench.engine.resynchronize(at: .zero)
        bench.pass(milliseconds: 650)
        #expect(bench.sent == "AT\r\nAT\r\n")
        bench.receive("\r\nOK\r\n")
        // As much again as the answer has taken: it may be that to the first.
        bench.pass(milliseconds: 650)
        #expect(bench.log == ["recovered"])
        #expect(bench.isIdle)
    }

    @Test func aSilentModemIsTriedInRisingOrder() {
        let bench = EngineBench()
        bench.engine.resynchronize(at: .zero)
        bench.pass(milliseconds: 20_000)
        let three = "AT\r\nAT\r\nAT\r\n"
        #expect(bench.sent == three + "+++" + three + "AT+RST\r\n" + three + three)
        #expect(bench.log == ["resetting", "needs reset", "given up"])
        // The pauses grow, but it is never left alone for good.
        var times: [Int] = []
        for time in stride(from: 20_100, through: 400_000, by: 100) {
            bench.log.removeAll()
            bench.pass(milliseconds: 100)
            if bench.log.contains("given up") { times.append(time) }
        }
        let pauses = zip(times.dropFirst(), times).map { $0 - $1 - 15_100 }
        #expect(pauses.prefix(4) == [10_000, 20_000, 40_000, 40_000])
    }

    @Test func aModemThatWaitsForPayloadGetsFiller() {
        let bench = EngineBench()
        bench.start("AT+CIPSEND=0,7", timeout: 1_000, payloadBytes: 7)
        bench.pass(milliseconds: 2_000)
        bench.sent = ""
        bench.pass(milliseconds: 5_200)
        #expect(bench.sent.contains("+++AT\r\nAT\r\nAT\r\n\r\r\r\r\r\r\r\r\nAT\r\n"))
        bench.receive("Recv 7 bytes\r\nSEND OK\r\n")
        #expect(!bench.isIdle, "that is no answer to AT")
        bench.receive("OK\r\n")
        // The others were payload, which cannot be known: they have their time.
        bench.pass(milliseconds: 1_600)
        #expect(bench.log.last == "recovered")
    }

    @Test func aModemThatAnswersATButNothingElseIsRestarted() {
        let bench = EngineBench()
        for _ in 0..<3 {
            bench.start("AT+CWMODE=1", timeout: 1_000)
            bench.pass(milliseconds: 2_000)
            bench.receive("OK\r\n")
            bench.pass(milliseconds: 100)
        }
        #expect(
            bench.log == [
                "failed timedOut", "recovered", "failed timedOut", "recovered", "failed timedOut", "resetting",
            ]
        )
    }

    @Test func aModemBusyWithAnEarlierCommandIsWaitedFor() {
        let bench = EngineBench()
        bench.start("AT+CWJAP", timeout: 1_000)
        bench.pass(milliseconds: 2_000)
        for _ in 0..<15 {
            bench.receive("busy p...\r\n")
            bench.pass(milliseconds: 500)
        }
        bench.receive("OK\r\n")
        bench.pass(milliseconds: 100)
        #expect(bench.log == ["failed timedOut", "recovered"])
    }

    @Test func aPayloadOfATimedOutCommandDoesNotSwallowTheAnswers() {
        let bench = EngineBench()
        bench.start("AT+CIPRECVDATA=0,10", timeout: 1_000)
        bench.receive("+CIPRECVDATA:10,abc")
        bench.pass(milliseconds: 1_000)
        #expect(bench.log == ["payload -1: 61 62 63", "damaged", "failed timedOut"])
        bench.pass(milliseconds: 1_000)
        bench.receive("OK\r\n")
        bench.pass(milliseconds: 100)
        #expect(bench.log.last == "recovered")
    }
}
