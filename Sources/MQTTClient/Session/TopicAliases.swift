#if os(Linux) || MQTT5
internal import Kernel
internal import SAL

/// The aliases of one connection for topics that are published to (MQTT 5.0, 3.3.2.3.4): those that were used last.
struct TopicAliases {
    private struct Entry {
        var topic: [UInt8]
        var usedAt: UInt64
    }

    /// How many there may be.
    var limit = 0
    private var entries: [Entry] = []
    private var time: UInt64 = 0

    /// The alias for a topic, and whether the server knows it already.
    mutating func alias(for topic: Span<UInt8>) -> (alias: Int, isKnown: Bool) {
        time += 1
        var oldest = 0
        for index in entries.indices {
            let known = entries[index].topic
            if known.count == topic.count, Self.equal(known.span, topic) {
                entries[index].usedAt = time
                return (index + 1, true)
            }
            if entries[index].usedAt < entries[oldest].usedAt { oldest = index }
        }
        if entries.count < limit {
            entries.append(Entry(topic: [UInt8](copying: topic), usedAt: time))
            return (entries.count, false)
        }
        entries[oldest].topic.clear()
        entries[oldest].topic.append(topic)
        entries[oldest].usedAt = time
        return (oldest + 1, false)
    }

    private static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        for index in a.indices where a[index] != b[index] { return false }
        return true
    }
}

extension ByteQueue {
    /// Appends a PUBLISH of 5.0 with an alias for its topic.
    mutating func appendPublish(_ packet: Span<UInt8>, hasPacketID: Bool, aliases: inout TopicAliases) {
        let start = Outbox.variableHeader(packet)
        let topicEnd = start + 2 + (Int(packet[start]) << 8 | Int(packet[start + 1]))
        let topic = packet.extracting((start + 2)..<topicEnd)
        let afterID = topicEnd + (hasPacketID ? 2 : 0)
        guard let (length, begin) = VariableByteInteger.read(packet, at: afterID) else { return append(packet) }
        var properties = MQTTProperties(copying: packet.extracting(begin..<(begin + length)))
        let (alias, isKnown) = aliases.alias(for: topic)
        properties.set(.topicAlias, to: alias)
        let payload = packet.extracting(droppingFirst: begin + length)
        let topicBytes = isKnown ? 0 : topic.count
        let remaining = 2 + topicBytes + (hasPacketID ? 2 : 0) + properties.wireBytes + payload.count
        append(packet[0])
        appendVariableByteInteger(remaining)
        if isKnown { appendInteger(0) } else { appendField(topic) }
        if hasPacketID { append(packet.extracting(topicEnd..<afterID)) }
        appendProperties(properties)
        append(payload)
    }
}
#endif
