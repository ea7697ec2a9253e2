internal import Kernel

/// What a client tells the server in CONNECT (MQTT 5.0, 3.1), and the client's own limits.
public struct MQTTConfiguration: Sendable {
    /// The version of the protocol.
    public var version = MQTTVersion.v3_1_1
    /// The client identifier, UTF-8, at most 65,535 bytes; servers need only take 23. Empty: the server makes one.
    public var clientID: [UInt8]
    /// The user name, UTF-8, if the server wants one.
    public var userName: [UInt8]?
    /// The password; in 3.1.1 it needs a user name.
    public var password: [UInt8]?
    /// What the server publishes when the connection breaks.
    public var will: Will?
    /// Whether the server forgets an earlier session at the first connect (in 3.1.1, "clean session": at each, and when the connection ends).
    public var cleanStart = true
    /// How long the connection may be silent before the client pings, in seconds; zero never pings. A server may ask for another time.
    public var keepAliveSeconds: UInt16 = 60
    /// How long to wait for the transport to come up.
    public var connectTimeout: Duration = .seconds(10)
    /// How long to wait for CONNACK then. Servers that keep their sessions in a cluster take seconds.
    public var acknowledgementTimeout: Duration = .seconds(10)
    /// How long to wait for an answer to a ping before the connection is taken to be dead, at most; half the keep alive if that is less.
    public var pingTimeout: Duration = .seconds(10)
    /// The largest packet that is taken from the server, in bytes; one that is larger ends the connection before it is read.
    public var maximumPacketBytes = 262_144
    /// How many messages with acknowledgements may have arrived before the first of them is acknowledged. A server of 5.0 is told, and sends no more; from one of
    /// 3.1.1 no more is read.
    public var receiveMaximum: UInt16 = 256
    /// How many messages may be under way to the server without their acknowledgement; a server of 5.0 may set less.
    public var maximumInFlight = 65_535
    #if !hasFeature(Embedded)
    /// How many of them may have QoS 2, with a server of 3.1.1, which cannot say how many it takes: Mosquitto takes 20, and leaves more without an answer.
    public var maximumQoS2InFlight = 20
    #endif
    /// What waits to be acknowledged by the server, connected or not.
    public var queue = MQTTQueueLimits()
    #if !hasFeature(Embedded)
    /// What becomes of messages with an acknowledgement when the server has lost the session: whether they are published again as
    /// new ones, or fail with ``MQTTError/disconnected``. Of those with QoS 2, the server may have delivered some already.
    public var publishesAgainWithoutSession = true
    #endif
    /// How to come back when the connection breaks.
    public var reconnect = ReconnectPolicy()

    #if os(Linux) || MQTT5
    /// How long the server keeps the session after the connection has ended, in seconds; all ones: for ever (5.0).
    public var sessionExpirySeconds: UInt32 = 0
    /// How many topic aliases the server may use (5.0).
    public var topicAliasMaximum: UInt16 = 16
    /// How many topic aliases this client uses for what it publishes, if the server takes as many: the topics that were used last (5.0).
    public var outgoingTopicAliases: UInt16 = 0
    /// More properties of CONNECT: user properties, and whether response information and problem information are wanted (5.0).
    public var connectProperties = MQTTProperties()
    /// A login in several steps (5.0).
    public var authentication: (any MQTTAuthentication)?
    /// Whether a server of 3.1.1 has shared subscriptions, which it cannot say itself. Mosquitto and EMQX have; RabbitMQ grants them and then delivers
    /// nothing, so unless this is set they fail with ``MQTTError/unsupportedByServer(_:)``. One of 5.0 says it.
    public var hasSharedSubscriptions = false
    #endif

    /// A will: the message that the server publishes in the client's name when the connection breaks (MQTT 5.0, 3.1.2.5).
    public struct Will: Equatable, Sendable {
        /// The topic name, UTF-8.
        public var topic: [UInt8]
        /// The payload, at most 65,535 bytes.
        public var payload: [UInt8]
        /// The guarantee that it is published with.
        public var qos: QoS
        /// Whether the server keeps it for new subscribers.
        public var isRetained: Bool
        #if os(Linux) || MQTT5
        /// What else is told of it, such as its delay (5.0).
        public var properties = MQTTProperties()
        #endif

        /// A will from its parts.
        public init(topic: [UInt8], payload: [UInt8], qos: QoS = .atMostOnce, isRetained: Bool = false) {
            self.topic = topic
            self.payload = payload
            self.qos = qos
            self.isRetained = isRetained
        }
    }

    /// A configuration with the defaults; the client identifier may be empty with a clean start.
    public init(clientID: [UInt8]) { self.clientID = clientID }
}

/// Limits for what waits: messages to publish, subscriptions and unsubscriptions.
public struct MQTTQueueLimits: Sendable {
    #if !hasFeature(Embedded)
    /// What is done about one more than there may be.
    public enum Policy: Sendable {
        /// The new one fails with ``MQTTError/queueFull(limit:)``. Calls that are `async` wait for room instead.
        case wait
        /// The new one fails with ``MQTTError/queueFull(limit:)``.
        case fail
        /// The oldest message that was not sent yet is dropped; who waits for it gets ``MQTTError/droppedFromQueue``.
        case dropOldest
        /// The new one is dropped, and counted.
        case dropNewest
    }
    #endif

