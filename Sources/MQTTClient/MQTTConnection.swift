public import Kernel
public import SAL
#if !hasFeature(Embedded)
internal import CLinux
internal import SecureTransport
#endif

/// An MQTT client with callbacks, for a run loop: it connects over a `Network`, keeps the connection alive, and
/// connects again when it breaks. Firmware uses it as it is; on Linux `MQTTClient` puts `async` on top.
///
/// It keeps its handler alive from ``connect(handler:)`` until it has told it ``MQTTConnectionHandler/disconnected(_:retryAt:)`` with
/// no retry.
public final class MQTTConnection: ByteStreamHandler, TimerHandler, EndOfTurnHandler {
    private enum State {
        case idle
        /// The transport is being opened.
        case opening
        /// The transport is up: CONNECT was sent.
        case open
        /// The next attempt is due at `retryAt`.
        case waiting
    }

    /// So many bytes are handed to the transport at once.
    private static let flushBytes = 16_384

    /// The server that is, or was last, connected to.
    public private(set) var endpoint: Endpoint
    /// The way to it.
    public let network: any Network
    let loop: EventLoop
    private var handler: (any MQTTConnectionHandler)?
    #if DEBUG
    var session: MQTTSession
    #else
    /// The user's code that is called from inside the session (a store, an authentication, a transport) must not come back to it. Debug builds trap where it does; others do not look,
    /// because that would be a tenth of each message's cost.
    @safe @exclusivity(unchecked) var session: MQTTSession
    #endif
    private var state = State.idle
    /// The transport, while it is opened or open.
    private(set) var stream: (any ByteStream)?
    private var retryAt = Duration.zero
    private let timer: Timer
    private let turnEnd: EndOfTurn
    /// A message that the handler has not taken yet.
    private final class Untaken {
        let message: MQTTMessage
        init(_ message: MQTTMessage) { self.message = message }
    }
    private var untaken: Untaken?
    private var failures = 0
    #if !hasFeature(Embedded)
    private var takeovers = 0
    /// How many connections in a row the server has closed shortly after it had accepted them.
    private var suspicions = 0
    #endif
    /// From when on a failure is the first again; no time at all before the server has accepted the connection.
    private var isStableAt = Duration.zero
    private var mayBeStable = false
    private var random: UInt32
    private var owesRoom = false
    #if !hasFeature(Embedded)
    /// The servers, in an order of this client's own, so that not all go to the first; none if there is only one.
    private var endpoints: [Endpoint] = []
    private var endpointIndex = 0
    private var keptHandlers: [(Result<Void, MQTTError>) -> Void] = []
    #endif

    /// A client for the server at `endpoint`, not connected yet. Unless `reconnects`, the first failure is the end.
    public init(
        to endpoint: Endpoint,
        over network: any Network,
        configuration: MQTTConfiguration,
        reconnects: Bool = true
    ) {
        self.endpoint = endpoint
        self.network = network
        self.reconnects = reconnects
        loop = network.loop
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
        // Jitter between devices: their identifiers differ.
        random = 2_166_136_261
        for byte in configuration.clientID { random = (random ^ UInt32(byte)) &* 16_777_619 }
        session = MQTTSession(configuration)
    }

    #if !hasFeature(Embedded)
    /// A client for the servers at `endpoints`, of which there is at least one: when one fails, the next is tried, in an order that each client has for itself.
    /// What is kept in `store` is taken up.
    public init(
        toOneOf endpoints: [Endpoint],
        over network: any Network,
        configuration: MQTTConfiguration,
        reconnects: Bool = true,
        store: (any MQTTStore)? = nil
    ) throws(MQTTError) {
        precondition(!endpoints.isEmpty, "there is no server to connect to")
        self.network = network
        self.reconnects = reconnects
        loop = network.loop
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
        var random: UInt32 = 2_166_136_261
        for byte in configuration.clientID { random = (random ^ UInt32(byte)) &* 16_777_619 }
        if configuration.clientID.isEmpty { random = .random(in: .min ... .max) }
        session = MQTTSession(configuration)
        var rest = endpoints
        var order: [Endpoint] = []
        while !rest.isEmpty {
            random = random &* 1_664_525 &+ 1_013_904_223
            order.append(rest.remove(at: Int(random >> 8) % rest.count))
        }
        self.random = random
        if order.count > 1 { self.endpoints = order }
        endpoint = order[0]
        if let store { try session.use(store, timeOfDay: Self.timeOfDay(loop)) }
    }
    #endif

    /// Whether it connects again after a failure.
    public var reconnects: Bool

    /// Whether the server has accepted the connection.
    public var isConnected: Bool { session.isConnected }

