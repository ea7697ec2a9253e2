/// How a client behaves towards one peer: the transmission parameters of RFC 7252, 4.8, and the client's own limits.
public struct CoAPConfiguration: Sendable {
    /// ACK_TIMEOUT: the least time before a confirmable message is sent for the second time. At most a day.
    public var acknowledgementTimeout: Duration = .seconds(2)
    /// ACK_RANDOM_FACTOR in percent: that time is drawn, once per message, between the least and this much of it. 100 to 1,000.
    public var acknowledgementRandomFactorPercent = 150
    /// MAX_RETRANSMIT: how often a confirmable message is sent again, each time after twice the wait before. 0 to 16.
    public var maximumRetransmissions = 4
    /// MAX_LATENCY: how long a datagram may be on its way.
    public var maximumLatency: Duration = .seconds(100)
    /// EXCHANGE_LIFETIME, within which no message ID is used twice, where it shall not be what RFC 7252, 4.8.2 computes (247 s). As there are
    /// 65,536 IDs, it bounds the rate of requests to one peer: to about 250 a second by default. Requests beyond that wait.
    public var exchangeLifetime: Duration?
    /// NSTART: how many requests may be on their way that were not acknowledged or answered yet. The others wait.
    public var outstandingLimit = 1
    /// How many requests may be unfinished: waiting for their turn, for an acknowledgement or for a response. 1 to 32,768.
    public var requestLimit = 64
    /// How long to wait for the response to a non-confirmable request without a timeout of its own. A confirmable one is
    /// given EXCHANGE_LIFETIME.
    public var nonConfirmableTimeout: Duration = .seconds(10)
    /// How many random bytes a token has, 2 to 8.
    public var tokenBytes = 4
    /// The largest request that is sent, in bytes (RFC 7252, 4.6).
    public var maximumMessageBytes = 1_152
    #if !hasFeature(Embedded)
    /// The largest message that is taken from a byte stream, in bytes, and the largest that is sent into one, if the peer takes it (RFC 8323, 5.3.1). A longer body goes in blocks.
    public var maximumStreamMessageBytes = 66_688
    #endif
    /// The size of the blocks that a larger body is sent and asked for in: 16, 32, 64, up to 1,024 bytes; another number counts as the next smaller of these. The server
    /// may make them smaller (RFC 7959, 2.2).
    public var blockBytes = 1_024
    #if hasFeature(Embedded)
    /// The largest body of a response that is put together from blocks, which must fit into the heap twice.
    public var maximumBodyBytes = 8_192
    #else
    /// The largest body of a response that is put together from blocks.
    public var maximumBodyBytes = 1_048_576
    #endif
    /// How often a body is begun anew: when the server has lost blocks, wants smaller ones, or has another representation meanwhile.
    public var bodyRestarts = 3
    /// How many separate responses are remembered, so that a copy of one is known for what it is.
    public var duplicateLimit = 32
    /// Critical options of responses that the user of the client deals with, beside those of RFC 7252 itself.
    public var understoodOptions: [CoAPOptionNumber] = []
    /// Whether an acknowledgement of code 2.03 with the request's token, and neither options nor payload, says "received, the response
    /// follows separately", as that of Tencent Cloud IoT Hub does. By the standard it would be a response without content; to
    /// requests with an ETag option, where 2.03 has a meaning, it stays one.
    public var treatsEmptyValidAsAcknowledgement = false

    /// How long to wait for the datagram socket: the peer's name, the modem, the secure layer.
    public var openTimeout: Duration = .seconds(10)

    /// The defaults of the standard.
    public init() {}

    var blockExponent: UInt8 { CoAPBlock.exponent(notOver: blockBytes) }

    var retransmissions: Int { min(max(maximumRetransmissions, 0), 16) }
}

/// The times that follow from a ``CoAPConfiguration`` (RFC 7252, 4.8.2).
struct CoAPTimeouts: Sendable {
    /// EXCHANGE_LIFETIME: how long a message ID stays taken. PROCESSING_DELAY is taken to be ACK_TIMEOUT.
    let exchangeLifetime: Duration
    /// NON_LIFETIME: how long a copy of a non-confirmable message may arrive.
    let nonConfirmableLifetime: Duration
    private let least: Duration
    /// What is between the least and the greatest timeout, in parts of 2 to the power of 20.
    private let step: Int64

    init(_ configuration: CoAPConfiguration) {
        // In 64-bit numbers, as the division of a Duration is one of 128 bits, which costs a Cortex-M 2 KB of code.
        let (seconds, attoseconds) = configuration.acknowledgementTimeout.components
        let nanoseconds = min(max(seconds, 0), 86_400) * 1_000_000_000 + max(attoseconds, 0) / 1_000_000_000
        let percent = Int64(min(max(configuration.acknowledgementRandomFactorPercent, 100), 1_000) - 100)
        let spread = nanoseconds / 100 * percent
        least = .nanoseconds(nanoseconds)
        step = spread >> 20
        // MAX_TRANSMIT_SPAN: from the first to the last transmission of a message, at most.
        var span = Duration.zero
        var wait = Duration.nanoseconds(nanoseconds + spread)
        for _ in 0..<configuration.retransmissions {
            span += wait
            wait += wait
        }
        let latency = configuration.maximumLatency
        exchangeLifetime = configuration.exchangeLifetime ?? span + latency + latency + least
        nonConfirmableLifetime = span + latency
    }

    /// The wait before the first retransmission, as `random`, any number, decides.
    func first(random: UInt64) -> Duration { least + .nanoseconds(step * Int64(random >> 44)) }
}
