internal import Kernel

/// How a server behaves: the transmission parameters of RFC 7252, 4.8, and the server's own limits. What peers can make it remember is bounded by these.
public struct CoAPServerConfiguration: Sendable {
    /// The transmission parameters, ``CoAPConfiguration/blockBytes``, ``CoAPConfiguration/maximumMessageBytes``, the critical options that handlers deal with
    /// (``CoAPConfiguration/understoodOptions``), and the largest body of a request, ``CoAPConfiguration/maximumBodyBytes``; the rest is for clients.
    public var messages = CoAPConfiguration()
    /// For how long a handler may think before a confirmable request is acknowledged by a message of its own (RFC 7252, 5.2.2). It must be less than the client's
    /// ACK_TIMEOUT, 2 s.
    public var acknowledgementDelay: Duration = .milliseconds(500)
    /// After how long the server answers 5.03 for a handler that does not answer.
    public var handlerTimeout: Duration = .seconds(60)
    /// What the Max-Age of a 4.29 says: after how many seconds to try again (RFC 8516).
    public var overloadMaxAge: UInt32 = 5
    /// Within which time the response to a multicast request is sent, at random (RFC 7252, 8.2).
    public var leisure: Duration = .seconds(5)
    /// One notification in so many is confirmable, so that an observer who is gone is found out; 1 for all of them (RFC 7641, 4.5).
    public var confirmableNotificationInterval = 5
    /// The least time between two notifications to an observer; what changes meanwhile is told once (RFC 7641, 4.5.1).
    public var leastNotificationInterval: Duration = .zero
    /// For how long the value of an Echo option is taken as a proof that a request is not older (RFC 9175, 2.3).
    public var echoLifetime: Duration = .seconds(60)
    /// For how long a body is kept of which a block has not been sent or asked for.
    public var bodyLifetime: Duration = .seconds(120)
    /// The names that the server has; a request for another gets 5.05, since it is meant for a proxy (RFC 7252, 5.7.2). With none, any name will do.
    public var hosts: [[UInt8]] = []
    #if hasFeature(Embedded)
    /// How many requests may be in the handlers' hands, or have a response under way that is not acknowledged. One more gets 4.29.
    public var exchangeLimit = 8
    /// How many responses are remembered, so that a copy of a request gets the same one.
    public var duplicateLimit = 16
    /// How many observers there may be. A further one gets a response, and no notifications.
    public var observerLimit = 8
    /// How many bodies may be under way in blocks, in either direction. For a new one, that which was used least recently is forgotten.
    public var bodyLimit = 4
    /// How many bytes these have altogether.
    public var bodyBytesLimit = 16_384
    #else
    /// How many requests may be in the handlers' hands, or have a response under way that is not acknowledged. One more gets 4.29.
    public var exchangeLimit = 256
    /// How many responses are remembered, so that a copy of a request gets the same one.
    public var duplicateLimit = 2_048
    /// How many observers there may be. A further one gets a response, and no notifications.
    public var observerLimit = 1_024
    /// How many bodies may be under way in blocks, in either direction. For a new one, that which was used least recently is forgotten.
    public var bodyLimit = 128
    /// How many bytes these have altogether.
    public var bodyBytesLimit = 16_777_216
    #endif

    /// The defaults of the standards.
    public init() {}
}

/// What a server has met that was not in order, since its start.
public struct CoAPServerCounters: Equatable, Sendable {
    /// Confirmable messages that were sent again, each copy.
    public internal(set) var retransmissions = 0
    /// Datagrams that are no CoAP messages.
    public internal(set) var malformed = 0
    /// Copies of requests that had arrived before.
    public internal(set) var duplicates = 0
    /// Messages that are no requests, and acknowledge or reject nothing.
    public internal(set) var unexpected = 0
    /// Resets that were sent, also to pings.
    public internal(set) var resetsSent = 0
    /// Requests that were refused for lack of room.
    public internal(set) var refused = 0
    /// Confirmable messages that nobody acknowledged.
    public internal(set) var unacknowledged = 0

    /// Nothing yet.
    public init() {}
}