    /// Whether it neither is connected nor tries to be.
    public var isIdle: Bool { state == .idle }

    /// How many publishes, subscriptions and unsubscriptions wait for their acknowledgement.
    public var waitingCount: Int { session.waitingCount }

    /// How many messages were dropped because the queue was full or they had waited for too long.
    public var droppedCount: Int { session.droppedCount }

    /// What CONNECT says; changes count from the next attempt on.
    public var configuration: MQTTConfiguration {
        get { session.configuration }
        set { session.configuration = newValue }
    }

    // MARK: Connecting

    /// Connects, and from then on tells `handler` what happens; does nothing unless it is idle.
    public func connect(handler: any MQTTConnectionHandler) {
        guard state == .idle else { return }
        self.handler = handler
        failures = 0
        #if !hasFeature(Embedded)
        takeovers = 0
        suspicions = 0
        #endif
        attempt()
    }

    /// Says goodbye and closes; the server does not publish the will, unless `reason` asks for it (5.0). The handler is told
    /// ``MQTTError/disconnected``, from inside this call. A message that is only partly sent is cut off: to the server that is a broken connection, and it publishes the will.
    public func disconnect(_ reason: MQTTReasonCode = .success) {
        if state == .idle { return }
        if state == .open { session.disconnect(reason) }
        leave()
    }

    #if os(Linux) || MQTT5
    /// Says goodbye as ``disconnect(_:)`` does, with properties: another expiry interval of the session, which must have been over zero before; a reason string,
    /// user properties (5.0).
    public func disconnect(_ reason: MQTTReasonCode, properties: MQTTProperties) throws(MQTTError) {
        if state == .idle { return }
        if state == .open { try session.disconnect(reason, properties: properties) }
        leave()
    }
    #endif

    private func leave() {
        if state == .open { flush() }
        stream?.handler = nil
        if state == .open { stream?.close() } else { stream?.abort() }
        finish(.disconnected)
    }

    private func attempt() {
        #if hasFeature(Embedded)
        handler?.willConnect(&session.configuration)
        #else
        var configuration = session.configuration
        handler?.willConnect(&configuration)
        session.configuration = configuration
        #endif
        mayBeStable = false
        let deadline = loop.now + session.configuration.connectTimeout
        state = .opening
        stream = network.connect(to: endpoint, deadline: deadline, handler: self)
    }

    /// The transport is up: part of `ByteStreamHandler`.
    public func opened() {
        guard state == .opening else { return }
        state = .open
        do throws(MQTTError) {
            try session.connect(at: loop.now)
            askForEndOfTurn()
            setTimer()
        } catch {
            // It would be the same the next time.
            stream?.handler = nil
            stream?.abort()
            finish(error)
        }
    }

    /// The transport is over: part of `ByteStreamHandler`.
    public func closed(_ error: SocketError?) {
        if let stream { lost(Self.cause(error, of: stream)) }
    }

    private static func cause(_ error: SocketError?, of stream: any ByteStream) -> MQTTError {
        guard let error else { return .closedByServer }
        #if !hasFeature(Embedded)
        if let failure = (stream as? SecureStream)?.failure { return .secure(failure) }
        #endif
        #if os(Linux)
        if let webSocket = stream as? WebSocketStream {
            if let failure = webSocket.failure { return .webSocket(failure) }
            if let failure = webSocket.secureFailure { return .secure(failure) }
        }
        #endif
        return .transport(error)
    }

    /// Ends the connection for `error`; the server is told why if the standard has words for it.
    private func fail(_ error: MQTTError) {
        guard state == .open else { return }
        let hasGoodbye = session.hasOutgoing
        flush()
        stream?.handler = nil
        if hasGoodbye { stream?.close() } else { stream?.abort() }
        lost(error)
    }

    private func letGoOfTransport() {
        session.transportClosed()
        stream = nil
        untaken = nil
    }

