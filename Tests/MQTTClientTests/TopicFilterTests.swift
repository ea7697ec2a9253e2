import Testing

@testable import MQTTClient

@Suite struct TopicFilterTests {
    /// Filters and names of MQTT 3.1.1, 4.7, and those that TencentOS-tiny's client matches wrongly (its defect M1).
    @Test(arguments: [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("#", "a/b/c", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("a/+/c", "a//c", true),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a/b/d", false),
        ("#", "$SYS/x", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a", "ab", false),
        ("ab", "a", false),
        ("a/b", "a/b/", false),
        ("a/#", "ab", false),
        ("a/b/#", "a", false),
        ("ACCOUNTS", "Accounts", false),
        ("+/tennis/#", "sport/tennis", true),
        ("+", "", true),
    ])
    func matchesAsTheStandardSays(filter: String, topic: String, expected: Bool) {
        let (filter, topic) = (Array(filter.utf8), Array(topic.utf8))
        let matches = TopicFilter.matches(filter.span, topic: topic.span)
        #expect(matches == expected)
    }

    @Test(arguments: ["#", "+", "a/#", "+/tennis/#", "sport/+/player1", "/", "a//b", "é", "$SYS/#", " "])
    func allowsFilters(filter: String) {
        let isValid = TopicFilter.isValid(Array(filter.utf8).span)
        #expect(isValid)
    }

    @Test(arguments: ["", "a#", "a/#/b", "sport/tennis#", "sport+", "+a", "a/+b/c", "a\0b", "##", "#/"])
    func refusesFilters(filter: String) {
        let isValid = TopicFilter.isValid(Array(filter.utf8).span)
        #expect(!isValid)
    }

    @Test(arguments: ["", "a/+", "#", "a\0"])
    func refusesNames(name: String) {
        let isValid = TopicFilter.isValidName(Array(name.utf8).span)
        #expect(!isValid)
    }

    @Test func refusesWhatItsLengthCannotSay() {
        for count in [65_535, 65_536] {
            let text = [UInt8](repeating: 0x61, count: count)
            let isName = TopicFilter.isValidName(text.span)
            let isFilter = TopicFilter.isValid(text.span)
            #expect(isName == (count == 65_535) && isFilter == (count == 65_535))
        }
    }

    /// Rows of the Unicode standard's table 3-7 and of Markus Kuhn's decoder stress test.
    @Test(
        arguments: [
            [0xC0, 0x80], [0xC1, 0xBF], [0x80], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98], [0xFF],
            [0x61, 0xC3, 0x28],
        ] as [[UInt8]]
    )
    func refusesWhatIsNotUTF8(bytes: [UInt8]) {
        let isValid = TopicFilter.isValidString(bytes.span)
        #expect(!isValid)
    }

    @Test func agreesWithTheStandardLibraryOnUTF8() {
        var generator = SplitMix(seed: 7)
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 1...6, using: &generator)).map { _ in
                UInt8.random(in: 0x7E...0xFF, using: &generator)
            }
            let isValid = TopicFilter.isValidString(bytes.span)
            #expect(isValid == (String(validating: bytes, as: UTF8.self) != nil))
        }
    }
}

/// A random number generator whose seed a failing test can print.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
