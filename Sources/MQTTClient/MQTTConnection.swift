public import Kernel
public import SAL
#if !hasFeature(Embedded)
internal import SecureTransport
#endif

/// What an ``MQTTConnection`` tells; all calls are made on its loop.
public protocol MQTTConnectionHandler: AnyObject {
    /// A connection is about to be attempted: the configuration may still be changed, such as for a login that is valid
    /// for one attempt.
    func willConnect(_ configuration: inout MQTTConfiguration)
    /// The server accepted the connection; `sessionPresent` if it had kept the session.
    func connected(sessionPresent: Bool)
    /// The connection, or the attempt, is over. It is tried again at `retryAt`; `nil`: this was the last word, and the handler
    /// is let go of.
    func disconnected(_ error: MQTTError, retryAt: Duration?)
    /// A message arrived. Returns whether it was taken; if not, it is offered again, and nothing more is read, after
    /// ``MQTTConnection/resumeReceiving()``. It is acknowledged to the server when this returns `true`.
    func received(_ message: MQTTMessage) -> Bool
    /// The server has taken the publish with this packet identifier.
    func published(packetID: UInt16)
    /// The server answered a subscription: `nil` is a refusal.
    func subscribed(packetID: UInt16, granted: QoS?)
    /// The server answered an unsubscription.
    func unsubscribed(packetID: UInt16)
    /// A server that had lost the session refused, after a reconnect, what was granted before.
    func subscriptionLost(filter: [UInt8])
}

