import Glibc
import Testing

/// The tables of docs/coap-conformance.md: each test description once, and each test that is named there exists.
@Suite struct PlugtestTableTests {
    private static let descriptions =
        numbers("CORE", Array(1...23) + [31]) + numbers("LINK", Array(1...9)) + numbers("BLOCK", Array(1...6))
        + numbers("OBS", [1, 2] + Array(4...14))

    private static func numbers(_ group: String, _ numbers: [Int]) -> [String] {
        numbers.map { "\(group)_\($0 < 10 ? "0" : "")\($0)" }
    }

    /// What a command prints in the folder of the package.
    private static func output(of command: String) -> String {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        guard let pipe = popen("cd '\(root)' && \(command)", "r") else { return "" }
        defer { pclose(pipe) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { bytes += buffer[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func allDescriptionsStandThereOnceAndTheirTestsExist() throws {
        let files = "Tests/IntegrationTests/CoAPPlugtest*Tests.swift Tests/CoAPClientTests/Plugtest*Tests.swift"
        let functions = Self.output(of: "grep -hoE '@Test.* func [A-Za-z0-9]+|^    func [A-Za-z0-9]+' \(files)")
        let names = Set(functions.split(separator: "\n").compactMap { $0.split(separator: " ").last })
        try #require(!names.isEmpty)
        var seen: [String] = []
        for line in Self.output(of: "cat docs/coap-conformance.md").split(separator: "\n") {
            guard line.hasPrefix("| "), !line.hasPrefix("| Number") else { continue }
            // The number, what it is about, and the tests between backquotes.
            let fields = line.split(separator: "|")
            try #require(fields.count == 3, "\(line)")
            seen.append(String(fields[0].dropFirst().dropLast()))
            let tests = fields[2].split(separator: "`").filter { !", ".contains($0) }
            #expect(!tests.isEmpty, "\(line)")
            for test in tests { #expect(names.contains(test), "\(fields[0]): there is no test \(test)") }
        }
        #expect(seen == Self.descriptions)
    }
}
