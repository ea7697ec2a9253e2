/// The exchanges of a session: each has a place, and is found by it, by its token and by its message ID.
///
/// A list runs through the exchanges of each bucket. Its links are places, so that following them counts no references.
struct ExchangeTable {
    /// No place: the end of a list.
    static let nowhere = UInt16.max

    private var places: [CoAPSession.Exchange?] = []
    private var freePlaces: [UInt16] = []
    /// The heads of the lists by token, and behind them those of the lists by message ID.
    private var heads: [UInt16]
    private let bucketCount: Int
    /// How many exchanges there are.
    private(set) var count = 0

    /// A table for some `limit` exchanges; with many more it is slower.
    init(limit: Int) {
        var buckets = 1
        while buckets < min(limit, 1_024) { buckets *= 2 }
        bucketCount = buckets
        heads = [UInt16](repeating: Self.nowhere, count: 2 * buckets)
    }

    /// Whether there are as many as can be told apart.
    var isFull: Bool { count == Int(Self.nowhere) }

    // MARK: Places

    /// The places that are, or were, in use.
    var indices: Range<Int> { 0..<places.count }

    /// The exchange at a place.
    subscript(place: Int) -> CoAPSession.Exchange? { places[place] }

    /// The exchange with this ID, unless it is over.
    subscript(id: CoAPExchangeID) -> CoAPSession.Exchange? {
        guard id.place < places.count, let exchange = places[id.place], exchange.id == id else { return nil }
        return exchange
    }

    /// Where the next exchange is put.
    var nextPlace: Int { freePlaces.last.map { Int($0) } ?? places.count }

    /// Puts an exchange at ``nextPlace``.
    mutating func insert(_ exchange: CoAPSession.Exchange) {
        count += 1
        if let place = freePlaces.popLast() { places[Int(place)] = exchange } else { places.append(exchange) }
    }

    /// Forgets an exchange that has neither a token nor a message ID any more. Its place is still to be released.
    mutating func remove(_ exchange: CoAPSession.Exchange) {
        count -= 1
        places[exchange.id.place] = nil
    }

    /// Has another exchange have this place.
    mutating func release(_ place: Int) { freePlaces.append(UInt16(truncatingIfNeeded: place)) }

    // MARK: Tokens and message IDs

    private func bucket(_ token: CoAPToken) -> Int { Int(truncatingIfNeeded: token.bits >> 48) & (bucketCount - 1) }
    private func bucket(_ messageID: UInt16) -> Int { bucketCount + Int(messageID) & (bucketCount - 1) }

    /// The exchange with this token.
    func first(_ token: CoAPToken) -> CoAPSession.Exchange? {
        let bucket = bucket(token)
        var place = heads[bucket]
        while place != Self.nowhere, let exchange = places[Int(place)] {
            if exchange.token == token { return exchange }
            place = exchange.nextByToken
        }
        return nil
    }

    /// The exchange whose message with this ID is outstanding.
    func outstanding(_ messageID: UInt16) -> CoAPSession.Exchange? {
        let bucket = bucket(messageID)
        var place = heads[bucket]
        while place != Self.nowhere, let exchange = places[Int(place)] {
            if exchange.messageID == messageID { return exchange }
            place = exchange.nextByMessageID
        }
        return nil
    }

    /// Has an exchange be found by its token.
    mutating func insertToken(of exchange: CoAPSession.Exchange) { insert(exchange, into: bucket(exchange.token)) }
    /// Has an exchange be found by its token no more.
    mutating func removeToken(of exchange: CoAPSession.Exchange) { remove(exchange, from: bucket(exchange.token)) }
    /// Has an exchange be found by its message ID.
    mutating func insertMessageID(of exchange: CoAPSession.Exchange) {
        insert(exchange, into: bucket(exchange.messageID))
    }
    /// Has an exchange be found by its message ID no more.
    mutating func removeMessageID(of exchange: CoAPSession.Exchange) {
        remove(exchange, from: bucket(exchange.messageID))
    }

    private mutating func insert(_ exchange: CoAPSession.Exchange, into bucket: Int) {
        link(exchange, heads[bucket], in: bucket)
        heads[bucket] = UInt16(truncatingIfNeeded: exchange.id.place)
    }

    private mutating func remove(_ exchange: CoAPSession.Exchange, from bucket: Int) {
        var previous: CoAPSession.Exchange?
        var place = heads[bucket]
        while place != Self.nowhere, let other = places[Int(place)] {
            let next = bucket < bucketCount ? other.nextByToken : other.nextByMessageID
            if other === exchange {
                if let previous { link(previous, next, in: bucket) } else { heads[bucket] = next }
                return
            }
            previous = other
            place = next
        }
    }

    private func link(_ exchange: CoAPSession.Exchange, _ next: UInt16, in bucket: Int) {
        if bucket < bucketCount { exchange.nextByToken = next } else { exchange.nextByMessageID = next }
    }
}
