import Testing

@testable import CoAPClient

@Suite struct OptionTests {
    /// RFC 7252, table 4: C, U and N columns.
    @Test(
        arguments: [
            (1, true, false, false), (3, true, true, false), (4, false, false, false), (5, true, false, false),
            (7, true, true, false), (8, false, false, false), (11, true, true, false), (12, false, false, false),
            (14, false, true, false), (15, true, true, false), (17, true, false, false), (20, false, false, false),
            (35, true, true, false), (39, true, true, false), (60, false, false, true),
        ] as [(UInt16, Bool, Bool, Bool)]
    )
    func aNumberSaysHowToTreatTheOption(raw: UInt16, critical: Bool, unsafeToForward: Bool, noCacheKey: Bool) {
        #expect(number(raw).isCritical == critical)
        #expect(number(raw).isUnsafeToForward == unsafeToForward)
        #expect(number(raw).isNoCacheKey == noCacheKey)
    }

    @Test func optionsAreSortedByNumberAndKeepTheirOrderWithinOne() {
        var options = CoAPOptions()
        for (number, value) in [(15, "q1"), (11, "a"), (3, "host"), (11, "b"), (60, "z"), (15, "q2"), (11, "c")]
            as [(UInt16, String)]
        {
            options.add(CoAPOptionNumber(rawValue: number), value.utf8.span)
        }
        #expect(
            options.list.map { "\($0.number):\(String(decoding: $0.value, as: UTF8.self))" }
                == ["3:host", "11:a", "11:b", "11:c", "15:q1", "15:q2", "60:z"]
        )
        options.remove(.uriPath)
        #expect(options.list.map(\.number.rawValue) == [3, 15, 15, 60])
        #expect(options.queryArguments == [ascii("q1"), ascii("q2")])
    }

    @Test(
        arguments: [
            (0, ""), (1, "01"), (255, "ff"), (256, "0100"), (65_535, "ffff"), (65_536, "010000"),
            (0xFFFF_FFFF, "ffffffff"),
        ] as [(UInt32, String)]
    )
    func integersTakeAsFewBytesAsHoldThem(value: UInt32, bytes: String) {
        var options = CoAPOptions()
        options.maxAge = value
        #expect(options.first(.maxAge) == hex(bytes))
        #expect(options.maxAge == value)
    }

    @Test func leadingZerosOfIntegersAreAccepted() {
        #expect(CoAPOptions([(12, [0, 50])]).contentFormat == .json)
        #expect(CoAPOptions([(14, [0, 0, 0, 7])]).maxAge == 7)
    }

    @Test func integersThatAreTooLongCountAsNotThere() {
        #expect(CoAPOptions([(12, [0, 0, 50])]).contentFormat == nil)
        #expect(CoAPOptions([(14, [0, 0, 0, 0, 7])]).maxAge == nil)
        #expect(CoAPOptions([(6, [0, 0, 0, 7])]).observe == nil)
    }

    @Test(
        arguments: [
            ("", []), ("/", []), ("a", ["a"]), ("/a", ["a"]), ("a/b", ["a", "b"]), ("a//b", ["a", "", "b"]),
            ("a/", ["a", ""]), ("//", ["", ""]),
        ] as [(String, [String])]
    )
    func aPathIsOneOptionPerSegment(path: String, segments: [String]) {
        var options = CoAPOptions()
        options.addPath(path.utf8.span)
        #expect(options.pathSegments == segments.map(ascii))
    }

    @Test func settingAnOptionReplacesIt() {
        var options = CoAPOptions()
        options.accept = .cbor
        options.accept = .linkFormat
        options.contentFormat = .textPlain
        #expect(options.list.count == 2)
        #expect(options.accept == .linkFormat && options.contentFormat == .textPlain)
        options.accept = nil
        #expect(options.accept == nil && options.list.count == 1)
    }

    @Test(
        arguments: [
            ([(3, 0)], 3), ([(3, 256)], 3), ([(4, 0)], 4), ([(4, 9)], 4), ([(5, 1)], 5), ([(7, 3)], 7),
            ([(11, 256)], 11),
            ([(12, 3)], 12), ([(14, 5)], 14), ([(15, 256)], 15), ([(17, 3)], 17), ([(35, 0)], 35), ([(35, 1035)], 35),
            ([(39, 0)], 39), ([(60, 5)], 60), ([(3, 4), (3, 4)], 3), ([(17, 1), (17, 1)], 17), ([(5, 0), (5, 0)], 5),
        ] as [([(UInt16, Int)], UInt16)]
    )
    func aRequestWithAnOptionAgainstTheRulesIsNotSent(options: [(UInt16, Int)], offender: UInt16) {
        let request = CoAPRequest(
            .get,
            options: CoAPOptions(options.map { ($0.0, [UInt8](repeating: 0x61, count: $0.1)) })
        )
        #expect(throws: CoAPError.invalidOption(number(offender))) { try request.check() }
    }

    @Test func aDotSegmentIsNotSent() {
        #expect(throws: CoAPError.invalidOption(.uriPath)) { try CoAPRequest(.get, path: "a/../b").check() }
        #expect(throws: CoAPError.invalidOption(.uriPath)) { try CoAPRequest(.get, path: ".").check() }
        #expect(throws: Never.self) { try CoAPRequest(.get, path: ".../.well-known").check() }
    }

    @Test(arguments: [0, 0x20, 0x45, 0x84] as [UInt8])
    func aRequestNeedsAMethodCode(code: UInt8) {
        let code = CoAPCode(rawValue: code)
        #expect(throws: CoAPError.invalidMethod(code)) { try CoAPRequest(code).check() }
    }

    @Test func codesPrintAsTheStandardWritesThem() {
        #expect("\(CoAPCode.content)" == "2.05")
        #expect("\(CoAPCode(rawValue: 0x9F))" == "4.31")
        #expect("\(CoAPCode.requestEntityTooLarge)" == "4.13")
    }
}
