/// Why a server answers as it does (MQTT 5.0, 2.4). The return codes of 3.1.1's CONNACK are told as what 5.0 has for them.
public struct MQTTReasonCode: RawRepresentable, Equatable, Hashable, Sendable {
    /// The code on the wire.
    public let rawValue: UInt8
    /// A code from the wire.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Whether it is a failure.
    public var isFailure: Bool { rawValue >= 0x80 }

    /// It went well; in a DISCONNECT: a normal end.
    public static let success = MQTTReasonCode(rawValue: 0x00)
    /// The client ends, and its will is to be published.
    public static let disconnectWithWill = MQTTReasonCode(rawValue: 0x04)
    /// The message was taken, and nobody has subscribed to it.
    public static let noMatchingSubscribers = MQTTReasonCode(rawValue: 0x10)
    /// There was no such subscription.
    public static let noSubscriptionExisted = MQTTReasonCode(rawValue: 0x11)
    /// The authentication goes on.
    public static let continueAuthentication = MQTTReasonCode(rawValue: 0x18)
    /// The client authenticates again.
    public static let reauthenticate = MQTTReasonCode(rawValue: 0x19)
    /// The server does not say why; in 3.1.1 the only failure of a subscription.
    public static let unspecifiedError = MQTTReasonCode(rawValue: 0x80)
    /// A packet that cannot be read.
    public static let malformedPacket = MQTTReasonCode(rawValue: 0x81)
    /// A packet that must not come, or not now.
    public static let protocolError = MQTTReasonCode(rawValue: 0x82)
    /// Valid, but not taken by this server.
    public static let implementationSpecificError = MQTTReasonCode(rawValue: 0x83)
    /// The server does not speak this version.
    public static let unsupportedProtocolVersion = MQTTReasonCode(rawValue: 0x84)
    /// The client identifier is valid, but not allowed.
    public static let clientIdentifierNotValid = MQTTReasonCode(rawValue: 0x85)
    /// User name or password is wrong.
    public static let badUserNameOrPassword = MQTTReasonCode(rawValue: 0x86)
    /// The client may not do that.
    public static let notAuthorized = MQTTReasonCode(rawValue: 0x87)
    /// The server is not available.
    public static let serverUnavailable = MQTTReasonCode(rawValue: 0x88)
    /// The server is busy.
    public static let serverBusy = MQTTReasonCode(rawValue: 0x89)
    /// The client was banned by an administrator.
    public static let banned = MQTTReasonCode(rawValue: 0x8A)
    /// The server shuts down.
    public static let serverShuttingDown = MQTTReasonCode(rawValue: 0x8B)
    /// The authentication method is not supported, or is not the one in use.
    public static let badAuthenticationMethod = MQTTReasonCode(rawValue: 0x8C)
    /// Nothing came for one and a half keep-alive times.
    public static let keepAliveTimeout = MQTTReasonCode(rawValue: 0x8D)
    /// Another connection has come with the same client identifier.
    public static let sessionTakenOver = MQTTReasonCode(rawValue: 0x8E)
    /// The topic filter is valid, but not allowed.
    public static let topicFilterInvalid = MQTTReasonCode(rawValue: 0x8F)
    /// The topic name is valid, but not allowed.
    public static let topicNameInvalid = MQTTReasonCode(rawValue: 0x90)
    /// The packet identifier is in use.
    public static let packetIdentifierInUse = MQTTReasonCode(rawValue: 0x91)
    /// The packet identifier is not known: the two ends do not agree on the session.
    public static let packetIdentifierNotFound = MQTTReasonCode(rawValue: 0x92)
    /// More messages are under way than the receiver said it takes.
    public static let receiveMaximumExceeded = MQTTReasonCode(rawValue: 0x93)
    /// A topic alias of zero, or over the maximum.
    public static let topicAliasInvalid = MQTTReasonCode(rawValue: 0x94)
    /// The packet is larger than the receiver said it takes.
    public static let packetTooLarge = MQTTReasonCode(rawValue: 0x95)
    /// Data comes too fast.
    public static let messageRateTooHigh = MQTTReasonCode(rawValue: 0x96)
    /// A limit of the server or its administrator is reached.
    public static let quotaExceeded = MQTTReasonCode(rawValue: 0x97)
    /// An administrator has ended the connection.
    public static let administrativeAction = MQTTReasonCode(rawValue: 0x98)
    /// The payload is not of the format that its property says.
    public static let payloadFormatInvalid = MQTTReasonCode(rawValue: 0x99)
    /// The server keeps no messages.
    public static let retainNotSupported = MQTTReasonCode(rawValue: 0x9A)
    /// The server does not support this guarantee.
    public static let qosNotSupported = MQTTReasonCode(rawValue: 0x9B)
    /// Another server is to be used for now.
    public static let useAnotherServer = MQTTReasonCode(rawValue: 0x9C)
    /// Another server is to be used from now on.
    public static let serverMoved = MQTTReasonCode(rawValue: 0x9D)
    /// The server has no shared subscriptions.
    public static let sharedSubscriptionsNotSupported = MQTTReasonCode(rawValue: 0x9E)
    /// Connections come too fast.
    public static let connectionRateExceeded = MQTTReasonCode(rawValue: 0x9F)
    /// The connection has lasted as long as it may.
    public static let maximumConnectTime = MQTTReasonCode(rawValue: 0xA0)
    /// The server has no subscription identifiers.
    public static let subscriptionIdentifiersNotSupported = MQTTReasonCode(rawValue: 0xA1)
    /// The server has no subscriptions with wildcards.
    public static let wildcardSubscriptionsNotSupported = MQTTReasonCode(rawValue: 0xA2)

