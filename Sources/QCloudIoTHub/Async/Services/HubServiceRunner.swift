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

    struct Subscription {
        enum State { case wanted, asked, granted }
        let qos: QoS
        var state = State.wanted
        /// Which attempt it is; what earlier ones say does not count any more.
        var attempt = 0
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
    var subscriptions: [String: Subscription] = [:]
    var waiters: [Wait: CheckedContinuation<Result<Answer, Failure>, Never>] = [:]
    /// What came of requests before their callers wait: what fails at once.
    var early: [Wait: Result<Answer, Failure>] = [:]
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
        case .waiting: services.disconnected(at: clock.now())
        case .disconnected:
            services.disconnected(at: clock.now())
            endSubscriptions()
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
        guard var subscription = subscriptions[filter] else { return }
        subscription.state = .asked
        subscription.attempt += 1
        subscriptions[filter] = subscription
        let (client, qos, attempt) = (client, subscription.qos, subscription.attempt)
        tasks.set(
            filter,
            Task { [weak self] in
                do throws(Client.Failure) {
                    let messages = try await client.messages(of: filter, qos: qos)
                    await self?.granted(filter, attempt)
                    for await message in messages { await self?.received(message) }
                    await self?.ended(filter, attempt)
                } catch { await self?.refused(filter, attempt, error) }
            }
        )
    }

    private func granted(_ filter: String, _ attempt: Int) {
        guard subscriptions[filter]?.attempt == attempt else { return }
        subscriptions[filter]?.state = .granted
        services.granted(Array(filter.utf8), at: clock.now())
        if services.isConnected { finishWaiting(filter, .success(.ready)) }
        pump()
    }

    /// Not now; whoever needs it next, or the next connection, tries again.
    private func refused(_ filter: String, _ attempt: Int, _ error: Client.Failure) {
        guard subscriptions[filter]?.attempt == attempt else { return }
        subscriptions[filter]?.state = .wanted
        finishWaiting(filter, .failure(.messaging(error)))
        setTimer()
    }

    /// The messages are over: the hub has taken the subscription back, or the connection is, which ``changed(_:)`` is told too.
    private func ended(_ filter: String, _ attempt: Int) {
        guard subscriptions[filter]?.attempt == attempt else { return }
        end(filter)
        // What is reported is still to be sent.
        if services.isConnected { subscribe(filter) }
        pump()
    }

    /// After the connection's last word, MQTT clients do not subscribe anew by themselves.
    private func endSubscriptions() {
        for (filter, subscription) in subscriptions where subscription.state != .wanted {
            if subscription.state == .granted { end(filter) }
            subscriptions[filter]?.state = .wanted
            subscriptions[filter]?.attempt += 1
            tasks.set(filter, nil)
        }
    }

    private func end(_ filter: String) {
        subscriptions[filter]?.state = .wanted
        services.refused(Array(filter.utf8), at: clock.now())
        finishFeeds(Array(filter.utf8))
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

    // MARK: What follows

    func pump() {
        while let publish = services.nextPublish() {
            if case .enqueued = outbox?.yield(publish) { continue }
            services.notSent(publish, at: clock.now())
        }
        tell()
        setTimer()
    }

    func setTimer() {
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
