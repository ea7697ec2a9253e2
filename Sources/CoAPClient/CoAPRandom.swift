/// The secret that a client's tokens and message IDs are drawn with: 128 bits from a source that nobody else can guess.
public struct CoAPSeed: Sendable {
    let high: UInt64
    let low: UInt64

    /// A seed from its halves.
    public init(_ high: UInt64, _ low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// Numbers that cannot be guessed without the seed, the same ones for the same seed: SipHash-2-4 of a counter.
///
/// Who cannot see a request must not be able to forge its response: the token is all that ties them (RFC 7252, 5.3.1 and 11.4).
struct CoAPRandom: Sendable {
    private let seed: CoAPSeed
    private var counter: UInt64 = 0

    init(_ seed: CoAPSeed) { self.seed = seed }

    mutating func next() -> UInt64 {
        defer { counter &+= 1 }
        return Self.sipHash(counter, seed)
    }

    /// SipHash-2-4 of the eight bytes of `word`, little-endian, under a key of two little-endian words.
    static func sipHash(_ word: UInt64, _ key: CoAPSeed) -> UInt64 {
        var state = State(
            v0: key.high ^ 0x736F_6D65_7073_6575,
            v1: key.low ^ 0x646F_7261_6E64_6F6D,
            v2: key.high ^ 0x6C79_6765_6E65_7261,
            v3: key.low ^ 0x7465_6462_7974_6573
        )
        state.absorb(word)
        state.absorb(8 << 56)
        state.v2 ^= 0xFF
        for _ in 0..<4 { state.round() }
        return state.v0 ^ state.v1 ^ state.v2 ^ state.v3
    }

    private struct State {
        var v0: UInt64
        var v1: UInt64
        var v2: UInt64
        var v3: UInt64

        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }

        mutating func round() {
            v0 &+= v1
            v1 = v1 << 13 | v1 >> 51
            v1 ^= v0
            v0 = v0 << 32 | v0 >> 32
            v2 &+= v3
            v3 = v3 << 16 | v3 >> 48
            v3 ^= v2
            v0 &+= v3
            v3 = v3 << 21 | v3 >> 43
            v3 ^= v0
            v2 &+= v1
            v1 = v1 << 17 | v1 >> 47
            v1 ^= v2
            v2 = v2 << 32 | v2 >> 32
        }
    }
}
