import Kernel
import Testing

@testable import SAL

/// Telnet with the option for serial lines (RFC 854, RFC 2217), octet by octet.
@Suite struct TelnetLineTests {
    /// A line, and what it says and hears.
    private final class Bench {
        var line: TelnetLine
        var state: TelnetLine.State { line.state }
        var isSuspended: Bool { line.isSuspended }
        var data = ByteQueue()

        init(baudRate: Int? = nil) { line = TelnetLine(settings: SerialSettings(baudRate: baudRate)) }

        var sent: [UInt8] {
            let bytes = line.outgoing.withSpan { span in span.indices.map { span[$0] } }
            line.outgoing.removeAll()
            return bytes
        }

        var heard: [UInt8] {
            let bytes = data.withSpan { span in span.indices.map { span[$0] } }
            data.removeAll()
            return bytes
        }

        func receive(_ bytes: [UInt8]) { line.receive(bytes.span, data: &data) }

        func send(_ bytes: [UInt8], limit: Int = 1_000) -> Int { line.send(bytes.span, limit: limit) }

        /// The server agrees, and does all that it is asked for.
        func setUp() {
            receive([255, 253, 44])
            for command in [102, 103, 104, 105, 105, 105] as [UInt8] { receive([255, 250, 44, command, 8, 255, 240]) }
            _ = sent
        }
    }

