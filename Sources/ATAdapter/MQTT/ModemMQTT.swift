public import Kernel

/// MQTT by the firmware of a modem: the modem logs in to Tencent Cloud IoT Hub with the device's key, and has the connection.
///
/// There is one connection per modem, beside its sockets. Messages are published with QoS 0 and 1 and received whole. When the connection, or the modem, is
/// lost, it connects again and subscribes again; what was published with QoS 1 waits, and is given to the firmware up to
/// ``ModemMQTTConfiguration/attempts`` times. Use it on the modem's loop.
public final class ModemMQTT: ModemService, EndOfTurnHandler {
    /// The modem.
    public let modem: Modem
    private var session: ModemMQTTSession
    private var handler: (any ModemMQTTHandler)?
    private let turnEnd: EndOfTurn
    /// The message under way: its topic, and what has come of it.
    private var topic: [UInt8] = []
    private var payload: [UInt8] = []
    private var isTooLong = false
    /// What the payload is of that is on its way.
    private enum Incoming { case nothing, message, image }
    private var incoming = Incoming.nothing
    /// How many messages came, but not whole.
    public private(set) var lostMessages = 0

    /// MQTT on `modem`, whose driver must have it. Throws ``ModemMQTTError/notInFirmware`` where it has not, and
    /// ``ModemMQTTError/invalidConfiguration`` for values that the firmware does not take, or where the modem's lines are held to less than 192 bytes.
    public init(
        on modem: Modem,
        identity: ModemMQTTIdentity,
        configuration: ModemMQTTConfiguration = ModemMQTTConfiguration()
    ) throws(ModemMQTTError) {
        guard let traits = modem.dialect.tencent else { throw .notInFirmware }
        guard configuration.isValid, modem.configuration.lineBytes >= 192 else { throw .invalidConfiguration }
        self.modem = modem
        let commands = TencentCommands(traits: traits, lineBytes: modem.traits.commandBytes - 2)
        session = ModemMQTTSession(identity, configuration, commands)
        turnEnd = EndOfTurn(on: modem.loop)
    }

    // MARK: The connection

    /// Whether the server has accepted the connection, and it is not lost.
    public var isConnected: Bool { session.phase == .up }
    /// How many requests wait, or are under way.
    public var waitingCount: Int { session.requests.count }

    /// Connects when the modem has its network. The handler is kept until it is told the last word. A modem has one connection: another one's ends.
    public func connect(handler: any ModemMQTTHandler) {
        guard session.phase == .off else { return }
        if let other = modem.service, other !== self { other.endForGood() }
        self.handler = handler
        modem.service = self
        session.modemChanged(isAttached: modem.state == .attached, at: modem.loop.now)
        session.connect()
        modem.askForEndOfTurn()
    }

    /// Ends the connection; what waits fails with ``ModemMQTTError/disconnected``.
    public func disconnect() { change { $0.disconnect() } }

    package func endForGood() {
        change {
            $0.disconnect()
            // What the firmware has is ended by the next one, if there is one.
            $0.modemChanged(isAttached: false, at: .zero)
        }
        tell()
    }

    // MARK: Requests

