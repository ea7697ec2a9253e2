#if !hasFeature(Embedded)
internal import Kernel
internal import MQTTClient

/// Runs the services of a device over its MQTT. What is never asked for is never subscribed to.
actor HubServiceRunner<Client: HubMessaging> {
    typealias Failure = HubServiceFailure<Client.Failure>

    /// What somebody waits for.
    enum Wait: Hashable {
        case ready(Int)
        case shadow(HubRequestID)
        case time(HubRequestID)
        case configuration(HubRequestID)
        case gateway(HubRequestID)
    }

    /// What comes of it.
    enum Answer: Sendable {
        case ready
        case document(HubShadowDocument)
        case time(HubTimeSample)
        case configuration(JSONValue)
        case subDevices([HubSubDeviceResult])
    }

    private struct Subscription {
        enum State { case wanted, asked, granted }
        let qos: QoS
        var state = State.wanted
        var waiting: [(number: Int, until: Duration)] = []
    }

    /// How long a request waits for the connection and the subscription.
    private static var patience: Duration { .seconds(5) }

    let client: Client
    let clock: HubServiceClock
    let services = HubServices()
    let shadow: HubShadow
    let time: HubClock
    let rrpc: HubRRPC
    let broadcasts: HubBroadcasts
    let configuration: HubRemoteConfiguration
    let logLevels: HubLogLevels
    let gateway: HubGateway
    var deltaFeeds = HubFeeds<HubShadowDelta>()
    var reportFailureFeeds = HubFeeds<HubServiceError>()
    var requestFeeds = HubFeeds<HubRRPCRequest>()
    var broadcastFeeds = HubFeeds<[UInt8]>()
    var configurationFeeds = HubFeeds<JSONValue>()
    var logLevelFeeds = HubFeeds<HubLogLevel>()
    var gatewayFeeds = HubFeeds<HubGateway.Event>()
    private var subscriptions: [String: Subscription] = [:]
    private var waiters: [Wait: CheckedContinuation<Result<Answer, Failure>, Never>] = [:]
    /// What came of requests before their callers wait: what fails at once.
    private var early: [Wait: Result<Answer, Failure>] = [:]
    private var waitCount = 0
    private var outbox: AsyncStream<HubPublish>.Continuation?
    private let tasks = HubTasks()
    private var timerAt: Duration?

    init(
        _ identity: DeviceIdentity,
        by client: Client,
        shadow configuration: HubShadowConfiguration,
        clock: HubServiceClock = .continuous()
    ) {
        self.client = client
        self.clock = clock
        shadow = HubShadow(identity, configuration: configuration)
        time = HubClock(identity)
        rrpc = HubRRPC(identity)
        broadcasts = HubBroadcasts(identity)
        self.configuration = HubRemoteConfiguration(identity)
        logLevels = HubLogLevels(identity)
        gateway = HubGateway(identity)
    }

    deinit { outbox?.finish() }

    // MARK: The connection

    /// Listens to the connection, and begins to publish; once.
    private func start() {
        guard outbox == nil else { return }
        let (publishes, source) = AsyncStream.makeStream(of: HubPublish.self, bufferingPolicy: .bufferingOldest(64))
        outbox = source
        let client = client
        tasks.set(
            "publish",
            Task { [weak self] in
                for await publish in publishes {
                    let topic = String(decoding: publish.topic, as: UTF8.self)
                    do throws(Client.Failure) {
                        try await client.publish(publish.payload, topic: topic, qos: publish.qos)
                    } catch { await self?.notSent(publish) }
                }
            }
        )
        tasks.set(
            "states",
            Task { [weak self] in for await state in client.connectionStates { await self?.changed(state) } }
        )
    }

    private func changed(_ state: HubConnectionState<Client.Failure>) {
        switch state {
        case .connecting: return
        case .connected:
            services.connected(at: clock.now())
            for (filter, subscription) in subscriptions {
                switch subscription.state {
                case .wanted: subscribe(filter)
                case .asked: break
                case .granted: finishWaiting(filter, .success(.ready))
                }
            }
        case .waiting, .disconnected: services.disconnected(at: clock.now())
        case .subscriptionLost(let filter): services.refused(Array(filter.utf8), at: clock.now())
        }
        pump()
    }

    private func notSent(_ publish: HubPublish) {
        services.notSent(publish, at: clock.now())
        pump()
    }

    // MARK: Subscriptions

    /// Sees to it that a service gets what it needs to hear, without waiting for it.
    func use(_ service: some HubService) -> String {
        start()
        let filter = String(decoding: service.subscription.filter, as: UTF8.self)
        if subscriptions[filter] == nil {
            services.add(service)
            subscriptions[filter] = Subscription(qos: service.subscription.qos)
        }
        if services.isConnected, subscriptions[filter]?.state == .wanted { subscribe(filter) }
        return filter
    }

    /// The same, and waits until it does, for a while.
    func useReady(_ service: some HubService) async throws(Failure) {
        let filter = use(service)
        guard !services.isConnected || subscriptions[filter]?.state != .granted else { return }
        waitCount += 1
        subscriptions[filter]?.waiting.append((waitCount, clock.now() + Self.patience))
        setTimer()
        _ = try await answer(to: .ready(waitCount))
    }

    private func subscribe(_ filter: String) {
        guard let qos = subscriptions[filter]?.qos else { return }
        subscriptions[filter]?.state = .asked
        let client = client
        tasks.set(
            filter,
            Task { [weak self] in
                do throws(Client.Failure) {
                    let messages = try await client.messages(of: filter, qos: qos)
                    await self?.granted(filter)
                    for await message in messages { await self?.received(message) }
                    await self?.ended(filter)
                } catch { await self?.refused(filter, error) }
            }
        )
    }

    private func granted(_ filter: String) {
        subscriptions[filter]?.state = .granted
        services.granted(Array(filter.utf8), at: clock.now())
        if services.isConnected { finishWaiting(filter, .success(.ready)) }
        pump()
    }

    /// Not now; whoever needs it next, or the next connection, tries again.
    private func refused(_ filter: String, _ error: Client.Failure) {
        subscriptions[filter]?.state = .wanted
        finishWaiting(filter, .failure(.messaging(error)))
        setTimer()
    }

    private func ended(_ filter: String) {
        guard subscriptions[filter]?.state == .granted else { return }
        subscriptions[filter]?.state = .wanted
        services.refused(Array(filter.utf8), at: clock.now())
        finishFeeds(Array(filter.utf8))
        // What is reported is still to be sent.
        if services.isConnected { subscribe(filter) }
        pump()
    }

    private func finishWaiting(_ filter: String, _ result: Result<Answer, Failure>) {
        let waiting = subscriptions[filter]?.waiting ?? []
        subscriptions[filter]?.waiting = []
        for wait in waiting { finish(.ready(wait.number), result) }
    }

    private func received(_ message: MQTTMessage) {
        let (topic, payload) = (message.topic, message.payload)
        _ = services.receive(topic: topic.span, payload: payload.span, at: clock.now())
        pump()
    }

    // MARK: Waiting

    /// Waits for an answer, or the cancellation of the task.
    func answer(to wait: Wait) async throws(Failure) -> Answer {
        if let result = early.removeValue(forKey: wait) { return try result.get() }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { waiters[wait] = $0 }
        } onCancel: {
            Task { await self.cancel(wait) }
        }
        return try result.get()
    }

    func finish(_ wait: Wait, _ result: Result<Answer, Failure>) {
        guard let waiter = waiters.removeValue(forKey: wait) else { return early[wait] = result }
        waiter.resume(returning: result)
    }

    private func cancel(_ wait: Wait) {
        switch wait {
        case .ready(let number):
            for filter in subscriptions.keys { subscriptions[filter]?.waiting.removeAll { $0.number == number } }
        case .shadow(let id): shadow.cancel(id)
        case .time(let id): time.cancel(id)
        case .configuration(let id): configuration.cancel(id)
        case .gateway(let id): gateway.cancel(id)
        }
        // Unless the answer was quicker.
        waiters.removeValue(forKey: wait)?.resume(returning: .failure(.service(.cancelled)))
        setTimer()
    }

    /// Makes a request of a service, and sees to what follows from it.
    func request<Result>(
        _ body: (_ now: Duration) throws(HubServiceError) -> Result
    ) throws(Failure) -> Result {
        defer { pump() }
        do throws(HubServiceError) { return try body(clock.now()) } catch { throw .service(error) }
    }

    // MARK: What follows

    private func pump() {
        while let publish = services.nextPublish() {
            if case .enqueued = outbox?.yield(publish) { continue }
            services.notSent(publish, at: clock.now())
        }
        tell()
        setTimer()
    }

    private func setTimer() {
        var deadline = services.deadline
        for subscription in subscriptions.values {
            for wait in subscription.waiting { deadline = min(deadline ?? wait.until, wait.until) }
        }
        guard deadline != timerAt else { return }
        timerAt = deadline
        guard let deadline else { return tasks.set("timer", nil) }
        tasks.set(
            "timer",
            Task { [weak self, clock] in
                await clock.sleep(deadline)
                guard !Task.isCancelled else { return }
                await self?.timerFired()
            }
        )
    }

    private func timerFired() {
        timerAt = nil
        let now = clock.now()
        services.handleTimeout(at: now)
        for (filter, subscription) in subscriptions {
            for wait in subscription.waiting where wait.until <= now {
                finish(.ready(wait.number), .failure(.service(.notConnected)))
            }
            subscriptions[filter]?.waiting.removeAll { $0.until <= now }
        }
        pump()
    }
}
#endif
