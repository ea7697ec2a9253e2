internal import Kernel
internal import SAL

/// What a publish, a subscription or an unsubscription is known by until its answer comes.
public typealias MQTTRequestID = UInt32

/// What the server has said when it accepted the connection.
public struct MQTTConnectionInfo: Equatable, Sendable {
    /// Whether the server had kept the session.
    public let sessionPresent: Bool
    #if os(Linux) || MQTT5
    /// What else it said; nothing in 3.1.1.
    public let properties: MQTTProperties
    #endif
}

/// The rules of MQTT 3.1.1 and 5.0 for a client, as a struct that is given bytes and time.
///
/// Call ``connect(at:)`` when a transport is up, feed what arrives to ``receive(_:at:)``, send what ``withOutgoing(_:at:)`` offers, ask
/// for ``nextEvent()`` then, and set a timer for ``deadline``. When the transport ends, call ``transportClosed()``; requests that wait for
/// an acknowledgement go out again with the next connection.
///
/// For a call that only borrows it the compiler copies the whole struct: so what is called for each message is `mutating` also where it changes nothing.
public struct MQTTSession: ~Copyable {
    /// What a packet, or the lack of one, meant for the user.
    public enum Event: Equatable {
        /// Nothing.
        case nothing
        /// The server accepted the connection.
        case connected(MQTTConnectionInfo)
        /// A message arrived. Call ``acknowledge(_:)`` with its receipt when it is in the user's hands, and ``recycle(_:)`` if nobody keeps it.
        case message(MQTTMessage)
        /// The server has taken a publish.
        case published(MQTTRequestID, MQTTReasonCode)
        /// A request has failed.
        case failed(MQTTRequestID, MQTTError)
        /// The server answered a subscription, for each filter with the guarantee or a failure.
        case subscribed(MQTTRequestID, codes: [UInt8])
        /// A server without our session refused, after a reconnect, what it had granted before.
        case subscriptionLost(filter: [UInt8], MQTTReasonCode)
        /// The server answered an unsubscription, in 5.0 with a code for each filter.
        case unsubscribed(MQTTRequestID, codes: [UInt8])
        #if os(Linux) || MQTT5
        /// A re-authentication is over.
        case reauthenticated
        #endif
    }

    enum State {
        case disconnected
        /// CONNECT is on its way.
        case connecting
        case connected
        /// PINGREQ is on its way.
        case pinging
    }

    /// What the server supports, and how much it takes.
    struct ServerLimits {
        var receiveMaximum = 65_535
        var packetBytes = 268_435_460
        var topicAliases = 0
        var maximumQoS: UInt8 = 2
        var hasRetain = true
        var hasWildcards = true
        var hasSubscriptionIdentifiers = true
        var hasSharedSubscriptions = true
    }

    /// A subscription that was granted.
    final class Subscription {
        let filter: [UInt8]
        let options: MQTTSubscriptionOptions
        var next: Subscription?

        init(_ filter: [UInt8], _ options: MQTTSubscriptionOptions) {
            self.filter = filter
            self.options = options
        }
    }

    /// What CONNECT says; changes count from the next ``connect(at:)`` on.
    public var configuration: MQTTConfiguration
    var state = State.disconnected
    /// What the server has said that it supports; the most before it has said anything.
    var limits = ServerLimits()

    // What goes out. Messages, and subscriptions with their ends, in the order of their numbers; those before `nextPublish` and `nextRequest`
    // have gone out on this connection.
    var publishes = Outbox()
    var requests = Outbox()
    var nextPublish = 0
    var nextRequest = 0
    /// How many messages are under way on this connection without their last acknowledgement.
    var underWay = 0
    #if !hasFeature(Embedded)
    /// How many of them have QoS 2.
    var underWayQoS2 = 0
    /// A message that is sent from where it is kept, since it is too large to be copied.
    final class LargePublish {
        let place: Int
        /// How many of the outgoing bytes go before it.
        var bytesBefore: Int
        var sent = 0

        init(place: Int, bytesBefore: Int) {
            self.place = place
            self.bytesBefore = bytesBefore
        }
    }
    var largePublish: LargePublish?
    #endif
    var lastNumber: MQTTRequestID = 0
    var lastPacketID: UInt16 = 0
    var outgoing = ByteQueue(keeping: 65_536)
    /// The subscriptions that were granted.
    var firstSubscription: Subscription?

    // What comes in.
    /// The start of a packet that has not arrived whole.
    private var partial: [UInt8] = []
    /// The memory of a message that nobody has kept.
    var scratch: [UInt8] = []
    /// That memory has the packet itself, which was put together from pieces.
    var isWhole = false
    /// Messages of this connection whose acknowledgement is owed, in the order of their arrival; the flags are those of `Inbound`.
    var unacknowledged = PacketIDList()
    /// Messages with QoS 2 that the user has, until the server releases their identifiers; the flag says whether the user is through with it.
    var received = PacketIDList()
    /// Which connection, and which session, receipts are of.
    var connectionNumber: UInt16 = 0
    var sessionNumber: UInt16 = 0

