import Testing

@testable import ATAdapter

/// The engine's rules, each with the input that broke some other engine.
@Suite struct ATEngineTests {
    static let transcripts: [(Transcript, [String])] = [
        (ESPATTranscripts.push, ESPATTranscripts.pushLog), (ESPATTranscripts.passive, ESPATTranscripts.passiveLog),
        (ESPATTranscripts.old, ESPATTranscripts.oldLog), (ESPATTranscripts.busy, ESPATTranscripts.busyLog),
    ]

    private func log(of transcript: Transcript, _ cut: Cut) -> [String] {
        let bench = EngineBench()
        bench.play(transcript, cut: cut)
        return bench.log
    }

    // MARK: Input cut anywhere (rules 2 and 4)

    @Test(arguments: 0..<4)
    func saysTheSameWhereverTheInputIsCut(index: Int) {
        let (transcript, expected) = Self.transcripts[index]
        #expect(log(of: transcript, .whole) == expected)
        #expect(log(of: transcript, .bytes) == expected)
        for position in 0..<600 { #expect(log(of: transcript, .at(position)) == expected, "cut at \(position)") }
        for seed in UInt64(0)..<100 { #expect(log(of: transcript, .pieces(seed: seed)) == expected, "seed \(seed)") }
    }

    @Test func randomBytesNeverTrapAndNeverStopTheEngine() {
        let seed = UInt64.random(in: .min ... .max)
        var random = SplitMix(state: seed)
        let words = [
            "OK\r\n", "+IPD,", "0,5:", "+CIPRECVDATA:", "> ", "\r\n", "busy p...\r\n", "ERROR\r\n", "9999999999", "-",
        ]
        let bench = EngineBench(maximumLineBytes: 64)
        for _ in 0..<20_000 {
            if bench.isIdle { bench.start("AT+X", payloadBytes: random.next() & 1 == 0 ? 0 : 5) }
            if random.next() % 3 == 0 {
                bench.receive([UInt8.random(in: 0...255, using: &random)])
            } else {
                bench.receive(words.randomElement(using: &random) ?? "")
            }
            if random.next() % 50 == 0 { bench.pass(milliseconds: 2_000) }
            bench.log.removeAll()
        }
        bench.pass(milliseconds: 300_000)
        bench.receive("\r\n")
        bench.log.removeAll()
        for _ in 0..<300 where bench.log.last != "recovered" {
            bench.sent = ""
            bench.pass(milliseconds: 250)
            if bench.sent.hasSuffix("AT\r\n") { bench.receive("\r\nOK\r\n") }
        }
        #expect(bench.isIdle, "seed \(seed)")
    }

    // MARK: Final results (rules 1, 5, 12)

    @Test func a2_okInsideDataDoesNotEndACommand() {
        let bench = EngineBench()
        bench.start("AT+CWJAP?")
        bench.receive("+CWJAP:\"BROOK\r\n")
        bench.receive("OK but\r\nnot OK\r\nOKAY\r\n ERRORS\r\n")
        #expect(!bench.isIdle)
        bench.receive("OK\r\n")
        #expect(bench.log.last == "finished")
    }

    @Test func a3_anErrorEndsACommandWithItsNumber() {
        let bench = EngineBench()
        for (text, error) in [
            ("+CME ERROR: 14", "equipment(code: 14)"), ("+CME ERROR:30", "equipment(code: 30)"),
            ("+CME ERROR: SIM not inserted", "equipment(code: -1)"), ("+CMS ERROR: 500", "messaging(code: 500)"),
            ("+CMS ERROR: no network", "messaging(code: -1)"), ("ERROR", "refused"), ("FAIL", "refused"),
        ] {
            bench.start("AT+CPIN?")
            for byte in text.utf8 { bench.receive([byte]) }
            #expect(!bench.isIdle, "before the line has ended")
            bench.receive("\r\n")
            #expect(bench.log.last == "failed \(error)")
        }
    }

    @Test func a5_anErrorEndsACommandThatWaitsForAPrompt() {
        let bench = EngineBench()
        bench.start("AT+CIPSEND=0,5", payloadBytes: 5)
        bench.receive("\r\nERROR\r\n")
        #expect(bench.log == ["failed refused"])
        #expect(bench.now == .zero)
    }

    @Test func a9_aCommandEndsWithItsOwnOK() {
        let bench = EngineBench()
        for _ in 0..<3 {
            bench.start("AT")
            bench.receive("OK\r\n")
        }
        #expect(bench.log == ["finished", "finished", "finished"])
    }

    @Test func theResultOfASendEndsASendOnly() {
        let bench = EngineBench()
        bench.start("AT+CWMODE=1")
        bench.receive("SEND OK\r\nSEND FAIL\r\n")
        #expect(bench.log.isEmpty && !bench.isIdle)
        bench.receive("OK\r\n")
        bench.start("AT+CIPSEND=0,1", payloadBytes: 1)
        bench.receive("SEND OK\r\n")
        #expect(!bench.isIdle)
        bench.receive("OK\r\n>")
        bench.receive("OK\r\n")
        #expect(bench.log == ["finished", "prompt"])
        bench.receive("SEND FAIL\r\n")
        #expect(bench.log.last == "failed sendFailed")
        #expect(bench.counters.lateResults == 4)
    }

    @Test func resultsThatNobodyWaitsForAreCounted() {
        let bench = EngineBench()
        bench.receive("OK\r\nERROR\r\nSEND OK\r\nbusy p...\r\n")
        #expect(bench.log.isEmpty)
        #expect(bench.counters.lateResults == 3)
    }

    // MARK: Prompts (1.4)

    @Test func aPromptCountsOnlyWhileItIsWaitedForAndAtTheStartOfALine() {
        let bench = EngineBench()
        bench.receive("> \r\n")
        bench.start("AT+CIPSEND=0,5", payloadBytes: 5)
        bench.receive("+X:\"a> b\"\r\nOK\r\n")
        #expect(bench.log == ["line > ", "line +X:\"a> b\""])
        bench.receive("> ")
        #expect(bench.log.last == "prompt")
        bench.receive("+IPD,0,2:> \r\nSEND OK\r\n")
        #expect(bench.log.suffix(2) == ["payload 0: 3e 20", "finished"])
    }

    @Test func linesAreHeardBetweenPromptAndResult() {
        let bench = EngineBench()
        bench.start("AT+CIPSEND=0,5", payloadBytes: 5)
        bench.receive("OK\r\n1,CLOSED\r\n>WIFI GOT IP\r\n\r\n+IPD,2,1:xSEND OK\r\n")
        #expect(bench.log == ["line 1,CLOSED", "prompt", "line WIFI GOT IP", "payload 2: 78", "finished"])
    }

    // MARK: Payload (rules 2, 3, 9)

    @Test func payloadIsTakenWhateverItLooksLike() {
        let bench = EngineBench()
        bench.receive("+IPD,4,18:\r\nOK\r\n+IPD,0,99:> 0,CLOSED\r\n")
        #expect(bench.log == ["payload 4: " + hex("\r\nOK\r\n+IPD,0,99:> "), "line 0,CLOSED"].map { $0 })
    }

    @Test func aPeersAddressInTheHeaderIsSkipped() {
        let bench = EngineBench()
        bench.receive("+IPD,0,2,\"192.0.2.7\",7000:ab+IPD,1,1,192.0.2.7,7000:c+IPD,2,1,\"2001:db8::7\",7:d\r\n")
        #expect(bench.log == ["payload 0: 61 62", "payload 1: 63", "payload 2: 64"])
    }

    @Test func anEmptyPayloadIsOne() {
        let bench = EngineBench()
        bench.receive("+IPD,0,0:+IPD,1,1:a")
        #expect(bench.log == ["payload 0:", "payload 1: 61"])
    }

    @Test(arguments: [
        "+IPD,0,99999:x", "+IPD,0,-1:x", "+IPD,0,4294967296:x", "+IPD,0,:x", "+IPD,:x", "+IPD,a,5:x",
        "+CIPRECVDATA:99999,x", "+CIPRECVDATA:x,x", "+CIPRECVDATA,-5:x",
    ])
    func aLengthThatCannotBeIsNoPayload(header: String) {
        let bench = EngineBench()
        bench.receive(header + "\r\nready\r\n")
        #expect(bench.log == ["damaged", "line ready"])
        #expect(bench.counters.damagedPayloads == 1)
        #expect(!bench.isIdle, "the modem is asked whether it still makes sense")
    }

    @Test func aPayloadThatBreaksOffIsGivenUp() {
        let bench = EngineBench()
        bench.receive("+IPD,0,10:abc")
        #expect(!bench.isIdle, "no command goes out in the middle of a payload")
        bench.pass(milliseconds: 999)
        #expect(bench.log == ["payload 0: 61 62 63"])
        bench.pass(milliseconds: 1)
        #expect(bench.log.last == "damaged")
        bench.pass(milliseconds: 1_000)
        bench.receive("OK\r\n")
        bench.pass(milliseconds: 100)
        #expect(bench.log.last == "recovered")
    }

    @Test func aPauseThatEndsInTheMiddleOfAPayloadDamagesNothing() {
        let bench = EngineBench(BC26())
        bench.start("AT+QISEND=0,2", payloadBytes: 2)
        bench.receive("\r\n>\r\n+QIURC: \"recv\",1,4\r\nab")
        bench.pass(milliseconds: 5)
        bench.receive("cd\r\nSEND OK\r\n")
        #expect(bench.log == ["payload 1: 61 62", "prompt", "payload 1: 63 64", "finished"])
        let resting = EngineBench(UBlox())
        resting.start("AT+USORD=0,4")
        resting.receive("+USORD: 0,0,\"\"\r\nOK\r\n+USORD: 0,4,\"ab")
        resting.pass(milliseconds: 900)
        resting.receive("cd\"\r\n")
        #expect(resting.isIdle && resting.counters.damagedPayloads == 0, "\(resting.log)")
    }

    @Test func whatIsGluedToDataIsNoLine() {
        let bench = EngineBench(Quectel())
        bench.start("AT+QIRD=0,1500")
        bench.receive("\r\n+QIRD: 3\r\nabcdef\r\n")
        let isGlued = bench.engine.isGlued
        #expect(isGlued && bench.log.last == "line def")
        bench.receive("\r\nOK\r\n")
        // A result right behind data is one all the same.
        bench.start("AT+QIRD=0,1500")
        bench.receive("\r\n+QIRD: 3\r\nabcOK\r\n")
        #expect(bench.log.last == "finished")
        let quoted = EngineBench(UBlox())
        quoted.start("AT+USORD=0,1024")
        quoted.receive("\r\n+USORD: 0,3,\"abcd\"\r\n\r\nOK\r\n")
        #expect(quoted.log == ["payload -1: 61 62 63", "damaged", "finished"])
    }

    @Test func digitsArePayloadToo() {
        let bench = EngineBench(BC28())
        bench.start("AT+NSORF=1,1358")
        bench.receive("\r\n1,192.0.2.7,7000,5,4F4B0d0A")
        bench.receive("2")
        bench.receive("A,0\r\n\r\nOK\r\n")
        #expect(bench.log.joined(separator: " ").hasSuffix("finished"))
        #expect(
            bench.log.dropLast().joined(separator: " ") == "payload -1: 4f 4b d a payload -1: 2a",
            "\(bench.log)"
        )
        bench.start("AT+NSORF=1,1358")
        bench.receive("\r\n1,192.0.2.7,7000,5,4FxB\r\nOK\r\n")
        #expect(bench.counters.damagedPayloads == 1 && bench.isIdle)
    }

    @Test func aPromptMayStandBehindTheEcho() {
        let bench = EngineBench(UBlox())
        bench.start("AT+USOWR=0,2", payloadBytes: 2)
        bench.receive("AT+USOWR=0,2\r@")
        bench.pass(milliseconds: 50)
        #expect(bench.log == ["prompt"])
    }

    @Test func aPayloadIsNotCopied() {
        let bench = EngineBench()
        bench.receive("+IPD,0,8000:" + String(repeating: "x", count: 8_000))
        let lineBytes = bench.engine.line.count
        #expect(lineBytes < 20)
    }

    // MARK: Lines (rule 8; 1.2)

    @Test func a7_a12_anOverlongLineIsDroppedUpToItsEnd() {
        let bench = EngineBench(maximumLineBytes: 32)
        bench.start("AT")
        bench.receive(String(repeating: "x", count: 33) + "OK\r\nWIFI GOT IP\r\nOK\r\n")
        #expect(bench.log == ["line WIFI GOT IP", "finished"])
        #expect(bench.counters.overlongLines == 1)
    }

    @Test func lineEndsOfAllKindsAreTaken() {
        let bench = EngineBench()
        for text in ["OK\n", "OK\r\n", "OK\r\r\n", "\r\n\r\n\0\0OK\r\n", "\r\r\nOK\r\n"] {
            bench.start("AT")
            bench.receive(text)
            #expect(bench.log.popLast() == "finished", "\(text)")
        }
    }

    // MARK: Echo and restarts (rule 27)

    @Test func echoIsNoAnswer() {
        let bench = EngineBench()
        bench.start("AT+CWMODE=1")
        bench.receive("AT+CWMODE=1\r\r\nOK\r\n")
        #expect(bench.log == ["finished"])
    }

    @Test func echoThatStaysOnIsNoRestart() {
        let bench = EngineBench()
        for line in ["ATE0", "AT", "AT+CWMODE=1"] {
            bench.start(line)
            bench.receive(line + "\r\n\r\nOK\r\n")
        }
        #expect(bench.log == ["finished", "finished", "finished"])
    }

    @Test func echoThatComesBackIsARestart() {
        let bench = EngineBench()
        bench.start("ATE0")
        bench.receive("ATE0\r\n\r\nOK\r\n")
        bench.start("AT")
        bench.receive("\r\nOK\r\n")
        bench.start("AT+CWMODE=1")
        bench.receive("AT+CWMODE=1\r\n")
        #expect(bench.log == ["finished", "finished", "restarted"])
    }
}
