/// A device's shadow: what it reports, what is desired of it, and when each leaf changed.
struct ShadowDocument {
    /// The hub's numbers. Only the conflict's is published by the vendor.
    static let malformed = 5000
    static let tooLarge = 5001
    static let conflict = 5005
    static let maximumBytes = 16_384
    static let maximumDepth = 5

    /// What an update leads to.
    struct Outcome {
        var result = 0
        /// The reply's payload.
        var payload: HubJSON = .null
        /// The payload of a push to the device.
        var delta: HubJSON?
    }

    private(set) var reported = HubJSON.emptyObject
    private(set) var desired = HubJSON.emptyObject
    private(set) var reportedTimes = HubJSON.emptyObject
    private(set) var desiredTimes = HubJSON.emptyObject
    private(set) var version = 0
    /// When it changed last, in milliseconds; `nil` if it never did.
    private(set) var timestamp: Int?

    init() {}

    /// A document as ``stored`` has it.
    init(stored: HubJSON) {
        reported = stored["state"]?["reported"] ?? .emptyObject
        desired = stored["state"]?["desired"] ?? .emptyObject
        reportedTimes = stored["metadata"]?["reported"] ?? .emptyObject
        desiredTimes = stored["metadata"]?["desired"] ?? .emptyObject
        version = stored["version"]?.integer ?? 0
        timestamp = stored["timestamp"]?.integer
    }

    /// The whole document.
    var stored: HubJSON {
        [
            "state": ["reported": reported, "desired": desired],
            "metadata": ["reported": reportedTimes, "desired": desiredTimes],
            "version": HubJSON(version), "timestamp": timestamp.map { HubJSON($0) } ?? .null,
        ]
    }

    /// What is desired and not so, or all that is desired.
    func delta(onlyDifferences: Bool) -> HubJSON {
        onlyDifferences ? Self.difference(desired, reported) ?? .emptyObject : desired
    }

    /// The payload of a get reply, and of the reply to an update that came too late.
    func payload(at now: Int, withMetadata: Bool, onlyDifferences: Bool) -> HubJSON {
        var state: HubJSON = ["reported": reported]
        var metadata: HubJSON = ["reported": reportedTimes]
        if !desired.isEmptyObject {
            state["desired"] = desired
            state["delta"] = delta(onlyDifferences: onlyDifferences)
            metadata["desired"] = desiredTimes
        }
        // One that never changed has the time of the request in seconds.
        var payload: HubJSON = [
            "state": state, "version": HubJSON(version), "timestamp": HubJSON(timestamp ?? now / 1000),
        ]
        if withMetadata { payload["metadata"] = metadata }
        return payload
    }

    /// Does what an update asks for, or leaves everything as it is.
    mutating func update(_ request: HubJSON, at now: Int, onlyDifferences: Bool) -> Outcome {
        guard let state = request["state"], Self.isChange(state) else { return Outcome(result: Self.malformed) }
        if let wanted = request["version"] {
            guard let wanted = wanted.integer else { return Outcome(result: Self.malformed) }
            if wanted != 0 && wanted != version {
                let payload = payload(at: now, withMetadata: true, onlyDifferences: onlyDifferences)
                return Outcome(result: Self.conflict, payload: payload)
            }
        }
        var changed = self
        let isOverwriting = request["overwriteUpdate"] == .bool(true)
        if let value = state["reported"] {
            let base = isOverwriting ? .emptyObject : changed.reported
            changed.reported = Self.merged(base, value)
            changed.reportedTimes = Self.times(changed.reported, before: reported, reportedTimes, at: now)
        }
        if let value = state["desired"] {
            changed.desired = Self.merged(changed.desired, value)
            changed.desiredTimes = Self.times(changed.desired, before: desired, desiredTimes, at: now)
        }
        guard Self.depth(changed.reported) <= Self.maximumDepth, Self.depth(changed.desired) <= Self.maximumDepth,
            changed.stored["state"]?.text.count ?? 0 <= Self.maximumBytes
        else { return Outcome(result: Self.tooLarge) }
        changed.version += 1
        changed.timestamp = now
        var outcome = Outcome()
        outcome.payload = ["state": state, "version": HubJSON(changed.version), "timestamp": HubJSON(now)]
        if request["metadata"] == .bool(true) {
            outcome.payload["metadata"] = Self.metadata(of: state, changed)
        }
        let hasNewDesires = changed.desired != desired && !changed.desired.isEmptyObject
        self = changed
        let delta = delta(onlyDifferences: onlyDifferences)
        if hasNewDesires, !delta.isEmptyObject {
            outcome.delta = [
                "state": delta, "metadata": Self.part(of: desiredTimes, like: delta) ?? .emptyObject,
                "version": HubJSON(version), "timestamp": HubJSON(now),
            ]
        }
        return outcome
    }

