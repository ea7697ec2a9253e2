internal import CLinux
internal import Kernel

/// The cloud's services, on a thread of their own: what devices ask for, and what the application sends to them. Each service is an extension.
final class ServiceCore {
    typealias Publish = @Sendable (_ topic: String, _ payload: [UInt8], _ qos: Int) throws(HubSimulatorError) -> Void

    static let recordLimit = 1000
    static let faultLimit = 1000

    let directory: String
    let registry: DeviceRegistry
    let record: HubRecord
    let store: HubStore
    let agenda: Agenda
    var generator: SeededGenerator
    /// Whether secrets too come from the seed, so that a run can be repeated; else nobody can guess them.
    private let repeatsSecrets: Bool
    var behavior = ServiceBehavior()
    var statistics = ServiceStatistics()
    var lastFailure: HubSimulatorError?
    var faults: [ServiceFault] = []
    var clockOffset: Duration = .zero
    var httpFaults: [HTTPFault] = []
    var httpRecords: [HTTPRecord] = []
    /// What the request that is being answered was signed with.
    var signedHost: String?
    /// What the URLs of files begin with.
    var fileBaseURLs = (plain: "", secure: "")
    /// The longest payload that a message may have.
    var maximumPayloadBytes = 16_384
    /// `nil` while the hub does not run.
    var publish: Publish?
    /// The last messages, oldest first.
    private(set) var exchanges: [ServiceRecord] = []
    private var exchangeCount = 0

    /// What is sent when the transaction is done.
    private var outbox: [(answer: ServiceAnswer, fault: ServiceFault.Effect?)] = []
    /// What goes wrong with the request that is being answered.
    private var currentFault: ServiceFault.Effect?

    /// The properties of the last calls of `control`, by their tokens.
    var sentControls: [(token: String, params: HubJSON)] = []
    /// Which devices a gateway has said are online; its connection keeps them so.
    var onlineSubDevices: [HubDeviceName: Set<HubDeviceName>] = [:]
    /// Calls that wait for their device, by topic of the answer.
    var calls: [String: OpenCall] = [:]
    var nextCall: Int

    init(
        directory: String,
        registry: DeviceRegistry,
        record: HubRecord,
        seed: UInt64,
        repeatsSecrets: Bool,
        loop: EventLoop
    ) throws(HubSimulatorError) {
        self.repeatsSecrets = repeatsSecrets
        self.directory = directory
        self.registry = registry
        self.record = record
        store = try HubStore(path: "\(directory)/state.sqlite")
        agenda = Agenda(on: loop)
        generator = SeededGenerator(seed: seed)
        nextCall = Int.random(in: 1...999_999, using: &generator)
    }

