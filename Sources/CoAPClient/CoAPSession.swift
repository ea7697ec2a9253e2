internal import Kernel
internal import SAL

/// Names a request that was given to a ``CoAPSession``; never used again.
public struct CoAPExchangeID: Equatable, Hashable, Sendable {
    private let number: UInt64
    /// Where the session keeps it.
    let place: Int

    init(_ number: UInt64, at place: Int) {
        self.number = number
        self.place = place
    }
}

/// What a session has met that was not in order, since its start.
public struct CoAPCounters: Equatable, Sendable {
    /// Confirmable requests that were sent again, each copy.
    public internal(set) var retransmissions = 0
    /// Datagrams that are no CoAP messages.
    public internal(set) var malformed = 0
    /// Notifications whose further blocks could not be fetched.
    public internal(set) var lostNotifications = 0
    /// Notifications that a newer one had overtaken.
    public internal(set) var reordered = 0
    /// Copies of responses that had arrived before.
    public internal(set) var duplicates = 0
    /// Messages that fit no request: late or foreign responses, acknowledgements and resets, and requests to us.
    public internal(set) var unexpected = 0
    /// Resets that were sent.
    public internal(set) var resetsSent = 0

    /// Nothing yet.
    public init() {}
}

/// The rules of RFC 7252 for a client and one peer, as a struct that is given datagrams and time.
///
/// Call ``transportOpened(at:)`` when datagrams can be sent, ``send(_:timeout:at:)`` for each request, and feed what arrives to
/// ``receive(_:isTruncated:at:)``. After each call drain ``nextOutput()`` and set a timer for ``deadline``.
public struct CoAPSession: ~Copyable {
    /// What the driver does next, in this order.
    public enum Output: Equatable, Sendable {
        /// Send this datagram to the peer.
        case transmit([UInt8])
        /// The resource that a request observes is now like this (RFC 7641); the request goes on.
        case notification(CoAPExchangeID, CoAPResponse)
        /// Nothing has been heard of an observed resource for longer than what was notified last is valid; the server is asked again, and the request goes on.
        case stale(CoAPExchangeID)
        /// A request is over.
        case finished(CoAPExchangeID, Result<CoAPResponse, CoAPError>)
        #if !hasFeature(Embedded)
        /// The stream is to be closed, when all that was to be transmitted is sent, and another one opened if there are requests: after so long, if the peer wants that.
        case disconnect(holdOff: Duration?)
        #endif
    }

    /// A separate response that was delivered: its copies are acknowledged too, and go no further.
    struct Delivered {
        let messageID: UInt16
        let token: CoAPToken
        let forgetAt: Duration
    }

    #if !hasFeature(Embedded)
    /// Whether messages travel in a byte stream.
    let isStream: Bool
    var stream = CoAPStreamState()
    #endif
    /// How the session behaves.
    public let configuration: CoAPConfiguration
    /// What it has met that was not in order.
    public internal(set) var counters = CoAPCounters()
    var random: CoAPRandom
    var jitter: UInt64
    var messageIDs: MessageIDs
    var lastID: UInt64 = 0
    var isTransportOpen = false
    var exchanges: ExchangeTable
    /// Those that have not been sent yet, and some of them that are over.
    var queued: RingQueue<Exchange>
    /// Those that have another message to send, and some that had.
    var stalled = RingQueue<Exchange>(limit: .max)
    /// How many exchanges the user has not asked for.
    var hiddenCount = 0
    var outstandingCount = 0
    let requestLimit: Int
    let timeouts: CoAPTimeouts
    private var delivered: RingQueue<Delivered>
    private var outputs = RingQueue<Output>(limit: .max)

    /// When to call ``handleTimeout(at:)``, or `nil` while no timer runs. It may come before there is anything to do.
    public internal(set) var deadline: Duration?

    /// A session without a transport. All that is random about it comes from `seed`.
    public init(_ configuration: CoAPConfiguration = CoAPConfiguration(), seed: CoAPSeed) {
        self.init(configuration, seed, isStream: false)
    }

    #if !hasFeature(Embedded)
    /// A session over byte streams: those of TCP or TLS (RFC 8323). All that is random about it comes from `seed`.
    public init(overStreams configuration: CoAPConfiguration = CoAPConfiguration(), seed: CoAPSeed) {
        self.init(configuration, seed, isStream: true)
    }
    #endif

