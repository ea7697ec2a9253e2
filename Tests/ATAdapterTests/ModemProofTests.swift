import Kernel
import ModemSimulator
import NetworkSimulator
import SAL
import Testing

@testable import ATAdapter

/// What random runs in virtual time have found, each by itself.
@Suite(.timeLimit(.minutes(1))) struct ModemProofTests {
    // MARK: The engine

    @Test func aSlowModemAnswersEachAT() {
        let bench = EngineBench(Quectel())
        bench.engine.resynchronize(at: .zero)
        bench.pass(milliseconds: 650)
        #expect(bench.sent == "AT\rAT\r")
        bench.pass(milliseconds: 250)
        bench.receive("\r\nOK\r\n")
        bench.pass(milliseconds: 700)
        // The second would have been taken for the answer to the next command.
        #expect(bench.log == [])
        bench.receive("\r\nOK\r\n")
        bench.pass(milliseconds: 100)
        #expect(bench.log == ["recovered"])
    }

    /// A modem that was deaf for long answers all that it was asked meanwhile, on each rung of the ladder.
    @Test func whatWasAskedOnAnEarlierRungIsStillAnswered() {
        let bench = EngineBench(Quectel())
        bench.engine.resynchronize(at: .zero)
        bench.pass(milliseconds: 4_500)
        let asked = bench.sent.split(separator: "\r").filter { $0.hasSuffix("AT") }.count
        #expect(asked > 3)
        for _ in 0..<asked {
            #expect(bench.log == [])
            bench.receive("\r\nOK\r\n")
            bench.pass(milliseconds: 1_300)
        }
        bench.pass(milliseconds: 500)
        #expect(bench.log == ["recovered"])
    }

    @Test func halfALineEndBehindDataIsNoData() {
        let bench = EngineBench(Quectel())
        bench.start("AT+QIRD=0,1500")
        bench.receive("\r\n+QIRD: 4\r\nx\r\n\r\nOK\r\n")
        #expect(bench.log == ["payload -1: 78 d a d", "damaged", "finished"])
    }

    @Test func dataOnASlowLinePutsTheEndOfTheWaitOff() {
        let bench = EngineBench(L610())
        bench.start("AT+MIPSEND=1,5", payloadBytes: 5)
        for _ in 0..<8 {
            bench.receive("\r\n+MIPRTCP: 1,0,41\r\n")
            bench.pass(milliseconds: 900)
        }
        bench.receive("\r\n>")
        #expect(bench.log.last == "prompt")
        #expect(bench.counters.timeouts == 0)
    }

    @Test func dataDoesNotPutItOffForEver() {
        let bench = EngineBench(L610())
        bench.start("AT+MIPSEND=1,5", payloadBytes: 5)
        for _ in 0..<100 where bench.counters.timeouts == 0 {
            bench.receive("\r\n+MIPRTCP: 1,0,41\r\n")
            bench.pass(milliseconds: 900)
        }
        #expect(bench.log.last == "failed timedOut")
    }

    @Test func theEscapeStandsAlone() {
        let bench = EngineBench(Quectel())
        bench.start("AT+QISEND=0,5", payloadBytes: 5)
        bench.sent = ""
        bench.pass(milliseconds: 5_900)
        #expect(bench.sent == "\u{1B}")
        bench.receive("\r\nERROR\r\n")
        bench.pass(milliseconds: 300)
        #expect(bench.sent == "\u{1B}\rAT\r")
    }

    @Test func aModeThatNobodyConfirmedIsNotTakenForGranted() {
        guard case .failed(.timedOut) = ESPAT().attachStepEnded(8, .timedOut, isOptional: true),
            case .failed(.timedOut) = SIM800().connectionStepEnded(3, .timedOut, isOptional: true),
            case .failed(.timedOut) = SIM800().attachStepEnded(0, .timedOut, isOptional: true)
        else {
            Issue.record("the bring-up goes on")
            return
        }
    }

    @Test func aRefusedATE0IsRepeated() {
        let dialect = Quectel()
        for step in 0...1 {
            let outcomes = (0..<4).map { _ in dialect.attachStepEnded(step, .refused, isOptional: true) }
            for (count, outcome) in outcomes.enumerated() {
                switch outcome {
                case .jump(to: step, milliseconds: 500): #expect(count < 3)
                case .next: #expect(count == 3, "for ever would be too long")
                case .jump, .failed: Issue.record("\(outcome)")
                }
            }
        }
    }

    // MARK: The modem

    /// A command that takes longer than the interval of polls must not keep the loop from sleeping: virtual time would stand still.
    @Test func aLongCommandIsWaitedForAsleep() throws {
        let bench = try VirtualBench(.quectel)
        bench.run {
            let probe = bench.connect()
            var hasAnswered = false
            bench.after(.seconds(5)) {
                #expect(probe.isOpen)
                var faults = Faults()
                faults.resultDelayMilliseconds = 20_000
                bench.simulated.setFaults(faults)
                try? bench.modem.execute(Array("AT+CSQ".utf8), timeoutMilliseconds: 60_000) { result in
                    if case .success = result { hasAnswered = true }
                }
            }
            bench.after(.seconds(6)) { bench.simulated.setFaults(Faults()) }
            bench.after(.seconds(60)) {
                #expect(hasAnswered && !probe.isClosed)
                bench.finish()
            }
        }
    }

    @Test func datagramsForWhichThereIsNoSocketAreToldSo() throws {
        let bench = try VirtualBench(.ublox)
        var faults = Faults()
        faults.linkLimit = 1
        bench.simulated.setFaults(faults)
        bench.run {
            _ = bench.connect()
            bench.after(.seconds(5)) {
                let probe = bench.openDatagrams()
                bench.after(.seconds(5)) {
                    #expect(probe.isClosed && probe.error == .refused(code: 3))
                    bench.finish()
                }
            }
        }
    }

    /// What it has not read, nobody has received.
    @Test func aFailedReadBehindThePeersEndIsNoOrderlyEnd() throws {
        let bench = try VirtualBench(.sim800)
        bench.run {
            let probe = bench.connect()
            bench.after(.seconds(5)) {
                var faults = Faults()
                (faults.failsCommandEvery, faults.errorCode) = (1, 30)
                bench.simulated.setFaults(faults)
                _ = bench.accepted?.send([UInt8](repeating: 7, count: 100).span)
                bench.accepted?.close()
            }
            bench.after(.seconds(20)) {
                #expect(probe.isClosed && probe.error == .streamDamaged(code: 0))
                bench.finish()
            }
        }
    }

    @Test(arguments: ModemDialect.allCases)
    func aLinkThatEndsWithoutANoticeIsFoundByAsking(dialect: ModemDialect) throws {
        let bench = try VirtualBench(dialect)
        bench.run {
            let probe = bench.connect()
            bench.after(.seconds(5)) {
                #expect(probe.isOpen)
                var faults = Faults()
                faults.closesSilently = true
                bench.simulated.setFaults(faults)
                bench.accepted?.close()
            }
            bench.after(.seconds(40)) {
                #expect(probe.isClosed && probe.error == nil)
                bench.finish()
            }
        }
    }
}
