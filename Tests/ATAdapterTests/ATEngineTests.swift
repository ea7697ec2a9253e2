import Testing

@testable import ATAdapter

/// What an engine made of its input.
private struct Reading: Equatable {
    var events: [String] = []
    var payload: [UInt8] = []
}

/// Gives bytes to an engine, in pieces, and writes down what it says. A prompt is answered at once.
private func read(_ engine: inout ATEngine<ESPAT>, _ pieces: [[UInt8]], at now: Duration = .zero) -> Reading {
    var reading = Reading()
    for piece in pieces {
        var taken = 0
        while taken < piece.count {
            let rest = Array(piece[taken...])
            let (count, event) = engine.receive(rest.span, at: now)
            #expect(count > 0 || event != nil, "no way on")
            taken += count
            switch event {
            case nil: break
            case .line: reading.events.append("line " + String(decoding: engine.line, as: UTF8.self))
            case .finished(let error): reading.events.append("finished \(error.map { "\($0)" } ?? "ok")")
            case .prompt:
                reading.events.append("prompt")
                engine.payloadSent(at: now)
            case .payload(let offset, let count, let isLast):
                reading.payload += rest[offset..<(offset + count)]
                if isLast { reading.events.append("payload") }
            case .restarted: reading.events.append("restarted")
            case .repeatCommand: reading.events.append("repeat")
            }
        }
    }
    return reading
}

private func read(_ engine: inout ATEngine<ESPAT>, _ text: String, at now: Duration = .zero) -> Reading {
    read(&engine, [Array(text.utf8)], at: now)
}

@Suite struct ATEngineTests {
    /// An engine with a command in flight.
    private func engine(hasPayload: Bool = false) -> ATEngine<ESPAT> {
        var engine = ATEngine<ESPAT>()
        engine.commandSent(hasPayload: hasPayload, timeout: .seconds(5), at: .zero)
        return engine
    }

    @Test(arguments: [
        "+CWJAP:\"OK\",\"aa\",1,-50", "OKAY", "NOT OK", "+X:OK", " +CIFSR:ERROR", "ERRORS", "FAILED", "SEND OKAY",
        "ready now",
        "+STA_CONNECTED:\"OK ERROR\"", "ok",
    ])
    func noLineThatMerelyHoldsAResultEndsACommand(line: String) {
        var engine = engine()
        let reading = read(&engine, line + "\r\n")
        #expect(reading.events.count == 1 && reading.events[0].hasPrefix("line"), "\(reading)")
        #expect(!engine.isIdle)
        #expect(read(&engine, "OK\r\n").events == ["finished ok"])
        #expect(engine.isIdle)
    }

    @Test(arguments: [
        ("OK", "finished ok"), ("ERROR", "finished refused"), ("FAIL", "finished refused"),
        ("+CME ERROR: 16", "finished equipment(code: 16)"), ("+CME ERROR:100", "finished equipment(code: 100)"),
        ("+CMS ERROR: 500", "finished messaging(code: 500)"), ("+CME ERROR: SIM busy", "finished equipment(code: 0)"),
    ])
    func aFinalResultEndsACommandAtOnceAndKeepsItsNumber(line: String, event: String) {
        var engine = engine()
        #expect(read(&engine, "\r\n" + line + "\r\n").events == [event])
        #expect(engine.isIdle)
        #expect(engine.deadline == nil)
    }

    @Test func aPromptCountsOnlyAtTheStartOfALineAndWhileItIsWaitedFor() {
        var waiting = engine(hasPayload: true)
        #expect(read(&waiting, "a > b\r\n").events == ["line a > b"])
        #expect(read(&waiting, "\r\nOK\r\n").events == [])
        #expect(read(&waiting, "> ").events == ["prompt"])
        #expect(read(&waiting, "\r\nRecv 3 bytes\r\n\r\nSEND OK\r\n").events == ["line Recv 3 bytes", "finished ok"])
        var other = engine()
        #expect(read(&other, "> x\r\nOK\r\n").events == ["line > x", "finished ok"])
    }

    @Test(arguments: ["+CIPRECVDATA:", "+IPD,0,", "+CIPRECVDATA,"])
    func payloadIsNeverLookedAt(header: String) {
        let payload = Array("\r\nOK\r\n> ERROR\r\n+IPD,0,5:abc\r\nready\r\n".utf8)
        let separator = header == "+CIPRECVDATA:" ? "," : ":"
        var engine = engine()
        let text = Array("\(header)\(payload.count)\(separator)".utf8) + payload + Array("\r\nOK\r\n".utf8)
        let reading = read(&engine, [text])
        #expect(reading.payload == payload)
        #expect(reading.events == ["payload", "finished ok"])
    }

    static let stories: [(hasPayload: Bool, text: String)] = [
        (false, "AT+CIPRECVDATA=0,2048\r\n+CIPRECVDATA:8,OK\r\n> \r\n\r\nOK\r\n"),
        (false, "+IPD,0,3\r\n+IPD,1,4:OK\r\n0,CLOSED\r\nERROR\r\n"),
        (false, "+IPD,2,6,\"10.0.0.1\",80:abcdef\r\n+CME ERROR: 53\r\n"),
        (false, "\u{1C}rl\r\n\r\nready\r\nWIFI CONNECTED\r\n"), (false, "+CIPRECVDATA,0:\r\nOK\r\n"),
        (true, "AT+CIPSEND=0,5\r\n\r\nOK\r\n> \r\nRecv 5 bytes\r\n+IPD,0,2\r\n\r\nSEND OK\r\n"),
        (true, "\r\nOK\r\n>\r\nSEND FAIL\r\n"),
    ]

