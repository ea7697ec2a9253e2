import Testing

@testable import MQTTClient

@Suite struct MessageBufferTests {
    private func texts(_ messages: [MQTTMessage]) -> [String] {
        messages.map { String(decoding: $0.payload, as: UTF8.self) }
    }

    /// A second reader gets what is new, and both are through with all when one of them reads on.
    @Test func readersShareAndNothingIsLost() {
        let buffer = MessageBuffer(filter: Array("a".utf8), limit: 10, policy: .wait)
        for text in ["1", "2"] { _ = buffer.append(message("a", text)) }
        #expect(texts(buffer.take()) == ["1", "2"])
        _ = buffer.append(message("a", "3"))
        #expect(texts(buffer.take()) == ["3"])
        #expect(texts(buffer.take()) == [])
        var released: [MQTTMessage] = []
        buffer.releaseGiven { released.append($0) }
        #expect(texts(released) == ["1", "2", "3"])
        _ = buffer.append(message("a", "4"))
        #expect(texts(buffer.take()) == ["4"])
        #expect(texts(buffer.finish()) == ["4"])
    }
}
