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

    private struct Body {
        let key: Key
        var response: CoAPResponse
        var forgetAt: Duration
        var usedAt: UInt64
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

    mutating func removeOld(at now: Duration) { bodies.removeAll { $0.forgetAt <= now } }

    private func index(of key: Key, at now: Duration) -> Int? {
        bodies.firstIndex { $0.key == key && $0.forgetAt > now }
    }

    /// The body of a response.
    mutating func response(_ key: Key, at now: Duration) -> CoAPResponse? {
        guard let index = index(of: key, at: now) else { return nil }
        touch(index, at: now)
        return bodies[index].response
    }

    /// Keeps the body of a response in place of what there was; `false` if there is no room for it at all.
    @discardableResult
    mutating func store(_ response: CoAPResponse, _ key: Key, at now: Duration) -> Bool {
        remove(key)
        guard makeRoom(for: response.payload.count, body: 1, except: nil, at: now) else { return false }
        bodies.append(Body(key: key, response: response, forgetAt: now, usedAt: 0))
        touch(bodies.count - 1, at: now)
        return true
    }

    mutating func remove(_ key: Key) { bodies.removeAll { $0.key == key } }

    /// How many bytes of a request's body there are; `nil` without any.
    func uploadedCount(_ key: Key, at now: Duration) -> Int? {
        index(of: key, at: now).map { bodies[$0].response.payload.count }
    }

    /// Adds a block to a request's body that has begun; `false` if there is no room for it at all.
    mutating func append(_ block: [UInt8], _ key: Key, at now: Duration) -> Bool {
        guard makeRoom(for: block.count, body: 0, except: key, at: now), let index = index(of: key, at: now) else {
            return false
        }
        bodies[index].response.payload.append(block.span)
        touch(index, at: now)
        return true
    }

    /// Takes a request's body out.
    mutating func takeUpload(_ key: Key, at now: Duration) -> [UInt8]? {
        guard let index = index(of: key, at: now) else { return nil }
        return bodies.remove(at: index).response.payload
    }

    private mutating func touch(_ index: Int, at now: Duration) {
        clock += 1
        bodies[index].usedAt = clock
        bodies[index].forgetAt = now + lifetime
    }

    private mutating func makeRoom(for bytes: Int, body: Int, except key: Key?, at now: Duration) -> Bool {
        removeOld(at: now)
        var total = byteCount
        while bodies.count + body > limit || total + bytes > bytesLimit {
            var oldest: Int?
            for index in bodies.indices where bodies[index].key != key {
                if oldest.map({ bodies[index].usedAt < bodies[$0].usedAt }) ?? true { oldest = index }
            }
            guard let oldest else { return false }
            total -= bodies.remove(at: oldest).response.payload.count
        }
        return true
    }
}
