import Testing

@testable import ATAdapter

/// What drivers understand of conversations with their modems, however the modem's bytes are cut.
@Suite struct DriverTranscriptTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let driver: ModemDriver
        let log: [String]
        var testDescription: String { name }

        init(_ name: String, _ driver: ModemDriver, _ log: [String]) {
            (self.name, self.driver, self.log) = (name, driver, log)
        }
    }

    static let cases: [Case] = [
        Case(
            "common-start",
            .quectel,
            [
                "restarted", "finished", "finished", "finished", "failed equipment(code: 14)", "finished", "finished",
                "finished", "finished", "finished", "signal(-67)", "finished", "finished",
                "unknown +CGPADDR: 1,\"10.64.12.7\"", "finished",
            ]
        ),
        Case(
            "quectel-buffer",
            .quectel,
            [
                "restarted", "finished", "finished", "finished", "finished", "finished", "finished", "finished",
                "opened(link: 0)", "prompt", "finished", "dataWaits(link: 0)",
                "payload -1: d a 2b 51 49 55 52 43 3a 20 22 63 6c 6f 73 65 64 22 2c 30 d a", "finished", "payload -1:",
                "finished", "dataWaits(link: 0)", "closed(link: 0)", "payload -1: 62 79 65", "finished", "payload -1:",
                "finished", "closed(link: 0)", "finished", "finished",
            ]
        ),
        Case(
            "quectel-push",
            .quectel,
            [
                "finished", "opened(link: 3)", "failed refused", "finished", "prompt", "closed(link: 1)",
                "failed refused", "prompt", "finished", "payload 3: 53 45 4e 44 20 4f 4b d a 0", "closed(link: 3)",
                "networkLost", "finished", "finished", "address 192.0.2.7", "finished",
            ]
        ),
        Case(
            "sim7600",
            .sim7600,
            [
                "restarted", "finished", "finished", "finished", "finished", "finished", "opened(link: 0)", "prompt",
                "accepted 5", "finished", "dataWaits(link: 0)", "payload -1: d a 4f 4b d a 3e 1a", "finished",
                "reason(nothingWaits)", "failed refused", "closed(link: 0)", "failed refused",
            ]
        ),
        Case(
            "sim800-manual",
            .sim800,
            [
                "restarted", "finished", "unknown *PSNWID: \"460\",\"00\",\"A>B\",0,\"AB\",0", "finished", "finished",
                "finished", "finished", "finished", "finished", "finished", "finished", "finished", "opened(link: 0)",
                "prompt", "accepted 5", "finished", "dataWaits(link: 0)",
                "payload -1: d a 30 2c 20 43 4c 4f 53 45 44 d a", "finished", "dataWaits(link: 0)", "closed(link: 0)",
                "payload -1: 62 79 65", "finished", "payload -1:", "finished", "failed refused",
            ]
        ),
        Case(
            "sim800-push",
            .sim800,
            [
                "finished", "opened(link: 1)", "prompt", "payload 1: 61 62 d a d a", "finished", "finished",
                "networkLost", "finished", "unknown STATE: PDP DEACT", "unknown C: 0,,\"\",\"\",\"\",\"INITIAL\"",
                "unknown C: 1,,\"\",\"\",\"\",\"INITIAL\"", "unknown C: 2,,\"\",\"\",\"\",\"INITIAL\"",
                "unknown C: 3,,\"\",\"\",\"\",\"INITIAL\"", "unknown C: 4,,\"\",\"\",\"\",\"INITIAL\"",
                "unknown C: 5,,\"\",\"\",\"\",\"INITIAL\"",
            ]
        ),
        Case(
            "air724ug",
            .air724,
            [
                "restarted", "finished", "finished", "finished", "finished", "finished", "finished", "finished",
                "finished", "opened(link: 0)", "prompt", "accepted 5", "finished", "payload 0: 77 6f 72 6c 64",
                "closed(link: 0)", "failed equipment(code: 3)",
            ]
        ),
        Case(
            "ublox-binary",
            .ublox,
            [
                "finished", "finished", "finished", "link(0)", "finished", "finished", "prompt", "accepted 5",
                "finished", "dataWaits(link: 0)", "payload -1: 22 d a d a 4f 4b d a", "finished", "finished",
                "closed(link: 0)", "failed equipment(code: 3)",
            ]
        ),
        // The digits of a mode that the driver turns off: they do not fit the length.
        Case(
            "ublox-hex-udp",
            .ublox,
            [
                "finished", "link(1)", "finished", "accepted 4", "finished", "dataWaits(link: 1)",
                "payload -1: 36 30 34 35", "damaged", "finished", "finished", "finished",
            ]
        ),
        Case(
            "bc26",
            .bc26,
            [
                "finished", "finished", "finished", "finished", "opened(link: 0)", "prompt", "finished",
                "payload 0: 77 6f 72 6c 64", "closed(link: 0)", "finished",
            ]
        ),
        Case(
            "bc28",
            .bc28,
            [
                "restarted", "unknown \u{FFFD}\u{FFFD}\0", "restarted", "finished", "finished", "finished", "finished",
                "finished", "link(1)", "finished", "finished", "accepted 5", "finished", "dataWaits(link: 1, bytes: 5)",
                "payload -1: 77 6f 72 6c 64", "finished", "finished", "closed(link: 1)", "failed refused",
            ]
        ),
        Case(
            "m5310a",
            .m5310a,
            [
                "finished", "address 192.0.2.7", "finished", "link(0)", "finished", "finished", "accepted 5",
                "finished", "dataWaits(link: 0, bytes: 5)", "payload -1: 77 6f 72 6c 64", "finished", "closed(link: 0)",
                "failed refused",
            ]
        ),
        Case(
            "l610",
            .l610,
            [
                "finished", "finished", "finished", "finished", "opened(link: 1)", "prompt", "finished",
                "payload 1: 77 6f 72 6c 64", "closed(link: 1)",
            ]
        ),
        Case("l610-buffered", .l610, ["finished", "payload 1: 77 6f 72 6c 64", "finished"]),
    ]

    @Test(arguments: cases)
    func saysTheSameWhereverTheInputIsCut(_ check: Case) throws {
        let transcript = try Transcript(fixture: check.name)
        func log(_ cut: Cut) -> [String] {
            let bench = DriverBench(check.driver)
            bench.play(transcript, cut: cut)
            #expect(bench.isIdle, "\(bench.log)")
            #expect(bench.counters.timeouts == 0)
            return bench.log
        }
        #expect(log(.whole) == check.log)
        #expect(log(.bytes) == check.log)
        for position in 0..<900 { #expect(log(.at(position)) == check.log, "cut at \(position)") }
        for seed in UInt64(0)..<100 { #expect(log(.pieces(seed: seed)) == check.log, "seed \(seed)") }
    }
}
