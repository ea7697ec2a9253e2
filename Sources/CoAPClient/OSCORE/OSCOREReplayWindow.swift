/// Which of the sequence numbers of a peer were received (RFC 8613, 7.4): the highest one and those of the 31 before it. Older ones count as received.
public struct OSCOREReplayWindow: Equatable, Sendable {
    /// How many numbers it tells apart.
    public static let size = 32

    /// The number after the highest one that was received; 0 before there is one.
    public private(set) var end: UInt64
    /// A bit for each of the last 32 numbers before ``end``, the lowest one for the highest number: set if that was received.
    public private(set) var received: UInt32

    /// A window in which nothing was received.
    public init() { self.init(end: 0, received: 0) }

    /// A window as it was kept somewhere.
    public init(end: UInt64, received: UInt32) {
        self.end = end
        self.received = received
    }

    /// A window in which `number` was received, and counts as received whatever is before it (RFC 8613, B.1.2).
    init(startingAt number: UInt64) { self.init(end: number + 1, received: .max) }

    /// Throws if `number` was received, or if that is not known any more.
    func check(_ number: UInt64) throws(OSCOREError) {
        guard number < end else { return }
        let distance = end - 1 - number
        guard distance < UInt64(Self.size) else { throw .outOfWindow(number) }
        guard received & 1 << UInt32(distance) == 0 else { throw .replayed(number) }
    }

    /// Notes that `number` was received, which ``check(_:)`` has passed.
    mutating func insert(_ number: UInt64) {
        if number >= end {
            let shift = number + 1 - end
            received = shift < UInt64(Self.size) ? received << UInt32(shift) : 0
            end = number + 1
        }
        received |= 1 << UInt32(end - 1 - number)
    }
}

/// What a context knows of the requests that its peer has sent before, which decides about those that come (RFC 8613, 7.5.2 and B.1.2).
@nonexhaustive
public enum OSCOREReplayProtection: Equatable, Sendable {
    /// This end is a client only: it takes no requests.
    case takesNoRequests
    /// The context is new: nothing was ever received with its keys.
    case new
    /// All that was received is in this window: it was kept after each request, before that was answered.
    case restored(OSCOREReplayWindow)
    /// This end has restarted and knows nothing. Requests are challenged, until one comes with this value in its Echo option: 1 to 40 random bytes, drawn anew at each
    /// start (RFC 9175, 2.2.1).
    case lost(challenge: [UInt8])
}
