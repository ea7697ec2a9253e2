internal import Kernel
public import SAL

/// The rules of RFC 7252 for a server and all its peers, with bodies in blocks (RFC 7959) and observers (RFC 7641), as a struct that is given datagrams and time.
///
/// Say what there is with ``add(_:at:)``, feed what arrives to ``receive(_:from:isMulticast:isTruncated:at:)``, and answer the requests that come out with
/// ``respond(to:with:at:)``. After each call drain ``nextOutput()`` and set a timer for ``deadline``.
///
/// What peers send costs memory only within the limits of the configuration, and nothing at all unless it is a request that a resource takes.
public struct CoAPServerSession: ~Copyable {
    /// What the driver does next, in this order.
    public enum Output: Sendable {
        /// Send this datagram to this peer.
        case transmit([UInt8], to: SocketAddress)
        /// Have this request answered.
        case request(CoAPServerRequest)
        /// Nobody waits for the answer to this request any more.
        case abandoned(CoAPServerRequestID)
    }

    /// A request until its handler has answered it.
    final class Pending {
        let id: UInt64
        let resource: CoAPResourceID
        let peer: SocketAddress
        let message: CoAPMessage
        let isMulticast: Bool
        /// Who is to be notified; nobody has asked then.
        let observer: Observer?
        /// When a confirmable request is acknowledged by a message of its own.
        var acknowledgeAt: Duration?
        /// Whether it was.
        var isAcknowledged = false
        let giveUpAt: Duration

        init(
            _ id: UInt64,
            for resource: CoAPResourceID,
            _ message: CoAPMessage,
            from peer: SocketAddress,
            isMulticast: Bool,
            observer: Observer?,
            giveUpAt: Duration
        ) {
            self.id = id
            self.resource = resource
            self.peer = peer
            self.message = message
            self.isMulticast = isMulticast
            self.observer = observer
            self.giveUpAt = giveUpAt
        }
    }

    /// A confirmable message until its acknowledgement.
    final class Transmission {
        let peer: SocketAddress
        var datagram: [UInt8]
        var messageID: UInt16
        /// Whom a notification is for.
        let observer: Observer?
        var count = 1
        var timeout: Duration
        var resendAt: Duration

        init(
            of datagram: [UInt8],
            _ messageID: UInt16,
            to peer: SocketAddress,
            for observer: Observer?,
            timeout: Duration,
            at now: Duration
        ) {
            self.peer = peer
            self.datagram = datagram
            self.messageID = messageID
            self.observer = observer
            self.timeout = timeout
            resendAt = now + timeout
        }
    }

    /// The response to a multicast request until its time.
    final class Delayed {
        let peer: SocketAddress
        let datagram: [UInt8]
        let sendAt: Duration

        init(_ datagram: [UInt8], to peer: SocketAddress, at time: Duration) {
            self.peer = peer
            self.datagram = datagram
            sendAt = time
        }
    }

    final class Entry {
        let id: CoAPResourceID
        let resource: CoAPResource

        init(_ id: CoAPResourceID, _ resource: CoAPResource) {
            self.id = id
            self.resource = resource
        }
    }

    /// How the server behaves.
    public let configuration: CoAPServerConfiguration
    /// What it has met that was not in order.
    public internal(set) var counters = CoAPServerCounters()
    /// The longest message that is sent or taken, in bytes.
    private(set) var messageBytes: Int
    let seed: CoAPSeed
    var random: CoAPRandom
    let timeouts: CoAPTimeouts
    var resources: [Entry] = []
    private var lastResource: UInt32 = 0
    private var lastRequest: UInt64 = 0
    var pending: [Pending] = []
    var transmissions: [Transmission] = []
    var delayed: [Delayed] = []
    var answered: AnsweredRequests
    var bodies: StoredBodies
    var observers: [Observer] = []
    /// The number of the last notification (RFC 7641, 4.4).
    var notificationNumber: UInt32 = 0
    /// Message IDs go round; peers that share a counter are a sixteenth of all (RFC 7252, 4.4).
    private var messageIDs: [UInt16] = []
    private var outputs = RingQueue<Output>(limit: .max)

    /// When to call ``handleTimeout(at:)``, or `nil` while no timer runs. It may come before there is anything to do.
    public internal(set) var deadline: Duration?

    /// A server without resources. All that is random about it comes from `seed`.
    public init(_ configuration: CoAPServerConfiguration = CoAPServerConfiguration(), seed: CoAPSeed) {
        self.configuration = configuration
        messageBytes = configuration.messages.maximumMessageBytes
        self.seed = seed
        random = CoAPRandom(seed)
        timeouts = CoAPTimeouts(configuration.messages)
        answered = AnsweredRequests(limit: configuration.duplicateLimit)
        bodies = StoredBodies(configuration)
        for _ in 0..<16 { messageIDs.append(UInt16(truncatingIfNeeded: random.next())) }
    }

    /// The network below takes datagrams of so many bytes.
    public mutating func limitMessages(to bytes: Int) { messageBytes = min(messageBytes, bytes) }

