/// Why a request to one of the hub's services has failed. In brackets: what the vendor's C SDK returns then.
@nonexhaustive
public enum HubServiceError: Error, Equatable, Sendable {
    /// There is no connection, or the hub has not granted the service's subscription yet: ask again when there is (-104).
    case notConnected
    /// The connection was lost before the answer came: whether the hub has done it is not known.
    case disconnected
    /// The hub has not answered in time; a later answer is ignored (-111, -203, -205).
    case timedOut
    /// So many requests wait already: wait for one of them (-137).
    case tooManyRequests(limit: Int)
    /// The message would be longer than the hub takes: say less at once (-119).
    case tooLarge(bytes: Int, limit: Int)
    /// What was to be written is no JSON, or what the hub sent is none (-132).
    case json(JSONError)
    /// A state of a device's shadow is an object, and `desired` may be null.
    case notAnObject
    /// The hub refuses it (-204, -206).
    case rejected(HubResult)
    /// The shadow's document has another version than the request expects: here it is.
    case conflict(HubShadowDocument)
    /// A request of this kind is under way, or one without a token has just failed, whose answer may still come.
    case busy
    /// The time for the answer is over: the caller has seen a timeout (-230).
    case tooLate
    /// It was answered before.
    case alreadyAnswered
    /// The gateway has said already that the sub-device is online (-224), or offline (-225).
    case sameState
    /// The gateway has no such sub-device online (-222).
    case unknownSubDevice
    /// So many sub-devices are there already (-221).
    case tooManySubDevices(limit: Int)
    /// The MQTT below did not take the message (-231).
    case notSent
    /// The task that waited was cancelled.
    case cancelled
}

/// A number by which the hub says how a request went.
public struct HubResult: RawRepresentable, Equatable, Sendable {
    /// The number on the wire.
    public let rawValue: Int64

    /// The result with the number `rawValue`.
    public init(rawValue: Int64) { self.rawValue = rawValue }

    /// Done.
    public static let done = HubResult(rawValue: 0)
    /// Shadow: the document has another version.
    public static let versionConflict = HubResult(rawValue: 5005)
    /// Remote configuration: it is disabled in the console.
    public static let configurationDisabled = HubResult(rawValue: 1001)
    /// Remote configuration: there is none.
    public static let configurationMissing = HubResult(rawValue: 1002)
    /// Remote configuration: its content is invalid.
    public static let configurationInvalid = HubResult(rawValue: 1003)
}
