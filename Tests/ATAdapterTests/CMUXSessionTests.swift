import Kernel
import SAL
import Testing

@testable import ATAdapter

/// The host's side of the multiplexer, octet by octet and in virtual time.
@Suite struct CMUXSessionTests {
    /// A session, and what it has said since it was last looked at.
    private final class Bench {
        var session: CMUXSession
        var now = Duration.zero
        var events: [String] = []

        init(_ option: MultiplexerOption = .basic, channels: Int = 4) {
            session = CMUXSession(option, channels: channels, frameBytes: 31, receivedFrameBytes: 127, at: .zero)
        }

        /// What was sent, as digits.
        var sent: String {
            let bytes = session.outgoing.withSpan { span in span.indices.map { span[$0] } }
            session.outgoing.removeAll()
            return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
        }

        func receive(_ hexadecimal: String) {
            receive(hexadecimal.split(separator: " ").compactMap { UInt8($0, radix: 16) })
        }

        func receive(_ bytes: [UInt8]) {
            var position = 0
            while let event = session.receive(bytes.span, from: &position, at: now) { note(event) }
        }

        func pass(milliseconds: Int) {
            let end = now + .milliseconds(milliseconds)
            while session.deadline <= end {
                now = max(now, session.deadline)
                while let event = session.handleTimeout(at: now) { note(event) }
            }
            now = end
        }

        private func note(_ event: CMUXSession.Event) {
            if case .data(let channel) = event {
                let text = session.withInformation { span in span.indices.map { span[$0] } }
                events.append("\(channel): \(String(decoding: text, as: UTF8.self))")
            } else {
                events.append("\(event)")
            }
        }

        func send(_ text: String, on channel: Int) -> Int {
            session.send(Array(text.utf8).span, on: channel, at: now)
        }

        /// Opens the control channel and the first one, as a modem does it that does everything right.
        func open() {
            receive("f9 03 73 01 d7 f9")
            session.open(1, at: now)
            receive("f9 07 73 01 15 f9 f9 01 ef 09 e3 05 07 8d 9a f9 f9 01 ef 09 e1 05 07 8d 9a f9")
            _ = sent
            events = []
        }
    }

    @Test func opensTalksAndCloses() {
        let bench = Bench()
        #expect(bench.sent == "f9 03 3f 01 1c f9")
        bench.receive("f9 03 73 01 d7 f9")
        #expect(bench.events == ["started"])
        bench.session.open(1, at: bench.now)
        #expect(bench.sent == "f9 07 3f 01 de f9")
        bench.receive("f9 07 73 01 15 f9")
        #expect(bench.events.last == "opened(1)")
        #expect(bench.sent == "f9 03 ef 09 e3 05 07 8d fb f9")
        // The modem's own status is answered as it is.
        bench.receive("f9 01 ef 09 e3 05 07 8d 9a f9")
        #expect(bench.sent == "f9 03 ef 09 e1 05 07 8d fb f9")
        bench.receive("f9 01 ef 09 e1 05 07 8d 9a f9")
        #expect(bench.send("AT\r", on: 1) == 3)
        #expect(bench.sent == "f9 07 ef 07 41 54 0d d3 f9")
        // A frame without information, and one that shares its flag.
        bench.receive("f9 05 ef 01 56 f9 05 ef 0d 0d 0a 4f 4b 0d 0a 5f f9")
        #expect(bench.events.suffix(2) == ["1: ", "1: \r\nOK\r\n"])
        bench.session.close(1, at: bench.now)
        #expect(bench.sent == "f9 07 53 01 3f f9")
        bench.receive("f9 07 73 01 15 f9")
        #expect(bench.events.last == "closed(1, nil)")
        bench.session.shutDown(at: bench.now)
        #expect(bench.sent == "f9 03 ef 05 c3 01 f2 f9")
        bench.receive("f9 01 ef 05 c1 01 93 f9")
        #expect(bench.events.last?.hasSuffix("End.closed)") == true)
        #expect(bench.session.deadline == CMUXSession.never)
    }

    @Test func aSilentModemIsAskedTenTimes() {
        let bench = Bench()
        #expect(bench.sent == "f9 03 3f 01 1c f9")
        for _ in 0..<9 {
            bench.pass(milliseconds: 500)
            #expect(bench.sent == "f9 03 3f 01 1c f9")
        }
        #expect(bench.events.isEmpty)
        bench.pass(milliseconds: 500)
        #expect(bench.sent.isEmpty)
        #expect(bench.events.count == 1 && bench.events[0].hasSuffix("unresponsive)"))
        #expect(bench.session.counters.repeats == 9)
    }

