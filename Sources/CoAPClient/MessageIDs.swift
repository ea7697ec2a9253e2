/// Hands out message IDs so that none is used twice within EXCHANGE_LIFETIME (RFC 7252, 4.4).
///
/// They go round in order, and the time of the last use is kept per block of 4,096: a block is entered again only when all
/// of its IDs are free.
struct MessageIDs: Sendable {
    private static let blockBits: UInt16 = 12
    private var next: UInt16
    /// When the whole of each block is free.
    private var freeAt = [Duration?](repeating: nil, count: 1 << (16 - Int(blockBits)))

    init(first: UInt16) { next = first }

    private var block: Int { Int(next >> Self.blockBits) }
    private var isAtBlockStart: Bool { next & (1 << Self.blockBits - 1) == 0 }

    /// When the next ID is free, if it is not at `now`.
    func blockedUntil(at now: Duration) -> Duration? {
        guard isAtBlockStart, let time = freeAt[block], time > now else { return nil }
        return time
    }

    /// The next ID, which stays taken for `lifetime`. Only call it when it is free.
    mutating func take(at now: Duration, lifetime: Duration) -> UInt16 {
        freeAt[block] = now + lifetime
        defer { next &+= 1 }
        return next
    }
}
