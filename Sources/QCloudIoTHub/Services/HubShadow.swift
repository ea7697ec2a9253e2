internal import Kernel
internal import MQTTClient

/// How a shadow is dealt with.
public struct HubShadowConfiguration: Sendable {
    /// How long the hub has to answer.
    public var timeout: Duration = .seconds(4)
    /// How many requests wait at once.
    public var maximumRequests = 10
    /// How long a message may be, in bytes, and so how much is kept while there is no connection.
    public var maximumBytes = 16_384
    /// How often an update is sent again, with the new version, when the document had another one. What is then overwritten, nobody has seen.
    public var conflictRetries = 0
    /// Whether the document is asked for whenever there is a connection: otherwise what was wanted meanwhile is not heard of.
    public var getsAfterConnect = true
    /// After how long the first and the later attempts to get the document, or to report, are made again; doubled each time.
    public var firstRetry: Duration = .seconds(5)
    /// The longest time between such attempts.
    public var longestRetry: Duration = .seconds(60)

    /// The configuration as it is described.
    public init() {}
}

/// The device's shadow: a document at the hub with what the device reports and what is wanted of it.
///
/// ``get(metadata:at:)`` and ``update(_:at:)`` are single requests, with one answer or failure each. ``report(_:at:)`` is for what the hub is to know
/// sooner or later: it is kept while there is no connection, merged, and sent when what the hub has is known.
public final class HubShadow: HubService {
    /// What is told to the user.
    public enum Event: Equatable, Sendable {
        /// The hub has done what was asked; of an update the document has what was changed.
        case completed(HubRequestID, HubShadowDocument)
        /// It has not.
        case failed(HubRequestID, HubServiceError)
        /// Something is wanted of the device.
        case delta(HubShadowDelta)
        /// The hub has what was reported until now.
        case reported(version: Int64)
        /// The hub does not take what was reported; it is forgotten.
        case reportFailed(HubServiceError)
    }

    enum Purpose {
        /// The user asks.
        case request
        /// After a connect: to learn what was missed.
        case synchronization
        /// Sends what was reported.
        case report
    }

    enum Kind {
        case get(metadata: Bool)
        case update(HubShadowUpdate)
    }

    struct Request: HubTimedRequest {
        let id: HubRequestID
        let purpose: Purpose
        let kind: Kind
        var token: [UInt8]
        var deadline: Duration
        var retries: Int
    }

    let configuration: HubShadowConfiguration
    private let productID: [UInt8]
    private let upTopic: [UInt8]
    /// What it needs to hear.
    public let subscription: HubSubscription
    var requests = HubRequests<Request>()
    var outgoing: [HubPublish] = []
    var events: HubEvents<Event>
    private var lastID: HubRequestID = 0
    private var tokenCount: Int64 = 0
    var isConnected = false
    /// The version of the document that was seen last; `nil` if none was.
    public internal(set) var version: Int64?
    /// The version of the delta that was told last on this connection.
    var toldVersion: Int64?
    /// What was reported and the hub does not have yet, as far as is known; `nil` for nothing.
    public internal(set) var unsent: JSONValue?
    /// Whether what the hub has must be known before anything is reported.
    var mustSynchronize = false
    var retryAt: Duration?
    var retryDelay: Duration

    /// The shadow of a device. Requests must wait for a connection; reports need not.
    public init(_ identity: DeviceIdentity, configuration: HubShadowConfiguration = HubShadowConfiguration()) {
        self.configuration = configuration
        productID = identity.productID
        upTopic = HubTopic.system("$shadow/operation", of: identity)
        subscription = HubSubscription(
            filter: HubTopic.system("$shadow/operation/result", of: identity),
            qos: .atMostOnce
        )
        retryDelay = configuration.firstRetry
        events = HubEvents(limit: configuration.maximumRequests + 16)
    }

    /// The next thing for the user, or `nil` when there is nothing. Ask after each call, and after each message.
    public func nextEvent() -> Event? { events.next() }

    /// How many events nobody has asked for in time.
    public var droppedEvents: Int { events.droppedCount }