    @Test func aChannelThatTheModemHasNotIsRefused() {
        let bench = Bench()
        bench.open()
        bench.session.open(3, at: bench.now)
        bench.receive("f9 0f 1f 01 b1 f9")
        #expect(bench.events == ["closed(3, \(String(describing: Optional(SocketError.refused(code: 0)))))"])
        #expect(bench.send("x", on: 3) == 0)
        // The modem closes one by itself.
        bench.events = []
        bench.receive("f9 07 53 01 3f f9")
        #expect(bench.events == ["closed(1, nil)"])
        #expect(bench.sent.hasSuffix(Self.corrected("f9 05 73 01 00 f9")))
        #expect(bench.send("x", on: 1) == 0)
    }

    @Test func theModemStopsAChannel() {
        let bench = Bench()
        bench.open()
        bench.receive("f9 01 ef 09 e3 05 07 8f 9a f9")
        #expect(bench.send("AT\r", on: 1) == 0)
        bench.receive("f9 01 ef 09 e3 05 07 8d 9a f9")
        #expect(bench.events == ["writable"])
        #expect(bench.send("AT\r", on: 1) == 3)
        // All channels at once.
        bench.receive("f9 01 ef 05 63 01 93 f9")
        _ = bench.sent
        #expect(bench.send("AT\r", on: 1) == 0)
        bench.receive("f9 01 ef 05 a3 01 93 f9")
        #expect(bench.events == ["writable", "writable"])
        #expect(bench.send("AT\r", on: 1) == 3)
    }

    @Test func thisSideStopsAChannel() {
        let bench = Bench()
        bench.open()
        bench.session.setStopped(true, 1, at: bench.now)
        #expect(bench.sent == "f9 03 ef 09 e3 05 07 8f fb f9")
        bench.session.setStopped(true, 1, at: bench.now)
        #expect(bench.sent.isEmpty)
        bench.session.setStopped(false, 1, at: bench.now)
        #expect(bench.sent == "f9 03 ef 09 e3 05 07 8d fb f9")
        // One that is not answered is told again, some times, and no more.
        bench.pass(milliseconds: 10_000)
        #expect(bench.sent == "f9 03 ef 09 e3 05 07 8d fb f9 f9 03 ef 09 e3 05 07 8d fb f9")
        #expect(bench.events.isEmpty)
    }

    @Test(arguments: [
        // A test, power saving, the state of a line: all with their values.
        ("f9 01 ef 0b 23 07 41 42 43 79 f9", "f9 03 ef 0b 21 07 41 42 43 18 f9"),
        ("f9 01 ef 05 43 01 93 f9", "f9 03 ef 05 41 01 f2 f9"),
        // What nobody knows.
        ("f9 01 ef 05 5b 01 93 f9", "f9 03 ef 07 11 03 5b 11 f9"),
        // A channel that is not open, is closed and is opened by the modem.
        ("f9 09 53 01 d1 f9", "f9 09 1f 01 1a f9"), ("f9 09 3f 01 30 f9", "f9 09 1f 01 1a f9"),
    ]) func answersWhatTheModemAsks(message: String, answer: String) {
        let bench = Bench()
        bench.open()
        bench.receive(Self.corrected(message))
        #expect(bench.sent == Self.corrected(answer))
        #expect(bench.events.isEmpty)
    }

    /// A frame whose checksum is put right, by arithmetic of its own.
    private static func corrected(_ frame: String) -> String {
        var bytes = frame.split(separator: " ").compactMap { UInt8($0, radix: 16) }
        var crc: UInt8 = 0xFF
        for byte in bytes[1...3] {
            for bit in 0..<8 {
                let isOdd = (crc ^ (byte >> UInt8(bit))) & 1 == 1
                crc = (crc >> 1) ^ (isOdd ? 0xE0 : 0)
            }
        }
        bytes[bytes.count - 2] = 0xFF - crc
        return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    }

    @Test func aModemThatEchoesHasRestarted() {
        let bench = Bench()
        bench.open()
        // Its banner stands between frames: it is asked.
        bench.receive(Array("\r\nRDY\r\n".utf8))
        let question = bench.sent
        #expect(question.hasPrefix("f9 03 ef 0d 23 09 41 70 75 73 "))
        bench.receive(question)
        #expect(bench.events.count == 1 && bench.events[0].hasSuffix("echo)"))
    }

    @Test func aModemThatFallsSilentIsGivenUp() {
        let bench = Bench()
        bench.open()
        // Nobody asks while nothing is sent.
        bench.pass(milliseconds: 60_000)
        #expect(bench.sent.isEmpty)
        _ = bench.send("AT\r", on: 1)
        bench.pass(milliseconds: 9_900)
        #expect(bench.events.isEmpty)
        bench.pass(milliseconds: 200)
        #expect(bench.events.count == 1 && bench.events[0].hasSuffix("unresponsive)"))
    }

