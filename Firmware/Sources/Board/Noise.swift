public import SecureTransport

/// Noise from a secret of 32 bytes that the board is told: QEMU's board has no generator of random numbers, as a real one has, which takes the place of this.
/// Whoever knows the secret knows all that is made from it, and each start needs another.
public final class SeededNoise: @unchecked Sendable {
    // @unchecked: the generator that has it asks for noise from one task at a time.
    private var block: [UInt8]
    private var count = 0

    /// Noise from `seed`.
    public init(seed: [UInt8]) { block = seed + [0, 0, 0, 0] }

    /// The next bytes: hashes of the seed and a number.
    public func next(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            self.count += 1
            for index in 0..<4 { block[block.count - 1 - index] = UInt8(truncatingIfNeeded: self.count >> (8 * index)) }
            let block = block
            for byte in Digest.sha256(block.span) where bytes.count < count { bytes.append(byte) }
        }
        return bytes
    }
}