    private init(_ configuration: CoAPConfiguration, _ seed: CoAPSeed, isStream: Bool) {
        #if !hasFeature(Embedded)
        self.isStream = isStream
        #endif
        self.configuration = configuration
        timeouts = CoAPTimeouts(configuration)
        random = CoAPRandom(seed)
        jitter = random.next()
        messageIDs = MessageIDs(first: UInt16(truncatingIfNeeded: random.next()))
        requestLimit = min(max(configuration.requestLimit, 1), 32_768)
        exchanges = ExchangeTable(limit: requestLimit)
        queued = RingQueue(limit: 2 * requestLimit)
        delivered = RingQueue(limit: max(configuration.duplicateLimit, 1))
    }

    /// How many requests are not finished.
    public var requestCount: Int { exchanges.count - hiddenCount }

    /// Whether nothing is under way.
    var isIdle: Bool { exchanges.count == 0 }

    /// The next thing to do, or `nil` when there is nothing.
    public mutating func nextOutput() -> Output? {
        guard !outputs.isEmpty else { return nil }
        // From now on another request may have its place.
        if case .finished(let id, _) = outputs[0] { exchanges.release(id.place) }
        return outputs.dequeue()
    }

    // MARK: The transport

    /// Datagrams, or bytes, can be sent from now on: what waits goes out.
    public mutating func transportOpened(at now: Duration) {
        isTransportOpen = true
        #if !hasFeature(Embedded)
        if isStream { return openStream(at: now) }
        #endif
        registerAll()
        deadline = now
        handleTimeout(at: now)
    }

    /// Datagrams, or bytes, cannot be sent until the next ``transportOpened(at:)``. Requests stay, and their time goes on; those that were sent over a stream and not
    /// answered fail with ``CoAPError/connectionLost``, but for GET and FETCH, which are sent once more.
    public mutating func transportClosed() {
        isTransportOpen = false
        #if !hasFeature(Embedded)
        if isStream { closeStream() }
        #endif
        // By another transport the server would not know what is meant.
        for place in exchanges.indices {
            if let exchange = exchanges[place], exchange.audience == .nobody { drop(exchange) }
        }
    }

    /// Ends all requests with `error`.
    public mutating func failAll(_ error: CoAPError) {
        for place in exchanges.indices {
            guard let exchange = exchanges[place] else { continue }
            if exchange.audience == .user { finish(exchange, .failure(error)) } else { drop(exchange) }
        }
        queued.removeAll()
        stalled.removeAll()
        deadline = nil
    }

    // MARK: Requests

    /// Takes a request: it goes out at once, or when those before it are acknowledged or answered.
    ///
    /// `timeout` counts from now. Without one the request may wait for its turn for as long as it takes, and then has EXCHANGE_LIFETIME, or
    /// ``CoAPConfiguration/nonConfirmableTimeout``, to be answered.
    public mutating func send(
        _ request: CoAPRequest,
        timeout: Duration? = nil,
        at now: Duration
    ) throws(CoAPError) -> CoAPExchangeID {
        try request.check()
        try checkRoom()
        let token = CoAPToken(bits: 0, count: min(max(configuration.tokenBytes, 2), 8))
        let exchange = Exchange(
            id: nextID(at: exchanges.nextPlace),
            token: token,
            method: request.method,
            isConfirmable: request.isConfirmable,
            hasETag: request.options.contains(.eTag),
            deadline: timeout.map { now + $0 },
            datagram: []
        )
        try prepareInTime(exchange, request)
        // All three classes (RFC 7967, 2.1).
        exchange.wantsNoResponse = !request.isConfirmable && (request.options.noResponse ?? 0) & 26 == 26
        exchange.collectsBlocks = request.collectsBlocks
        if request.options.observe == 0 {
            exchange.observation = Observation(isProtected: request.options.contains(.oscore))
        }
        start(exchange, at: now)
        return exchange.id
    }

