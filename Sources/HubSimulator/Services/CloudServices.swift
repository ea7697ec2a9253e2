internal import CLinux
internal import Kernel

/// The cloud's services: what an application, an operator or a test does with them. State is in `state.sqlite` of the hub's directory, and there again after
/// a restart.
///
/// Calls may come from any thread but not from an event handler, and wait for their outcome; they throw ``HubSimulatorError``: `unknownDevice`, `stateFailed`, and
/// what is said with each. What is sent to a device goes nowhere while the hub does not run.
public final class CloudServices: Sendable {
    /// How many messages of devices may wait to be dealt with; more are dropped and counted.
    static let inboxLimit = 10_000

    /// How long the hub waits for the answer of a device that is called.
    public static let callTimeout: Duration = .seconds(4)

    let loop: EventLoop
    let core: LoopConfined<ServiceCore>
    private let waiting = Guarded(0)
    private let dropped = Guarded(0)

    /// What decides all that is random; the same again repeats it.
    public let seed: UInt64

    init(
        directory: String,
        registry: DeviceRegistry,
        record: HubRecord,
        configuration: HubConfiguration
    ) throws(HubSimulatorError) {
        var generator = SystemRandomNumberGenerator()
        seed = configuration.seed ?? UInt64.random(in: 0...UInt64.max, using: &generator)
        loop = EventLoop.start()
        do throws(HubSimulatorError) {
            let core = try ServiceCore(
                directory: directory,
                registry: registry,
                record: record,
                seed: seed,
                repeatsSecrets: configuration.seed != nil,
                loop: loop
            )
            core.maximumPayloadBytes = configuration.maxPayloadBytes
            self.core = LoopConfined(core)
        } catch {
            loop.stop()
            throw error
        }
        _ = record.addHandler { [weak self] event in self?.receive(event) }
    }

    deinit {
        end()
        loop.stop()
    }

    /// Lets go of the state's file, so that another hub can have the directory.
    func end() {
        try? perform { core in
            core.agenda.removeAll()
            core.store.close()
        }
    }

    /// From now on, messages to devices go here.
    func open(_ publish: @escaping ServiceCore.Publish) {
        let core = core
        loop.execute { core.value.publish = publish }
    }

    /// A broker starts: connections of the one before are no more.
    func beginBroker() { try? perform { $0.onlineSubDevices = [:] } }

    /// What answers a message that came by CoAP.
    func answerCoAP(topic: String, payload: [UInt8]) -> [UInt8]? {
        (try? perform { $0.answerCoAP(topic: topic, payload: payload) }) ?? nil
    }

    /// Ends what waits for devices.
    func close() {
        try? perform { core throws(HubSimulatorError) in
            core.publish = nil
            core.endCalls()
            core.agenda.removeAll()
        }
    }

    /// Does something on the services' thread and waits for it.
    func perform<Outcome: Sendable>(
        _ body: @escaping @Sendable (ServiceCore) throws(HubSimulatorError) -> Outcome
    ) throws(HubSimulatorError) -> Outcome {
        let core = core
        if loop.isOnLoop { return try body(core.value) }
        let outcome = Guarded<Result<Outcome, HubSimulatorError>?>(nil)
        let done = Completion()
        loop.execute {
            let result = Result { () throws(HubSimulatorError) in try body(core.value) }
            outcome.withLock { $0 = result }
            try? done.post()
        }
        try? done.wait()
        guard let result = outcome.withLock({ $0 }) else { throw .notRunning }
        return try result.get()
    }

    /// As ``perform(_:)``, for what changes the state or sends.
    func change<Outcome: Sendable>(
        _ body: @escaping @Sendable (ServiceCore) throws(HubSimulatorError) -> Outcome
    ) throws(HubSimulatorError) -> Outcome {
        try perform { core throws(HubSimulatorError) in
            try core.change { () throws(HubSimulatorError) in try body(core) }
        }
    }

    /// Begins something on the services' thread, and waits until it is finished there.
    func wait(
        _ begin: @escaping @Sendable (ServiceCore, @escaping ServiceCore.Finish) throws(HubSimulatorError) -> Void
    ) throws(HubSimulatorError) -> [UInt8] {
        let outcome = Guarded<Result<[UInt8], HubSimulatorError>>(.failure(.notRunning))
        let done = Completion()
        try change { core throws(HubSimulatorError) in
            guard core.publish != nil else { throw .notRunning }
            try begin(core) { result in
                outcome.withLock { $0 = result }
                try? done.post()
            }
        }
        try? done.wait(.atMost(ServiceCore.longestCall + .seconds(5)))
        return try outcome.withLock { $0 }.get()
    }

    /// Takes what happened to the services' thread. CoAP's messages wait for their answers there and come by another way.
    private func receive(_ event: HubEvent) {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let arrival = time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        switch event {
        case .message(let message) where message.way != .coap:
            enqueue { core in
                let offset = Int(core.clockOffset.nanoseconds / 1_000_000)
                core.receive(topic: message.topic, payload: message.payload, arrival: arrival + offset)
            }
        case .loggedIn(let clientID, _):
            enqueue { core in
                do throws(HubSimulatorError) {
                    try core.change { () throws(HubSimulatorError) in try core.noteLogin(clientID: clientID) }
                } catch {
                    core.fail(error)
                }
            }
        case .disconnected(let clientID): enqueue { $0.forgetSubDevices(ofClient: clientID) }
        case .message, .refused: break
        }
    }

    /// Does something on the services' thread, unless too much waits there.
    private func enqueue(_ work: @escaping @Sendable (ServiceCore) -> Void) {
        let mayWait = waiting.withLock { waiting in
            guard waiting < Self.inboxLimit else { return false }
            waiting += 1
            return true
        }
        guard mayWait else { return dropped.withLock { $0 += 1 } }
        let (core, waiting) = (core, waiting)
        loop.execute {
            work(core.value)
            waiting.withLock { $0 -= 1 }
        }
    }
}

