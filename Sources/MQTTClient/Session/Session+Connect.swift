internal import Kernel
internal import SAL

// What the server says when it accepts the connection, enhanced authentication, and what CONNECT may say.
extension MQTTSession {
    // MARK: CONNACK

    mutating func connected(_ body: Span<UInt8>, _ firstByte: UInt8, at now: Duration) throws(MQTTError)
        -> Event
    {
        let answer = try ConnectAcknowledgement(body, firstByte: firstByte, isVersion5: isVersion5)
        guard answer.code == .success else {
            #if os(Linux) || MQTT5
            throw .connectionRefused(MQTTReason(answer.code, answer.properties))
            #else
            throw .connectionRefused(MQTTReason(answer.code))
            #endif
        }
        // A server cannot have a session that it was told to forget (3.2.2.1.1).
        guard !(answer.sessionPresent && asksForCleanStart) else {
            throw .protocolViolation(.malformedPacket(firstByte: firstByte))
        }
        keepAliveSeconds = Int(configuration.keepAliveSeconds)
        #if os(Linux) || MQTT5
        if isVersion5 { try take(answer.properties) }
        #endif
        lastSentAt = now
        lastReceivedAt = now
        state = .connected
        rest()
        outgoing.trim()
        resume(sessionPresent: answer.sessionPresent)
        hasSession = true
        #if os(Linux) || MQTT5
        return .connected(MQTTConnectionInfo(sessionPresent: answer.sessionPresent, properties: answer.properties))
        #else
        return .connected(MQTTConnectionInfo(sessionPresent: answer.sessionPresent))
        #endif
    }

    #if os(Linux) || MQTT5
    /// Takes what the server says of itself (3.2.2.3).
    private mutating func take(_ properties: MQTTProperties) throws(MQTTError) {
        if let value = properties.number(of: .receiveMaximum) { limits.receiveMaximum = value }
        if let value = properties.number(of: .maximumPacketSize) { limits.packetBytes = min(limits.packetBytes, value) }
        if let value = properties.number(of: .topicAliasMaximum) { limits.topicAliases = value }
        if let value = properties.number(of: .maximumQoS) { limits.maximumQoS = UInt8(value) }
        if properties.number(of: .retainAvailable) == 0 { limits.hasRetain = false }
        if properties.number(of: .wildcardSubscriptionAvailable) == 0 { limits.hasWildcards = false }
        if properties.number(of: .subscriptionIdentifierAvailable) == 0 { limits.hasSubscriptionIdentifiers = false }
        if properties.number(of: .sharedSubscriptionAvailable) == 0 { limits.hasSharedSubscriptions = false }
        if let value = properties.number(of: .serverKeepAlive) { keepAliveSeconds = value }
        if let value = properties.bytes(of: .assignedClientIdentifier) { configuration.clientID = value }
        outgoingAliases.limit = min(Int(configuration.outgoingTopicAliases), limits.topicAliases)
        guard let authentication = configuration.authentication else { return }
        // The method is the same all the way (MQTT-4.12.0-5).
        guard properties.bytes(of: .authenticationMethod) ?? authentication.method == authentication.method,
            authentication.finish(properties.bytes(of: .authenticationData))
        else { throw .authenticationFailed }
    }

    /// A client that has said so is told of problems in PUBLISH, CONNACK and DISCONNECT only (MQTT-3.1.2-29).
    mutating func checkProblemInformation(_ properties: MQTTProperties) throws(MQTTError) {
        guard !properties.isEmpty, configuration.connectProperties.number(of: .requestProblemInformation) == 0 else {
            return
        }
        for property in [MQTTProperty.reasonString, .userProperty]
        where MQTTProperties.find(property, in: properties.bytes.span) != nil {
            throw .protocolViolation(.invalidProperty(property))
        }
    }

    // MARK: AUTH

    /// Authenticates again on this connection (MQTT 5.0, 4.12.1).
    public mutating func reauthenticate() throws(MQTTError) {
        guard isConnected else { throw .notConnected }
        guard isVersion5, let authentication = configuration.authentication else { throw .invalidConnectOptions }
        isReauthenticating = true
        sendAuth(.reauthenticate, authentication, authentication.initialData())
    }

    mutating func authenticate(_ packet: ReasonPacket, _ firstByte: UInt8) throws(MQTTError) -> Event {
        // One must not come to a client that has not begun it (MQTT-4.12.0-6).
        guard let authentication = configuration.authentication, state == .connecting || isReauthenticating else {
            throw .protocolViolation(.unexpectedPacket(firstByte: firstByte))
        }
        guard packet.properties.bytes(of: .authenticationMethod) == authentication.method else {
            throw .protocolViolation(.invalidProperty(.authenticationMethod))
        }
        let data = packet.properties.bytes(of: .authenticationData)
        switch packet.code {
        case .continueAuthentication:
            guard let answer = authentication.answer(data) else { throw .authenticationFailed }
            sendAuth(.continueAuthentication, authentication, answer)
            return .nothing
        case .success where isReauthenticating:
            isReauthenticating = false
            guard authentication.finish(data) else { throw .authenticationFailed }
            return .reauthenticated
        default: throw .protocolViolation(.malformedPacket(firstByte: firstByte))
        }
    }

    private mutating func sendAuth(_ code: MQTTReasonCode, _ authentication: any MQTTAuthentication, _ data: [UInt8]?) {
        var properties = MQTTProperties()
        properties.set(.authenticationMethod, to: authentication.method)
        if let data { properties.set(.authenticationData, to: data) }
        var packet: [UInt8] = []
        packet.appendHeader(.auth, remainingLength: 1 + properties.wireBytes)
        packet.append(code.rawValue)
        packet.appendProperties(properties)
        outgoing.append(packet.span)
    }
    #endif

    // MARK: CONNECT

    /// Whether the configuration makes a CONNECT that a server can accept.
    static func check(_ configuration: MQTTConfiguration) throws(MQTTError) {
        let userName = configuration.userName ?? []
        guard TopicFilter.isValidString(configuration.clientID.span), TopicFilter.isValidString(userName.span),
            (configuration.password ?? []).count <= 65_535
        else { throw .invalidConnectOptions }
        if configuration.version == .v3_1_1 {
            // What 5.0 allows.
            guard !configuration.clientID.isEmpty || configuration.cleanStart,
                configuration.password == nil || configuration.userName != nil
            else { throw .invalidConnectOptions }
        }
        guard configuration.receiveMaximum > 0 else { throw .invalidConnectOptions }
        if let will = configuration.will {
            guard TopicFilter.isValidName(will.topic.span) else { throw .invalidTopicName }
            guard will.payload.count <= 65_535 else {
                throw .packetTooLarge(bytes: will.payload.count, limit: 65_535)
            }
            #if os(Linux) || MQTT5
            if MQTTProperties.fault(in: will.properties.bytes.span, of: 1) != nil { throw .invalidProperties }
            #endif
        }
        #if os(Linux) || MQTT5
        guard configuration.maximumPacketBytes > 0,
            MQTTProperties.fault(
                in: configuration.connectProperties.bytes.span,
                of: 1 << UInt16(PacketType.connect.rawValue)
            ) == nil
        else { throw .invalidProperties }
        // What the configuration has a place of its own for would be there twice.
        for property in [
            MQTTProperty.sessionExpiryInterval, .receiveMaximum, .maximumPacketSize, .topicAliasMaximum,
            .authenticationMethod, .authenticationData,
        ] where MQTTProperties.find(property, in: configuration.connectProperties.bytes.span) != nil {
            throw .invalidProperties
        }
        #endif
    }
}
