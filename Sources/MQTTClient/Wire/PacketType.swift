internal import Kernel
internal import SAL

/// The control packet types, in the upper half of the first byte (MQTT 5.0, table 2-1).
enum PacketType: UInt8 {
    case connect = 1
    case connack, publish, puback, pubrec, pubrel, pubcomp, subscribe, suback, unsubscribe, unsuback
    case pingreq, pingresp, disconnect, auth
}

/// Numbers of up to 28 bits in one to four bytes (MQTT 5.0, 1.5.5).
enum VariableByteInteger {
    static let maximum = 268_435_455

    /// The number at `start` and where it ends; `nil` if it does not end within four bytes, or is longer than it need be.
    static func read(_ bytes: Span<UInt8>, at start: Int) -> (value: Int, end: Int)? {
        var value = 0
        for index in 0..<4 {
            guard start + index < bytes.count else { return nil }
            let byte = bytes[start + index]
            value |= Int(byte & 0x7F) << (7 * index)
            if byte < 0x80 { return index > 0 && byte == 0 ? nil : (value, start + index + 1) }
        }
        return nil
    }

    /// How many bytes a number takes.
    static func count(_ value: Int) -> Int {
        value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4
    }
}

/// The fixed header of a packet (MQTT 5.0, 2.1).
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
                // The shortest form is a must (MQTT-1.5.5-1).
                if index > 0 && byte == 0 { break }
                return FixedHeader(firstByte: bytes[0], headerBytes: 2 + index, remainingLength: length)
            }
        }
        throw .protocolViolation(.malformedLength)
    }
}

/// What packets are written to.
protocol PacketBytes: ~Copyable {
    mutating func append(_ byte: UInt8)
    mutating func append(_ bytes: Span<UInt8>)
}

extension [UInt8]: PacketBytes {}
extension ByteQueue: PacketBytes {}

extension PacketBytes where Self: ~Copyable {
    mutating func appendInteger(_ value: UInt16) {
        append(UInt8(value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }

    mutating func appendVariableByteInteger(_ value: Int) {
        var rest = value
        while rest > 0x7F {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// Appends a field with its length before it (MQTT 5.0, 1.5.4 and 1.5.6).
    mutating func appendField(_ bytes: Span<UInt8>) {
        appendInteger(UInt16(bytes.count))
        append(bytes)
    }

    /// Appends the fixed header of a packet.
    mutating func appendHeader(_ type: PacketType, flags: UInt8 = 0, remainingLength: Int) {
        append(type.rawValue << 4 | flags)
        appendVariableByteInteger(remainingLength)
    }

    #if os(Linux) || MQTT5
    /// Appends properties with their length before them.
    mutating func appendProperties(_ properties: MQTTProperties) {
        appendVariableByteInteger(properties.bytes.count)
        append(properties.bytes.span)
    }
    #endif
}

#if os(Linux) || MQTT5
extension MQTTProperties {
    /// How many bytes they take in a packet, with their length.
    var wireBytes: Int { VariableByteInteger.count(bytes.count) + bytes.count }
}
#endif
