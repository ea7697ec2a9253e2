/// A device's shadow, or the part of it that a reply shows.
public struct HubShadowDocument: Equatable, Sendable {
    /// What the device has reported; `nil` if the reply does not say.
    public let reported: JSONValue?
    /// What applications want of the device; null if that has just been cleared.
    public let desired: JSONValue?
    /// Where the two differ, as the hub sees it.
    public let delta: JSONValue?
    /// When each of it changed last, if that was asked for.
    public let metadata: JSONValue?
    /// Rises by one with each change; 0 for a shadow that nobody has touched.
    public let version: Int64
    /// When it changed last: milliseconds since 1970-01-01T00:00:00Z on today's hub, seconds in some documents.
    public let timestamp: Int64?

    /// The document in the payload of a reply; `nil` if it has no version.
    init?(_ payload: JSONValue) {
        guard let version = payload["version"]?.integer else { return nil }
        let state = payload["state"]
        reported = state?["reported"]
        desired = state?["desired"]
        delta = state?["delta"]
        metadata = payload["metadata"]
        timestamp = payload["timestamp"]?.integer
        self.version = version
    }
}

/// What applications want of the device and it has not done yet.
public struct HubShadowDelta: Equatable, Sendable {
    /// The members to change, without those that are null.
    public let state: JSONValue
    /// The version of the document that this belongs to; 0 if the hub does not say.
    public let version: Int64

    /// What is wanted, and at which version.
    public init(state: JSONValue, version: Int64) { (self.state, self.version) = (state, version) }
}

/// A change of the shadow.
public struct HubShadowUpdate: Equatable, Sendable {
    /// Whether the hub is to check that nobody else has changed the document.
    public enum VersionCheck: Equatable, Sendable {
        /// It does not.
        case none
        /// It is to have the version that the device has seen last; no check if it has seen none.
        case lastSeen
        /// It is to have this version.
        case exactly(Int64)
    }

    /// What the device reports: members to add or change; null deletes. `nil`: nothing.
    public var reported: JSONValue?
    /// What is wanted of the device: members to change; a member that is null is deleted, null instead of an object clears all, which acknowledges a delta. `nil`: nothing.
    public var desired: JSONValue?
    /// Whether the version is checked.
    public var version = VersionCheck.none
    /// Whether `reported` replaces what the hub has, instead of being merged into it.
    public var overwrites = false
    /// Whether the reply is to have metadata.
    public var wantsMetadata = false

    /// A change.
    public init(reported: JSONValue? = nil, desired: JSONValue? = nil) {
        self.reported = reported
        self.desired = desired
    }

    /// The acknowledgement of a delta, with what the device has now: clears what was wanted, unless there is something newer.
    public init(acknowledging delta: HubShadowDelta, reported: JSONValue?) {
        self.init(reported: reported, desired: .null)
        if delta.version > 0 { version = .exactly(delta.version) }
    }
}
