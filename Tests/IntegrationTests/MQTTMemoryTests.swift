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

    /// Once all is warm, 5,000 messages there and back take nothing from the heap with callbacks. With tasks, each message that a reader gets has memory of
    /// its own, and publishing takes nothing.
    @Test func messagesTakeNothingFromTheHeap() async throws {
        let program = "\(Self.root).build/release/mqtt-allocations"
        try #require(access(program, X_OK) == 0, "build it with: swift build -c release --product mqtt-allocations")
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