    /// Asks the peer whether it is there; the response has code ``CoAPCode/empty``. Over datagrams it is a Reset to an empty message (RFC 7252, 4.3), over a stream a Pong (RFC
    /// 8323, 5.4).
    public mutating func ping(timeout: Duration? = nil, at now: Duration) throws(CoAPError) -> CoAPExchangeID {
        try checkRoom()
        let message = CoAPMessage(
            type: .confirmable,
            code: isStreamed ? .ping : .empty,
            messageID: 0,
            token: isStreamed ? CoAPToken(bits: 0, count: min(max(configuration.tokenBytes, 2), 8)) : .empty
        )
        let exchange = Exchange(
            id: nextID(at: exchanges.nextPlace),
            token: message.token,
            method: message.code,
            isConfirmable: true,
            hasETag: false,
            deadline: timeout.map { now + $0 },
            datagram: encode(message)
        )
        start(exchange, at: now)
        return exchange.id
    }

    private func checkRoom() throws(CoAPError) {
        // What the user has not asked for is bounded too: the rest of notifications, and observations that are being ended.
        guard requestCount < requestLimit, hiddenCount <= requestLimit, !exchanges.isFull else {
            throw .tooManyRequests(limit: requestLimit)
        }
    }

    private mutating func start(_ exchange: Exchange, at now: Duration) {
        exchanges.insert(exchange)
        enqueue(exchange)
        if let time = exchange.giveUpAt { wake(at: time) }
        transmitWaiting(at: now)
    }

    /// Encodes a request, or its first block, as soon as it is known how large it may be.
    mutating func prepareInTime(_ exchange: Exchange, _ request: CoAPRequest) throws(CoAPError) {
        #if !hasFeature(Embedded)
        if isStream, !isTransportReady { return exchange.unprepared = Exchange.Unprepared(request) }
        #endif
        try prepare(exchange, request)
    }

    /// Encodes a request, or its first block.
    mutating func prepare(_ exchange: Exchange, _ request: CoAPRequest) throws(CoAPError) {
        var message = CoAPMessage(
            type: request.isConfirmable ? .confirmable : .nonConfirmable,
            code: request.method,
            messageID: 0,
            token: exchange.token,
            options: request.options,
            payload: request.payload
        )
        exchange.transfer = try upload(request, &message)
        let limit = messageLimit
        guard message.encodedByteCount <= limit else {
            throw .messageTooLarge(bytes: message.encodedByteCount, limit: limit)
        }
        exchange.datagram = encode(message)
    }

    /// Ends a request with ``CoAPError/cancelled``, unless it is over. A response that still comes is rejected; the server of an observed resource is asked to forget it
    /// (RFC 7641, 3.6): by `request`, where the one that was sent is protected and so cannot be repeated.
    public mutating func cancel(_ id: CoAPExchangeID, with request: CoAPRequest? = nil, at now: Duration) {
        if deregister(id, request) { return transmitWaiting(at: now) }
        fail(id, .cancelled, at: now)
    }

    /// Ends a request with `error`, unless it is over.
    mutating func fail(_ id: CoAPExchangeID, _ error: CoAPError, at now: Duration) {
        guard let exchange = exchanges[id], exchange.audience == .user else { return }
        finish(exchange, .failure(error))
        transmitWaiting(at: now)
    }

    /// The transport could not take `datagram`, and will not.
    mutating func transmissionFailed(_ datagram: [UInt8], _ error: SocketError, at now: Duration) {
        let messageID = UInt16(datagram[2]) << 8 | UInt16(datagram[3])
        guard datagram[1] != CoAPCode.empty.rawValue, let exchange = exchanges.outstanding(messageID) else { return }
        finish(exchange, .failure(.transport(error)))
        transmitWaiting(at: now)
    }

    mutating func nextID(at place: Int) -> CoAPExchangeID {
        lastID += 1
        return CoAPExchangeID(lastID, at: place)
    }

    mutating func output(_ output: consuming Output) { _ = outputs.enqueue(output) }

    // MARK: Delivered responses

    mutating func remember(_ message: CoAPMessage, at now: Duration) {
        while delivered.isFull || delivered.first.map({ $0.forgetAt <= now }) == true { _ = delivered.dequeue() }
        let lifetime =
            message.type == .confirmable ? timeouts.exchangeLifetime : timeouts.nonConfirmableLifetime
        let record = Delivered(messageID: message.messageID, token: message.token, forgetAt: now + lifetime)
        _ = delivered.enqueue(record)
    }

    func isDelivered(_ message: CoAPMessage, at now: Duration) -> Bool {
        for index in 0..<delivered.count {
            let record = delivered[index]
            if record.messageID == message.messageID && record.token == message.token && record.forgetAt > now {
                return true
            }
        }
        return false
    }
}
