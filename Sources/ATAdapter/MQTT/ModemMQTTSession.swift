internal import Kernel

/// The rules of MQTT in a modem's firmware: a struct that is given what the modem says, and the time, and says which command is next.
///
/// After each call, drain ``nextOutput()``; ask for ``nextCommand(at:)`` while the modem is free, and again at ``deadline(at:)``.
struct ModemMQTTSession {
    /// What the user is told, in this order.
    enum Output: Equatable {
        case connected
        case disconnected(ModemMQTTError, retryAt: Duration?)
        case published(ModemMQTTRequestID)
        case subscribed(ModemMQTTRequestID)
        case unsubscribed(ModemMQTTRequestID)
        case listens(ModemMQTTRequestID)
        case failed(ModemMQTTRequestID, ModemMQTTError)
        case subscriptionLost([UInt8], ModemMQTTError)
        case firmware(ModemFirmwareState)
        case firmwareInfo(ModemMQTTRequestID, ModemFirmwareInfo)
    }

    enum Phase: Equatable {
        case off
        /// The modem has no network.
        case detached
        /// An attempt has failed, and the next comes then.
        case pausing(until: Duration)
        /// The commands of an attempt, one after the other.
        case endingOld, settingServer, settingIdentity, connecting
        case up
        /// The firmware connects again by itself, until then.
        case away(until: Duration)
        /// The user has ended it, and the firmware is told.
        case leaving
    }

    /// What the command in flight is for.
    enum Work: Equatable {
        case phase(Phase)
        case state
        /// A subscription that was granted before.
        case again([UInt8])
        case request(ModemMQTTRequestID)
    }

    /// What the firmware has said of the command in flight.
    enum Outcome: Equatable { case none, done, failed(ModemMQTTCode) }

    let configuration: ModemMQTTConfiguration
    let identity: ModemMQTTIdentity
    let commands: TencentCommands
    var phase = Phase.off
    var isAttached = false
    var work: Work?
    var outcome = Outcome.none
    /// The line of the command in flight.
    var line: [UInt8] = []
    var outputs: [Output] = []
    /// In the order in which they are done.
    var requests: [Request] = []
    var lastID: ModemMQTTRequestID = 0
    /// No request is given to the firmware before.
    var resumesAt = Duration.zero
    var subscriptions: [Subscription] = []
    /// When the firmware is asked whether it is connected, and what it has said.
    var asksAt = Duration.zero
    var isConnected = true
    private var failures = 0

    init(_ identity: ModemMQTTIdentity, _ configuration: ModemMQTTConfiguration, _ commands: TencentCommands) {
        (self.identity, self.configuration, self.commands) = (identity, configuration, commands)
    }

    /// The next thing to tell, or `nil` when there is nothing.
    mutating func nextOutput() -> Output? { outputs.isEmpty ? nil : outputs.removeFirst() }

    // MARK: Connecting

    mutating func connect() {
        guard phase == .off else { return }
        failures = 0
        phase = isAttached ? .endingOld : .detached
    }

    /// Ends the connection. What waits fails at once.
    mutating func disconnect() {
        failAll(.disconnected)
        subscriptions = []
        switch phase {
        case .off, .leaving: break
        case .detached, .pausing: isOver(.disconnected)
        // What was begun may have succeeded.
        case .endingOld, .settingServer, .settingIdentity, .connecting, .up, .away: phase = .leaving
        }
    }

    private mutating func isOver(_ error: ModemMQTTError) {
        phase = .off
        failAll(error)
        outputs.append(.disconnected(error, retryAt: nil))
    }

    mutating func modemChanged(isAttached: Bool, at now: Duration) {
        guard isAttached != self.isAttached else { return }
        self.isAttached = isAttached
        switch phase {
        case .off: break
        case .detached: if isAttached { phase = .endingOld }
        case .leaving: isOver(.disconnected)
        case .pausing, .away: phase = .detached
        case .endingOld, .settingServer, .settingIdentity, .connecting, .up:
            guard configuration.reconnects else { return isOver(.modemDetached) }
            phase = .detached
            failUnkept()
            outputs.append(.disconnected(.modemDetached, retryAt: now))
        }
    }

    /// The connection is lost, or could not be made.
    mutating func lost(_ error: ModemMQTTError, at now: Duration) {
        guard configuration.reconnects else { return isOver(error) }
        let delay = min(
            configuration.firstDelayMilliseconds << min(failures, 16),
            configuration.longestDelayMilliseconds
        )
        failures += 1
        var time = now + .milliseconds(delay)
        if phase == .up, configuration.firmwareReconnects {
            time = now + .seconds(60)
            phase = .away(until: time)
        } else {
            phase = .pausing(until: time)
        }
        failUnkept()
        outputs.append(.disconnected(error, retryAt: time))
    }

    private mutating func connected(at now: Duration) {
        phase = .up
        failures = 0
        asksAt = now + configuration.stateInterval
        resumesAt = .zero
        outputs.append(.connected)
    }

