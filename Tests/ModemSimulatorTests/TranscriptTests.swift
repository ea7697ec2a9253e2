import CLinux
import Testing

@testable import ModemSimulator

/// Transcripts: their text, their recorder, their player.
@Suite(.timeLimit(.minutes(1))) struct TranscriptTests {
    @Test func readsWhatStandsThere() throws {
        let transcript = try ModemTranscript(
            """
            # A comment.
            > "AT+X=\\"a\\"\\r"

            < "\\r\\n+X: \\x00\\xfF\\t\\\\ # no comment\\r\\n"
            = 1500
            <"OK"\r
            """
        )
        #expect(
            transcript.steps == [
                .host(Array("AT+X=\"a\"\r".utf8)),
                .modem(Array("\r\n+X: \0".utf8) + [0xFF] + Array("\t\\ # no comment\r\n".utf8)),
                .pause(milliseconds: 1_500),
                .modem(Array("OK".utf8)),
            ]
        )
        #expect(transcript.lines == [2, 4, 5, 6])
    }

    @Test(arguments: [
        "AT", "> AT", "> \"AT", "> \"A\"T\"", "> \"\\q\"", "> \"\\x4\"", "> \"\\xgg\"", "> \"\\\"", "= soon", "= -1",
        "? \"AT\"",
    ])
    func refusesWhatIsNoTranscript(line: String) {
        let error = #expect(throws: ModemSimulatorError.self) { _ = try ModemTranscript("# first\n\(line)\n") }
        #expect(error?.description.hasPrefix("line 2 of the transcript is not ") == true)
    }

    @Test func everyByteSurvivesItsQuotes() {
        let bytes = (0...255).map { UInt8($0) }
        let text = ModemTranscript.quoted(bytes)
        #expect(text.utf8.allSatisfy { 0x20..<0x7F ~= $0 })
        #expect(ModemTranscript.unquoted(text[...]) == bytes)
    }

    @Test func recordsWhatGoesOverTheLine() throws {
        let file = TemporaryFile()
        do {
            let host = try RawHost(.sim7600) {
                $0.recording = file.path
                $0.faults.pieces = .bytes
            }
            try host.expect("AT+CIPRXGET=1", "\r\nOK\r\n")
            usleep(60_000)
            try host.expect("AT+NETOPEN?", "\r\n+NETOPEN: 0\r\n\r\nOK\r\n")
            host.modem.stop()
            while !file.text.hasSuffix("OK\\r\\n\"\n") { usleep(1_000) }
        }
        let text = file.text
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("=") }
        #expect(
            lines == [
                "> \"ATE0\\r\"", "< \"ATE0\\r\\r\\nOK\\r\\n\"", "> \"AT+CIPRXGET=1\\r\"", "< \"\\r\\nOK\\r\\n\"",
                "> \"AT+NETOPEN?\\r\"", "< \"\\r\\n+NETOPEN: 0\\r\\n\\r\\nOK\\r\\n\"",
            ]
        )
        let pause = try #require(text.split(separator: "\n").firstIndex { $0.hasPrefix("= ") })
        #expect(text.split(separator: "\n")[pause + 1] == "> \"AT+NETOPEN?\\r\"")
        // What was recorded can be played.
        var configuration = ModemSimulatorConfiguration()
        configuration.playing = try ModemTranscript(path: file.path)
        let host = try RawHost(try ModemSimulator(configuration))
        try host.expect("ATE0", "ATE0\r\r\nOK\r\n")
        try host.expect("AT+CIPRXGET=1", "\r\nOK\r\n")
        #expect(host.modem.playback == .playing(line: 6))
        try host.expect("AT+NETOPEN?", "\r\n+NETOPEN: 0\r\n\r\nOK\r\n")
        #expect(host.modem.playback == .finished)
        host.send("AT\r")
        #expect(host.isSilent())
        #expect(host.modem.playback == .deviated("after the end: nothing was due, the host sent \"AT\\r\""))
    }

    @Test func aFileThatCannotBeWrittenIsAnError() {
        var configuration = ModemSimulatorConfiguration()
        configuration.recording = "/nowhere/transcript"
        let error = #expect(throws: ModemSimulatorError.self) { _ = try ModemSimulator(configuration) }
        #expect(error?.description == "cannot write /nowhere/transcript: No such file or directory")
    }

    private func playing(_ text: String) throws -> RawHost {
        var configuration = ModemSimulatorConfiguration()
        configuration.playing = try ModemTranscript(text)
        return try RawHost(try ModemSimulator(configuration))
    }

    @Test func playsTheModemsPart() throws {
        let host = try playing(
            """
            < "RDY\\r\\n"
            > "AT\\r"
            = 500
            < "late\\r\\n"
            < "OK\\r\\n"
            > "one"
            = 60000
            > "two"
            < "end"
            """
        )
        host.expect("RDY\r\n")
        host.send("A")
        host.send("T\r")
        #expect(host.isSilent(milliseconds: 100))
        host.expect("late\r\nOK\r\n")
        // The host's own pauses are its own affair.
        host.send("onetwo")
        host.expect("end")
        #expect(host.modem.playback == .finished)
    }

    @Test func tellsWhereTheHostDeviates() throws {
        let host = try playing("# start\n> \"AT+A=1\\r\"\n< \"OK\\r\\n\"\n")
        #expect(host.modem.playback == .playing(line: 2))
        host.send("AT+A")
        #expect(host.isSilent(milliseconds: 30))
        host.send("=2\r")
        #expect(host.isSilent())
        #expect(host.modem.playback == .deviated("line 2, byte 6: \"1\\r\" was due, the host sent \"2\\r\""))
        #expect(host.modem.transcript.last?.hasPrefix("! line 2, byte 6:") == true)
        // It stays silent, whatever comes.
        host.send("AT+A=1\r")
        #expect(host.isSilent())
    }

    @Test func faultsAffectThePlayerToo() throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.playing = try ModemTranscript("> \"x\"\n< \"0123456789\"\n")
        configuration.faults.pieces = .bytes
        configuration.baudRate = 1_000
        let host = try RawHost(try ModemSimulator(configuration))
        host.send("x")
        let start = clinux_monotonic_ns()
        host.expect("0123456789")
        #expect((clinux_monotonic_ns() - start) / 1_000_000 >= 70)
    }
}
