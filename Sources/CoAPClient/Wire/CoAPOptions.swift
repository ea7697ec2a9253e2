internal import Kernel

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
    /// Which numbers there are, so that most questions for others need no search.
    private var numbers = NumberSet()

    /// No options.
    public init() {
        bytes = []
        lastNumber = 0
    }

    /// The options that a message has from `start` on, which move behind them: to its end, or to the payload marker.
    init(decoding message: Span<UInt8>, at start: inout Int) throws(CoAPFormatError) {
        let first = start
        lastNumber = 0
        bytes = []
        while let option = try Self.read(message, at: start, previous: lastNumber) {
            lastNumber = option.number
            numbers.insert(option.number)
            start = option.value.upperBound
        }
        if start > first { bytes = [UInt8](copying: message.extracting(first..<start)) }
    }

    /// A set of option numbers. Those from 63 on count as one.
    private struct NumberSet: Equatable, Sendable {
        private var bits: UInt64 = 0
        private static func bit(_ number: UInt16) -> UInt64 { 1 << UInt64(min(number, 63)) }
        mutating func insert(_ number: UInt16) { bits |= Self.bit(number) }
        func mayContain(_ number: UInt16) -> Bool { bits & Self.bit(number) != 0 }
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
        var cursor = Cursor()
        while let range = next(&cursor) {
            if !isAdded && number.rawValue < cursor.number {
                sorted.append(number.rawValue, value)
                isAdded = true
            }
            sorted.append(cursor.number, bytes.span.extracting(range))
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
        guard contains(number) else { return }
        var rest = CoAPOptions()
        var cursor = Cursor()
        while let range = next(&cursor) {
            if cursor.number != number.rawValue { rest.append(cursor.number, bytes.span.extracting(range)) }
        }
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
        numbers.insert(number)
    }

    /// Makes room for so many bytes more.
    mutating func reserve(_ count: Int) { bytes.reserveCapacity(bytes.count + count) }

    // MARK: Reading

    /// Calls `body` with each option, in order.
    public func forEach<Failure: Error>(
        _ body: (CoAPOptionNumber, Span<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        var cursor = Cursor()
        while let value = next(&cursor) {
            try body(CoAPOptionNumber(rawValue: cursor.number), bytes.span.extracting(value))
        }
    }

    /// The value of the first option of this number.
    public func first(_ number: CoAPOptionNumber) -> [UInt8]? {
        firstRange(number).map { [UInt8](copying: bytes.span.extracting($0)) }
    }

    /// The values of all options of this number, in order.
    public func all(_ number: CoAPOptionNumber) -> [[UInt8]] {
        var found: [[UInt8]] = []
        var cursor = Cursor()
        while let value = next(&cursor) {
            if cursor.number == number.rawValue { found.append([UInt8](copying: bytes.span.extracting(value))) }
        }
        return found
    }

    /// The value of the first option of this number as an integer; `nil` if there is none, or it has more bytes than its number
    /// allows or than 4: such an option counts as not understood (RFC 7252, 5.4.3).
    public func uint(_ number: CoAPOptionNumber) -> UInt32? {
        guard let range = firstRange(number), range.count <= min(4, number.rule?.lengths.upperBound ?? 4) else {
            return nil
        }
        var value: UInt32 = 0
        for index in range { value = value << 8 | UInt32(bytes[index]) }
        return value
    }

    /// Whether there is an option of this number.
    public func contains(_ number: CoAPOptionNumber) -> Bool {
        firstRange(number) != nil
    }

    /// All options, in order.
    public var list: [CoAPOption] {
        var list: [CoAPOption] = []
        var cursor = Cursor()
        while let value = next(&cursor) {
            let number = CoAPOptionNumber(rawValue: cursor.number)
            list.append(CoAPOption(number, [UInt8](copying: bytes.span.extracting(value))))
        }
        return list
    }

    // MARK: The wire

    /// A place between options; the number is that of the option before it.
    struct Cursor {
        var offset = 0
        var number: UInt16 = 0
    }

    /// Goes to the end of the next option and returns where its value is. The options are valid by construction.
    func next(_ cursor: inout Cursor) -> Range<Int>? {
        guard let field = try? Self.read(bytes.span, at: cursor.offset, previous: cursor.number) else { return nil }
        cursor.number = field.number
        cursor.offset = field.value.upperBound
        return field.value
    }

    private func firstRange(_ number: CoAPOptionNumber) -> Range<Int>? {
        guard numbers.mayContain(number.rawValue) else { return nil }
        var cursor = Cursor()
        while let value = next(&cursor), cursor.number <= number.rawValue {
            if cursor.number == number.rawValue { return value }
        }
        return nil
    }

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
        let (short, shortLength) = (Int(bytes[offset] >> 4), Int(bytes[offset] & 0x0F))
        if short < 13, shortLength < 13, bytes.count - next >= shortLength, previous < 65_000 {
            return Field(number: previous &+ UInt16(truncatingIfNeeded: short), value: next..<next + shortLength)
        }
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
