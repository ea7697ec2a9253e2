internal import Kernel
internal import SAL

/// The rules of MQTT 3.1.1 for a client, as a struct that is given bytes and time.
///
/// Call ``connect(at:)`` when a transport is up, feed what arrives to ``receive(_:at:)``, send what
/// ``withOutgoing(_:at:)`` offers, and set a timer for ``deadline``. When the transport ends, call
/// ``transportClosed()``; requests that wait for an acknowledgement go out again with the next connection.
public struct MQTTSession: ~Copyable {
    /// What a packet meant for the user.
    public enum Event: Equatable {
        /// The server accepted the connection.
        case connected(sessionPresent: Bool)
        /// A message arrived. Call ``acknowledge(_:)`` with it when it is in the user's hands.
        case message(MQTTMessage, packetID: UInt16)
        /// The server has taken the publish with this packet identifier.
        case published(packetID: UInt16)
        /// The server answered a subscription: `nil` is a refusal.
        case subscribed(packetID: UInt16, granted: QoS?)
        /// A server without our session refused, after a reconnect, what it had granted before.
        case subscriptionLost(filter: [UInt8])
        /// The server answered an unsubscription.
        case unsubscribed(packetID: UInt16)
    }

    enum State {
        case disconnected
        /// CONNECT is on its way.
        case connecting
        case connected
        /// PINGREQ is on its way.
        case pinging
    }

    /// A request that waits for its acknowledgement, or a subscription that was granted.
    final class Request {
        enum Kind { case publish, subscribe, resubscribe, unsubscribe }
        let kind: Kind
        let packetID: UInt16
        var packet: [UInt8]
        var wasSent = false
        var isAcknowledged = false
        /// The one behind it in its list.
        var next: Request?

        init(_ kind: Kind, _ packetID: UInt16, _ packet: [UInt8]) {
            self.kind = kind
            self.packetID = packetID
            self.packet = packet
        }
    }

    /// What CONNECT says; changes count from the next ``connect(at:)`` on.
    public var configuration: MQTTConfiguration
    private(set) var state = State.disconnected
    /// When ``handleTimeout(at:)`` has something to do, if ever.
    private var dueAt = Duration.zero
    private var isTimed = false
    /// The requests, in the order of their packet identifiers. Those before `firstUnsent` have gone out on this connection.
    var firstRequest: Request?
    var lastRequest: Request?
    var firstUnsent: Request?
    /// How many publishes, subscriptions and unsubscriptions wait for their acknowledgement.
    public internal(set) var inFlightCount = 0
    var lastPacketID: UInt16 = 0
    /// The SUBSCRIBE requests that were granted.
    var firstSubscription: Request?
    var outgoing = ByteQueue()
    /// The start of a packet that has not arrived whole.
    private var partial: [UInt8] = []

    /// How many bytes may wait for the transport before no more requests are turned into packets.
    static let maximumUnsentBytes = 65_536

    /// A session that is not connected.
    public init(_ configuration: MQTTConfiguration) {
        self.configuration = configuration
    }

    deinit {
        // One by one: a long chain that is let go of at its head would nest as many calls.
        var rest = firstRequest
        while let request = rest {
            rest = request.next
            request.next = nil
        }
    }

    /// Whether the server has accepted the connection.
    public var isConnected: Bool { state == .connected || state == .pinging }

    // MARK: The transport

    /// Starts a connection over a transport that is up.
    public mutating func connect(at now: Duration) throws(MQTTError) {
        try Self.check(configuration)
        transportClosed()
        outgoing.append(ClientPacket.connect(configuration).span)
        change(to: .connecting, until: now + configuration.connectTimeout)
    }

    /// Says goodbye: the server will not publish the will. Send what is outgoing, then close the transport.
    public mutating func disconnect() {
        guard isConnected else { return }
        append(.disconnect)
        disconnected()
    }

    /// Forgets all that belonged to the transport. Requests without an acknowledgement stay.
    public mutating func transportClosed() {
        disconnected()
        outgoing.removeAll()
        partial = []
        firstUnsent = firstRequest
    }

    /// Calls `send` with the bytes to send; it returns how many the transport took.
    public mutating func withOutgoing(_ send: (Span<UInt8>) -> Int, at now: Duration) {
        while true {
            fillOutgoing()
            guard !outgoing.isEmpty else { return }
            let count = outgoing.withSpan(send)
            guard count > 0 else { return }
            outgoing.removeFirst(count)
            // The keep alive counts from our own last packet (3.1.2.10).
            if state == .connected { rest(at: now) }
        }
    }

    /// Whether bytes wait to be sent.
    public var hasOutgoing: Bool { !outgoing.isEmpty || (isConnected && firstUnsent != nil) }

