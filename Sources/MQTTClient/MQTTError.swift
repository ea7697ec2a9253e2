public import SAL
#if !hasFeature(Embedded)
public import SecureTransport
#endif

/// Every way in which MQTT can fail.
@nonexhaustive
public enum MQTTError: Error, Equatable, Sendable {
    /// The server answered CONNECT with this code (MQTT 3.1.1, 3.2.2.3).
    case connectionRefused(ConnectReturnCode)
    /// The server answered SUBSCRIBE with failure for this topic filter (MQTT 3.1.1, 3.9.3).
    case subscriptionRefused
    /// A topic name that the standard does not allow: empty, over 65,535 bytes, with a wildcard or a null character, or
    /// not UTF-8 (MQTT 3.1.1, 4.7).
    case invalidTopicName
    /// A topic filter that the standard does not allow (MQTT 3.1.1, 4.7.1).
    case invalidTopicFilter
    /// A client identifier, user name or password over 65,535 bytes, or a password without a user name, or no client
    /// identifier without a clean session (MQTT 3.1.1, 3.1).
    case invalidConnectOptions
    /// A packet of `bytes` would be over the limit that was configured, or that the standard has.
    case packetTooLarge(bytes: Int, limit: Int)
    /// So many publishes and subscriptions wait for their acknowledgement that no more are taken.
    case tooManyInFlight(limit: Int)
    /// There is no connection, and this request is not one that waits for the next.
    case notConnected
    /// The server sent what the standard does not allow; the connection was closed.
    case protocolViolation(ProtocolViolation)
    /// No CONNACK arrived in time.
    case connectTimedOut
    /// No PINGRESP, nor anything else, arrived in time: the connection is dead.
    case keepAliveTimedOut
    /// The server closed the connection, in good order for the transport but without being asked to.
    case closedByServer
    /// The client was disconnected on this side.
    case disconnected
    /// The task that waited was cancelled. A publish that was under way may still be delivered.
    case cancelled
    /// The byte stream below failed.
    case transport(SocketError)
    #if !hasFeature(Embedded)
    /// The TLS connection below failed.
    case secure(SecureTransportError)
    #endif
}

/// What a server did against the standard.
@nonexhaustive
public enum ProtocolViolation: Equatable, Sendable {
    /// A packet type that a server never sends, or with reserved flags (MQTT 3.1.1, 2.2).
    case unexpectedPacket(firstByte: UInt8)
    /// A remaining length of more than four bytes (MQTT 3.1.1, 2.2.3).
    case malformedLength
    /// The content of a packet does not fit its length or its rules; the packet's first byte.
    case malformedPacket(firstByte: UInt8)
}

/// The return code of a CONNACK packet (MQTT 3.1.1, table 3.1).
public struct ConnectReturnCode: RawRepresentable, Equatable, Hashable, Sendable {
    /// The code on the wire.
    public let rawValue: UInt8
    /// A code from the wire.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Connection accepted.
    public static let accepted = ConnectReturnCode(rawValue: 0)
    /// The server does not speak this protocol level.
    public static let unacceptableProtocolVersion = ConnectReturnCode(rawValue: 1)
    /// The client identifier is not allowed.
    public static let identifierRejected = ConnectReturnCode(rawValue: 2)
    /// The service is unavailable.
    public static let serverUnavailable = ConnectReturnCode(rawValue: 3)
    /// User name or password is malformed or wrong.
    public static let badUserNameOrPassword = ConnectReturnCode(rawValue: 4)
    /// The client is not authorised.
    public static let notAuthorized = ConnectReturnCode(rawValue: 5)
}
