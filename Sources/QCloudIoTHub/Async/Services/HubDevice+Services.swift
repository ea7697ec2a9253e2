#if !hasFeature(Embedded)
// The hub's services. Each is subscribed to when it is first used.
extension HubMQTTDevice {
    /// Why a request to a service has failed.
    public typealias ServiceFailure = HubServiceFailure<Client.Failure>

    /// The device's shadow.
    public var shadow: HubDeviceShadow<Client> { HubDeviceShadow(runner: runner) }

    /// The device as a gateway for others.
    public var gateway: HubDeviceGateway<Client> { HubDeviceGateway(runner: runner) }

    /// The time by the hub's clock, when the answer arrived. The local clock stays as it is. Throws ``HubServiceError/busy`` while another
    /// question waits, and for 10 s after one without answer.
    public func time() async throws(ServiceFailure) -> HubTimeSample { try await runner.askTime() }

    /// Answers calls from applications, several at once, until the task is cancelled or the device disconnects for good. The hub waits 4 s for an answer;
    /// what comes later is dropped, as is `nil`, which leaves the caller to a timeout.
    public func serveRRPC(
        _ answer: @escaping @Sendable (HubRRPCRequest) async -> [UInt8]?
    ) async throws(ServiceFailure) {
        let calls = try await runner.calls()
        let runner = runner
        await withDiscardingTaskGroup { group in
            for await call in calls {
                group.addTask {
                    guard let payload = await answer(call) else { return }
                    // Nobody waits for an answer that is too late.
                    try? await runner.answerCall(call, payload)
                }
            }
        }
    }

    /// How many calls from applications were not answered in time, or refused since too many were open.
    public var unansweredCalls: Int { get async { await runner.unansweredCalls } }

    /// The messages for all devices of the product, from now on.
    public var broadcasts: HubFeed<[UInt8]> { get async throws(ServiceFailure) { try await runner.broadcastFeed() } }

    /// The configuration that the product has for its devices. Throws ``HubServiceError/rejected(_:)`` with
    /// ``HubResult/configurationMissing``, for one, if there is none.
    public func remoteConfiguration() async throws(ServiceFailure) -> JSONValue { try await runner.askConfiguration() }

    /// The configuration whenever it changes, from now on.
    public var remoteConfigurations: HubFeed<JSONValue> {
        get async throws(ServiceFailure) { try await runner.configurationFeed() }
    }

    /// How much of its log an operator wants the device to upload: now, and when it changes.
    public var logLevels: HubFeed<HubLogLevel> { get async throws(ServiceFailure) { try await runner.logLevelFeed() } }
}
#endif
