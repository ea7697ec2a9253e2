public import SAL
#if !hasFeature(Embedded)
public import SecureTransport
#endif

/// Every way in which MQTT can fail.
@nonexhaustive
public enum MQTTError: Error, Equatable, Sendable {
    /// The server refused the connection (MQTT 5.0, 3.2.2.2).
    case connectionRefused(MQTTReason)
    /// The server refused a publish (MQTT 5.0, 3.4.2.1 and 3.5.2.1).
    case publishRefused(MQTTReason)
    /// The server refused a subscription (MQTT 5.0, 3.9.3).
    case subscriptionRefused(MQTTReason)
    /// The server refused to end a subscription (MQTT 5.0, 3.11.3).
    case unsubscriptionRefused(MQTTReason)
    /// The server ended the connection and said why (MQTT 5.0, 3.14).
    case disconnectedByServer(MQTTReason)
    /// The server has said that it does not support this.
    case unsupportedByServer(MQTTFeature)
    /// A topic name that the standard does not allow: empty, over 65,535 bytes, with a wildcard or a null character, or
    /// not UTF-8 (MQTT 5.0, 4.7).
    case invalidTopicName
    /// A topic filter that the standard does not allow (MQTT 5.0, 4.7.1 and 4.8.2).
    case invalidTopicFilter
    /// What is to be told in CONNECT is not allowed: a client identifier, user name or password over 65,535 bytes, or in 3.1.1 a password without a user
    /// name, or no client identifier without a clean start (MQTT 3.1.1, 3.1).
    case invalidConnectOptions
    /// Properties that the packet may not have, or whose values are not allowed (MQTT 5.0, 2.2.2).
    case invalidProperties
    /// A packet of `bytes` would be over the limit that was configured, or that the server or the standard has.
    case packetTooLarge(bytes: Int, limit: Int)
    /// So many requests, or bytes of them, wait that no more are taken.
    case queueFull(limit: Int)
    /// The message was dropped from the full queue for a newer one.
    case droppedFromQueue
    /// The message has waited for longer than its expiry interval.
    case expired
    /// No reply to a request has come in time.
    case noReply
    /// There is no connection, and this request is not one that waits for the next.
    case notConnected
    /// The server sent what the standard does not allow; the connection was closed.
    case protocolViolation(ProtocolViolation)
    /// No CONNACK arrived in time.
    case connectTimedOut
    /// Nothing arrived in time after a ping: the connection is dead.
    case keepAliveTimedOut
    /// The server closed the connection, in good order for the transport but without being asked to.
    case closedByServer
    /// The server closes each connection shortly after it has accepted it, so many times in a row by now: another client may use the same client identifier.
    case closedRepeatedly(times: Int)
    /// The authenticator gave up.
    case authenticationFailed
    /// The client was disconnected on this side.
    case disconnected
    /// The task that waited was cancelled. A publish that was under way may still be delivered.
    case cancelled
    /// The session cannot be kept in its store; the store's own number of the error.
    case store(code: Int32)
    /// The byte stream below failed.
    case transport(SocketError)
    #if !hasFeature(Embedded)
    /// The TLS connection below failed.
    case secure(SecureTransportError)
    #endif
    #if os(Linux)
    /// The WebSocket below failed.
    case webSocket(WebSocketError)
    #endif
}

/// What a server may not support (MQTT 5.0, 3.2.2.3).
public enum MQTTFeature: Equatable, Sendable {
    /// A guarantee of this height.
    case qos(QoS)
    /// Messages that are kept for new subscribers.
    case retain
    /// Subscriptions with wildcards.
    case wildcardSubscriptions
    /// Subscription identifiers.
    case subscriptionIdentifiers
    /// Shared subscriptions.
    case sharedSubscriptions
}

/// What a server did against the standard.
@nonexhaustive
public enum ProtocolViolation: Equatable, Sendable {
    /// A packet type that a server never sends, or does not send now, or with reserved flags (MQTT 5.0, 2.1).
    case unexpectedPacket(firstByte: UInt8)
    /// A remaining length of more than four bytes, or longer than it need be (MQTT 5.0, 1.5.5).
    case malformedLength
    /// The content of a packet does not fit its length or its rules; the packet's first byte.
    case malformedPacket(firstByte: UInt8)
    #if os(Linux) || MQTT5
    /// Properties that cannot be read, from the one with this identifier on.
    case malformedProperties(identifier: UInt8)
    /// A property that this packet may not have.
    case misplacedProperty(MQTTProperty)
    /// A property that is there twice.
    case repeatedProperty(MQTTProperty)
    /// A property whose value is not allowed.
    case invalidProperty(MQTTProperty)
    /// More messages with acknowledgements at a time than the client said it takes (MQTT 5.0, 3.3.4).
    case receiveMaximumExceeded
    /// A topic alias of zero or over the maximum, or one that stands for nothing (MQTT 5.0, 3.3.2.3.4).
    case topicAliasInvalid
    #endif

    /// What the server is told in DISCONNECT (MQTT 5.0, 4.13).
    var reasonCode: MQTTReasonCode {
        switch self {
        case .malformedLength, .malformedPacket: return .malformedPacket
        case .unexpectedPacket: return .protocolError
        #if os(Linux) || MQTT5
        case .malformedProperties, .misplacedProperty: return .malformedPacket
        case .repeatedProperty, .invalidProperty: return .protocolError
        case .receiveMaximumExceeded: return .receiveMaximumExceeded
        case .topicAliasInvalid: return .topicAliasInvalid
        #endif
        }
    }
}