    /// Publishes a message of 1 to 2,048 bytes; the topic has up to 128. Throws why the firmware does not take it, or why it cannot wait.
    public func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: ModemMQTTQoS = .atLeastOnce
    ) throws(ModemMQTTError) -> ModemMQTTRequestID {
        defer { modem.askForEndOfTurn() }
        return try session.publish(topic: topic, payload: payload, qos: qos)
    }

    /// Subscribes to a topic filter, also after each reconnect; ten at most.
    public func subscribe(
        to filter: Span<UInt8>,
        qos: ModemMQTTQoS = .atLeastOnce
    ) throws(ModemMQTTError) -> ModemMQTTRequestID {
        defer { modem.askForEndOfTurn() }
        return try session.subscribe(to: filter, qos: qos)
    }

    /// Ends a subscription.
    public func unsubscribe(from filter: Span<UInt8>) throws(ModemMQTTError) -> ModemMQTTRequestID {
        defer { modem.askForEndOfTurn() }
        return try session.unsubscribe(from: filter)
    }

    /// Tells the hub which version the device runs, and has the modem fetch newer ones: ``ModemMQTTHandler/firmwareChanged(_:)`` says how that goes.
    /// To be asked for again after a reconnect, and after each image.
    public func listenForFirmware(version: Span<UInt8>) throws(ModemMQTTError) -> ModemMQTTRequestID {
        defer { modem.askForEndOfTurn() }
        return try session.listen(version: version)
    }

    /// Asks which image the modem holds; the next read begins at its start.
    public func askFirmwareInfo() throws(ModemMQTTError) -> ModemMQTTRequestID {
        defer { modem.askForEndOfTurn() }
        return try session.firmwareInfo()
    }

    /// Reads the next bytes of the image, up to 4,096; ``ModemMQTTHandler/firmwareData(_:_:)`` gets them in one or several pieces. It is not
    /// repeated when it fails, since the modem then may be further on: begin anew.
    public func readFirmware(_ count: Int) throws(ModemMQTTError) -> ModemMQTTRequestID {
        defer { modem.askForEndOfTurn() }
        return try session.readFirmware(count)
    }

    // MARK: The modem

    package var deadline: Duration { session.deadline(at: modem.loop.now) }

    package func takeTurn() -> Bool {
        guard let command = session.nextCommand(at: modem.loop.now) else { return false }
        modem.start(service: command)
        return true
    }

    package func takePayload() -> [UInt8] {
        guard case .request(let id) = session.work, let request = session.requests.first(where: { $0.id == id }) else {
            // Its user has given it up, and the modem waits for as many bytes: what follows shows it that they are none.
            return []
        }
        return request.payload
    }

    package func commandEnded(_ error: ATError?) { change { $0.ended(error, at: modem.loop.now) } }

    package func heard(_ line: Span<UInt8>) -> ModemServiceNotice {
        let notice = session.notice(line, at: modem.loop.now)
        turnEnd.request(self)
        return notice
    }

    package func modemChanged(isAttached: Bool) {
        change { $0.modemChanged(isAttached: isAttached, at: modem.loop.now) }
    }

    private func change(_ body: (inout ModemMQTTSession) -> Void) {
        body(&session)
        turnEnd.request(self)
        modem.askForEndOfTurn()
    }

    /// Tells the handler what is due: part of `EndOfTurnHandler`.
    public func endOfTurn() { tell() }

    private func tell() {
        while let output = session.nextOutput() {
            let handler = self.handler
            if case .disconnected(_, nil) = output {
                self.handler = nil
                if modem.service === self { modem.service = nil }
            }
            if let handler { tell(handler, output) }
        }
    }

    private func tell(_ handler: any ModemMQTTHandler, _ output: ModemMQTTSession.Output) {
        switch output {
        case .connected: handler.connected()
        case .disconnected(let error, let time): handler.disconnected(error, retryAt: time)
        case .published(let id): handler.published(id)
        case .subscribed(let id): handler.subscribed(id)
        case .unsubscribed(let id): handler.unsubscribed(id)
        case .listens(let id): handler.listensForFirmware(id)
        case .failed(let id, let error): handler.failed(id, error)
        case .subscriptionLost(let filter, let error): handler.subscriptionLost(filter: filter, error)
        case .firmware(let state): handler.firmwareChanged(state)
        case .firmwareInfo(let id, let info): handler.firmwareInfo(id, info)
        }
    }

    // MARK: Messages

    package func received(_ bytes: Span<UInt8>, behind header: Span<UInt8>, total: Int, left: Int) -> Bool {
        guard header.has("+TCMQTTRCVPUB:", at: 0) else {
            incoming = left == 0 ? .nothing : .image
            let line = session.line
            guard case .request(let id) = session.work, line.span.has("AT+TCREADFWDATA=", at: 0) else {
                return false
            }
            // In their order, behind what was said before.
            tell()
            handler?.firmwareData(id, bytes)
            return left == 0
        }
        incoming = .message
        if left + bytes.count == total {
            payload.clear()
            topic.clear()
            isTooLong = total > session.configuration.messageBytes
            if let end = TencentFirmware.topicEnd(header) {
                topic.append(header.extracting(Self.topicStart(header)..<end))
            }
        }
        if !isTooLong { payload.append(bytes) }
        return false
    }

    /// Behind the first quote.
    private static func topicStart(_ header: Span<UInt8>) -> Int {
        var start = 14
        while header[start] != UInt8(ascii: "\"") { start += 1 }
        return start + 1
    }

    package func payloadEnded(isWhole: Bool) {
        defer { incoming = .nothing }
        // A command that reads an image is not answered then.
        if incoming == .image { return }
        tell()
        guard isWhole, !isTooLong else {
            lostMessages += 1
            handler?.messageLost()
            return
        }
        // The handler may have others published, but nothing comes in meanwhile.
        let (topic, payload) = (self.topic, self.payload)
        handler?.received(topic: topic.span, payload: payload.span)
    }
}
