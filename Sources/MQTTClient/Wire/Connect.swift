internal import Kernel
internal import SAL

/// Writes CONNECT (MQTT 5.0, 3.1). The configuration is valid: the session has checked it.
enum ConnectPacket {
    static func append(_ configuration: MQTTConfiguration, cleanStart: Bool, to packet: inout ByteQueue) {
        var flags: UInt8 = cleanStart ? 0x02 : 0
        var body = ByteQueue()
        #if os(Linux) || MQTT5
        if configuration.version == .v5_0 { body.appendProperties(properties(configuration)) }
        #endif
        body.appendField(configuration.clientID.span)
        if let will = configuration.will {
            flags |= 0x04 | will.qos.rawValue << 3 | (will.isRetained ? 0x20 : 0)
            #if os(Linux) || MQTT5
            if configuration.version == .v5_0 { body.appendProperties(will.properties) }
            #endif
            body.appendField(will.topic.span)
            body.appendField(will.payload.span)
        }
        if let userName = configuration.userName {
            flags |= 0x80
            body.appendField(userName.span)
        }
        if let password = configuration.password {
            flags |= 0x40
            body.appendField(password.span)
        }
        packet.appendHeader(.connect, remainingLength: 10 + body.count)
        let name: InlineArray<6, UInt8> = [0, 4, 0x4D, 0x51, 0x54, 0x54]
        packet.append(name.span)
        packet.append(configuration.version.rawValue)
        packet.append(flags)
        packet.appendInteger(configuration.keepAliveSeconds)
        body.withSpan { packet.append($0) }
    }

    #if os(Linux) || MQTT5
    private static func properties(_ configuration: MQTTConfiguration) -> MQTTProperties {
        var properties = MQTTProperties()
        // What has its default is left out.
        if configuration.sessionExpirySeconds > 0 {
            properties.set(.sessionExpiryInterval, to: Int(configuration.sessionExpirySeconds))
        }
        if configuration.receiveMaximum < 65_535 {
            properties.set(.receiveMaximum, to: Int(configuration.receiveMaximum))
        }
        properties.set(.maximumPacketSize, to: configuration.maximumPacketBytes)
        if configuration.topicAliasMaximum > 0 {
            properties.set(.topicAliasMaximum, to: Int(configuration.topicAliasMaximum))
        }
        properties.bytes.append(configuration.connectProperties.bytes.span)
        if let authentication = configuration.authentication {
            properties.set(.authenticationMethod, to: authentication.method)
            if let data = authentication.initialData() { properties.set(.authenticationData, to: data) }
        }
        return properties
    }
    #endif
}