// MARK: - The simulator's side

extension CloudServices {
    /// How the services behave.
    public var behavior: ServiceBehavior {
        get throws(HubSimulatorError) { try perform { $0.behavior } }
    }

    /// Changes how the services behave.
    public func setBehavior(_ behavior: ServiceBehavior) throws(HubSimulatorError) {
        try perform { $0.behavior = behavior }
    }

    /// What the services have done.
    public var statistics: ServiceStatistics {
        get throws(HubSimulatorError) {
            var statistics = try perform { $0.statistics }
            statistics.dropped += dropped.withLock { $0 }
            return statistics
        }
    }

    /// Why a service could not deal with a message, if that ever happened.
    public var lastFailure: HubSimulatorError? {
        get throws(HubSimulatorError) { try perform { $0.lastFailure } }
    }

    /// The last 1000 messages from and to devices, oldest first.
    public var records: [ServiceRecord] {
        get throws(HubSimulatorError) { try perform { $0.exchanges } }
    }

    /// Lets something go wrong; of several that fit, the first one does. At most 1000: `tooMany`.
    public func add(_ fault: ServiceFault) throws(HubSimulatorError) {
        guard fault.count > 0 else { return }
        try perform { core throws(HubSimulatorError) in
            guard core.faults.count < ServiceCore.faultLimit else {
                throw .tooMany("faults", limit: ServiceCore.faultLimit)
            }
            core.faults.append(fault)
        }
    }

    /// The faults that are still to come.
    public var faults: [ServiceFault] {
        get throws(HubSimulatorError) { try perform { $0.faults } }
    }

    /// Takes back all faults.
    public func removeFaults() throws(HubSimulatorError) { try perform { $0.faults = [] } }

    /// Moves the services' clock, as seen from the machine's. The expiry of logins follows the machine's.
    public func setClockOffset(_ offset: Duration) throws(HubSimulatorError) { try perform { $0.clockOffset = offset } }
}

// MARK: - The application's side

extension CloudServices {
    /// A device's shadow: `state`, `metadata`, `version` and `timestamp`.
    public func shadow(of device: HubDeviceName) throws(HubSimulatorError) -> HubJSON {
        try perform { core throws(HubSimulatorError) in try core.shadowDocument(device).stored }
    }

    /// Changes what is desired of a device, unless `version` is neither 0 nor the shadow's, and tells the device. `null` takes out a key, or everything. Returns
    /// the same reply as a device gets, with its `result`.
    @discardableResult
    public func updateDesired(
        _ device: HubDeviceName,
        _ desired: HubJSON,
        version: Int = 0
    ) throws(HubSimulatorError) -> HubJSON {
        try change { core throws(HubSimulatorError) in try core.updateDesired(device, desired, version: version) }
    }

    /// Sets the text of a product's remote configuration, at most 131,072 bytes; `nil` takes it away. It is told to devices that ask, and by ``pushConfiguration(_:)``.
    public func setConfiguration(_ productID: String, _ text: [UInt8]?) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.setConfiguration(productID, text) }
    }

    /// The text of a product's remote configuration, or `nil` without one.
    public func configuration(of productID: String) throws(HubSimulatorError) -> [UInt8]? {
        try perform { core throws(HubSimulatorError) in
            try core.store.document(.configuration, productID)?["text"]?.string.map { Array($0.utf8) }
        }
    }

    /// Switches a product's remote configuration on, as it is at first, or off.
    public func setConfigurationEnabled(_ productID: String, _ isEnabled: Bool) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.setConfigurationEnabled(productID, isEnabled) }
    }

    /// Sends a product's remote configuration to its devices.
    public func pushConfiguration(_ productID: String) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.pushConfiguration(productID) }
    }

    /// Sets what a device is to upload of its log, and tells it.
    public func setLogLevel(_ device: HubDeviceName, _ level: CloudLogLevel) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.setLogLevel(device, level) }
    }

    /// What a device is to upload of its log; nothing at first.
    public func logLevel(of device: HubDeviceName) throws(HubSimulatorError) -> CloudLogLevel {
        try perform { core throws(HubSimulatorError) in try core.logLevel(device) }
    }

    /// Switches a device's remote login on or off.
    public func setRemoteLogin(_ device: HubDeviceName, _ isOn: Bool) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.pushRemoteLogin(isOn, to: device) }
    }

    /// Publishes to any topic, QoS 0 or 1, as the cloud.
    func publish(topic: String, payload: [UInt8], qos: Int) throws(HubSimulatorError) {
        try perform { core throws(HubSimulatorError) in
            guard let publish = core.publish else { throw .notRunning }
            try publish(topic, payload, qos)
        }
    }

    /// Calls a device and waits for its answer, 4 seconds as the hub does, or at most 60; then throws `noAnswer`. Without a process ID the call gets a new number. At
    /// most 1000 calls wait at a time.
    public func callRRPC(
        _ device: HubDeviceName,
        _ payload: [UInt8],
        processID: String? = nil,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> [UInt8] {
        try wait { core, finish throws(HubSimulatorError) in
            try core.call(device, payload, processID: processID, timeout: timeout, finish: finish)
        }
    }

    /// Sends a message of at most 8192 bytes to all devices of a product that are online, and returns how many these are.
    @discardableResult
    public func broadcast(_ productID: String, _ payload: [UInt8]) throws(HubSimulatorError) -> Int {
        try change { core throws(HubSimulatorError) in try core.broadcast(productID, payload) }
    }
}
