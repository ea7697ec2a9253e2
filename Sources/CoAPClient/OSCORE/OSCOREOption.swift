internal import Kernel

/// The value of an OSCORE option: what the receiver needs to find the security context and to decrypt (RFC 8613, 6.1).
///
/// A server with several contexts reads it to find the one that a request is for.
public struct OSCOREOption: Equatable, Sendable {
    /// The sequence number of the message, as few bytes as hold it; none in most responses.
    public var partialIV: UInt64?
    /// The sender's ID: in requests only.
    public var kid: [UInt8]?
    /// The ID context, in requests of contexts that have one.
    public var kidContext: [UInt8]?

    /// An option value from its parts. The Partial IV is below 2^40, the kid context has at most 255 bytes.
    public init(partialIV: UInt64? = nil, kid: [UInt8]? = nil, kidContext: [UInt8]? = nil) {
        self.partialIV = partialIV
        self.kid = kid
        self.kidContext = kidContext
    }

    /// The value on the wire.
    public var encoded: [UInt8] {
        var bytes: [UInt8] = [0]
        if let partialIV {
            precondition(partialIV <= OSCOREContext.lastSequenceNumber, "a Partial IV has at most five bytes")
            bytes.append(Self.bytes(of: partialIV).span)
            bytes[0] = UInt8(bytes.count - 1)
        }
        if let kidContext {
            precondition(kidContext.count <= 255, "a kid context has at most 255 bytes")
            bytes[0] |= Flag.kidContext
            bytes.append(UInt8(kidContext.count))
            bytes.append(kidContext.span)
        }
        if let kid {
            bytes[0] |= Flag.kid
            bytes.append(kid.span)
        }
        // Flags of zero are left out.
        return bytes[0] == 0 ? [] : bytes
    }

    /// Reads a value, strictly.
    public init(decoding value: Span<UInt8>) throws(OSCOREError) {
        guard !value.isEmpty else { return }
        let flags = value[0]
        let count = Int(flags & Flag.partialIVLength)
        guard flags != 0, flags & Flag.reserved == 0, count <= 5, value.count > count else { throw .malformed }
        if count > 0 {
            // Without zeros in front, so that there is one way only to write a number, which is authenticated as it is written.
            guard count == 1 || value[1] != 0 else { throw .malformed }
            var number: UInt64 = 0
            for index in 1...count { number = number << 8 | UInt64(value[index]) }
            partialIV = number
        }
        var rest = value.extracting(droppingFirst: 1 + count)
        if flags & Flag.kidContext != 0 {
            guard !rest.isEmpty, rest.count > Int(rest[0]) else { throw .malformed }
            let end = 1 + Int(rest[0])
            kidContext = [UInt8](copying: rest.extracting(1..<end))
            rest = rest.extracting(droppingFirst: end)
        }
        if flags & Flag.kid != 0 {
            kid = [UInt8](copying: rest)
        } else if !rest.isEmpty {
            throw .malformed
        }
    }

    /// Reads the OSCORE option among `options`; throws ``OSCOREError/notProtected(_:)`` of `code` if there is none.
    init(in options: CoAPOptions, of code: CoAPCode) throws(OSCOREError) {
        let values = options.all(.oscore)
        guard let value = values.first else { throw .notProtected(code) }
        guard values.count == 1 else { throw .malformed }
        try self.init(decoding: value.span)
    }

    /// A sequence number as it travels: without zeros in front, and zero as one byte (RFC 8613, 6.1).
    static func bytes(of number: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        var shift: UInt64 = 40
        while shift > 0 {
            shift -= 8
            let byte = UInt8(truncatingIfNeeded: number >> shift)
            if byte != 0 || !bytes.isEmpty || shift == 0 { bytes.append(byte) }
        }
        return bytes
    }

    private enum Flag {
        static let partialIVLength: UInt8 = 0x07
        static let kid: UInt8 = 0x08
        static let kidContext: UInt8 = 0x10
        static let reserved: UInt8 = 0xE0
    }
}
