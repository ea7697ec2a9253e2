/// An option of a message.
public struct CoAPOption: Equatable, Sendable {
    /// What it is.
    public let number: CoAPOptionNumber
    /// Its value; what the bytes mean depends on the number (RFC 7252, 3.2).
    public let value: [UInt8]

    /// An option from its parts.
    public init(_ number: CoAPOptionNumber, _ value: [UInt8]) {
        self.number = number
        self.value = value
    }
}

/// The options of a message, in the order of their numbers, those of the same number in the order they were added in.
///
/// They are kept as they are on the wire: one array, whatever their number.
public struct CoAPOptions: Equatable, Sendable {
    /// The options as on the wire (RFC 7252, 3.1), valid at any time.
    private(set) var bytes: [UInt8]
    private var lastNumber: UInt16

    /// No options.
    public init() {
        bytes = []
        lastNumber = 0
    }

    /// Options that ``read(_:at:previous:)`` has found to be valid.
    init(checked bytes: [UInt8], lastNumber: UInt16) {
        self.bytes = bytes
        self.lastNumber = lastNumber
    }

    /// Whether there are none.
    public var isEmpty: Bool { bytes.isEmpty }

    // MARK: Writing

    /// Adds an option behind those of the same and of lower numbers. A value has at most 65,804 bytes.
    public mutating func add(_ number: CoAPOptionNumber, _ value: Span<UInt8>) {
        guard number.rawValue < lastNumber else { return append(number.rawValue, value) }
        // Not in order: what comes behind it is written again.
        var sorted = CoAPOptions()
        var isAdded = false
        forEach { other, otherValue in
            if !isAdded && number < other {
                sorted.append(number.rawValue, value)
                isAdded = true
            }
            sorted.append(other.rawValue, otherValue)
        }
        self = sorted
    }

    /// Adds an option, as ``add(_:_:)-(_,Span<UInt8>)`` does.
    public mutating func add(_ number: CoAPOptionNumber, _ value: [UInt8]) { add(number, value.span) }

    /// Adds an option with an integer value, in as few bytes as hold it (RFC 7252, 3.2).
    public mutating func add(_ number: CoAPOptionNumber, uint value: UInt32) {
        var value = value.bigEndian
        let zeros = value.trailingZeroBitCount / 8
        unsafe withUnsafeBytes(of: &value) {
            let bytes = unsafe Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(rebasing: $0[zeros...]))
            add(number, bytes)
        }
    }

    /// Removes all options of this number.
    public mutating func remove(_ number: CoAPOptionNumber) {
        var rest = CoAPOptions()
        forEach { other, value in if other != number { rest.append(other.rawValue, value) } }
        self = rest
    }

    private mutating func append(_ number: UInt16, _ value: Span<UInt8>) {
        precondition(value.count <= 65_804, "an option value that no message can carry")
        let delta = Nibble(Int(number - lastNumber))
        let length = Nibble(value.count)
        bytes.append(delta.nibble << 4 | length.nibble)
        delta.appendExtension(to: &bytes)
        length.appendExtension(to: &bytes)
        bytes.append(value)
        lastNumber = number
    }

    // MARK: Reading

    /// Calls `body` with each option, in order.
    public func forEach<Failure: Error>(
        _ body: (CoAPOptionNumber, Span<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        let span = bytes.span
        var number: UInt16 = 0
        var offset = 0
        // Valid by construction; the loop ends at the end of the bytes.
        while let field = try? Self.read(span, at: offset, previous: number) {
            number = field.number
            offset = field.value.upperBound
            try body(CoAPOptionNumber(rawValue: number), span.extracting(field.value))
        }
    }

    /// The value of the first option of this number.
    public func first(_ number: CoAPOptionNumber) -> [UInt8]? {
        var found: [UInt8]?
        forEach { other, value in if other == number && found == nil { found = [UInt8](copying: value) } }
        return found
    }

    /// The values of all options of this number, in order.
    public func all(_ number: CoAPOptionNumber) -> [[UInt8]] {
        var found: [[UInt8]] = []
        forEach { other, value in if other == number { found.append([UInt8](copying: value)) } }
        return found
    }

    /// The value of the first option of this number as an integer; `nil` if there is none, or it has more bytes than its number
    /// allows or than 4: such an option counts as not understood (RFC 7252, 5.4.3).
    public func uint(_ number: CoAPOptionNumber) -> UInt32? {
        guard let bytes = first(number), bytes.count <= min(4, number.rule?.lengths.upperBound ?? 4) else { return nil }
        return bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Whether there is an option of this number.
    public func contains(_ number: CoAPOptionNumber) -> Bool {
        var isFound = false
        forEach { other, _ in if other == number { isFound = true } }
        return isFound
    }

    /// All options, in order.
    public var list: [CoAPOption] {
        var list: [CoAPOption] = []
        forEach { number, value in list.append(CoAPOption(number, [UInt8](copying: value))) }
        return list
    }

    // MARK: The wire

    struct Field {
        let number: UInt16
        let value: Range<Int>
    }

    /// Reads the option at `offset`; `nil` at the end: that of the bytes, or a payload marker.
    static func read(
        _ bytes: Span<UInt8>,
        at offset: Int,
        previous: UInt16
    ) throws(CoAPFormatError) -> Field? {
        guard offset < bytes.count, bytes[offset] != 0xFF else { return nil }
        var next = offset + 1
        let delta = try extended(bytes[offset] >> 4, bytes, at: &next, option: offset)
        let length = try extended(bytes[offset] & 0x0F, bytes, at: &next, option: offset)
        let number = Int(previous) + delta
        guard number <= 65_535 else { throw .optionNumberTooLarge(offset: offset) }
        guard bytes.count - next >= length else { throw .truncatedOption(offset: offset) }
        return Field(number: UInt16(number), value: next..<next + length)
    }

    /// The value of a nibble and its extension bytes (RFC 7252, 3.1).
    private static func extended(
        _ nibble: UInt8,
        _ bytes: Span<UInt8>,
        at next: inout Int,
        option: Int
    ) throws(CoAPFormatError) -> Int {
        switch nibble {
        case 15: throw .reservedOptionNibble(offset: option)
        case 14:
            guard bytes.count - next >= 2 else { throw .truncatedOption(offset: option) }
            defer { next += 2 }
            return 269 + Int(bytes[next]) << 8 + Int(bytes[next + 1])
        case 13:
            guard bytes.count - next >= 1 else { throw .truncatedOption(offset: option) }
            defer { next += 1 }
            return 13 + Int(bytes[next])
        default: return Int(nibble)
        }
    }

    /// A delta or a length as four bits and their extension.
    private struct Nibble {
        let value: Int
        init(_ value: Int) { self.value = value }

        var nibble: UInt8 { value < 13 ? UInt8(value) : value < 269 ? 13 : 14 }

        func appendExtension(to bytes: inout [UInt8]) {
            if value >= 269 { bytes.append(UInt8((value - 269) >> 8)) }
            if value >= 13 { bytes.append(UInt8(truncatingIfNeeded: value < 269 ? value - 13 : value - 269)) }
        }
    }
}