    /// What 5.0 has for a return code of 3.1.1's CONNACK (MQTT 3.1.1, table 3.1); others stay as they are.
    init(returnCode: UInt8) {
        switch returnCode {
        case 1: self = .unsupportedProtocolVersion
        case 2: self = .clientIdentifierNotValid
        case 3: self = .serverUnavailable
        case 4: self = .badUserNameOrPassword
        case 5: self = .notAuthorized
        default: self = MQTTReasonCode(rawValue: returnCode)
        }
    }
}

/// A reason code, and what the server has said with it.
public struct MQTTReason: Equatable, Sendable {
    /// The code.
    public let code: MQTTReasonCode
    #if os(Linux) || MQTT5
    /// The properties of the packet, such as the reason string; of 3.1.1, none.
    public let properties: MQTTProperties

    /// A reason from its parts.
    public init(_ code: MQTTReasonCode, _ properties: MQTTProperties = MQTTProperties()) {
        self.code = code
        self.properties = properties
    }
    #else
    /// A reason that is nothing but its code.
    public init(_ code: MQTTReasonCode) { self.code = code }
    #endif
}

#if !hasFeature(Embedded)
extension MQTTReasonCode: CustomStringConvertible {
    /// The code's name in the standard and its number: `not authorized (0x87)`.
    public var description: String {
        let name =
            switch self {
            case .success: "success"
            case .disconnectWithWill: "disconnect with will message"
            case .noMatchingSubscribers: "no matching subscribers"
            case .noSubscriptionExisted: "no subscription existed"
            case .continueAuthentication: "continue authentication"
            case .reauthenticate: "re-authenticate"
            case .unspecifiedError: "unspecified error"
            case .malformedPacket: "malformed packet"
            case .protocolError: "protocol error"
            case .implementationSpecificError: "implementation specific error"
            case .unsupportedProtocolVersion: "unsupported protocol version"
            case .clientIdentifierNotValid: "client identifier not valid"
            case .badUserNameOrPassword: "bad user name or password"
            case .notAuthorized: "not authorized"
            case .serverUnavailable: "server unavailable"
            case .serverBusy: "server busy"
            case .banned: "banned"
            case .serverShuttingDown: "server shutting down"
            case .badAuthenticationMethod: "bad authentication method"
            case .keepAliveTimeout: "keep alive timeout"
            case .sessionTakenOver: "session taken over"
            case .topicFilterInvalid: "topic filter invalid"
            case .topicNameInvalid: "topic name invalid"
            case .packetIdentifierInUse: "packet identifier in use"
            case .packetIdentifierNotFound: "packet identifier not found"
            case .receiveMaximumExceeded: "receive maximum exceeded"
            case .topicAliasInvalid: "topic alias invalid"
            case .packetTooLarge: "packet too large"
            case .messageRateTooHigh: "message rate too high"
            case .quotaExceeded: "quota exceeded"
            case .administrativeAction: "administrative action"
            case .payloadFormatInvalid: "payload format invalid"
            case .retainNotSupported: "retain not supported"
            case .qosNotSupported: "QoS not supported"
            case .useAnotherServer: "use another server"
            case .serverMoved: "server moved"
            case .sharedSubscriptionsNotSupported: "shared subscriptions not supported"
            case .connectionRateExceeded: "connection rate exceeded"
            case .maximumConnectTime: "maximum connect time"
            case .subscriptionIdentifiersNotSupported: "subscription identifiers not supported"
            case .wildcardSubscriptionsNotSupported: "wildcard subscriptions not supported"
            default: "unknown reason"
            }
        let hex = String(rawValue, radix: 16, uppercase: true)
        return "\(name) (0x\(rawValue < 16 ? "0" : "")\(hex))"
    }
}

extension MQTTReason: CustomStringConvertible {
    /// The code, and the server's own words if it has said any.
    public var description: String { properties.reasonString.map { "\(code): \($0)" } ?? "\(code)" }
}
#endif
