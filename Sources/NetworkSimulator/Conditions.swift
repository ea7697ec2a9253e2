/// What a simulated way does to what goes over it, in one direction.
public struct Conditions: Equatable, Sendable {
    /// How a stream's bytes are cut into the pieces that arrive.
    public enum Pieces: Equatable, Sendable {
        /// As they were sent, in segments of 1,460 bytes.
        case segments
        /// A byte at a time.
        case bytes
        /// From one byte to a segment, at random.
        case random
    }

    /// How long everything takes.
    public var latency = Duration.milliseconds(1)
    /// How much longer it takes at most, at random. Streams keep their order; datagrams overtake one another.
    public var jitter = Duration.zero
    /// The share of datagrams that are lost, from 0 to 1. A stream's lost segments are sent again, and come later.
    public var loss = 0.0
    /// The share of datagrams that arrive twice.
    public var duplication = 0.0
    /// The share of datagrams that come later than those sent after them.
    public var reordering = 0.0
    /// How streams are cut.
    public var pieces = Pieces.segments
    /// The longest datagram that arrives whole; longer ones are truncated.
    public var datagramBytes = 65_507
    /// How much goes over it in a second, in bytes; `nil` for no limit.
    public var bytesPerSecond: Int?
    /// Whether nothing gets through at all, and nobody is told.
    public var isCut = false

    /// A good way: a millisecond, nothing lost.
    public init() {}

    /// A way with this latency, and this share of losses.
    public init(latency: Duration, loss: Double = 0) {
        self.latency = latency
        self.loss = loss
    }
}

/// Random numbers that are the same for the same seed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    /// Whether something happens that has this share.
    mutating func happens(_ share: Double) -> Bool { share > 0 && Double.random(in: 0..<1, using: &self) < share }
}