    @Test func offersAndSetsUpTheLine() {
        let bench = Bench(baudRate: 115_200)
        // Will and do binary, will and do suppress go-ahead, will com port.
        #expect(bench.sent == [255, 251, 0, 255, 253, 0, 255, 251, 3, 255, 253, 3, 255, 251, 44])
        bench.receive([255, 253, 0, 255, 251, 0, 255, 253, 3, 255, 251, 3])
        #expect(bench.sent.isEmpty && bench.state == .negotiating)
        bench.receive([255, 253, 44])
        #expect(bench.state == .settingUp)
        #expect(
            bench.sent == [255, 250, 44, 1, 0, 1, 0xC2, 0, 255, 240]
                + [255, 250, 44, 2, 8, 255, 240, 255, 250, 44, 3, 1, 255, 240, 255, 250, 44, 4, 1, 255, 240]
                + [255, 250, 44, 5, 1, 255, 240, 255, 250, 44, 5, 8, 255, 240, 255, 250, 44, 5, 11, 255, 240]
        )
        bench.receive([255, 250, 44, 101, 0, 1, 0xC2, 0, 255, 240])
        for (command, value) in [(102, 8), (103, 1), (104, 1), (105, 1), (105, 8)] as [(UInt8, UInt8)] {
            bench.receive([255, 250, 44, command, value, 255, 240])
            #expect(bench.state == .settingUp)
        }
        bench.receive([255, 250, 44, 105, 11, 255, 240])
        #expect(bench.state == .ready)
        #expect(bench.heard.isEmpty)
    }

    /// 65,280 holds an octet that must be doubled: 0x0000FF00.
    @Test func escapesTheEscape() {
        let bench = Bench(baudRate: 65_280)
        _ = bench.sent
        bench.receive([255, 253, 44])
        #expect(bench.sent.starts(with: [255, 250, 44, 1, 0, 0, 255, 255, 0, 255, 240]))
        bench.receive([255, 250, 44, 101, 0, 0, 255, 255, 0, 255, 240])
        #expect(bench.state == .settingUp)
        #expect(bench.send([1, 255, 2]) == 3)
        #expect(bench.sent == [1, 255, 255, 2])
        bench.receive([1, 255, 255, 2, 255])
        bench.receive([255, 255, 241, 3])
        #expect(bench.heard == [1, 255, 2, 255, 3])
        // Both octets of an escape, or none.
        #expect(bench.send([255, 255, 255], limit: 4) == 2)
    }

    @Test func refusesOtherOptions() {
        let bench = Bench()
        _ = bench.sent
        // Will echo, do terminal type; a refusal needs no answer; will com port.
        bench.receive([255, 251, 1, 255, 253, 24, 255, 252, 5, 255, 254, 6, 255, 251, 44])
        #expect(bench.sent == [255, 254, 1, 255, 252, 24, 255, 253, 44])
        #expect(bench.heard.isEmpty)
    }

    @Test func aServerWithoutTheOptionIsNone() {
        let bench = Bench()
        bench.receive([255, 254, 44])
        #expect(bench.state == .failed(.notSupported))
        let silent = Bench()
        silent.line.giveUpWaiting()
        #expect(silent.state == .failed(.timedOut))
    }

    @Test func theRateIsSetOrTheLineIsNotOpen() {
        let wrong = Bench(baudRate: 12_345)
        wrong.receive([255, 253, 44, 255, 250, 44, 101, 0, 0, 0x25, 0x80, 255, 240])
        #expect(wrong.state == .failed(.other(code: 22)))
        let silent = Bench(baudRate: 9_600)
        silent.receive([255, 253, 44])
        silent.line.giveUpWaiting()
        #expect(silent.state == .failed(.timedOut))
        // What else a server does not answer does not matter.
        let plain = Bench(baudRate: 9_600)
        plain.receive([255, 253, 44, 255, 250, 44, 101, 0, 0, 0x25, 0x80, 255, 240])
        plain.line.giveUpWaiting()
        #expect(plain.state == .ready)
    }

    @Test func theServerStopsAndGoesOn() {
        let bench = Bench()
        bench.setUp()
        #expect(bench.state == .ready && !bench.isSuspended)
        bench.receive([255, 250, 44, 108, 255, 240])
        #expect(bench.isSuspended)
        // Line and modem states, and a signature, are nothing to this side.
        bench.receive([
            255, 250, 44, 106, 16, 255, 240, 255, 250, 44, 107, 48, 255, 240, 255, 250, 44, 100, 65, 255, 240,
        ])
        bench.receive([255, 250, 44, 109, 255, 240])
        #expect(!bench.isSuspended)
        #expect(bench.heard.isEmpty && bench.sent.isEmpty)
    }

    @Test func howTheBytesAreCutDoesNotMatter() {
        let bytes: [UInt8] =
            [255, 253, 44, 65, 255, 255, 66, 255, 250, 44, 102, 255, 255, 255, 240, 67, 255, 250, 44, 103, 1, 255, 240]
            + [255, 250, 44, 104, 1, 255, 240, 255, 250, 44, 105, 1, 255, 240, 68, 255, 250, 44, 105, 8, 255, 240]
            + [255, 250, 44, 105, 11, 255, 240, 69]
        for size in 1...bytes.count {
            let bench = Bench()
            var rest = bytes[...]
            while !rest.isEmpty {
                bench.receive(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            #expect(bench.heard == [65, 255, 66, 67, 68, 69], "pieces of \(size)")
            #expect(bench.state == .ready, "pieces of \(size)")
        }
    }

    @Test func whoAsksTooMuchGetsNoMoreAnswers() {
        let bench = Bench()
        for _ in 0..<100_000 { bench.receive([255, 253, 24, 255, 250, 1, 2, 3, 4]) }
        #expect(bench.sent.count < 5_000)
        let endless = Bench()
        endless.receive([255, 250] + Array(repeating: 7, count: 100_000))
        endless.receive([255, 240, 65])
        #expect(endless.heard == [65])
    }

    @Test(
        arguments: [
            ("tcp://modem.example:4000", "modem.example", 4_000), ("rfc2217://192.0.2.7:1", "192.0.2.7", 1),
            ("rfc2217://[2001:db8::7]:65535", "2001:db8::7", 65_535),
        ] as [(String, String, UInt16)]
    ) func namesOfPorts(name: String, host: String, port: UInt16) throws {
        let loop = EventLoop()
        let server = try #require(try SerialServer(name, loop: loop))
        #expect(server.endpoint == Endpoint(host: host, port: port))
    }

    @Test(arguments: [
        "tcp://", "tcp://modem", "tcp://modem:", "tcp://modem:0", "tcp://modem:65536", "tcp://:4000",
        "tcp://2001:db8::7:4000",
        "rfc2217://modem:4000/x", "rfc2217://a/b:4000",
    ]) func whatIsNoPort(name: String) throws {
        let loop = EventLoop()
        #expect(throws: SocketError.nameNotFound) { try SerialServer(name, loop: loop) }
    }

    @Test func devicesAreNone() throws {
        let loop = EventLoop()
        #expect(try SerialServer("/dev/ttyUSB0", loop: loop) == nil)
        #expect(throws: SocketError.notSupported) {
            try SerialServer("tcp://modem:4000", settings: SerialSettings(baudRate: 9_600), loop: loop)
        }
    }
}