    @Test(arguments: stories.indices)
    func howTheInputIsSplitChangesNothing(index: Int) {
        let (hasPayload, text) = Self.stories[index]
        let bytes = Array(text.utf8)
        var whole = engine(hasPayload: hasPayload)
        let expected = read(&whole, [bytes])
        #expect(!expected.events.isEmpty)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                var engine = engine(hasPayload: hasPayload)
                let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]].map(Array.init)
                let reading = read(&engine, pieces)
                #expect(reading == expected, "split at \(first) and \(second)")
            }
        }
        var engine = engine(hasPayload: hasPayload)
        #expect(read(&engine, bytes.map { [$0] }) == expected)
    }

    @Test func anOverlongLineIsDroppedUpToItsEnd() {
        var engine = engine()
        let noise = String(repeating: "OK ", count: 1_000)
        #expect(read(&engine, noise + "OK\r\n").events == [])
        #expect(engine.errorCount == 1)
        #expect(read(&engine, "OK\r\n").events == ["finished ok"])
    }

    @Test(arguments: ["+IPD,0,999999:", "+IPD,x,5:", "+CIPRECVDATA:8193,", "+CIPRECVDATA:,", "+CIPRECVDATA:-4,"])
    func aHeaderThatCannotBeIsALineThatIsDropped(header: String) {
        var engine = engine()
        #expect(read(&engine, header + "abc\r\nOK\r\n").events == ["finished ok"])
        #expect(engine.errorCount == 1)
    }

    @Test func aLateResultOfACommandThatTimedOutIsNotTheNextOnes() {
        var engine = engine()
        #expect(engine.handleTimeout(at: .seconds(4)) == nil)
        #expect(engine.handleTimeout(at: .seconds(5)) == .finished(.timedOut))
        #expect(!engine.isIdle, "nothing is sent while the answer may still come")
        #expect(read(&engine, "OK\r\n", at: .seconds(5.5)).events == [])
        #expect(engine.errorCount == 1)
        let end = engine.deadline ?? .zero
        #expect(engine.handleTimeout(at: end) == nil)
        #expect(engine.isIdle)
        engine.commandSent(hasPayload: false, timeout: .seconds(5), at: end)
        #expect(read(&engine, "ERROR\r\n", at: end).events == ["finished refused"])
    }

    @Test func aPayloadThatNeverComesInFullDoesNotSwallowWhatFollows() {
        var engine = engine()
        #expect(read(&engine, "+CIPRECVDATA:100,abc").payload == Array("abc".utf8))
        #expect(engine.handleTimeout(at: .seconds(5)) == .finished(.timedOut))
        let end = engine.deadline ?? .zero
        _ = engine.handleTimeout(at: end)
        engine.commandSent(hasPayload: false, timeout: .seconds(5), at: end)
        #expect(read(&engine, "OK\r\n", at: end).events == ["finished ok"])
    }

    @Test func aBusyModemIsAskedAgainAfterAPauseButNotForEver() {
        var engine = engine()
        var now = Duration.zero
        for _ in 0..<20 {
            #expect(read(&engine, "busy p...\r\n", at: now).events == [])
            now = engine.deadline ?? .zero
            #expect(engine.handleTimeout(at: now) == .repeatCommand)
            engine.commandSent(hasPayload: false, timeout: .seconds(5), at: now)
        }
        #expect(read(&engine, "busy p...\r\n", at: now).events == ["finished busy"])
    }

    @Test func aRestartAndAResultThatNobodyWaitsForAreSeen() {
        var engine = ATEngine<ESPAT>()
        #expect(read(&engine, "\r\nready\r\nOK\r\n").events == ["restarted"])
        #expect(engine.errorCount == 1)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func randomBytesNeverTrap(seed: UInt64) {
        var random = Xorshift(state: seed)
        let words = [
            "+IPD,", "+CIPRECVDATA:", "+CIPRECVDATA,", "OK\r\n", ">", "ready\r\n", ",", ":", "9", "0", "\r\n",
            "busy p...\r\n",
        ]
        var engine = ATEngine<ESPAT>()
        var now = Duration.zero
        for _ in 0..<20_000 {
            if engine.isIdle {
                engine.commandSent(hasPayload: random.next() % 2 == 0, timeout: .seconds(1), at: now)
            }
            let piece: [UInt8] =
                random.next() % 2 == 0
                ? Array(words[Int(random.next() % UInt64(words.count))].utf8)
                : (0..<Int(random.next() % 40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            _ = read(&engine, [piece], at: now)
            #expect(engine.line.count <= ATEngine<ESPAT>.maximumLineBytes + 1)
            now += .milliseconds(Int(random.next() % 50))
            _ = engine.handleTimeout(at: now)
        }
    }
}

private struct Xorshift {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