    /// The next thing to do, or `nil` when there is nothing.
    public mutating func nextOutput() -> Output? { outputs.dequeue() }

    mutating func output(_ output: Output) { _ = outputs.enqueue(output) }

    // MARK: Resources

    /// Adds a resource, in place of one with the same path if there is one. `/.well-known/core` is there without being added.
    @discardableResult
    public mutating func add(_ resource: CoAPResource, at now: Duration) -> CoAPResourceID {
        remove(resource.path, at: now)
        lastResource += 1
        let id = CoAPResourceID(rawValue: lastResource)
        resources.append(Entry(id, resource))
        return id
    }

    /// Removes the resource at `path`. Who observes it, or has asked for it, is answered 4.04.
    public mutating func remove(_ path: [[UInt8]], at now: Duration) {
        guard let index = resources.firstIndex(where: { $0.resource.path == path }) else { return }
        let id = resources.remove(at: index).id
        for request in pending where request.resource == id {
            output(.abandoned(CoAPServerRequestID(rawValue: request.id)))
            respond(to: CoAPServerRequestID(rawValue: request.id), with: CoAPResponse(.notFound), at: now)
        }
        for observer in observers where observer.resource == id {
            end(observer, with: CoAPResponse(.notFound), at: now)
        }
    }

    /// Whether there is a resource of this name.
    func contains(_ id: CoAPResourceID) -> Bool { resources.contains { $0.id == id } }

    /// The resource that is asked for at `path`: the one there, or else the nearest above it that includes it.
    func route(_ path: [[UInt8]]) -> Int? {
        var found: Int?
        for index in resources.indices {
            let resource = resources[index].resource
            if resource.path == path { return index }
            guard resource.includesSubpaths, path.starts(with: resource.path) else { continue }
            if found.map({ resources[$0].resource.path.count < resource.path.count }) ?? true { found = index }
        }
        return found
    }

    // MARK: Requests

    /// How many requests are in the handlers' hands, or have a response under way.
    var exchangeCount: Int {
        var count = delayed.count
        for request in pending where request.observer == nil { count += 1 }
        for transmission in transmissions where transmission.observer == nil { count += 1 }
        return count
    }

    /// Hands a request to the handler of a resource.
    mutating func ask(
        _ id: CoAPResourceID,
        _ message: CoAPMessage,
        payload: [UInt8],
        from peer: SocketAddress,
        isMulticast: Bool = false,
        observer: Observer? = nil,
        at now: Duration
    ) {
        lastRequest += 1
        let request = Pending(
            lastRequest,
            for: id,
            message,
            from: peer,
            isMulticast: isMulticast,
            observer: observer,
            giveUpAt: now + configuration.handlerTimeout
        )
        if observer == nil, message.type == .confirmable {
            request.acknowledgeAt = now + configuration.acknowledgementDelay
        }
        pending.append(request)
        wake(at: request.acknowledgeAt ?? request.giveUpAt)
        let depth = resources.first { $0.id == id }?.resource.path.count ?? 0
        output(.request(CoAPServerRequest(request, payload: payload, resourceDepth: depth)))
    }

    /// Answers a request that was handed out; does nothing if nobody waits for it any more.
    ///
    /// A payload that one message does not hold goes in blocks, and is kept until all of them were asked for; a response with a Block2 option of its own goes as it is.
    public mutating func respond(to id: CoAPServerRequestID, with response: CoAPResponse, at now: Duration) {
        guard let index = pending.firstIndex(where: { $0.id == id.rawValue }) else { return }
        let request = pending.remove(at: index)
        let response = response.code.isResponse ? response : CoAPResponse(.internalServerError)
        if let observer = request.observer {
            fetched(response, for: observer, at: now)
        } else {
            answer(request, response, isRemembered: true, at: now)
        }
    }

    /// Forgets all that a peer has done: whoever comes from its address next is a stranger. For peers with secure sessions, when these begin and end.
    public mutating func forget(_ peer: SocketAddress) {
        observers.removeAll { $0.peer == peer }
        transmissions.removeAll { $0.peer == peer }
        delayed.removeAll { $0.peer == peer }
        for request in pending where request.peer == peer {
            output(.abandoned(CoAPServerRequestID(rawValue: request.id)))
        }
        pending.removeAll { $0.peer == peer }
        bodies.removeAll(of: peer)
        answered.removeAll(of: peer)
    }

    // MARK: Message IDs

    /// A message ID for a peer that no message under way to it has.
    mutating func nextMessageID(for peer: SocketAddress) -> UInt16 {
        let counter = Int(seed.hash(peer, 1 << 32) & 15)
        repeat {
            messageIDs[counter] &+= 1
        } while transmissions.contains { $0.messageID == messageIDs[counter] && $0.peer == peer }
        return messageIDs[counter]
    }

    // MARK: Time

    mutating func wake(at time: Duration) { deadline = min(deadline ?? time, time) }
}
