import Testing

@testable import CoAPClient

@Suite struct MessageTests {
    struct Vector: Sendable {
        let message: CoAPMessage
        let bytes: [UInt8]
    }

    private static let temperature = CoAPOptions([(11, ascii("temperature"))])

    /// RFC 7252, appendix A: the figures' messages, those of figures 16 and 17 with their bytes as drawn there.
    @Test(arguments: [
        (
            CoAPMessage(type: .confirmable, code: .get, messageID: 0x7D34, options: Self.temperature),
            "40017d34 bb74656d7065726174757265"
        ),
        (
            CoAPMessage(type: .acknowledgement, code: .content, messageID: 0x7D34, payload: ascii("22.3 C")),
            "60457d34 ff32322e332043"
        ),
        (
            CoAPMessage(
                type: .confirmable,
                code: .get,
                messageID: 0x7D35,
                token: token([0x20]),
                options: Self.temperature
            ),
            "41017d35 20 bb74656d7065726174757265"
        ),
        (
            CoAPMessage(
                type: .acknowledgement,
                code: .content,
                messageID: 0x7D35,
                token: token([0x20]),
                payload: ascii("22.3 C")
            ),
            "61457d35 20 ff32322e332043"
        ),
        // Figure 20: a separate response.
        (CoAPMessage(type: .acknowledgement, code: .empty, messageID: 0x7D38), "60007d38"),
        (
            CoAPMessage(
                type: .confirmable,
                code: .content,
                messageID: 0xAD7B,
                token: token([0x53]),
                payload: ascii("22.3 C")
            ),
            "4145ad7b 53 ff32322e332043"
        ),
        // Figure 21: the client has crashed.
        (CoAPMessage(type: .reset, code: .empty, messageID: 0xAD7C), "7000ad7c"),
        // Figure 22: non-confirmable.
        (
            CoAPMessage(
                type: .nonConfirmable,
                code: .get,
                messageID: 0x7D40,
                token: token([0x75]),
                options: Self.temperature
            ),
            "51017d40 75 bb74656d7065726174757265"
        ),
    ])
    func writesAndReadsTheExamplesOfTheStandard(message: CoAPMessage, bytes: String) throws {
        #expect(message.encoded == hex(bytes))
        #expect(message.encodedByteCount == hex(bytes).count)
        #expect(try decode(hex(bytes)) == message)
    }

