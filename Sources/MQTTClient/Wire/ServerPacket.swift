internal import Kernel

/// A packet from the server (MQTT 3.1.1, chapter 3).
enum ServerPacket: Equatable {
    case connack(sessionPresent: Bool, ConnectReturnCode)
    case publish(MQTTMessage, packetID: UInt16)
    case puback(packetID: UInt16)
    case suback(packetID: UInt16, granted: QoS?)
    case unsuback(packetID: UInt16)
    case pingresp

    /// Reads the packet `bytes`, which is whole, with the header `header`.
    static func parse(_ bytes: Span<UInt8>, header: FixedHeader) throws(MQTTError) -> ServerPacket {
        let firstByte = header.firstByte
        let body = bytes.extracting(droppingFirst: header.headerBytes)
        let malformed = MQTTError.protocolViolation(.malformedPacket(firstByte: firstByte))
        guard let type = PacketType(rawValue: firstByte >> 4) else {
            throw .protocolViolation(.unexpectedPacket(firstByte: firstByte))
        }
        if type == .publish { return try parsePublish(body, firstByte: firstByte) }
        guard firstByte & 0x0F == 0 else { throw .protocolViolation(.unexpectedPacket(firstByte: firstByte)) }
        switch type {
        case .connack:
            // Bits 7 to 1 of the acknowledge flags are reserved; with a refusal, session present is 0 (3.2.2).
            guard body.count == 2, body[0] <= 1, body[0] == 0 || body[1] == 0 else { throw malformed }
            return .connack(sessionPresent: body[0] == 1, ConnectReturnCode(rawValue: body[1]))
        case .puback:
            guard body.count == 2, let packetID = packetID(body) else { throw malformed }
            return .puback(packetID: packetID)
        case .suback:
            // This client sends one topic filter per SUBSCRIBE, so there is one return code.
            guard body.count == 3, let packetID = packetID(body) else { throw malformed }
            switch body[2] {
            case 0x80: return .suback(packetID: packetID, granted: nil)
            case let code:
                guard let granted = QoS(rawValue: code) else { throw malformed }
                return .suback(packetID: packetID, granted: granted)
            }
        case .unsuback:
            guard body.count == 2, let packetID = packetID(body) else { throw malformed }
            return .unsuback(packetID: packetID)
        case .pingresp:
            guard body.isEmpty else { throw malformed }
            return .pingresp
        case .connect, .publish, .pubrec, .pubrel, .pubcomp, .subscribe, .unsubscribe, .pingreq, .disconnect:
            throw .protocolViolation(.unexpectedPacket(firstByte: firstByte))
        }
    }

    private static func parsePublish(_ body: Span<UInt8>, firstByte: UInt8) throws(MQTTError) -> ServerPacket {
        let malformed = MQTTError.protocolViolation(.malformedPacket(firstByte: firstByte))
        // Nothing is subscribed to with QoS 2, so nothing may be delivered with it (3.8.4).
        guard let qos = QoS(rawValue: firstByte >> 1 & 3), body.count >= 2 else { throw malformed }
        let isDuplicate = firstByte & 0x08 != 0
        if isDuplicate && qos == .atMostOnce { throw malformed }
        let topicCount = Int(body[0]) << 8 | Int(body[1])
        let idCount = qos == .atMostOnce ? 0 : 2
        guard body.count >= 2 + topicCount + idCount else { throw malformed }
        let topic = body.extracting(2..<(2 + topicCount))
        guard TopicFilter.isValidName(topic) else { throw malformed }
        var identifier: UInt16 = 0
        if qos != .atMostOnce {
            guard let id = packetID(body.extracting(droppingFirst: 2 + topicCount)) else { throw malformed }
            identifier = id
        }
        var storage: [UInt8] = []
        storage.reserveCapacity(body.count - 2 - idCount)
        storage.append(topic)
        storage.append(body.extracting(droppingFirst: 2 + topicCount + idCount))
        let message = MQTTMessage(
            storage: storage,
            topicCount: topicCount,
            qos: qos,
            isRetained: firstByte & 1 != 0,
            isDuplicate: isDuplicate
        )
        return .publish(message, packetID: identifier)
    }

    /// The packet identifier at the start of `bytes`; zero is none (2.3.1).
    private static func packetID(_ bytes: Span<UInt8>) -> UInt16? {
        let value = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
        return value == 0 ? nil : value
    }
}