    // Time.
    var lastSentAt = Duration.zero
    var lastReceivedAt = Duration.zero
    var dueAt = Duration.zero
    var isTimed = false
    /// The keep alive that counts, in seconds: the server's if it has one.
    var keepAliveSeconds = 0

    /// Messages that were dropped from the full queue, or had waited for too long.
    public internal(set) var droppedCount = 0
    /// Whether it has had a session with the server before.
    var hasSession = false
    /// Whether the CONNECT that was sent asks for a new session.
    var asksForCleanStart = true
    #if os(Linux) || MQTT5
    var isReauthenticating = false
    var incomingAliases: [[UInt8]] = []
    var outgoingAliases = TopicAliases()
    #endif
    #if !hasFeature(Embedded)
    /// The store, and what belongs to it. Most sessions have none.
    final class Keeper {
        let store: any MQTTStore
        /// How many milliseconds the time of day is ahead of the loop's time: what is kept has the time of day.
        let timeOfDay: Int64
        /// Why the store does not keep anything any more.
        var failure: MQTTError?

        init(_ store: any MQTTStore, timeOfDay: Int64) {
            self.store = store
            self.timeOfDay = timeOfDay
        }
    }
    var keeper: Keeper?
    var storeFailure: MQTTError? { keeper?.failure }
    #endif

    /// How many bytes may wait for the transport before no more requests are turned into packets.
    static let maximumUnsentBytes = 65_536

    /// A session that is not connected.
    public init(_ configuration: MQTTConfiguration) {
        self.configuration = configuration
    }

    deinit {
        // One by one: a long chain that is let go of at its head would nest as many calls.
        var rest = firstSubscription
        while let subscription = rest {
            rest = subscription.next
            subscription.next = nil
        }
    }

    /// Whether the server has accepted the connection.
    public var isConnected: Bool { state == .connected || state == .pinging }

    /// How many publishes, subscriptions and unsubscriptions wait for their acknowledgement, sent or not.
    public var waitingCount: Int { publishes.count + requests.count }

    #if os(Linux) || MQTT5
    var isVersion5: Bool { configuration.version == .v5_0 }
    #else
    var isVersion5: Bool { false }
    #endif

    // MARK: The transport

    /// Starts a connection over a transport that is up.
    public mutating func connect(at now: Duration) throws(MQTTError) {
        try Self.check(configuration)
        transportClosed()
        limits = ServerLimits()
        connectionNumber &+= 1
        unacknowledged.removeAll()
        #if os(Linux) || MQTT5
        incomingAliases = []
        outgoingAliases = TopicAliases()
        // What was begun with a clean start goes on without one.
        let cleanStart =
            configuration.cleanStart && !(isVersion5 && hasSession && configuration.sessionExpirySeconds > 0)
        #else
        let cleanStart = configuration.cleanStart
        #endif
        ConnectPacket.append(configuration, cleanStart: cleanStart, to: &outgoing)
        asksForCleanStart = cleanStart
        state = .connecting
        setTimer(for: now + configuration.acknowledgementTimeout)
    }

    /// Says goodbye: the server will not publish the will, unless `reason` says that it should (5.0). Send what is outgoing, then close the transport.
    public mutating func disconnect(_ reason: MQTTReasonCode = .success) {
        guard isConnected else { return }
        goodbye(reason)
        disconnected()
    }

    #if os(Linux) || MQTT5
    /// Says goodbye with properties: the session's expiry interval, which must have been over zero before; a reason string, user properties (5.0).
    public mutating func disconnect(_ reason: MQTTReasonCode, properties: MQTTProperties) throws(MQTTError) {
        let length = 1 + properties.wireBytes
        let bytes = 1 + VariableByteInteger.count(length) + length
        guard MQTTProperties.fault(in: properties.bytes.span, of: 1 << UInt16(PacketType.disconnect.rawValue)) == nil,
            properties.bytes(of: .serverReference) == nil,
            configuration.sessionExpirySeconds > 0 || properties.number(of: .sessionExpiryInterval) ?? 0 == 0,
            isVersion5 || properties.isEmpty
        else { throw .invalidProperties }
        guard bytes <= limits.packetBytes else { throw .packetTooLarge(bytes: bytes, limit: limits.packetBytes) }
        guard isConnected else { return }
        goodbye(reason, properties)
        disconnected()
    }

