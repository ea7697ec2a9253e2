import CLinux
import Kernel
import MQTTClient
import SAL
import Testing

@testable import HubSimulator

/// What messages take of the memory.
@Suite(.timeLimit(.minutes(2))) struct MQTTMemoryTests {
    private static let root = String(
        #filePath.prefix(#filePath.count - "Tests/IntegrationTests/MQTTMemoryTests.swift".count)
    )

    private static func program() throws -> String {
        let program = "\(root).build/release/mqtt-allocations"
        try #require(access(program, X_OK) == 0, "build it with: swift build -c release --product mqtt-allocations")
        return program
    }

    /// The largest message there can be goes out from one copy of it, and is put together in one.
    @Test func theLargestMessageIsHeldOnce() async throws {
        let name = try Self.program()
        try await TestBroker.with { broker in
            let receiver = try TestProgram(name, ["\(broker.port)", "in"])
            #expect(await receiver.prints("ready"))
            let (status, output) = await run(name, ["\(broker.port)", "out"])
            #expect(status == 0, "\(output)")
            #expect(await receiver.wait() == 0, "\(receiver.output)")
            #expect(receiver.output.contains("\n0 wrong\n"), "\(receiver.output)")
            for text in [output, receiver.output] {
                // Out: N bytes, M at most
                let line = try #require(text.split(separator: "\n").first { $0.contains(" at most") }, "\(text)")
                let numbers = line.split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) }
                #expect(numbers[0] == 268_435_446 && numbers[1] < numbers[0] + 4_000_000, "\(line)")
            }
        }
    }

    /// Once all is warm, 5,000 messages there and back take nothing from the heap with callbacks. With tasks, each message that a reader gets has memory of
    /// its own, and publishing takes nothing.
    @Test func messagesTakeNothingFromTheHeap() async throws {
        let program = try Self.program()
        try await TestBroker.with { broker in
            let (status, output) = await run(program, ["\(broker.port)"])
            #expect(status == 0, "\(output)")
            let lines = output.split(separator: "\n")
            #expect(lines.count == 12, "\(output)")
            for line in lines {
                // Name: 5000 messages, N blocks
                let words = line.split(separator: " ")
                let blocks = try #require(Int(words[words.count - 2]), "\(line)")
                let most = line.hasPrefix("callbacks") ? 100 : 5_500
                #expect(blocks >= 0 && blocks <= most, "\(line)")
            }
        }
    }
}