    @Test func aModemThatKnowsNoTestIsNotGivenUp() {
        let bench = Bench()
        bench.open()
        for _ in 0..<5 {
            _ = bench.sent
            _ = bench.send("AT\r", on: 1)
            bench.pass(milliseconds: 7_000)
            bench.receive("f9 05 ef 0d 0d 0a 4f 4b 0d 0a 5f f9")
            bench.pass(milliseconds: 7_000)
        }
        #expect(bench.events == Array(repeating: "1: \r\nOK\r\n", count: 5))
        // It has nothing to say, but answers a status.
        bench.events = []
        _ = bench.sent
        _ = bench.send("AT\r", on: 1)
        bench.pass(milliseconds: 5_000)
        #expect(bench.sent.hasSuffix("f9 03 ef 09 e3 05 07 8d fb f9"))
        bench.receive("f9 01 ef 09 e1 05 07 8d 9a f9")
        bench.pass(milliseconds: 60_000)
        #expect(bench.events.isEmpty)
    }

    @Test func theModemEndsItAll() {
        for message in ["f9 01 ef 05 c3 01 93 f9", "f9 03 53 01 fd f9"] {
            let bench = Bench()
            bench.open()
            bench.receive(message)
            #expect(bench.events.count == 1 && bench.events[0].hasSuffix("closed)"))
            #expect(!bench.sent.isEmpty)
            // What comes behind it is no frame of this session.
            bench.receive("f9 05 ef 0d 0d 0a 4f 4b 0d 0a 5f f9")
            #expect(bench.events.count == 1)
        }
    }

    @Test func whoAsksTooMuchGetsNoMoreAnswers() {
        let bench = Bench()
        bench.open()
        for _ in 0..<10_000 { bench.receive(Self.corrected("f9 01 ef 0b 23 07 41 42 43 79 f9")) }
        #expect(bench.session.outgoing.count < 1_000)
        #expect(bench.session.outgoing.count > 100)
    }

    @Test func sendsNoMoreThanAFrameAndTheLineTake() {
        let bench = Bench()
        bench.open()
        let text = String(repeating: "x", count: 100)
        #expect(bench.send(text, on: 1) == 31)
        // One is on the line already.
        #expect(bench.send(text, on: 1) == 0)
        _ = bench.sent
        #expect(bench.send(text, on: 1) == 31)
    }

    @Test func howTheBytesAreCutDoesNotMatter() {
        let frames =
            "f9 03 73 01 d7 f9 f9 07 73 01 15 f9 f9 01 ef 09 e3 05 07 8d 9a f9 05 ef 0d 0d 0a 4f 4b 0d 0a 5f f9 0d 0a 52 44 59 0d 0a f9 05 ef 01 56 f9 "
            + "f9 07 53 01 3f f9"
        let bytes = frames.split(separator: " ").compactMap { UInt8($0, radix: 16) }
        var whole: [String] = []
        for size in 1...bytes.count {
            let bench = Bench()
            bench.session.open(1, at: .zero)
            var rest = bytes[...]
            while !rest.isEmpty {
                bench.receive(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            if whole.isEmpty { whole = bench.events }
            #expect(bench.events == whole, "pieces of \(size)")
        }
        #expect(whole == ["started", "opened(1)", "1: \r\nOK\r\n", "1: ", "closed(1, nil)"])
    }

    @Test(arguments: [MultiplexerOption.basic, .advanced]) func nothingThatComesIsTrapped(option: MultiplexerOption) {
        for seed in 1...200 as ClosedRange<UInt64> {
            let octets: [UInt8] = [0x23, 0xE3, 0xE1, 0xC3, 0x43, 0x83, 0xA3, 0x63, 0x05, 0x07, 0x01, 0xFF]
            var random = SplitMix(state: seed)
            let bench = Bench(option)
            bench.session.open(1, at: .zero)
            for _ in 0..<50 {
                var queue = ByteQueue()
                let kinds: [CMUXControl] = [.sabm, .ua, .dm, .disc, .uih, .ui, .uih, .uih]
                let kind = kinds[Int.random(in: 0..<kinds.count, using: &random)]
                let count = Int.random(in: 0...8, using: &random)
                let information = (0..<count).map { _ in octets.randomElement(using: &random) ?? 0 }
                let frame = CMUXFrame(
                    kind,
                    channel: Int.random(in: 0...63, using: &random),
                    isCommand: .random(using: &random)
                )
                queue.append(frame, information.span, option)
                bench.receive(queue.withSpan { span in span.indices.map { span[$0] } })
                if Int.random(in: 0...9, using: &random) == 0 { bench.pass(milliseconds: 700) }
                #expect(bench.session.outgoing.count < 2_000, "seed \(seed)")
            }
            bench.pass(milliseconds: 60_000)
        }
    }
}