    private mutating func goodbye(_ reason: MQTTReasonCode, _ properties: MQTTProperties = MQTTProperties()) {
        guard isVersion5, reason != .success || !properties.isEmpty else { return append(.disconnect) }
        var packet: [UInt8] = []
        packet.appendHeader(.disconnect, remainingLength: 1 + (properties.isEmpty ? 0 : properties.wireBytes))
        packet.append(reason.rawValue)
        if !properties.isEmpty { packet.appendProperties(properties) }
        outgoing.append(packet.span)
    }
    #else
    private mutating func goodbye(_ reason: MQTTReasonCode) { append(.disconnect) }
    #endif

    /// Forgets all that belonged to the transport. Requests without an acknowledgement stay.
    public mutating func transportClosed() {
        disconnected()
        outgoing.removeAll()
        partial = []
        isWhole = false
        nextPublish = publishes.first
        nextRequest = requests.first
        underWay = 0
        #if !hasFeature(Embedded)
        underWayQoS2 = 0
        largePublish = nil
        #endif
    }

    /// Calls `send` with the bytes to send; it returns how many the transport took.
    public mutating func withOutgoing(_ send: (Span<UInt8>) -> Int, at now: Duration) {
        while true {
            fillOutgoing(at: now)
            #if !hasFeature(Embedded)
            // What is sent must not be forgotten afterwards.
            commit()
            guard keeper?.failure == nil else { return }
            if largePublish != nil {
                guard sendLargePublish(send) else { return }
                lastSentAt = now
                continue
            }
            #endif
            guard !outgoing.isEmpty else { return }
            let count = outgoing.withSpan(send)
            guard count > 0 else { return }
            outgoing.removeFirst(count)
            lastSentAt = now
        }
    }

    #if !hasFeature(Embedded)
    /// Sends some of a large message, or of what goes before it; `false` if the transport takes nothing.
    private mutating func sendLargePublish(_ send: (Span<UInt8>) -> Int) -> Bool {
        guard let large = largePublish else { return false }
        if large.bytesBefore > 0 {
            let count = outgoing.withSpan { send($0.extracting(first: large.bytesBefore)) }
            outgoing.removeFirst(count)
            large.bytesBefore -= count
            return count > 0
        }
        let count = publishes.withPacket(large.place) { send($0.extracting(droppingFirst: large.sent)) }
        large.sent += count
        if large.sent == publishes.packetBytes(large.place) { largePublish = nil }
        return count > 0
    }
    #endif

    /// Whether bytes wait to be sent.
    public var hasOutgoing: Bool {
        mutating get {
            #if !hasFeature(Embedded)
            if largePublish != nil { return true }
            #endif
            return !outgoing.isEmpty
                || isConnected && (nextRequest < requests.end || nextPublish < publishes.end && mayPublish)
        }
    }

    #if !hasFeature(Embedded)
    /// Whether ``nextEvent()`` has something to tell.
    var hasEvents: Bool { publishes.finishedCount > 0 }
    #endif

    /// Whether a request would not fail for want of room.
    var hasRoom: Bool {
        waitingCount < configuration.queue.requests
            && publishes.byteCount + requests.byteCount < configuration.queue.bytes
            && outgoing.count < Self.maximumUnsentBytes / 2
    }

    /// How many bytes are ready to be sent.
    var outgoingBytes: Int { outgoing.count }

    /// Takes bytes that arrived, at most to the end of the first packet. Returns how many it took, and what the packet meant.
    ///
    /// When it throws, what is outgoing tells the server why (5.0): send it, then close the transport.
    public mutating func receive(_ bytes: Span<UInt8>, at now: Duration) throws(MQTTError) -> (
        taken: Int, event: Event
    ) {
        if state == .disconnected { return (bytes.count, .nothing) }
        lastReceivedAt = now
        do throws(MQTTError) {
            if partial.isEmpty {
                guard let header = try Self.header(bytes, limit: configuration.maximumPacketBytes) else {
                    partial.append(bytes)
                    return (bytes.count, .nothing)
                }
                guard bytes.count >= header.packetBytes else {
                    partial.reserveCapacity(header.packetBytes)
                    partial.append(bytes)
                    return (bytes.count, .nothing)
                }
                return (header.packetBytes, try handle(bytes.extracting(first: header.packetBytes), header, at: now))
            }
            return try receiveRest(bytes, at: now)
        } catch {
            fail(error)
            throw error
        }
    }

