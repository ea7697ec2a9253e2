internal import Kernel

/// What a client tells the server in CONNECT (MQTT 3.1.1, 3.1), and the client's own limits.
public struct MQTTConfiguration: Sendable {
    /// The client identifier, UTF-8, at most 65,535 bytes; servers need only take 23.
    public var clientID: [UInt8]
    /// The user name, UTF-8, if the server wants one.
    public var userName: [UInt8]?
    /// The password; needs a user name.
    public var password: [UInt8]?
    /// What the server publishes when the connection breaks.
    public var will: Will?
    /// Whether the server forgets the session at each connect. If not, it keeps subscriptions and messages meanwhile.
    public var cleanSession = true
    /// How long the connection may be silent before the client pings, in seconds; zero never pings.
    public var keepAliveSeconds: UInt16 = 60
    /// How long to wait for the transport to come up and for CONNACK, each.
    public var connectTimeout: Duration = .seconds(10)
    /// How long to wait for PINGRESP before the connection is taken to be dead.
    public var pingTimeout: Duration = .seconds(10)
    /// The largest packet that is taken from the server or given to it, in bytes.
    public var maximumPacketBytes = 262_144
    /// How many publishes and subscriptions may wait for their acknowledgement, connected or not.
    public var maximumInFlight = 1_000
    /// How to come back when the connection breaks.
    public var reconnect = ReconnectPolicy()

    /// A will: the message that the server publishes in the client's name when the connection breaks (MQTT 3.1.1, 3.1.2.5).
    public struct Will: Equatable, Sendable {
        /// The topic name, UTF-8.
        public var topic: [UInt8]
        /// The payload, at most 65,535 bytes.
        public var payload: [UInt8]
        /// The guarantee that it is published with.
        public var qos: QoS
        /// Whether the server keeps it for new subscribers.
        public var isRetained: Bool

        /// A will from its parts.
        public init(topic: [UInt8], payload: [UInt8], qos: QoS = .atMostOnce, isRetained: Bool = false) {
            self.topic = topic
            self.payload = payload
            self.qos = qos
            self.isRetained = isRetained
        }
    }

    /// A configuration with the defaults; the client identifier may be empty with a clean session.
    public init(clientID: [UInt8]) { self.clientID = clientID }
}

/// When to connect again after a failure: a delay that doubles with each, with jitter, up to a limit.
public struct ReconnectPolicy: Sendable {
    /// The delay after the first failure, in milliseconds.
    public var firstDelayMilliseconds = 1_000
    /// The longest delay, in milliseconds.
    public var longestDelayMilliseconds = 60_000
    /// How long a connection must have held, in milliseconds, for the delays to start again from the first.
    public var stableAfterMilliseconds = 10_000

    /// The default policy: 1 s, doubling up to 60 s.
    public init() {}

    /// The delay after `failures` failures in a row (from 1): between half of the doubled delay and all of it, as `random`,
    /// any number, decides.
    func delay(afterFailures failures: Int, random: UInt32) -> Duration {
        var full = max(firstDelayMilliseconds, 1)
        var doublings = failures - 1
        while doublings > 0, full < longestDelayMilliseconds {
            full *= 2
            doublings -= 1
        }
        full = min(full, longestDelayMilliseconds)
        let half = full >> 1
        let spread = UInt32(truncatingIfNeeded: full &- half &+ 1)
        return .milliseconds(half &+ Int(random.multipliedFullWidth(by: spread).high))
    }
}