    // MARK: Commands

    /// When it has something to do, although nothing has happened.
    func deadline(at now: Duration) -> Duration {
        guard isAttached, work == nil else { return ATEngine.never }
        switch phase {
        case .pausing(let time), .away(let time): return time
        case .up: return requests.isEmpty ? asksAt : min(asksAt, max(resumesAt, now))
        case .off, .detached, .endingOld, .settingServer, .settingIdentity, .connecting, .leaving:
            return ATEngine.never
        }
    }

    /// The next command, if there is one.
    mutating func nextCommand(at now: Duration) -> ATCommand? {
        guard isAttached, work == nil else { return nil }
        switch phase {
        case .pausing(let time), .away(let time): if now >= time { phase = .endingOld }
        default: break
        }
        if phase == .settingServer, configuration.server.isEmpty { phase = .settingIdentity }
        var command = ATCommand(timeout: configuration.commandTimeoutMilliseconds + 5_000, ending: .both)
        command.isRepeatable = true
        switch phase {
        case .off, .detached, .pausing, .away: return nil
        case .endingOld, .leaving:
            command.line.append("AT+TCMQTTDISCONN")
            command.ending = .ok
            work = .phase(phase)
        case .settingServer: set(&command, commands.server(configuration.server))
        case .settingIdentity: set(&command, commands.identity(identity, configuration.security))
        case .connecting:
            set(&command, commands.login(configuration))
            command.timeout += 10_000
        case .up:
            if now >= asksAt {
                asksAt = now + configuration.stateInterval
                isConnected = true
                command.line.append("AT+TCMQTTSTATE?")
                command.ending = .ok
                work = .state
            } else if let filter = subscriptionAgain(&command) {
                work = .again(filter)
            } else {
                guard now >= resumesAt, let request = requests.first else { return nil }
                command.line = request.line
                command.payloadBytes = request.payload.count
                // Of a payload, no more than a line of its own is told.
                if command.payloadBytes > 0 { command.ending = .notice }
                work = .request(request.id)
            }
        }
        outcome = .none
        line = command.line
        return command
    }

    private mutating func set(_ command: inout ATCommand, _ line: [UInt8]) {
        command.line = line
        work = .phase(phase)
    }

    /// The command in flight has ended.
    mutating func ended(_ error: ATError?, at now: Duration) {
        guard let work else { return }
        self.work = nil
        // A secret may have been in it.
        line = []
        let failure = failure(error)
        switch work {
        case .phase(let begun): phaseEnded(begun, failure, at: now)
        case .state:
            if failure == nil, !isConnected, phase == .up { lost(.connectionLost(.unknown), at: now) }
        case .again(let filter): subscribedAgain(filter, failure, at: now)
        case .request(let id): requestEnded(id, failure, at: now)
        }
    }

    private mutating func phaseEnded(_ begun: Phase, _ failure: ModemMQTTError?, at now: Duration) {
        // Meanwhile it may have been ended, or the modem lost.
        guard begun == phase else { return }
        switch begun {
        // There may have been no old one.
        case .endingOld: phase = .settingServer
        case .settingServer where failure == nil: phase = .settingIdentity
        case .settingIdentity where failure == nil: phase = .connecting
        case .connecting where failure == nil: connected(at: now)
        case .leaving: isOver(.disconnected)
        default: lost(failure ?? .unanswered, at: now)
        }
    }

    /// What the end of the command in flight means: what the firmware has said of it counts, even if a result was lost.
    private func failure(_ error: ATError?) -> ModemMQTTError? {
        switch outcome {
        case .done: return nil
        case .failed(let code): return .failed(code)
        case .none: break
        }
        switch error {
        case nil: return nil
        case .timedOut?: return .unanswered
        case .equipment(let code)? where (200..<300).contains(code): return .failed(ModemMQTTCode(rawValue: code))
        case let error?: return .modem(error)
        }
    }

    // MARK: What the firmware says by itself

    /// `+TCMQTTDISCON`.
    mutating func connectionEnded(_ code: ModemMQTTCode, at now: Duration) {
        switch phase {
        case .up: lost(.connectionLost(code), at: now)
        case .away where code == .reconnectTimedOut:
            phase = .pausing(until: now)
        case .off, .detached, .pausing, .endingOld, .settingServer, .settingIdentity, .connecting, .away, .leaving:
            break
        }
    }

    /// `+TCMQTTRECONNECTING` and `+TCMQTTRECONNECTED`.
    mutating func reconnect(isDone: Bool, at now: Duration) {
        switch phase {
        case .up: if !isDone { lost(.connectionLost(.reconnecting), at: now) }
        case .away:
            guard isDone else { return }
            // It has subscribed again by itself.
            for index in subscriptions.indices { subscriptions[index].isDue = false }
            connected(at: now)
        case .off, .detached, .pausing, .endingOld, .settingServer, .settingIdentity, .connecting, .leaving: break
        }
    }
}
