import CLinux
import ModemSimulator
import Testing

/// The simulated multiplexer, octet by octet: the frames are those of 3GPP 27.010, computed apart from the simulator.
@Suite(.timeLimit(.minutes(1))) struct MultiplexerTests {
    /// A host with the control channel and the first one open.
    private func host(
        _ dialect: ModemDialect = .quectel,
        command: String = "AT+CMUX=0,0,5,127",
        _ change: (inout ModemSimulatorConfiguration) -> Void = { _ in }
    ) throws -> RawHost {
        let host = try RawHost(dialect, change)
        try host.expect(command, "\r\nOK\r\n")
        usleep(100_000)
        return host
    }

    @Test(arguments: [ModemDialect.quectel, .sim800, .sim7600, .ublox, .l610, .air724])
    func speaksInFramesAndPlainlyAgain(dialect: ModemDialect) throws {
        let host = try host(dialect)
        host.expect(octets: "f9 03 3f 01 1c f9", "f9 03 73 01 d7 f9")
        // The channel, and the modem's status.
        host.expect(octets: "f9 07 3f 01 de f9", "f9 07 73 01 15 f9 f9 01 ef 09 e3 05 07 8d 9a f9")
        host.expect(octets: "f9 03 ef 09 e3 05 07 8d fb f9", "f9 01 ef 09 e1 05 07 8d 9a f9")
        // A channel has echo of its own; here with two frames, since the dialect says two things.
        host.expect(
            octets: "f9 07 ef 07 41 54 0d d3 f9",
            "f9 05 ef 07 41 54 0d b2 f9 f9 05 ef 0d 0d 0a 4f 4b 0d 0a 5f f9"
        )
        host.expect(octets: "f9 03 ef 0b 23 07 41 42 43 18 f9", "f9 01 ef 0b 21 07 41 42 43 79 f9")
        host.expect(octets: "f9 03 ef 05 c3 01 f2 f9", "f9 01 ef 05 c1 01 93 f9")
        try host.expect("ATE0", "ATE0\r\r\nOK\r\n")
        try host.expect("AT", "\r\nOK\r\n")
        #expect(host.modem.statistics.frames == 6)
        #expect(host.modem.statistics.damagedFrames == 0)
    }

    @Test func hasTheAdvancedOptionToo() throws {
        let host = try host(command: "AT+CMUX=1")
        host.expect(octets: "7e 03 3f fc 7e", "7e 03 73 85 7e")
        host.send([0x7E, 0x07, 0x3F, 0x89, 0x7E])
        #expect(host.digits(5).hasPrefix("7e 07 73"))
    }

    @Test func otherChannelsHaveTheirOwnSettings() throws {
        let host = try host()
        host.expect(octets: "f9 03 3f 01 1c f9", "f9 03 73 01 d7 f9")
        host.expect(octets: "f9 0b 3f 01 59 f9", "f9 0b 73 01 92 f9 f9 01 ef 09 e3 05 0b 8d 9a f9")
        // A fifth channel is none.
        host.expect(octets: "f9 17 3f 01 54 f9", "f9 17 1f 01 7e f9")
        // Data for a channel that is not open.
        host.expect(octets: "f9 07 ef 07 41 54 0d d3 f9", "f9 07 1f 01 f4 f9")
    }

    @Test func framesAreNoLongerThanTheHostHasSaid() throws {
        let host = try host(command: "AT+CMUX=0")
        host.expect(octets: "f9 03 3f 01 1c f9", "f9 03 73 01 d7 f9")
        host.expect(octets: "f9 07 3f 01 de f9", "f9 07 73 01 15 f9 f9 01 ef 09 e3 05 07 8d 9a f9")
        host.send([0xF9, 0x07, 0xEF, 0x09, 0x41, 0x54, 0x49, 0x0D, 0x39, 0xF9])
        // Echo, the maker's lines and the result: nothing above 31 bytes.
        #expect(host.digits(10).hasPrefix("f9 05 ef 09 41 54 49 0d"))
        for _ in 0..<4 {
            let head = host.digits(4)
            guard head.hasPrefix("f9 05 ef "), let length = UInt8(head.suffix(2), radix: 16) else { break }
            #expect(length / 2 <= 31)
            _ = host.digits(Int(length / 2) + 2)
        }
    }

    @Test(arguments: [ModemDialect.bc26, .bc28]) func someModemsHaveNone(dialect: ModemDialect) throws {
        let host = try RawHost(dialect)
        try host.expect("AT+CMUX=0", "\r\nERROR\r\n")
        try host.expect("AT", "\r\nOK\r\n")
    }

    @Test func theHostStopsTheModem() throws {
        let host = try host()
        host.expect(octets: "f9 03 3f 01 1c f9", "f9 03 73 01 d7 f9")
        host.expect(octets: "f9 07 3f 01 de f9", "f9 07 73 01 15 f9 f9 01 ef 09 e3 05 07 8d 9a f9")
        host.expect(octets: "f9 03 ef 09 e3 05 07 8f fb f9", "f9 01 ef 09 e1 05 07 8f 9a f9")
        host.send([0xF9, 0x07, 0xEF, 0x07, 0x41, 0x54, 0x0D, 0xD3, 0xF9])
        #expect(host.isSilent(milliseconds: 200))
        host.expect(
            octets: "f9 03 ef 09 e3 05 07 8d fb f9",
            "f9 01 ef 09 e1 05 07 8d 9a f9 f9 05 ef 13 41 54 0d 0d 0a 4f 4b 0d 0a"
        )
    }
}
