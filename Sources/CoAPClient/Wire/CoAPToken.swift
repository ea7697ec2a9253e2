/// What ties a response to its request: 0 to 8 bytes that the client chooses (RFC 7252, 5.3.1).
public struct CoAPToken: Equatable, Hashable, Sendable {
    /// The bytes, the first in the most significant place; those beyond the count are zero.
    let bits: UInt64
    /// How many bytes it has.
    public let count: Int

    /// The token without bytes.
    public static let empty = CoAPToken(bits: 0, count: 0)

    /// A token of the first `count` bytes of `bits`.
    init(bits: UInt64, count: Int) {
        self.bits = count == 0 ? 0 : bits & (UInt64.max << UInt64(64 - 8 * count))
        self.count = count
    }

    /// A token from its bytes; `nil` if there are more than 8.
    public init?(_ bytes: Span<UInt8>) {
        guard bytes.count <= 8 else { return nil }
        var bits: UInt64 = 0
        for index in bytes.indices { bits |= UInt64(bytes[index]) << UInt64(56 - 8 * index) }
        self.init(bits: bits, count: bytes.count)
    }

    /// The byte at `index`.
    public subscript(index: Int) -> UInt8 {
        precondition(index >= 0 && index < count, "index beyond the token's count")
        return UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * index))
    }
}
