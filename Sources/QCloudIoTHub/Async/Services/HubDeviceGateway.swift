#if !hasFeature(Embedded)
/// A device as a gateway for others: see ``HubGateway`` for the rules.
public struct HubDeviceGateway<Client: HubMessaging>: Sendable {
    /// Why a request has failed; ``HubServiceError/rejected(_:)`` has the hub's reason, such as ``HubResult/notBound``.
    public typealias Failure = HubServiceFailure<Client.Failure>

    let runner: HubServiceRunner<Client>

    /// Says that a sub-device is online. Its topics can be used on the gateway's connection then. Waits up to 5 s for a connection, then up to 10 s for
    /// the answer, as all requests here do.
    public func setOnline(_ device: HubSubDevice) async throws(Failure) {
        try await run { gateway, now throws(HubServiceError) in try gateway.setOnline(device, at: now) }
    }

    /// Says that a sub-device is offline.
    public func setOffline(_ device: HubSubDevice) async throws(Failure) {
        try await run { gateway, now throws(HubServiceError) in try gateway.setOffline(device, at: now) }
    }

    /// Binds a sub-device to the gateway.
    public func bind(_ binding: HubBinding) async throws(Failure) {
        try await run { gateway, now throws(HubServiceError) in try gateway.bind(binding, at: now) }
    }

    /// Takes a sub-device from the gateway.
    public func unbind(_ device: HubSubDevice) async throws(Failure) {
        try await run { gateway, now throws(HubServiceError) in try gateway.unbind(device, at: now) }
    }

    /// The sub-devices that are bound to the gateway.
    public func subDevices() async throws(Failure) -> [HubSubDevice] {
        let results = try await runner.results { gateway, now throws(HubServiceError) in try gateway.describe(at: now) }
        return results.map(\.device)
    }

    /// The sub-devices that are online.
    public var online: [HubSubDevice] { get async { await runner.onlineSubDevices } }

    /// What happens to the gateway from now on: ``HubGateway/Event``, but for answers.
    public var events: HubFeed<HubGateway.Event> { get async throws(Failure) { try await runner.gatewayFeed() } }

    private func run(
        _ ask: @Sendable (HubGateway, Duration) throws(HubServiceError) -> HubRequestID
    ) async throws(Failure) {
        for answer in try await runner.results(ask) where answer.result != .done {
            throw .service(.rejected(answer.result))
        }
    }
}
#endif
