/// The value of a Block1 or Block2 option: which block of a body a message has, or asks for (RFC 7959, 2.2).
public struct CoAPBlock: Equatable, Sendable {
    /// The block's number, in blocks of this size: up to 1,048,575.
    public let number: Int
    /// Whether more blocks follow.
    public let hasMore: Bool
    /// The size of a block as its exponent: blocks have 2 ** (exponent + 4) bytes. 7 is reserved over UDP and DTLS; over byte streams it stands for as many blocks of 1,024 bytes
    /// as the message has (BERT; RFC 8323, 6).
    public let sizeExponent: UInt8

    /// The largest size exponent over UDP and DTLS: 1,024 bytes.
    static let largestExponent: UInt8 = 6
    /// Any number of blocks of 1,024 bytes, over byte streams.
    static let bulkExponent: UInt8 = 7
    static let largestNumber = 0xF_FFFF

    /// A block.
    public init(number: Int, hasMore: Bool = false, sizeExponent: UInt8) {
        precondition(number >= 0 && number <= Self.largestNumber && sizeExponent <= 7, "no such block")
        self.number = number
        self.hasMore = hasMore
        self.sizeExponent = sizeExponent
    }

    /// The block that stands at `offset`, which is a multiple of the size.
    init(at offset: Int, hasMore: Bool = false, sizeExponent: UInt8) {
        self.init(number: offset / Self.byteCount(sizeExponent), hasMore: hasMore, sizeExponent: sizeExponent)
    }

    /// A block from the option's value as an integer.
    init(_ value: UInt32) {
        number = Int(value >> 4)
        hasMore = value & 8 != 0
        sizeExponent = UInt8(value & 7)
    }

    /// The option's value as an integer.
    var value: UInt32 { UInt32(number) << 4 | (hasMore ? 8 : 0) | UInt32(sizeExponent) }

    /// How many bytes a block has; the last one may have fewer, and a message with size exponent 7 has several blocks.
    public var byteCount: Int { Self.byteCount(sizeExponent) }

    /// Where the block starts in the body.
    public var offset: Int { number << (4 + Int(min(sizeExponent, Self.largestExponent))) }

    static func byteCount(_ sizeExponent: UInt8) -> Int { 16 << Int(min(sizeExponent, largestExponent)) }

    /// The exponent of the largest size that is not over `bytes`; 0 at least.
    static func exponent(notOver bytes: Int, downFrom largest: UInt8 = largestExponent) -> UInt8 {
        var exponent = largest
        while exponent > 0, byteCount(exponent) > bytes { exponent -= 1 }
        return exponent
    }
}

extension CoAPOptions {
    /// Which block of the request's body a message has or acknowledges (RFC 7959, 2.1).
    public var block1: CoAPBlock? {
        get { uint(.block1).map { CoAPBlock($0) } }
        set { replace(.block1, newValue?.value) }
    }

    /// Which block of the response's body a message has or asks for (RFC 7959, 2.1).
    public var block2: CoAPBlock? {
        get { uint(.block2).map { CoAPBlock($0) } }
        set { replace(.block2, newValue?.value) }
    }

    private mutating func replace(_ number: CoAPOptionNumber, _ value: UInt32?) {
        if contains(number) { remove(number) }
        if let value { add(number, uint: value) }
    }
}
