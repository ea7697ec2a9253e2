internal import Kernel
internal import SAL

/// Bodies under way in blocks (RFC 7959): of requests until they are whole, and of responses until all has been asked for. How many there are, how large, and how old, is
/// bounded; that which was used least recently makes room.
struct StoredBodies {
    /// Whose body it is, and of which request.
    struct Key: Equatable {
        let peer: SocketAddress
        let isRequest: Bool
        /// The method, and the options that tell one request from another.
        private let request: [UInt8]

        init(_ peer: SocketAddress, _ message: CoAPMessage, isRequest: Bool) {
            self.peer = peer
            self.isRequest = isRequest
            var options = CoAPOptions()
            message.options.forEach { number, value in
                switch number {
                // A client may leave out what the format of the payload is when it asks for the next block without one.
                case .block1, .block2, .observe, .eTag, .ifMatch, .ifNoneMatch, .noResponse, .contentFormat: break
                default: if !number.isNoCacheKey { options.add(number, value) }
                }
            }
            request = [message.code.rawValue] + options.bytes
        }
    }

    private final class Body {
        let key: Key
        var response: CoAPResponse
        var forgetAt: Duration
        var usedAt: UInt64 = 0

        init(_ key: Key, _ response: CoAPResponse, at now: Duration) {
            self.key = key
            self.response = response
            forgetAt = now
        }
    }

    private let limit: Int
    private let bytesLimit: Int
    private let lifetime: Duration
    private var bodies: [Body] = []
    private var clock: UInt64 = 0

    init(_ configuration: CoAPServerConfiguration) {
        limit = max(1, configuration.bodyLimit)
        bytesLimit = configuration.bodyBytesLimit
        lifetime = configuration.bodyLifetime
    }

    var count: Int { bodies.count }
    var byteCount: Int { bodies.reduce(0) { $0 + $1.response.payload.count } }

    /// When the first of them is forgotten.
    var deadline: Duration? {
        var time: Duration?
        for body in bodies { time = min(time ?? body.forgetAt, body.forgetAt) }
        return time
    }

    mutating func removeAll(of peer: SocketAddress) { bodies.removeAll { $0.key.peer == peer } }

    mutating func removeOld(at now: Duration) { bodies.removeAll { $0.forgetAt <= now } }

    private func body(_ key: Key, at now: Duration) -> Body? { bodies.first { $0.key == key && $0.forgetAt > now } }

    /// The body of a response.
    mutating func response(_ key: Key, at now: Duration) -> CoAPResponse? {
        guard let body = body(key, at: now) else { return nil }
        touch(body, at: now)
        return body.response
    }

    /// Keeps the body of a response in place of what there was; `false` if there is no room for it at all.
    @discardableResult
    mutating func store(_ response: CoAPResponse, _ key: Key, at now: Duration) -> Bool {
        remove(key)
        guard makeRoom(for: response.payload.count, body: 1, except: nil, at: now) else { return false }
        let body = Body(key, response, at: now)
        bodies.append(body)
        touch(body, at: now)
        return true
    }

    mutating func remove(_ key: Key) { bodies.removeAll { $0.key == key } }

    /// How many bytes of a request's body there are; `nil` without any.
    func uploadedCount(_ key: Key, at now: Duration) -> Int? { body(key, at: now)?.response.payload.count }

    /// Adds a block to a request's body that has begun; `false` if there is no room for it at all.
    mutating func append(_ block: [UInt8], _ key: Key, at now: Duration) -> Bool {
        guard let body = body(key, at: now), makeRoom(for: block.count, body: 0, except: body, at: now) else {
            return false
        }
        body.response.payload.append(block.span)
        touch(body, at: now)
        return true
    }

    /// Takes a request's body out.
    mutating func takeUpload(_ key: Key, at now: Duration) -> [UInt8]? {
        let payload = body(key, at: now)?.response.payload
        remove(key)
        return payload
    }

    private mutating func touch(_ body: Body, at now: Duration) {
        clock += 1
        body.usedAt = clock
        body.forgetAt = now + lifetime
    }

    private mutating func makeRoom(for bytes: Int, body more: Int, except kept: Body?, at now: Duration) -> Bool {
        removeOld(at: now)
        while bodies.count + more > limit || byteCount + bytes > bytesLimit {
            var oldest: Body?
            for body in bodies where body !== kept && body.usedAt < oldest?.usedAt ?? .max { oldest = body }
            guard let oldest else { return false }
            bodies.removeAll { $0 === oldest }
        }
        return true
    }
}