    // MARK: Rules for values

    /// Whether a request's `state` is one: `reported`, `desired` or both, objects or null, and no array has a null.
    private static func isChange(_ state: HubJSON) -> Bool {
        let parts = [state["reported"], state["desired"]].compactMap { $0 }
        return !parts.isEmpty && parts.allSatisfy { $0 == .null || ($0.members != nil && !hasNullInArray($0)) }
    }

    private static func hasNullInArray(_ value: HubJSON) -> Bool {
        if let elements = value.elements { return elements.contains { $0 == .null || hasNullInArray($0) } }
        return value.members?.contains { hasNullInArray($0.value) } ?? false
    }

    /// Objects are merged, all else replaces, null deletes.
    private static func merged(_ old: HubJSON, _ new: HubJSON) -> HubJSON {
        guard let members = new.members else { return new == .null ? .emptyObject : new }
        var result = old.members == nil ? .emptyObject : old
        for member in members {
            result[member.name] =
                member.value == .null ? nil : merged(result[member.name] ?? .emptyObject, member.value)
        }
        return result
    }

    /// The time of each leaf: now if it has changed, else what it was.
    private static func times(_ new: HubJSON, before old: HubJSON?, _ oldTimes: HubJSON?, at now: Int) -> HubJSON {
        guard let members = new.members else {
            return new == old ? oldTimes ?? ["timestamp": HubJSON(now)] : ["timestamp": HubJSON(now)]
        }
        return .object(
            members.map { member in
                let time = times(member.value, before: old?[member.name], oldTimes?[member.name], at: now)
                return HubJSON.Member(member.name, time)
            }
        )
    }

    /// What of `wanted` is not so in `actual`; `nil` if all is.
    private static func difference(_ wanted: HubJSON, _ actual: HubJSON?) -> HubJSON? {
        guard let members = wanted.members, actual?.members != nil else { return wanted == actual ? nil : wanted }
        let differing = members.compactMap { member in
            difference(member.value, actual?[member.name]).map { HubJSON.Member(member.name, $0) }
        }
        return differing.isEmpty ? nil : .object(differing)
    }

    /// The times of the leaves of `state` only.
    private static func part(of times: HubJSON?, like state: HubJSON) -> HubJSON? {
        guard let times, let members = state.members else { return times }
        return .object(
            members.compactMap { member in
                part(of: times[member.name], like: member.value).map { HubJSON.Member(member.name, $0) }
            }
        )
    }

    private static func metadata(of state: HubJSON, _ document: ShadowDocument) -> HubJSON {
        var metadata = HubJSON.emptyObject
        for (name, times) in [("reported", document.reportedTimes), ("desired", document.desiredTimes)] {
            if let value = state[name], value != .null { metadata[name] = part(of: times, like: value) }
        }
        return metadata
    }

    /// How many levels of names an object has.
    private static func depth(_ value: HubJSON) -> Int {
        switch value {
        case .object(let members): 1 + (members.map { depth($0.value) }.max() ?? 0)
        case .array(let elements): elements.map { depth($0) }.max() ?? 0
        case .null, .bool, .number, .string: 0
        }
    }
}
