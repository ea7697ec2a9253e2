/// An application message: what is published on a topic.
public struct MQTTMessage: Equatable, Sendable {
    /// Topic and payload in one piece, as they stand in the packet.
    private let storage: [UInt8]
    private let topicCount: Int
    /// The guarantee that it was delivered with.
    public let qos: QoS
    /// Whether the server had kept it for new subscribers.
    public let isRetained: Bool
    /// Whether the server may have delivered it before (the DUP flag).
    public let isDuplicate: Bool

    /// A message from its parts.
    public init(topic: [UInt8], payload: [UInt8], qos: QoS, isRetained: Bool = false, isDuplicate: Bool = false) {
        self.init(
            storage: topic + payload,
            topicCount: topic.count,
            qos: qos,
            isRetained: isRetained,
            isDuplicate: isDuplicate
        )
    }

    init(storage: [UInt8], topicCount: Int, qos: QoS, isRetained: Bool, isDuplicate: Bool) {
        self.storage = storage
        self.topicCount = topicCount
        self.qos = qos
        self.isRetained = isRetained
        self.isDuplicate = isDuplicate
    }

    /// The topic name, UTF-8.
    public var topic: ArraySlice<UInt8> { storage[..<topicCount] }

    /// The payload; it shares its memory with the message.
    public var payload: ArraySlice<UInt8> { storage[topicCount...] }
}
