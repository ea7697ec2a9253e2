internal import Kernel

/// Where the parts of a PUBLISH body stand (MQTT 5.0, 3.3).
struct PublishLayout {
    var topicEnd = 2
    var packetID: UInt16 = 0
    /// Where the properties stand, without their length; an empty range if there are none.
    var propertiesStart = 0
    var propertiesEnd = 0

    /// Reads the body of a PUBLISH, but not what its topic and properties say.
    @inline(__always)
    init(_ body: Span<UInt8>, firstByte: UInt8, hasProperties: Bool) throws(MQTTError) {
        let malformed = MQTTError.protocolViolation(.malformedPacket(firstByte: firstByte))
        let qos = firstByte >> 1 & 3
        // A duplicate of what is never sent twice does not exist (3.3.1.1).
        guard qos < 3, qos > 0 || firstByte & 0x08 == 0, body.count >= 2 else { throw malformed }
        topicEnd = 2 + (Int(body[0]) << 8 | Int(body[1]))
        var position = topicEnd + (qos > 0 ? 2 : 0)
        guard position <= body.count else { throw malformed }
        if qos > 0 {
            packetID = UInt16(body[topicEnd]) << 8 | UInt16(body[topicEnd + 1])
            guard packetID != 0 else { throw malformed }
        }
        #if os(Linux) || MQTT5
        if hasProperties {
            guard let (length, start) = VariableByteInteger.read(body, at: position), start + length <= body.count
            else { throw malformed }
            propertiesStart = start
            position = start + length
            propertiesEnd = position
            return
        }
        #endif
        propertiesStart = position
        propertiesEnd = position
    }
}

/// What a packet says that is nothing but a packet identifier and a reason (MQTT 5.0, 3.4).
struct Acknowledgement {
    let packetID: UInt16
    let code: MQTTReasonCode
    #if os(Linux) || MQTT5
    let properties: MQTTProperties
    #endif

    init(_ body: Span<UInt8>, type: PacketType, firstByte: UInt8, isVersion5: Bool) throws(MQTTError) {
        let malformed = MQTTError.protocolViolation(.malformedPacket(firstByte: firstByte))
        guard body.count >= 2 else { throw malformed }
        packetID = UInt16(body[0]) << 8 | UInt16(body[1])
        guard packetID != 0 else { throw malformed }
        #if os(Linux) || MQTT5
        if isVersion5 {
            code = body.count > 2 ? MQTTReasonCode(rawValue: body[2]) : .success
            if body.count > 3 {
                properties = try Self.properties(body, at: 3, type: type, firstByte: firstByte)
            } else {
                properties = MQTTProperties()
            }
            return
        }
        properties = MQTTProperties()
        #endif
        guard body.count == 2 else { throw malformed }
        code = .success
    }

    #if os(Linux) || MQTT5
    /// The properties that fill `body` from `start` on.
    static func properties(
        _ body: Span<UInt8>,
        at start: Int,
        type: PacketType,
        firstByte: UInt8
    ) throws(MQTTError) -> MQTTProperties {
        guard let (length, begin) = VariableByteInteger.read(body, at: start), begin + length == body.count else {
            throw .protocolViolation(.malformedPacket(firstByte: firstByte))
        }
        let bytes = body.extracting(droppingFirst: begin)
        if let fault = MQTTProperties.fault(in: bytes, of: 1 << UInt16(type.rawValue)) {
            throw .protocolViolation(fault)
        }
        return MQTTProperties(copying: bytes)
    }
    #endif
}

/// What SUBACK or UNSUBACK says (MQTT 5.0, 3.9 and 3.11).
struct SubscriptionAcknowledgement {
    let packetID: UInt16
    /// A reason code for each topic filter.
    let codes: [UInt8]
    #if os(Linux) || MQTT5
    let properties: MQTTProperties
    #endif

    init(_ body: Span<UInt8>, type: PacketType, firstByte: UInt8, isVersion5: Bool) throws(MQTTError) {
        let malformed = MQTTError.protocolViolation(.malformedPacket(firstByte: firstByte))
        guard body.count >= 2 else { throw malformed }
        packetID = UInt16(body[0]) << 8 | UInt16(body[1])
        guard packetID != 0 else { throw malformed }
        var start = 2
        #if os(Linux) || MQTT5
        if isVersion5 {
            guard let (length, begin) = VariableByteInteger.read(body, at: 2), begin + length <= body.count else {
                throw malformed
            }
            let bytes = body.extracting(begin..<(begin + length))
            if let fault = MQTTProperties.fault(in: bytes, of: 1 << UInt16(type.rawValue)) {
                throw .protocolViolation(fault)
            }
            properties = MQTTProperties(copying: bytes)
            start = begin + length
        } else {
            properties = MQTTProperties()
        }
        #endif
        codes = [UInt8](copying: body.extracting(droppingFirst: start))
        // The UNSUBACK of 3.1.1 has no codes, all others one for each filter.
        guard codes.isEmpty == (type == .unsuback && !isVersion5) else { throw malformed }
        if type == .suback {
            let span = codes.span
            for index in span.indices where span[index] > 2 && span[index] < 0x80 { throw malformed }
        }
    }
}

/// What CONNACK says (MQTT 5.0, 3.2).
struct ConnectAcknowledgement {
    let sessionPresent: Bool
    let code: MQTTReasonCode
    #if os(Linux) || MQTT5
    let properties: MQTTProperties
    #endif

    init(_ body: Span<UInt8>, firstByte: UInt8, isVersion5: Bool) throws(MQTTError) {
        let malformed = MQTTError.protocolViolation(.malformedPacket(firstByte: firstByte))
        // Bits 7 to 1 of the acknowledge flags are reserved; with a refusal, session present is 0 (3.2.2).
        guard body.count >= 2, body[0] <= 1, body[0] == 0 || body[1] == 0 else { throw malformed }
        sessionPresent = body[0] == 1
        #if os(Linux) || MQTT5
        if isVersion5 {
            code = MQTTReasonCode(rawValue: body[1])
            properties = try Acknowledgement.properties(body, at: 2, type: .connack, firstByte: firstByte)
            return
        }
        properties = MQTTProperties()
        #endif
        guard body.count == 2 else { throw malformed }
        code = MQTTReasonCode(returnCode: body[1])
    }
}

#if os(Linux) || MQTT5
/// What DISCONNECT or AUTH says (MQTT 5.0, 3.14 and 3.15).
struct ReasonPacket {
    let code: MQTTReasonCode
    let properties: MQTTProperties

    init(_ body: Span<UInt8>, type: PacketType, firstByte: UInt8) throws(MQTTError) {
        code = body.isEmpty ? .success : MQTTReasonCode(rawValue: body[0])
        properties =
            body.count > 1
            ? try Acknowledgement.properties(body, at: 1, type: type, firstByte: firstByte) : MQTTProperties()
    }
}
#endif