    // MARK: Requests

    /// Asks for the document; ``Event/completed(_:_:)`` brings it.
    public func get(metadata: Bool = false, at now: Duration) throws(HubServiceError) -> HubRequestID {
        try ask(.get(metadata: metadata), .request, at: now)
    }

    /// Changes the document.
    public func update(_ update: HubShadowUpdate, at now: Duration) throws(HubServiceError) -> HubRequestID {
        try ask(.update(update), .request, at: now)
    }

    /// Reports a state, an object whose nulls delete: now, or when there is a connection and the reports before it are through. Throws
    /// ``HubServiceError/tooLarge(bytes:limit:)`` if all that waits would not fit into a message; it is then left out.
    public func report(_ state: JSONValue, at now: Duration) throws(HubServiceError) {
        guard state.isObject else { throw .notAnObject }
        var all = unsent ?? .emptyObject
        all.append(change: state)
        // The report that is under way may have to be sent again, together with what waits.
        var sum = reportUnderWay ?? .emptyObject
        sum.append(change: all)
        _ = try text(of: .update(HubShadowUpdate(reported: sum)), token: nextToken)
        unsent = all
        sendReport(at: now)
    }

    /// Nobody waits for the answer any more.
    public func cancel(_ request: HubRequestID) { _ = requests.remove { $0.id == request && $0.purpose == .request } }

    // MARK: Time and what was published

    /// When to call ``handleTimeout(at:)``, or `nil` while it waits for nothing.
    public var deadline: Duration? {
        guard let retryAt else { return requests.deadline }
        guard let deadline = requests.deadline else { return retryAt }
        return min(deadline, retryAt)
    }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public func handleTimeout(at now: Duration) {
        while let request = requests.removeExpired(at: now) { fail(request, .timedOut, at: now) }
        if let retryAt, retryAt <= now {
            self.retryAt = nil
            synchronize(at: now)
        }
    }

    /// The next thing to publish, or `nil` when there is nothing.
    public func nextPublish() -> HubPublish? { outgoing.isEmpty ? nil : outgoing.removeFirst() }

    /// Whether a topic is the one it publishes on.
    public func publishes(on topic: [UInt8]) -> Bool { topic == upTopic }

    /// The MQTT below did not take a publish.
    public func notSent(_ request: HubRequestID, at now: Duration) {
        guard let request = requests.remove({ $0.id == request }) else { return }
        fail(request, .notSent, at: now)
    }

    // MARK: Sending

    @discardableResult
    func ask(
        _ kind: Kind,
        _ purpose: Purpose,
        at now: Duration
    ) throws(HubServiceError) -> HubRequestID {
        guard isConnected else { throw .notConnected }
        // The device's own two are beside the limit.
        if purpose == .request {
            var waiting = 0
            for request in requests.all where request.purpose == .request { waiting += 1 }
            guard waiting < configuration.maximumRequests else {
                throw .tooManyRequests(limit: configuration.maximumRequests)
            }
        }
        lastID = lastID &+ 1
        let request = Request(
            id: lastID,
            purpose: purpose,
            kind: kind,
            token: [],
            deadline: now + configuration.timeout,
            retries: configuration.conflictRetries
        )
        try send(request)
        return request.id
    }

    /// Sends a request, also again: each time with a token of its own.
    func send(_ request: Request) throws(HubServiceError) {
        var request = request
        request.token = nextToken
        let payload = try text(of: request.kind, token: request.token)
        tokenCount += 1
        requests.append(request)
        outgoing.append(HubPublish(topic: upTopic, payload: payload, qos: .atMostOnce, request: request.id))
    }

    private var nextToken: [UInt8] {
        var token = productID
        token.append(UInt8(ascii: "-"))
        token.append(decimal: tokenCount)
        return token
    }

    private func text(of kind: Kind, token: [UInt8]) throws(HubServiceError) -> [UInt8] {
        try kind.message(token: token, lastSeen: version).message(limit: configuration.maximumBytes)
    }
}