    /// The hub's time in milliseconds since 1970.
    var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000 + Int(clockOffset.nanoseconds / 1_000_000)
    }

    /// Bytes of a secret.
    func secretBytes(_ count: Int) -> [UInt8] {
        var system = SystemRandomNumberGenerator()
        return (0..<count).map { _ in
            repeatsSecrets ? UInt8.random(in: 0...255, using: &generator) : UInt8.random(in: 0...255, using: &system)
        }
    }

    /// The device, if the registry has it and it may log in.
    func requireDevice(_ device: HubDeviceName) throws(HubSimulatorError) {
        guard registry.device(productID: device.productID, deviceName: device.deviceName) != nil else {
            throw .unknownDevice(device.description)
        }
    }

    // MARK: In

    /// Takes a message of a device, on any topic.
    func receive(topic: String, payload: [UInt8], arrival: Int) {
        note(isFromDevice: true, topic, payload)
        guard let message = ServiceMessage(topic: topic, payload: payload, arrival: arrival) else { return }
        statistics.requests += 1
        currentFault = takeFault(message.service, message.device, isPush: false)
        defer { currentFault = nil }
        if currentFault == .requestLost { return }
        do {
            try change { () throws(HubSimulatorError) in try answer(message) }
        } catch {
            fail(error)
        }
    }

    /// Takes a message that came by CoAP, and returns what answers it: of several messages the last.
    func answerCoAP(topic: String, payload: [UInt8]) -> [UInt8]? {
        note(isFromDevice: true, topic, payload)
        guard let message = ServiceMessage(topic: topic, payload: payload, arrival: now) else { return nil }
        statistics.requests += 1
        currentFault = takeFault(message.service, message.device, isPush: false)
        defer { currentFault = nil }
        if currentFault == .requestLost { return nil }
        do throws(HubSimulatorError) {
            try store.transaction { () throws(HubSimulatorError) in try answer(message) }
        } catch {
            outbox = []
            fail(error)
        }
        let answers = outbox.filter(\.answer.isReply)
        outbox = []
        guard let last = answers.last, currentFault != .answerLost else { return nil }
        let bytes = Self.bytes(last.answer)
        statistics.answers += 1
        note(isFromDevice: false, last.answer.topic, bytes)
        return currentFault == .malformed ? Array(bytes.prefix(bytes.count / 2)) : bytes
    }

    /// Changes the state and sends what that brings about: all of it or nothing.
    func change<Result>(_ body: () throws(HubSimulatorError) -> Result) throws(HubSimulatorError) -> Result {
        do throws(HubSimulatorError) {
            let result = try store.transaction(body)
            flush()
            return result
        } catch {
            outbox = []
            throw error
        }
    }

    func fail(_ error: HubSimulatorError) {
        statistics.failures += 1
        lastFailure = error
    }

    private func answer(_ message: ServiceMessage) throws(HubSimulatorError) {
        if message.service == .rrpc { return finishCall(message) }
        if message.service == .raw { return echoRaw(message) }
        guard let request = HubJSON(parsing: message.payload), request.members != nil else {
            if message.service == .shadow { return refuseShadow(message, .null, code: ShadowDocument.malformed) }
            statistics.malformed += 1
            return
        }
        if case .error(let code) = currentFault { return refuse(message, request, code: code) }
        switch message.service {
        case .shadow: try answerShadow(message, request)
        case .time: answerTime(message, request)
        case .configuration: try answerConfiguration(message, request)
        case .log: try answerLog(message, request)
        case .firmware: try answerFirmware(message, request)
        case .gateway: try answerGateway(message, request)
        case .property, .event, .action, .thing: try answerThing(message, request)
        case .resource: try answerResource(message, request)
        case .rrpc, .broadcast, .raw: break
        }
    }

    /// Refuses a request without carrying it out.
    private func refuse(_ message: ServiceMessage, _ request: HubJSON, code: Int) {
        switch message.service {
        case .shadow: refuseShadow(message, request, code: code)
        case .configuration: replyConfiguration(message, ["type": "reply", "result": HubJSON(code)])
        case .log: refuseLog(message, request, code: code)
        case .firmware: refuseFirmware(message, request, code: code)
        case .gateway: refuseGateway(message, request, code: code)
        case .property, .event, .action, .thing: refuseThing(message, request, code: code)
        case .resource: refuseResource(message, request, code: code)
        case .time, .rrpc, .broadcast, .raw: break
        }
    }

    // MARK: Out

    /// Sends an answer when the state is safe.
    func send(_ answer: ServiceAnswer) {
        let fault = answer.isReply ? currentFault : takeFault(answer.service, answer.device, isPush: true)
        outbox.append((answer, fault))
    }

    /// Tells the broker's plugin something, in the order of what devices are sent.
    func sendInternally(_ topic: String, _ payload: [UInt8]) {
        var answer = ServiceAnswer(
            service: .gateway,
            device: HubDeviceName("", ""),
            topic: topic,
            body: .bytes(payload),
            qos: 1
        )
        answer.isInternal = true
        outbox.append((answer, nil))
    }

    private func flush() {
        let answers = outbox
        outbox = []
        for (answer, fault) in answers { send(answer, fault) }
    }

    private func send(_ answer: ServiceAnswer, _ fault: ServiceFault.Effect?) {
        var answer = answer
        if behavior.isStrict, case .json(let json) = answer.body { answer.body = .json(disguised(json)) }
        switch fault {
        case .requestLost, .answerLost: return
        case .late(let delay):
            if agenda.add(after: delay, { self.transmit(answer, Self.bytes(answer)) }) == nil {
                statistics.dropped += 1
            }
        case .duplicated:
            transmit(answer, Self.bytes(answer))
            transmit(answer, Self.bytes(answer))
        case .malformed:
            let bytes = Self.bytes(answer)
            transmit(answer, Array(bytes.prefix(max(1, bytes.count / 2))))
        case .wrongToken:
            if case .json(var json) = answer.body, json[answer.tokenName] != nil {
                json[answer.tokenName] = .string("not-" + generator.name(8))
                answer.body = .json(json)
            }
            transmit(answer, Self.bytes(answer))
        case .error, nil: transmit(answer, Self.bytes(answer))
        }
    }

    private static func bytes(_ answer: ServiceAnswer) -> [UInt8] {
        switch answer.body {
        case .json(let json): json.text
        case .bytes(let bytes): bytes
        }
    }

    private func transmit(_ answer: ServiceAnswer, _ payload: [UInt8]) {
        guard let publish else { return fail(.notRunning) }
        do {
            try publish(answer.topic, payload, answer.qos)
            if answer.isInternal { return }
            statistics.answers += 1
            note(isFromDevice: false, answer.topic, payload)
        } catch {
            fail(error)
        }
    }

    /// The same value as a client that is too narrow does not take it.
    private func disguised(_ json: HubJSON, isOuter: Bool = true) -> HubJSON {
        guard let members = json.members else { return json }
        var changed = members.map { HubJSON.Member($0.name, disguised($0.value, isOuter: false)) }
        if isOuter { changed.append(HubJSON.Member("x_" + generator.name(4), ["note": [1, "}", .null]])) }
        changed.shuffle(using: &generator)
        return .object(changed)
    }

    private func takeFault(_ service: CloudService, _ device: HubDeviceName, isPush: Bool) -> ServiceFault.Effect? {
        guard let index = faults.firstIndex(where: { $0.fits(service, device, isPush: isPush) }) else { return nil }
        let effect = faults[index].effect
        faults[index].count -= 1
        if faults[index].count <= 0 { faults.remove(at: index) }
        statistics.faults += 1
        return effect
    }

    private func note(isFromDevice: Bool, _ topic: String, _ payload: [UInt8]) {
        if exchanges.count == Self.recordLimit { exchanges.removeFirst() }
        exchangeCount += 1
        exchanges.append(
            ServiceRecord(number: exchangeCount, isFromDevice: isFromDevice, topic: topic, payload: payload, time: now)
        )
    }
}
