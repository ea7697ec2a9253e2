internal import Kernel

/// An application message that has arrived.
public struct MQTTMessage: Equatable, Sendable {
    /// The packet as it has arrived, or its parts one after another; what stands where.
    var storage: [UInt8]
    var topicStart: Int
    var topicEnd: Int
    var propertiesStart: Int
    var payloadStart: Int
    /// What follows is of an earlier message in the same memory.
    var payloadEnd: Int
    /// The guarantee that it was delivered with.
    public internal(set) var qos: QoS
    /// Whether the server had kept it for new subscribers (or says so of all messages of a subscription: ``MQTTSubscriptionOptions/retainAsPublished``).
    public internal(set) var isRetained: Bool
    /// Whether the server may have delivered it before (the DUP flag).
    public internal(set) var isDuplicate: Bool
    /// What it is acknowledged by, if it has arrived with an acknowledgement.
    public internal(set) var receipt = MQTTReceipt()

    /// A message from its parts.
    public init(topic: [UInt8], payload: [UInt8], qos: QoS, isRetained: Bool = false, isDuplicate: Bool = false) {
        storage = topic
        storage.append(payload.span)
        topicStart = 0
        topicEnd = topic.count
        propertiesStart = topicEnd
        payloadStart = topicEnd
        payloadEnd = storage.count
        self.qos = qos
        self.isRetained = isRetained
        self.isDuplicate = isDuplicate
    }

    init(
        storage: [UInt8],
        topic: Range<Int>,
        propertiesStart: Int,
        payloadStart: Int,
        payloadEnd: Int,
        firstByte: UInt8
    ) {
        self.storage = storage
        topicStart = topic.lowerBound
        topicEnd = topic.upperBound
        self.propertiesStart = propertiesStart
        self.payloadStart = payloadStart
        self.payloadEnd = payloadEnd
        qos = QoS(rawValue: firstByte >> 1 & 3) ?? .atMostOnce
        isRetained = firstByte & 1 != 0
        isDuplicate = firstByte & 8 != 0
    }

    /// The topic name, UTF-8.
    public var topic: ArraySlice<UInt8> { storage[topicStart..<topicEnd] }

    /// The payload; it shares its memory with the message.
    public var payload: ArraySlice<UInt8> { storage[payloadStart..<payloadEnd] }

    #if os(Linux) || MQTT5
    /// The properties; none of 3.1.1.
    public var properties: MQTTProperties {
        MQTTProperties(copying: storage.span.extracting(propertiesStart..<payloadStart))
    }
    #endif

    /// Two messages are equal if they say the same, however they were delivered.
    public static func == (a: MQTTMessage, b: MQTTMessage) -> Bool {
        #if os(Linux) || MQTT5
        guard a.properties == b.properties else { return false }
        #endif
        return a.topic == b.topic && a.payload == b.payload && a.qos == b.qos && a.isRetained == b.isRetained
            && a.isDuplicate == b.isDuplicate
    }
}

/// What a message is acknowledged by: a packet identifier of one connection.
public struct MQTTReceipt: Equatable, Sendable {
    /// Zero for a message without acknowledgement.
    public internal(set) var packetID: UInt16 = 0
    var isQoS2 = false
    /// The connection, and the session, that it has come in.
    var connection: UInt16 = 0
    var session: UInt16 = 0
}
