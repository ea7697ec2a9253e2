#if !hasFeature(Embedded)
/// The shadow of a device at the hub: see ``HubShadow`` for the rules.
public struct HubDeviceShadow<Client: HubMessaging>: Sendable {
    /// Why a request has failed.
    public typealias Failure = HubServiceFailure<Client.Failure>

    let runner: HubServiceRunner<Client>

    /// The document. Waits up to 5 s for a connection, then up to 4 s for the answer, as all requests here do.
    public func get(metadata: Bool = false) async throws(Failure) -> HubShadowDocument {
        try await runner.document { shadow, now throws(HubServiceError) in try shadow.get(metadata: metadata, at: now) }
    }

    /// Changes the document; returns what was changed, and its new version. Throws ``HubServiceError/conflict(_:)`` with the document if that has
    /// another version than the update expects.
    @discardableResult
    public func update(_ update: HubShadowUpdate) async throws(Failure) -> HubShadowDocument {
        try await runner.document { shadow, now throws(HubServiceError) in try shadow.update(update, at: now) }
    }

    /// Says that what was wanted is done, and what the device has now. Throws ``HubServiceError/conflict(_:)`` if something newer is wanted.
    @discardableResult
    public func acknowledge(
        _ delta: HubShadowDelta,
        reported: JSONValue? = nil
    ) async throws(Failure) -> HubShadowDocument {
        try await update(HubShadowUpdate(acknowledging: delta, reported: reported ?? delta.state))
    }

    /// Reports a state, an object whose nulls delete. It does not wait: what is reported without a connection is merged, and sent when there is
    /// one and it is known what the hub has. ``reportFailures`` tells what the hub refuses.
    public func report(_ state: JSONValue) async throws(Failure) { try await runner.report(state) }

    /// Reports a state, the members of `state` that are not `nil`. Throws `EncodingError`, or what ``report(_:)`` throws.
    public func report(encoding state: some Encodable & Sendable) async throws {
        try await runner.report(JSONValue(encoding: state))
    }

    /// What the device has reported, as the hub has it, as `type`. Throws `DecodingError`, or what ``get(metadata:)`` throws.
    public func reported<State: Decodable>(as type: State.Type = State.self) async throws -> State {
        try await (get().reported ?? .emptyObject).decoded(as: type)
    }

    /// What is wanted of the device from now on, and, after each connect, what it has missed.
    public var deltas: HubFeed<HubShadowDelta> { get async throws(Failure) { try await runner.deltas() } }

    /// What becomes of reports that the hub refuses.
    public var reportFailures: HubFeed<HubServiceError> { get async { await runner.reportFailures() } }

    /// What was reported and the hub does not have yet, as far as is known; `nil` for nothing. What is on its way does not count.
    public var unsent: JSONValue? { get async { await runner.unsent } }
}

extension HubShadowDelta {
    /// What is wanted, as `type`, whose members are best optional. Throws `DecodingError`.
    public func decoded<State: Decodable>(as type: State.Type = State.self) throws -> State {
        try state.decoded(as: type)
    }
}
#endif