    /// Takes bytes that arrived, at most to the end of the first packet. Returns how many it took, and what the packet meant.
    public mutating func receive(_ bytes: Span<UInt8>, at now: Duration) throws(MQTTError) -> (
        taken: Int, event: Event?
    ) {
        if state == .disconnected { return (bytes.count, nil) }
        if partial.isEmpty {
            guard let header = try checkedHeader(bytes), bytes.count >= header.packetBytes else {
                partial.append(bytes)
                return (bytes.count, nil)
            }
            return (header.packetBytes, try handle(bytes.extracting(first: header.packetBytes), header, at: now))
        }
        // Only as many bytes are added as the packet, or until its length is known its header, still lacks.
        var taken = 0
        while try checkedHeader(partial.span) == nil {
            guard taken < bytes.count else { return (taken, nil) }
            partial.append(bytes[taken])
            taken += 1
        }
        guard let header = try checkedHeader(partial.span) else { return (taken, nil) }
        let lacking = min(header.packetBytes - partial.count, bytes.count - taken)
        if lacking > 0 {
            partial.append(bytes.extracting(taken..<(taken + lacking)))
            taken += lacking
        }
        guard partial.count == header.packetBytes else { return (taken, nil) }
        let packet = partial
        partial = []
        return (taken, try handle(packet.span, header, at: now))
    }

    private func checkedHeader(_ bytes: Span<UInt8>) throws(MQTTError) -> FixedHeader? {
        guard let header = try FixedHeader.parse(bytes) else { return nil }
        guard header.packetBytes <= configuration.maximumPacketBytes else {
            throw .packetTooLarge(bytes: header.packetBytes, limit: configuration.maximumPacketBytes)
        }
        return header
    }

    private mutating func handle(
        _ bytes: Span<UInt8>,
        _ header: FixedHeader,
        at now: Duration
    ) throws(MQTTError) -> Event? {
        let packet = try ServerPacket.parse(bytes, header: header)
        switch state {
        case .disconnected: return nil
        case .connecting:
            guard case .connack(let sessionPresent, let code) = packet else {
                throw .protocolViolation(.unexpectedPacket(firstByte: header.firstByte))
            }
            guard code == .accepted else {
                disconnected()
                throw .connectionRefused(code)
            }
            // A server cannot have a session that it was told to forget (3.2.2.2).
            guard !(sessionPresent && configuration.cleanSession) else {
                throw .protocolViolation(.malformedPacket(firstByte: header.firstByte))
            }
            rest(at: now)
            resume(sessionPresent: sessionPresent)
            return .connected(sessionPresent: sessionPresent)
        case .pinging:
            // Whatever arrives proves that the server is alive; it need not be the PINGRESP.
            rest(at: now)
        case .connected: break
        }
        switch packet {
        case .connack: throw .protocolViolation(.unexpectedPacket(firstByte: header.firstByte))
        case .publish(let message, let packetID): return .message(message, packetID: packetID)
        case .puback(let packetID): return acknowledged(packetID, as: packet)
        case .suback(let packetID, _): return acknowledged(packetID, as: packet)
        case .unsuback(let packetID): return acknowledged(packetID, as: packet)
        case .pingresp: return nil
        }
    }

    // MARK: Time

    /// When to call ``handleTimeout(at:)``, or `nil` while no timer runs.
    public var deadline: Duration? { isTimed ? dueAt : nil }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public mutating func handleTimeout(at now: Duration) throws(MQTTError) {
        guard isTimed, now >= dueAt else { return }
        guard state == .connected else {
            let error: MQTTError = state == .connecting ? .connectTimedOut : .keepAliveTimedOut
            disconnected()
            throw error
        }
        append(.pingreq)
        change(to: .pinging, until: now + configuration.pingTimeout)
    }

    /// Grants the server its time again: its answer may lie in what the user has not taken yet.
    mutating func postponePingTimeout(at now: Duration) {
        if state == .pinging { dueAt = now + configuration.pingTimeout }
    }

    private mutating func change(to state: State, until time: Duration) {
        self.state = state
        dueAt = time
        isTimed = true
    }

    private mutating func disconnected() {
        state = .disconnected
        isTimed = false
    }

    /// The connection is up, and silent from now on.
    private mutating func rest(at now: Duration) {
        change(to: .connected, until: now + .seconds(Int(configuration.keepAliveSeconds)))
        if configuration.keepAliveSeconds == 0 { isTimed = false }
    }

    /// Sends a packet that is nothing but its type.
    private mutating func append(_ type: PacketType) {
        let packet: InlineArray<2, UInt8> = [type.rawValue << 4, 0]
        outgoing.append(packet.span)
    }

    private static func check(_ configuration: MQTTConfiguration) throws(MQTTError) {
        let userName = configuration.userName ?? []
        guard TopicFilter.isValidString(configuration.clientID.span),
            !configuration.clientID.isEmpty || configuration.cleanSession,
            TopicFilter.isValidString(userName.span),
            configuration.password == nil || configuration.userName != nil,
            (configuration.password ?? []).count <= 65_535
        else { throw .invalidConnectOptions }
        if let will = configuration.will {
            guard TopicFilter.isValidName(will.topic.span) else { throw .invalidTopicName }
            guard will.payload.count <= 65_535 else {
                throw .packetTooLarge(bytes: will.payload.count, limit: 65_535)
            }
        }
    }
}
