internal import Kernel

/// Writes the packets of a client (MQTT 3.1.1, chapter 3). Arguments are valid: the session has checked them.
enum ClientPacket {
    static func connect(_ configuration: MQTTConfiguration) -> [UInt8] {
        var length = 10 + 2 + configuration.clientID.count
        var flags: UInt8 = configuration.cleanSession ? 0x02 : 0
        if let will = configuration.will {
            flags |= 0x04 | will.qos.rawValue << 3 | (will.isRetained ? 0x20 : 0)
            length += 4 + will.topic.count + will.payload.count
        }
        if let userName = configuration.userName {
            flags |= 0x80
            length += 2 + userName.count
        }
        if let password = configuration.password {
            flags |= 0x40
            length += 2 + password.count
        }
        var packet = header(.connect, remainingLength: length)
        packet.append("\u{0}\u{4}MQTT\u{4}")
        packet.append(flags)
        packet.appendInteger(configuration.keepAliveSeconds)
        packet.appendField(configuration.clientID)
        if let will = configuration.will {
            packet.appendField(will.topic)
            packet.appendField(will.payload)
        }
        if let userName = configuration.userName { packet.appendField(userName) }
        if let password = configuration.password { packet.appendField(password) }
        return packet
    }

    /// The size of a PUBLISH packet, to check it before it is made.
    static func publishRemainingLength(topicCount: Int, payloadCount: Int, qos: QoS) -> Int {
        2 + topicCount + (qos == .atMostOnce ? 0 : 2) + payloadCount
    }

    /// Appends a PUBLISH packet to `packet`.
    static func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS,
        isRetained: Bool,
        packetID: UInt16,
        to packet: inout [UInt8]
    ) {
        let length = publishRemainingLength(topicCount: topic.count, payloadCount: payload.count, qos: qos)
        packet.reserveCapacity(packet.count + 5 + length)
        appendHeader(.publish, flags: qos.rawValue << 1 | (isRetained ? 1 : 0), remainingLength: length, to: &packet)
        packet.appendInteger(UInt16(topic.count))
        packet.append(topic)
        if qos != .atMostOnce { packet.appendInteger(packetID) }
        packet.append(payload)
    }

    static func subscribe(filter: Span<UInt8>, qos: QoS, packetID: UInt16) -> [UInt8] {
        var packet = header(.subscribe, flags: 2, remainingLength: 5 + filter.count)
        packet.appendInteger(packetID)
        packet.appendInteger(UInt16(filter.count))
        packet.append(filter)
        packet.append(qos.rawValue)
        return packet
    }

    static func unsubscribe(filter: Span<UInt8>, packetID: UInt16) -> [UInt8] {
        var packet = header(.unsubscribe, flags: 2, remainingLength: 4 + filter.count)
        packet.appendInteger(packetID)
        packet.appendInteger(UInt16(filter.count))
        packet.append(filter)
        return packet
    }

    /// Appends a PUBACK packet to `packet`.
    static func puback(packetID: UInt16, to packet: inout [UInt8]) {
        packet.append(0x40)
        packet.append(2)
        packet.appendInteger(packetID)
    }

    private static func header(_ type: PacketType, flags: UInt8 = 0, remainingLength: Int) -> [UInt8] {
        var packet: [UInt8] = []
        packet.reserveCapacity(5 + remainingLength)
        appendHeader(type, flags: flags, remainingLength: remainingLength, to: &packet)
        return packet
    }

    private static func appendHeader(_ type: PacketType, flags: UInt8, remainingLength: Int, to packet: inout [UInt8]) {
        packet.append(type.rawValue << 4 | flags)
        var rest = remainingLength
        repeat {
            let more: UInt8 = rest > 0x7F ? 0x80 : 0
            packet.append(UInt8(truncatingIfNeeded: rest) & 0x7F | more)
            rest >>= 7
        } while rest > 0
    }
}

extension [UInt8] {
    fileprivate mutating func appendInteger(_ value: UInt16) {
        append(UInt8(value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }

    /// Appends a field with its length before it (MQTT 3.1.1, 1.5.3).
    fileprivate mutating func appendField(_ bytes: [UInt8]) {
        appendInteger(UInt16(bytes.count))
        append(bytes.span)
    }
}