    /// The hub specification, 8.7: the topic in one option with its slashes, private options 61 and 62.
    @Test func writesWhatTheHubExpects() throws {
        let topic = ascii("A1B2C3D4E5/dev_0001/txauth9w0BAQsFA")
        let authentication = CoAPMessage(
            type: .confirmable,
            code: .post,
            messageID: 0x1234,
            token: token([0, 0, 0, 0]),
            options: CoAPOptions([(62, ascii("0")), (11, topic)]),
            payload: ascii("21010406;aB3dE") + [0, 0]
        )
        #expect(
            hex(authentication.encoded)
                == "4402123400000000bd16413142324333443445352f6465765f303030312f747861757468397730424151734641d12630ff"
                + "32313031303430363b61423364450000"
        )
        #expect(authentication.options.pathSegments == [topic])
        let publish = CoAPMessage(
            type: .confirmable,
            code: .post,
            messageID: 0x1235,
            token: token([1, 0, 0, 0]),
            options: CoAPOptions([(11, ascii("A1B2C3D4E5/dev_0001/data")), (61, ascii("TOKENABCDE")), (62, ascii("0"))]
            ),
            payload: ascii("{\"t\":21}")
        )
        #expect(
            hex(publish.encoded)
                == "4402123501000000bd0b413142324333443445352f6465765f303030312f64617461da25544f4b454e41424344451130ff"
                + "7b2274223a32317d"
        )
        let answer = try decode(hex("6445123400000000ff59574149474755475543"))
        #expect(answer.type == .acknowledgement && answer.code == .content && answer.payload == ascii("YWAIGGUGUC"))
        let received = try decode(hex("6443123602000000"))
        #expect(received.code == .valid && received.token == token([2, 0, 0, 0]) && received.payload.isEmpty)
    }

    /// Fixtures/coap/make_vectors.py says how they were made.
    @Test func agreesWithAnotherImplementation() throws {
        let rows = fixture("aiocoap-vectors.txt")
        #expect(rows.count > 150)
        for row in rows where row.count == 7 {
            var options = CoAPOptions()
            if row[4] != "-" {
                for option in row[4].split(separator: ",").reversed() {
                    // From the last to the first: adding sorts them by number, and keeps the order of equal numbers.
                    let parts = option.split(separator: ":")
                    let number = number(UInt16(parts[0]) ?? 0)
                    let others = options.all(number)
                    options.remove(number)
                    options.add(number, hex(String(parts[1])).span)
                    for other in others { options.add(number, other.span) }
                }
            }
            let message = CoAPMessage(
                type: try #require(UInt8(row[0]).flatMap(CoAPMessageType.init(rawValue:))),
                code: CoAPCode(rawValue: try #require(UInt8(row[1]))),
                messageID: try #require(UInt16(row[2])),
                token: token(hex(row[3])),
                options: options,
                payload: hex(row[5])
            )
            #expect(hex(message.encoded) == row[6])
            #expect(try decode(hex(row[6])) == message)
        }
    }

    @Test(
        arguments: [
            ("", .truncatedHeader), ("40", .truncatedHeader), ("400100", .truncatedHeader),
            ("00010001", .unknownVersion(0)), ("80010001", .unknownVersion(2)), ("c0010001", .unknownVersion(3)),
            ("49010001 000000000000000000", .reservedTokenLength(9)), ("4f010001", .reservedTokenLength(15)),
            ("44010001 000000", .truncatedHeader),
            ("41000001 00", .emptyMessageWithContent), ("60000001 ff00", .emptyMessageWithContent),
            ("60000001 00", .emptyMessageWithContent), ("6f000001", .reservedTokenLength(15)),
            ("40210001", .reservedCodeClass(CoAPCode(1, 1))), ("40c00001", .reservedCodeClass(CoAPCode(6, 0))),
            ("40e10001", .reservedCodeClass(CoAPCode(7, 1))),
            ("40010001 f0", .reservedOptionNibble(offset: 4)), ("40010001 0f", .reservedOptionNibble(offset: 4)),
            ("40010001 b161 f1", .reservedOptionNibble(offset: 6)),
            ("40010001 d0", .truncatedOption(offset: 4)), ("40010001 e001", .truncatedOption(offset: 4)),
            ("40010001 0d", .truncatedOption(offset: 4)), ("40010001 0e00", .truncatedOption(offset: 4)),
            ("40010001 b2 61", .truncatedOption(offset: 4)), ("40010001 bd 00 61", .truncatedOption(offset: 4)),
            ("40010001 be ffff", .truncatedOption(offset: 4)),
            ("40010001 e0fef3", .optionNumberTooLarge(offset: 4)),
            ("40010001 e0fef2 10", .optionNumberTooLarge(offset: 7)),
            ("40010001 e0ffff", .optionNumberTooLarge(offset: 4)),
            ("40010001 ff", .emptyPayload), ("40010001 b161 ff", .emptyPayload),
            ("44010001 00000000 ff", .emptyPayload),
        ] as [(String, CoAPFormatError)]
    )
    func refusesWhatIsNoMessage(bytes: String, error: CoAPFormatError) {
        #expect(throws: error) { try decode(hex(bytes)) }
    }

    @Test func takesTheLargestOptionNumber() throws {
        #expect(try decode(hex("40010001 e0fef2")).options == CoAPOptions([(65_535, [])]))
    }

    @Test func anyCutOfAMessageIsAnErrorOrAMessage() throws {
        let whole = CoAPMessage(
            type: .confirmable,
            code: .put,
            messageID: 1,
            token: token([1, 2, 3]),
            options: CoAPOptions([(11, ascii("a")), (300, [UInt8](repeating: 7, count: 300))]),
            payload: ascii("hello")
        )
        for count in 0..<whole.encoded.count {
            guard let message = try? decode(Array(whole.encoded[0..<count])) else { continue }
            #expect(message.encoded.count == count)
        }
    }

    @Test func randomBytesNeverTrap() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("random bytes, seed \(seed)")
        var random = SeededRandom(state: seed)
        for round in 0..<20_000 {
            var bytes = random.bytes(Int.random(in: 0...40, using: &random))
            if round % 2 == 0, bytes.count >= 4 { bytes[0] = 0x40 | bytes[0] & 0x38 | bytes[0] % 9 & 0x07 }
            if let message = try? decode(bytes) {
                #expect(message.encoded == bytes, "seed \(seed)")
                _ = message.options.list
            }
        }
    }
}