    private mutating func receiveRest(_ bytes: Span<UInt8>, at now: Duration) throws(MQTTError) -> (Int, Event) {
        // Only as many bytes are added as the packet, or until its length is known its header, still lacks.
        var taken = 0
        let limit = configuration.maximumPacketBytes
        var header = try Self.header(partial.span, limit: limit)
        while header == nil {
            guard taken < bytes.count else { return (taken, .nothing) }
            partial.append(bytes[taken])
            taken += 1
            header = try Self.header(partial.span, limit: limit)
            if let header { partial.reserveCapacity(header.packetBytes) }
        }
        guard let header else { return (taken, .nothing) }
        let lacking = min(header.packetBytes - partial.count, bytes.count - taken)
        if lacking > 0 {
            partial.append(bytes.extracting(taken..<(taken + lacking)))
            taken += lacking
        }
        guard partial.count == header.packetBytes else { return (taken, .nothing) }
        let packet = partial
        partial = []
        // What is large becomes the message's own memory.
        if header.firstByte >> 4 == PacketType.publish.rawValue {
            scratch = packet
            isWhole = true
        }
        let event = try handle(packet.span, header, at: now)
        isWhole = false
        return (taken, event)
    }

    private static func header(_ bytes: Span<UInt8>, limit: Int) throws(MQTTError) -> FixedHeader? {
        guard let header = try FixedHeader.parse(bytes) else { return nil }
        guard header.packetBytes <= limit else {
            throw .packetTooLarge(bytes: header.packetBytes, limit: limit)
        }
        return header
    }

    /// Tells the server why the connection ends (MQTT 5.0, 4.13).
    mutating func fail(_ error: MQTTError) {
        #if os(Linux) || MQTT5
        if isVersion5, isConnected {
            switch error {
            case .protocolViolation(let violation): goodbye(violation.reasonCode)
            case .packetTooLarge: goodbye(.packetTooLarge)
            case .authenticationFailed: goodbye(.notAuthorized)
            case .keepAliveTimedOut: goodbye(.unspecifiedError)
            default: break
            }
        }
        #endif
        disconnected()
    }

    private mutating func handle(
        _ bytes: Span<UInt8>,
        _ header: FixedHeader,
        at now: Duration
    ) throws(MQTTError) -> Event {
        let body = bytes.extracting(droppingFirst: header.headerBytes)
        let firstByte = header.firstByte
        let unexpected = MQTTError.protocolViolation(.unexpectedPacket(firstByte: firstByte))
        guard let type = PacketType(rawValue: firstByte >> 4) else { throw unexpected }
        if state == .connecting {
            switch type {
            case .connack: break
            #if os(Linux) || MQTT5
            case .auth: break
            #endif
            default: throw unexpected
            }
        } else if state == .pinging {
            // Whatever arrives proves that the server is alive; it need not be the PINGRESP.
            rest()
        }
        if type == .publish { return try receivePublish(bytes, header) }
        // The flags are reserved (2.1.3).
        guard firstByte & 0x0F == (type == .pubrel || type == .subscribe || type == .unsubscribe ? 2 : 0) else {
            throw .protocolViolation(.malformedPacket(firstByte: firstByte))
        }
        switch type {
        case .connack:
            guard state == .connecting else { throw unexpected }
            return try connected(body, firstByte, at: now)
        case .puback, .pubrec, .pubcomp, .pubrel:
            let answer = try Acknowledgement(body, type: type, firstByte: firstByte, isVersion5: isVersion5)
            #if os(Linux) || MQTT5
            try checkProblemInformation(answer.properties)
            #endif
            guard type == .pubrel else { return try acknowledged(answer, by: type, firstByte) }
            release(answer.packetID)
            return .nothing
        case .suback, .unsuback:
            let answer = try SubscriptionAcknowledgement(body, type: type, firstByte: firstByte, isVersion5: isVersion5)
            #if os(Linux) || MQTT5
            try checkProblemInformation(answer.properties)
            #endif
            return try answered(answer, by: type, firstByte)
        case .pingresp:
            guard body.isEmpty else { throw .protocolViolation(.malformedPacket(firstByte: firstByte)) }
            return .nothing
        #if os(Linux) || MQTT5
        case .disconnect:
            guard isVersion5 else { throw unexpected }
            let reason = try ReasonPacket(body, type: type, firstByte: firstByte)
            throw .disconnectedByServer(MQTTReason(reason.code, reason.properties))
        case .auth:
            guard isVersion5 else { throw unexpected }
            let packet = try ReasonPacket(body, type: type, firstByte: firstByte)
            try checkProblemInformation(packet.properties)
            return try authenticate(packet, firstByte)
        case .connect, .publish, .subscribe, .unsubscribe, .pingreq: throw unexpected
        #else
        case .connect, .publish, .subscribe, .unsubscribe, .pingreq, .disconnect, .auth: throw unexpected
        #endif
        }
    }

    /// Sends a packet that is nothing but its type.
    mutating func append(_ type: PacketType) {
        let packet: InlineArray<2, UInt8> = [type.rawValue << 4, 0]
        outgoing.append(packet.span)
    }
}