    /// How many may wait.
    public var requests = 1_000
    /// How many bytes they may have, and the largest packet that is sent.
    public var bytes = Self.defaultBytes
    #if !hasFeature(Embedded)
    /// What is done about one more.
    public var whenFull = Policy.wait
    /// Whether messages with QoS 0 wait for a connection too, instead of failing with ``MQTTError/notConnected``.
    public var keepsQoS0 = false
    #endif

    #if hasFeature(Embedded)
    private static var defaultBytes: Int { 4_096 }
    #else
    private static var defaultBytes: Int { 1_048_576 }
    #endif

    /// The default limits.
    public init() {}
}

/// How a topic filter is subscribed to (MQTT 5.0, 3.8.3.1).
public struct MQTTSubscriptionOptions: Equatable, Sendable {
    /// The highest guarantee that messages are delivered with.
    public var qos: QoS
    #if os(Linux) || MQTT5
    /// Whether one's own messages are left out (5.0).
    public var noLocal = false
    /// Whether messages keep their retain flag; if not, only those have it that were sent because of the subscription (5.0).
    public var retainAsPublished = false
    /// Which kept messages are sent because of the subscription (5.0).
    public var retainHandling = RetainHandling.send
    /// A number from 1 to 268,435,455 that messages are known to belong to the subscription by (5.0).
    public var identifier: Int?
    /// User properties of the request (5.0).
    public var properties = MQTTProperties()

    /// Which kept messages are sent when one subscribes.
    public enum RetainHandling: UInt8, Sendable {
        /// All of them.
        case send = 0
        /// All of them if the subscription is new.
        case sendIfNew = 1
        /// None.
        case doNotSend = 2
    }
    #endif

    /// Options with the guarantee `qos`, and else the defaults.
    public init(_ qos: QoS = .atLeastOnce) { self.qos = qos }

    /// The byte behind the topic filter.
    var byte: UInt8 {
        #if os(Linux) || MQTT5
        return qos.rawValue | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | retainHandling.rawValue << 4
        #else
        return qos.rawValue
        #endif
    }
}

#if os(Linux) || MQTT5
/// A login in several steps, such as SCRAM or Kerberos (MQTT 5.0, 4.12). It is asked on the client's loop, and must not call the
/// client or its connection from there.
public protocol MQTTAuthentication: AnyObject, Sendable {
    /// The name of the method, UTF-8.
    var method: [UInt8] { get }
    /// What CONNECT, or the AUTH that begins a re-authentication, says; it begins anew.
    func initialData() -> [UInt8]?
    /// What is answered to the server's `data`; `nil` gives up.
    func answer(_ data: [UInt8]?) -> [UInt8]?
    /// The server is content, and has said this with it; `false` if that is not right.
    func finish(_ data: [UInt8]?) -> Bool
}
#endif

/// When to connect again after a failure, and when not: a delay that doubles with each, with full jitter, up to a limit.
public struct ReconnectPolicy: Sendable {
    /// The longest delay after the first failure, in milliseconds.
    public var firstDelayMilliseconds = 1_000
    /// The longest delay, in milliseconds.
    public var longestDelayMilliseconds = 60_000
    /// How long a connection must have held, in milliseconds, for the delays to start again from the first.
    public var stableAfterMilliseconds = 10_000
    #if !hasFeature(Embedded)
    /// After how many failures in a row it is given up; 0: never.
    public var maximumFailures = 0
    /// After how many times in a row that another client has taken the session over it is given up: two that fight for one client identifier would do
    /// so for ever. 0: never. Only a server of 5.0 says so; of 3.1.1, ``MQTTError/closedRepeatedly(times:)`` is told from the third time on.
    public var maximumTakeovers = 5
    #endif

    /// The default policy: within 1 s, doubling up to 60 s.
    public init() {}

    /// Whether it is of no use to try again after the server has said this: who it is or what it wants must change first. A login that
    /// is wrong is not: it may be made anew for each attempt.
    func givesUp(after code: MQTTReasonCode) -> Bool {
        switch code {
        case .malformedPacket, .protocolError, .unsupportedProtocolVersion, .clientIdentifierNotValid, .banned,
            .badAuthenticationMethod, .topicNameInvalid, .packetTooLarge, .payloadFormatInvalid, .retainNotSupported,
            .qosNotSupported:
            true
        default: false
        }
    }

    /// The delay after `failures` failures in a row (from 1): anything up to the doubled delay, as `random`, any number, decides;
    /// at least 10 ms.
    func delay(afterFailures failures: Int, random: UInt32) -> Duration {
        var full = max(firstDelayMilliseconds, 1)
        var doublings = failures - 1
        while doublings > 0, full < longestDelayMilliseconds {
            full *= 2
            doublings -= 1
        }
        full = min(full, longestDelayMilliseconds)
        let spread = UInt32(truncatingIfNeeded: full &+ 1)
        return .milliseconds(max(Int(random.multipliedFullWidth(by: spread).high), min(10, full)))
    }
}
