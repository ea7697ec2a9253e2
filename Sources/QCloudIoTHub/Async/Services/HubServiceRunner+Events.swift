#if !hasFeature(Embedded)
// What the services have for their users.
extension HubServiceRunner {
    func tell() {
        while let event = shadow.nextEvent() {
            switch event {
            case .completed(let id, let document): finish(.shadow(id), .success(.document(document)))
            case .failed(let id, let error): finish(.shadow(id), .failure(.service(error)))
            case .delta(let delta): deltaFeeds.yield(delta)
            case .reported: break
            case .reportFailed(let error): reportFailureFeeds.yield(error)
            }
        }
        while let event = time.nextEvent() {
            switch event {
            case .completed(let id, let sample): finish(.time(id), .success(.time(sample)))
            case .failed(let id, let error): finish(.time(id), .failure(.service(error)))
            }
        }
        while let event = configuration.nextEvent() {
            switch event {
            case .completed(let id, let content): finish(.configuration(id), .success(.configuration(content)))
            case .failed(let id, let error): finish(.configuration(id), .failure(.service(error)))
            case .changed(let content): configurationFeeds.yield(content)
            }
        }
        while let event = gateway.nextEvent() {
            switch event {
            case .completed(let id, let results): finish(.gateway(id), .success(.subDevices(results)))
            case .failed(let id, let error): finish(.gateway(id), .failure(.service(error)))
            case .restored, .lost, .changed, .unboundAll, .search: gatewayFeeds.yield(event)
            }
        }
        while let request = rrpc.nextRequest() { requestFeeds.yield(request) }
        while let message = broadcasts.nextMessage() { broadcastFeeds.yield(message) }
        while let level = logLevels.nextLevel() { logLevelFeeds.yield(level) }
    }

    /// Ends what those read who read what came by a subscription.
    func finishFeeds(_ filter: [UInt8]) {
        if filter == shadow.subscription.filter {
            deltaFeeds.finish()
            reportFailureFeeds.finish()
        }
        if filter == rrpc.subscription.filter { requestFeeds.finish() }
        if filter == broadcasts.subscription.filter { broadcastFeeds.finish() }
        if filter == configuration.subscription.filter { configurationFeeds.finish() }
        if filter == logLevels.subscription.filter { logLevelFeeds.finish() }
        if filter == gateway.subscription.filter { gatewayFeeds.finish() }
    }

    // MARK: Requests

    func document(
        _ ask: @Sendable (HubShadow, Duration) throws(HubServiceError) -> HubRequestID
    ) async throws(Failure) -> HubShadowDocument {
        try await useReady(shadow)
        let id = try request { now throws(HubServiceError) in try ask(shadow, now) }
        guard case .document(let document) = try await answer(to: .shadow(id)) else { throw .service(.cancelled) }
        return document
    }

    func report(_ state: JSONValue) throws(Failure) {
        _ = use(shadow)
        try request { now throws(HubServiceError) in try shadow.report(state, at: now) }
    }

    func askTime() async throws(Failure) -> HubTimeSample {
        try await useReady(time)
        let id = try request { now throws(HubServiceError) in try time.ask(at: now) }
        guard case .time(let sample) = try await answer(to: .time(id)) else { throw .service(.cancelled) }
        return sample
    }

    func askConfiguration() async throws(Failure) -> JSONValue {
        try await useReady(configuration)
        let id = try request { now throws(HubServiceError) in try configuration.get(at: now) }
        guard case .configuration(let content) = try await answer(to: .configuration(id)) else {
            throw .service(.cancelled)
        }
        return content
    }

    func results(
        _ ask: @Sendable (HubGateway, Duration) throws(HubServiceError) -> HubRequestID
    ) async throws(Failure) -> [HubSubDeviceResult] {
        try await useReady(gateway)
        let id = try request { now throws(HubServiceError) in try ask(gateway, now) }
        guard case .subDevices(let results) = try await answer(to: .gateway(id)) else { throw .service(.cancelled) }
        return results
    }

    func answerCall(_ call: HubRRPCRequest, _ payload: [UInt8]) throws(Failure) {
        try request { now throws(HubServiceError) in try rrpc.answer(call, payload, at: now) }
    }

    var onlineSubDevices: [HubSubDevice] { gateway.online }
    var unsent: JSONValue? { shadow.unsent }
    var unansweredCalls: Int { rrpc.expiredCount + rrpc.refusedCount }

    // MARK: Feeds: who reads is there before the subscription, whose first message may come with its answer.

    func deltas() async throws(Failure) -> HubFeed<HubShadowDelta> {
        let feed = deltaFeeds.add(limit: 16)
        try await useReady(shadow)
        return feed
    }

    func reportFailures() -> HubFeed<HubServiceError> {
        _ = use(shadow)
        return reportFailureFeeds.add(limit: 16)
    }

    func calls() async throws(Failure) -> HubFeed<HubRRPCRequest> {
        let feed = requestFeeds.add(limit: 8)
        try await useReady(rrpc)
        return feed
    }

    func broadcastFeed() async throws(Failure) -> HubFeed<[UInt8]> {
        let feed = broadcastFeeds.add(limit: 16)
        try await useReady(broadcasts)
        return feed
    }

    func configurationFeed() async throws(Failure) -> HubFeed<JSONValue> {
        let feed = configurationFeeds.add(limit: 4)
        try await useReady(configuration)
        return feed
    }

    func logLevelFeed() async throws(Failure) -> HubFeed<HubLogLevel> {
        let known = logLevels.level
        let feed = logLevelFeeds.add(limit: 4, first: known)
        try await useReady(logLevels)
        return feed
    }

    func gatewayFeed() async throws(Failure) -> HubFeed<HubGateway.Event> {
        let feed = gatewayFeeds.add(limit: 64)
        try await useReady(gateway)
        return feed
    }
}
#endif
