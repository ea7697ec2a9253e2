import CLinux
import Testing

/// The tables of docs/mqtt-conformance.md: each statement of the standards once, and each test that is named there exists.
@Suite struct ConformanceTableTests {
    /// How many statements the sections of 3.1.1 have.
    private static let version3 = [
        "1.5.3": 3, "2.2.2": 2, "2.3.1": 7, "3.1.0": 2, "3.1.2": 24, "3.1.3": 11, "3.1.4": 5, "3.2.0": 1, "3.2.2": 6,
        "3.3.1": 12, "3.3.2": 3, "3.3.4": 1, "3.3.5": 2, "3.6.1": 1, "3.8.1": 1, "3.8.3": 4, "3.8.4": 6, "3.9.3": 2,
        "3.10.1": 1, "3.10.3": 2, "3.10.4": 6, "3.12.4": 1, "3.14.1": 1, "3.14.4": 3, "4.1.0": 2, "4.3.1": 1,
        "4.3.2": 2,
        "4.3.3": 2, "4.4.0": 1, "4.5.0": 2, "4.6.0": 6, "4.7.1": 3, "4.7.2": 1, "4.7.3": 4, "4.8.0": 2, "6.0.0": 4,
    ]
    /// How many those of 5.0 have; there is no 2.2.1-1.
    private static let version5 = [
        "1.5.4": 3, "1.5.5": 1, "1.5.7": 1, "2.1.3": 1, "2.2.1": 6, "2.2.2": 1, "3.1.0": 2, "3.1.2": 30, "3.1.3": 12,
        "3.1.4": 6, "3.2.0": 2, "3.2.2": 22, "3.3.1": 13, "3.3.2": 20, "3.3.4": 10, "3.4.2": 3, "3.5.2": 3, "3.6.1": 1,
        "3.6.2": 3, "3.7.2": 3, "3.8.1": 1, "3.8.3": 5, "3.8.4": 8, "3.9.2": 2, "3.9.3": 2, "3.10.1": 1, "3.10.3": 2,
        "3.10.4": 6, "3.11.2": 2, "3.11.3": 2, "3.12.4": 1, "3.14.0": 1, "3.14.1": 1, "3.14.2": 4, "3.14.4": 3,
        "3.15.1": 1, "3.15.2": 3, "4.1.0": 2, "4.2": 1, "4.3.1": 1, "4.3.2": 5, "4.3.3": 13, "4.4.0": 2, "4.5.0": 2,
        "4.6.0": 6, "4.7.0": 1, "4.7.1": 2, "4.7.2": 1, "4.7.3": 4, "4.8.2": 6, "4.9.0": 3, "4.12.0": 7, "4.12.1": 2,
        "4.13.1": 1, "4.13.2": 1, "6.0.0": 4,
    ]

    private static let root = String(
        #filePath.prefix(#filePath.count - "Tests/MQTTClientTests/ConformanceTableTests.swift".count)
    )

    /// What a command prints.
    private static func output(of command: String) -> String {
        guard let pipe = popen(command, "r") else { return "" }
        defer { pclose(pipe) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { bytes += buffer[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `3.1.2-5 to 7` is three of the section 3.1.2.
    private static func numbers(_ text: Substring) -> [String] {
        let words = text.split(separator: " ")
        guard let dash = words[0].lastIndex(of: "-"), let first = Int(words[0][words[0].index(after: dash)...]) else {
            return []
        }
        let last = words.count == 3 ? Int(words[2]) ?? first : first
        return (first...last).map { "\(words[0][..<dash])-\($0)" }
    }

    @Test func allStatementsStandThereOnceAndTheirTestsExist() throws {
        let functions = Self.output(of: "grep -rhoE 'func [A-Za-z0-9]+' '\(Self.root)Tests' --include='*Tests.swift'")
        let names = Set(functions.split(separator: "\n").map { $0.dropFirst("func ".count) })
        let chapters = Self.output(of: "cat '\(Self.root)docs/mqtt-conformance.md'").split(separator: "\n## ")
        try #require(!names.isEmpty && chapters.count == 4)
        for (chapter, counts) in zip(chapters.dropFirst(), [Self.version3, Self.version5, ["M": 8]]) {
            var seen: [String: Int] = [:]
            for line in chapter.split(separator: "\n") {
                if line.hasPrefix("Servers only: ") {
                    for item in line.dropFirst("Servers only: ".count).split(separator: ",") {
                        for number in Self.numbers(item) { seen[number, default: 0] += 1 }
                    }
                } else if line.hasPrefix("| "), !line.hasPrefix("| Number") {
                    // The number, what it asks for, and the tests between backquotes.
                    let fields = line.split(separator: "|")
                    try #require(fields.count == 3, "\(line)")
                    seen[String(fields[0].dropFirst().dropLast()), default: 0] += 1
                    let tests = fields[2].split(separator: "`").filter { !", ".contains($0) }
                    #expect(!tests.isEmpty, "\(line)")
                    for test in tests { #expect(names.contains(test), "\(fields[0]): there is no test \(test)") }
                }
            }
            for (section, count) in counts {
                for number in 1...count where !(section == "2.2.1" && number == 1 && counts["1.5.4"] != nil) {
                    let name = section == "M" ? "M\(number)" : "\(section)-\(number)"
                    #expect(seen[name] == 1, "\(name) stands there \(seen[name] ?? 0) times")
                    seen[name] = nil
                }
            }
            #expect(seen.isEmpty, "no statements: \(seen.keys)")
        }
    }
}