// A handler implements what it needs.
extension MQTTConnectionHandler {
    /// Changes nothing.
    public func willConnect(_ configuration: inout MQTTConfiguration) {}
    /// Does nothing.
    public func connected(sessionPresent: Bool) {}
    /// Does nothing: the connection comes back by itself.
    public func disconnected(_ error: MQTTError, retryAt: Duration?) {}
    /// Takes the message, and does nothing with it.
    public func received(_ message: MQTTMessage) -> Bool { true }
    /// Does nothing.
    public func published(packetID: UInt16) {}
    /// Does nothing.
    public func subscribed(packetID: UInt16, granted: QoS?) {}
    /// Does nothing.
    public func unsubscribed(packetID: UInt16) {}
    /// Does nothing.
    public func subscriptionLost(filter: [UInt8]) {}
}

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

    /// The server.
    public let endpoint: Endpoint
    /// The way to it.
    public let network: any Network
    private let loop: EventLoop
    private var handler: (any MQTTConnectionHandler)?
    private var session: MQTTSession
    private var state = State.idle
    /// The transport, while it is opened or open.
    private var stream: (any ByteStream)?
    private var retryAt = Duration.zero
    private let timer: Timer
    private let turnEnd: EndOfTurn
    /// A message that the handler has not taken yet.
    private var untaken: (message: MQTTMessage, packetID: UInt16)?
    private var failures = 0
    /// From when on a failure is the first again; no time at all before the server has accepted the connection.
    private var isStableAt = Duration.zero
    private var mayBeStable = false
    private var random: UInt32

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

    /// Whether it connects again after a failure.
    public var reconnects: Bool

    /// Whether the server has accepted the connection.
    public var isConnected: Bool { session.isConnected }

    /// Whether it neither is connected nor tries to be.
    public var isIdle: Bool { state == .idle }

    /// How many publishes, subscriptions and unsubscriptions wait for their acknowledgement.
    public var inFlightCount: Int { session.inFlightCount }

    // MARK: Connecting

    /// Connects, and from then on tells `handler` what happens; does nothing unless it is idle.
    public func connect(handler: any MQTTConnectionHandler) {
        guard state == .idle else { return }
        self.handler = handler
        failures = 0
        attempt()
    }

    /// Says goodbye and closes. The handler is told ``MQTTError/disconnected``, from inside this call.
    public func disconnect() {
        if state == .idle { return }
        if state == .open {
            session.disconnect()
            flush()
        }
        stream?.handler = nil
        if state == .open { stream?.close() } else { stream?.abort() }
        finish(.disconnected)
    }

    private func attempt() {
        handler?.willConnect(&session.configuration)
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
        } catch { fail(error) }
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
        return .transport(error)
    }

    /// Ends the connection for `error`.
    private func fail(_ error: MQTTError) {
        guard state == .open else { return }
        stream?.handler = nil
        stream?.abort()
        lost(error)
    }

    private func letGoOfTransport() {
        session.transportClosed()
        stream = nil
        untaken = nil
    }

    private func lost(_ error: MQTTError) {
        letGoOfTransport()
        let now = loop.now
        if mayBeStable, now >= isStableAt { failures = 0 }
        guard reconnects else { return finish(error) }
        failures += 1
        // A linear congruential step is enough to keep devices apart; nothing secret hangs on it.
        random = random &* 1_664_525 &+ 1_013_904_223
        retryAt = now + session.configuration.reconnect.delay(afterFailures: failures, random: random)
        state = .waiting
        timer.start(at: retryAt, handler: self)
        handler?.disconnected(error, retryAt: retryAt)
    }

    private func finish(_ error: MQTTError) {
        letGoOfTransport()
        timer.stop()
        state = .idle
        let handler = self.handler
        self.handler = nil
        handler?.disconnected(error, retryAt: nil)
    }

    // MARK: Requests

    /// Publishes a message. With QoS 1 it returns the packet identifier that ``MQTTConnectionHandler/published(packetID:)``
    /// will name; it waits for a connection if there is none, and is sent again until the server has acknowledged it.
    public func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false
    ) throws(MQTTError) -> UInt16? {
        let packetID = try session.publish(topic: topic, payload: payload, qos: qos, isRetained: isRetained)
        askForEndOfTurn()
        return packetID
    }

    /// Subscribes to a topic filter and returns the packet identifier of the answer.
    public func subscribe(to filter: Span<UInt8>, qos: QoS = .atLeastOnce) throws(MQTTError) -> UInt16 {
        let packetID = try session.subscribe(to: filter, qos: qos)
        askForEndOfTurn()
        return packetID
    }

    /// Ends a subscription and returns the packet identifier of the answer.
    public func unsubscribe(from filter: Span<UInt8>) throws(MQTTError) -> UInt16 {
        let packetID = try session.unsubscribe(from: filter)
        askForEndOfTurn()
        return packetID
    }

    private func askForEndOfTurn() { turnEnd.request(self) }

    /// Sends what the turn has produced: part of `EndOfTurnHandler`.
    public func endOfTurn() {
        flush()
    }

    /// The transport has room again: part of `ByteStreamHandler`.
    public func writable() { endOfTurn() }

    private func flush() {
        guard state == .open, let stream, session.hasOutgoing else { return }
        session.withOutgoing({ stream.send($0) }, at: loop.now)
        setTimer()
    }

    // MARK: Receiving

    /// Bytes arrived: part of `ByteStreamHandler`.
    public func received(_ bytes: Span<UInt8>) -> Int {
        let now = loop.now
        var taken = 0
        while taken < bytes.count, untaken == nil, state == .open {
            do throws(MQTTError) {
                let (count, event) = try session.receive(bytes.extracting(droppingFirst: taken), at: now)
                taken += count
                if let event { handle(event) }
            } catch {
                fail(error)
                return bytes.count
            }
        }
        if session.hasOutgoing { askForEndOfTurn() }
        setTimer()
        // After the connection has gone nothing is kept.
        return state == .open ? taken : bytes.count
    }

    /// Says that the handler, which did not take a message, can take it now.
    public func resumeReceiving() {
        guard let (message, packetID) = untaken else { return }
        untaken = nil
        deliver(message, packetID)
        if untaken == nil, state == .open { stream?.resumeReceiving() }
    }

    private func handle(_ event: MQTTSession.Event) {
        switch event {
        case .connected(let sessionPresent):
            mayBeStable = true
            isStableAt = loop.now + .milliseconds(session.configuration.reconnect.stableAfterMilliseconds)
            handler?.connected(sessionPresent: sessionPresent)
        case .message(let message, let packetID): deliver(message, packetID)
        case .published(let packetID): handler?.published(packetID: packetID)
        case .subscribed(let packetID, let granted): handler?.subscribed(packetID: packetID, granted: granted)
        case .subscriptionLost(let filter): handler?.subscriptionLost(filter: filter)
        case .unsubscribed(let packetID): handler?.unsubscribed(packetID: packetID)
        }
    }

    private func deliver(_ message: MQTTMessage, _ packetID: UInt16) {
        guard handler?.received(message) ?? true else {
            untaken = (message, packetID)
            return
        }
        session.acknowledge(packetID)
        if session.hasOutgoing { askForEndOfTurn() }
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
            if untaken != nil { session.postponePingTimeout(at: now) }
            do throws(MQTTError) {
                try session.handleTimeout(at: now)
                if session.hasOutgoing { askForEndOfTurn() }
                setTimer()
            } catch { fail(error) }
        }
    }
}