    private func lost(_ error: MQTTError) {
        let wasAccepted = mayBeStable
        letGoOfTransport()
        let now = loop.now
        let policy = session.configuration.reconnect
        let wasStable = wasAccepted && now >= isStableAt
        #if hasFeature(Embedded)
        failures = wasStable ? 1 : failures + 1
        guard reconnects, !Self.isFinal(error, policy) else { return finish(error) }
        #else
        let isTakeover = Self.isTakeover(error)
        // A server of 3.1.1 says nothing, but closes a connection that it has just accepted.
        let isSuspect = isTakeover || wasAccepted && !wasStable && Self.isClosedByServer(error)
        suspicions = isSuspect ? suspicions + 1 : wasStable ? 0 : suspicions
        if isTakeover { takeovers += 1 } else if wasStable { takeovers = 0 }
        if wasStable, !isTakeover { failures = 0 }
        failures += 1
        let error = !isTakeover && isSuspect && suspicions >= 3 ? .closedRepeatedly(times: suspicions) : error
        guard reconnects, !Self.isFinal(error, policy),
            policy.maximumFailures == 0 || failures < policy.maximumFailures,
            policy.maximumTakeovers == 0 || takeovers < policy.maximumTakeovers
        else { return finish(error) }
        #endif
        #if !hasFeature(Embedded)
        if !endpoints.isEmpty, !wasAccepted || failures > 1 {
            endpointIndex = (endpointIndex + 1) % endpoints.count
            endpoint = endpoints[endpointIndex]
        }
        #endif
        // A linear congruential step is enough to keep devices apart; nothing secret hangs on it.
        random = random &* 1_664_525 &+ 1_013_904_223
        retryAt = now + policy.delay(afterFailures: failures, random: random)
        state = .waiting
        timer.start(at: retryAt, handler: self)
        handler?.disconnected(error, retryAt: retryAt)
    }

    #if !hasFeature(Embedded)
    /// Whether the server says that another client has come with the same identifier.
    private static func isTakeover(_ error: MQTTError) -> Bool {
        if case .disconnectedByServer(let reason) = error { reason.code == .sessionTakenOver } else { false }
    }

    private static func isClosedByServer(_ error: MQTTError) -> Bool {
        switch error {
        case .closedByServer, .transport(.reset(_)): true
        default: false
        }
    }
    #endif

    /// Whether the server has said what makes it useless to try again.
    private static func isFinal(_ error: MQTTError, _ policy: ReconnectPolicy) -> Bool {
        switch error {
        case .connectionRefused(let reason), .disconnectedByServer(let reason): policy.givesUp(after: reason.code)
        case .authenticationFailed, .store: true
        default: false
        }
    }

    private func finish(_ error: MQTTError) {
        letGoOfTransport()
        timer.stop()
        state = .idle
        let handler = self.handler
        self.handler = nil
        handler?.disconnected(error, retryAt: nil)
    }

    // MARK: Sending

    /// What is large enough leaves at once, the rest at the end of the turn.
    func afterRequest() {
        if session.outgoingBytes >= Self.flushBytes { flush() } else { askForEndOfTurn() }
        #if !hasFeature(Embedded)
        if session.hasEvents { askForEndOfTurn() }
        #endif
    }

    func refused(_ error: MQTTError) -> MQTTError {
        if case .queueFull = error { owesRoom = true }
        return error
    }

    func askForEndOfTurn() { turnEnd.request(self) }

    /// Sends what the turn has produced: part of `EndOfTurnHandler`.
    public func endOfTurn() {
        flush()
        #if !hasFeature(Embedded)
        session.commit()
        if let error = session.storeFailure { storeFailed(error) }
        if !keptHandlers.isEmpty { tellKept() }
        tellEvents()
        #endif
    }

    /// The transport has room again: part of `ByteStreamHandler`.
    public func writable() { endOfTurn() }

    private func flush() {
        guard state == .open, let stream, session.hasOutgoing else { return }
        session.withOutgoing({ stream.send($0) }, at: loop.now)
        #if !hasFeature(Embedded)
        if let error = session.storeFailure { return storeFailed(error) }
        #endif
        setTimer()
        if owesRoom { tellRoom() }
    }

    #if !hasFeature(Embedded)
    /// Whether what waits outlives the process.
    var hasStore: Bool { session.keeper != nil }

    /// Calls `body` when what was asked for until now is kept in the store.
    func whenKept(_ body: @escaping (Result<Void, MQTTError>) -> Void) {
        keptHandlers.append(body)
        askForEndOfTurn()
    }

    private func tellKept() {
        let handlers = keptHandlers
        keptHandlers = []
        for handler in handlers { handler(session.storeFailure.map { .failure($0) } ?? .success(())) }
    }

    private func storeFailed(_ error: MQTTError) {
        stream?.handler = nil
        stream?.abort()
        finish(error)
    }

    /// How many milliseconds the time of day is ahead of the loop's time.
    private static func timeOfDay(_ loop: EventLoop) -> Int64 {
        Int64(time(nil)) * 1_000 - Int64(loop.now.wholeMilliseconds)
    }
    #endif

    private func tellRoom() {
        guard session.hasRoom else { return }
        owesRoom = false
        handler?.hasRoom()
    }

    #if !hasFeature(Embedded)
    private func tellEvents() { while let event = session.nextEvent() { handle(event) } }
    #endif

    // MARK: Receiving

