/// Why MQTT in a modem's firmware failed.
@nonexhaustive
public enum ModemMQTTError: Error, Equatable, Sendable {
    /// The modem's driver knows of no MQTT in the firmware; see ``ModemDriver/tencentESP8266``.
    case notInFirmware
    /// A product ID of 1 to 10 bytes, a device name of 1 to 48 and a secret of 1 to 44 are taken, of printable ASCII characters.
    case invalidIdentity
    /// A time, or a limit, is outside what the firmware takes; see ``ModemMQTTConfiguration``.
    case invalidConfiguration
    /// A topic that is empty, or has characters that the firmware cannot be given, or wildcards where it is published to.
    case invalidTopic
    /// The topic has more bytes than the firmware takes.
    case topicTooLong(bytes: Int, limit: Int)
    /// The firmware refuses messages without a payload.
    case payloadEmpty
    /// The payload has more bytes than the firmware takes.
    case payloadTooLong(bytes: Int, limit: Int)
    /// The firmware would cut the payload off, since it has the text `+++` and a line end in it.
    case payloadUnsendable
    /// The firmware has QoS 0 and 1 only.
    case qosNotSupported
    /// So many topic filters are subscribed to that the firmware takes no more.
    case tooManySubscriptions(limit: Int)
    /// So many requests wait that no more are taken.
    case queueFull(limit: Int)
    /// There is no connection, and this request is not one that waits for the next.
    case notConnected
    /// The modem has not said what became of it: it may have been done.
    case unanswered
    /// The firmware says that it failed, and why.
    case failed(ModemMQTTCode)
    /// The firmware says that the connection is lost, and why.
    case connectionLost(ModemMQTTCode)
    /// The command failed for a reason that has nothing to do with MQTT.
    case modem(ATError)
    /// The modem has no network, or none is there any more.
    case modemDetached
    /// The connection was ended on this side.
    case disconnected
    /// The task that waited was cancelled. What it asked for may still be done.
    case cancelled
}

/// A number by which the firmware says why: those from 200 are of its commands, the negative ones of its MQTT client.
public struct ModemMQTTCode: RawRepresentable, Equatable, Sendable {
    /// The number on the line.
    public let rawValue: Int32
    /// A number from the line.
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// No reason was given.
    public static let unknown = ModemMQTTCode(rawValue: 0)
    /// The host has ended the connection.
    public static let endedByHost = ModemMQTTCode(rawValue: 2)
    /// There is no connection to the server.
    public static let noConnection = ModemMQTTCode(rawValue: -103)
    /// The firmware is connecting again.
    public static let reconnecting = ModemMQTTCode(rawValue: -105)
    /// The firmware has tried to connect again for as long as it does.
    public static let reconnectTimedOut = ModemMQTTCode(rawValue: -106)
    /// The firmware takes no more topic filters.
    public static let tooManySubscriptions = ModemMQTTCode(rawValue: -107)
    /// The server has refused the subscription.
    public static let subscriptionRefused = ModemMQTTCode(rawValue: -108)
    /// The server has not answered in time.
    public static let requestTimedOut = ModemMQTTCode(rawValue: -111)
    /// The server does not take the client identifier.
    public static let identifierRejected = ModemMQTTCode(rawValue: -114)
    /// The server is not available.
    public static let serverUnavailable = ModemMQTTCode(rawValue: -115)
    /// User name or password is wrong.
    public static let badUserNameOrPassword = ModemMQTTCode(rawValue: -116)
    /// The client may not connect.
    public static let notAuthorized = ModemMQTTCode(rawValue: -117)
    /// The host's name has no address.
    public static let unknownHost = ModemMQTTCode(rawValue: -602)
    /// No TCP connection was made.
    public static let connectFailed = ModemMQTTCode(rawValue: -603)
    /// No TLS connection was made.
    public static let secureConnectFailed = ModemMQTTCode(rawValue: -703)
    /// Another command is not over yet.
    public static let commandUnderWay = ModemMQTTCode(rawValue: 200)
    /// The command took longer than its time.
    public static let commandTimedOut = ModemMQTTCode(rawValue: 202)
    /// A parameter is wrong.
    public static let parameterInvalid = ModemMQTTCode(rawValue: 204)
    /// There is no firmware image.
    public static let noFirmware = ModemMQTTCode(rawValue: 205)
    /// The modem has no memory left.
    public static let noMemory = ModemMQTTCode(rawValue: 206)
    /// The command cannot be done in this state, such as without a connection.
    public static let wrongState = ModemMQTTCode(rawValue: 208)

    /// Whether a request that fails with it may succeed a little later.
    var isPassing: Bool {
        switch rawValue {
        // No reason; no connection to reconnecting; a time that was over; a command under way, its time, no memory.
        case -1_001, -106 ... -103, -111, 200, 202, 206: true
        default: isOfConnection
        }
    }

    /// Whether it says that there is no connection any more: no MQTT, TCP or TLS, or a state that is not the one for the command.
    var isOfConnection: Bool {
        switch rawValue {
        case -103, -609 ... -601, -709 ... -701, 208: true
        default: false
        }
    }
}

#if !hasFeature(Embedded)
extension ModemMQTTCode: CustomStringConvertible {
    /// What the number means, and the number: `not authorized (-117)`.
    public var description: String {
        let name =
            switch self {
            case .unknown: "no reason given"
            case .endedByHost: "ended by the host"
            case .noConnection: "no connection"
            case .reconnecting: "reconnecting"
            case .reconnectTimedOut: "reconnecting took too long"
            case .tooManySubscriptions: "too many subscriptions"
            case .subscriptionRefused: "subscription refused"
            case .requestTimedOut: "request timed out"
            case .identifierRejected: "client identifier rejected"
            case .serverUnavailable: "server unavailable"
            case .badUserNameOrPassword: "bad user name or password"
            case .notAuthorized: "not authorized"
            case .unknownHost: "unknown host"
            case .connectFailed: "connect failed"
            case .secureConnectFailed: "secure connect failed"
            case .commandUnderWay: "another command is under way"
            case .commandTimedOut: "command timed out"
            case .parameterInvalid: "parameter invalid"
            case .noFirmware: "no firmware"
            case .noMemory: "no memory"
            case .wrongState: "wrong state"
            default: "failure"
            }
        return "\(name) (\(rawValue))"
    }
}
#endif
