internal import Kernel
internal import SAL

/// What was answered to which message, so that a copy of a request gets the same answer and no handler is asked twice (RFC 7252, 4.5).
///
/// The place of an entry follows from a keyed hash: it is one of eight, where the oldest makes room. So a search is short, and memory is bounded.
struct AnsweredRequests {
    final class Entry {
        let peer: SocketAddress
        let messageID: UInt16
        /// What is sent again; empty for nothing.
        let answer: [UInt8]
        let forgetAt: Duration

        init(_ answer: [UInt8], to messageID: UInt16, of peer: SocketAddress, forgetAt: Duration) {
            self.peer = peer
            self.messageID = messageID
            self.answer = answer
            self.forgetAt = forgetAt
        }
    }

    private static let ways = 8
    private var entries: [Entry?]

    /// Room for `limit` entries, a million at most, rounded up to a multiple of eight.
    init(limit: Int) {
        let sets = (min(max(limit, 1), 1 << 20) + Self.ways - 1) / Self.ways
        entries = Array(repeating: nil, count: sets * Self.ways)
    }

    private func places(_ hash: UInt64) -> Range<Int> {
        let first = Int(hash % UInt64(entries.count / Self.ways)) * Self.ways
        return first..<first + Self.ways
    }

    /// The answer to a message, if it was answered and is not forgotten.
    func answer(to messageID: UInt16, of peer: SocketAddress, hash: UInt64, at now: Duration) -> [UInt8]? {
        for place in places(hash) {
            if let entry = entries[place], entry.messageID == messageID, entry.peer == peer, entry.forgetAt > now {
                return entry.answer
            }
        }
        return nil
    }

    /// Forgets what was answered to a peer.
    mutating func removeAll(of peer: SocketAddress) {
        for place in entries.indices where entries[place]?.peer == peer { entries[place] = nil }
    }

    /// Remembers an answer.
    mutating func insert(_ entry: Entry, hash: UInt64) {
        var oldest = places(hash).lowerBound
        for place in places(hash) {
            guard let time = entries[place]?.forgetAt else {
                oldest = place
                break
            }
            if let least = entries[oldest]?.forgetAt, time < least { oldest = place }
        }
        entries[oldest] = entry
    }
}

extension CoAPSeed {
    /// A hash of a peer and a number that nobody can guess without the seed.
    func hash(_ peer: SocketAddress, _ number: UInt64) -> UInt64 {
        var words: (UInt64, UInt64, UInt64)
        switch peer.address {
        case .v4(let address): words = (0, UInt64(address), 1 << 16)
        case .v6(let high, let low, let scope): words = (high, low, UInt64(scope) << 32)
        }
        words.2 |= UInt64(peer.port)
        var hash = CoAPRandom.sipHash(words.0, self)
        for word in [words.1, words.2, number] { hash = CoAPRandom.sipHash(hash ^ word, self) }
        return hash
    }

    /// A hash of bytes.
    func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var hash = CoAPRandom.sipHash(UInt64(bytes.count), self)
        var word: UInt64 = 0
        for index in bytes.indices {
            word = word << 8 | UInt64(bytes[index])
            if index & 7 == 7 || index == bytes.count - 1 {
                hash = CoAPRandom.sipHash(hash ^ word, self)
                word = 0
            }
        }
        return hash
    }
}

extension [UInt8] {
    /// Appends eight bytes.
    mutating func append(bigEndian word: UInt64) {
        var shift: UInt64 = 64
        while shift > 0 {
            shift -= 8
            append(UInt8(truncatingIfNeeded: word >> shift))
        }
    }
}