    /// Bytes arrived: part of `ByteStreamHandler`.
    public func received(_ bytes: Span<UInt8>) -> Int {
        let now = loop.now
        var taken = 0
        while taken < bytes.count, untaken == nil, state == .open, !isHeldBack {
            do throws(MQTTError) {
                let (count, event) = try session.receive(bytes.extracting(droppingFirst: taken), at: now)
                taken += count
                handle(event)
            } catch {
                fail(error)
                return bytes.count
            }
        }
        #if !hasFeature(Embedded)
        tellEvents()
        #endif
        if owesRoom { tellRoom() }
        if session.hasOutgoing { askForEndOfTurn() }
        setTimer()
        // After the connection has gone nothing is kept.
        return state == .open ? taken : bytes.count
    }

    /// Whether the user has as many messages to acknowledge as it may have: a server of 3.1.1 does not know when to stop.
    private var isHeldBack: Bool { session.isFull && !session.isVersion5 }

    /// Says that the handler, which did not take a message, can take it now.
    public func resumeReceiving() {
        guard let message = untaken?.message else { return }
        untaken = nil
        deliver(message)
        if untaken == nil, state == .open { stream?.resumeReceiving() }
    }

    /// Says that the handler is through with a message that it had ``MQTTDisposition/kept``.
    public func acknowledge(_ receipt: MQTTReceipt) {
        let wasHeldBack = isHeldBack
        session.acknowledge(receipt)
        if session.hasOutgoing { askForEndOfTurn() }
        if wasHeldBack, !isHeldBack, untaken == nil, state == .open { stream?.resumeReceiving() }
    }

    @inline(__always)
    private func handle(_ event: consuming MQTTSession.Event) {
        switch event {
        case .nothing: break
        case .connected(let info):
            mayBeStable = true
            isStableAt = loop.now + .milliseconds(session.configuration.reconnect.stableAfterMilliseconds)
            handler?.connected(info)
        case .message(let message): deliver(message)
        case .published(let request, let code): handler?.published(request, code: code)
        case .failed(let request, let error): handler?.failed(request, error)
        case .subscribed(let request, let codes): handler?.subscribed(request, codes: codes)
        case .subscriptionLost(let filter, let code): handler?.subscriptionLost(filter: filter, code: code)
        case .unsubscribed(let request, let codes): handler?.unsubscribed(request, codes: codes)
        #if os(Linux) || MQTT5
        case .reauthenticated: handler?.reauthenticated()
        #endif
        }
    }

    #if !hasFeature(Embedded)
    /// Whether the handler says by ``noteDeliveries(_:)`` when its user gets messages, and not just when it is given them.
    var handlerNotesDeliveries = false

    /// Notes that the user gets these messages now: those with QoS 2 are not delivered again, also not to the next process.
    func noteDeliveries(_ receipts: some Sequence<MQTTReceipt>) {
        guard hasStore else { return }
        for receipt in receipts { session.noteDelivery(receipt) }
        session.commit()
        // If that failed, the end of the turn tells.
        askForEndOfTurn()
    }
    #endif

    @inline(__always)
    private func deliver(_ message: consuming MQTTMessage) {
        let receipt = message.receipt
        #if !hasFeature(Embedded)
        if !handlerNotesDeliveries, receipt.isQoS2 { noteDeliveries(CollectionOfOne(receipt)) }
        #endif
        switch handler?.received(message) ?? .taken {
        case .taken:
            // One with QoS 0 has no answer.
            if receipt.packetID != 0 {
                session.acknowledge(receipt)
                if session.hasOutgoing { askForEndOfTurn() }
            }
            session.recycle(message)
        case .kept: break
        case .refused:
            untaken = Untaken(message)
            #if !hasFeature(Embedded)
            if !handlerNotesDeliveries { session.withdrawDelivery(receipt) }
            #endif
        }
    }

    // MARK: Time

    /// A deadline may move later with every packet; the timer is only moved when it would come too late.
    private func setTimer() {
        guard let deadline = session.deadline else { return }
        if let running = timer.deadline, running <= deadline { return }
        timer.start(at: deadline, handler: self)
    }

    /// A deadline has passed: part of `TimerHandler`.
    public func timerFired(_ timer: Timer) {
        let now = loop.now
        switch state {
        case .idle, .opening: return
        case .waiting: if now >= retryAt { attempt() } else { timer.start(at: retryAt, handler: self) }
        case .open:
            // The answer to a ping may lie behind a message that the handler has not taken.
            if untaken != nil || isHeldBack { session.postponePingTimeout(at: now) }
            do throws(MQTTError) {
                try session.handleTimeout(at: now)
                if session.hasOutgoing { askForEndOfTurn() }
                setTimer()
            } catch { fail(error) }
        }
    }
}
