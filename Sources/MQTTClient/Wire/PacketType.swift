/// The control packet types, in the upper half of the first byte (MQTT 3.1.1, table 2.1).
enum PacketType: UInt8 {
    case connect = 1
    case connack, publish, puback, pubrec, pubrel, pubcomp, subscribe, suback, unsubscribe, unsuback
    case pingreq, pingresp, disconnect
}

/// The fixed header of a packet (MQTT 3.1.1, 2.2).
struct FixedHeader: Equatable {
    let firstByte: UInt8
    /// How many bytes the header itself has.
    let headerBytes: Int
    /// How many bytes follow it.
    let remainingLength: Int

    var packetBytes: Int { headerBytes + remainingLength }

    /// Reads the header at the start of `bytes`; `nil` if more bytes are needed.
    static func parse(_ bytes: Span<UInt8>) throws(MQTTError) -> FixedHeader? {
        guard bytes.count >= 2 else { return nil }
        var length = 0
        for index in 0..<4 {
            guard 1 + index < bytes.count else { return nil }
            let byte = bytes[1 + index]
            length |= Int(byte & 0x7F) << (7 * index)
            if byte < 0x80 {
                return FixedHeader(firstByte: bytes[0], headerBytes: 2 + index, remainingLength: length)
            }
        }
        throw .protocolViolation(.malformedLength)
    }
}
