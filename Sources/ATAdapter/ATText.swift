internal import Kernel

/// Reading the lines of a modem by tables, one pattern a line: all on bytes, nothing trusted.
///
/// In a pattern `#` stands for a decimal number, `%` for a string, in quotes or bare up to a comma, and `*` at its end for anything.
/// Modems disagree about spaces behind colons and commas and at the ends of lines: they are skipped.
struct ATMatch {
    /// Which pattern of the table it is, counted from 0; -1 for none.
    private(set) var index = -1
    /// Where the line goes on behind what is matched.
    private(set) var position = 0
    /// Where the last string is, without its quotes.
    private(set) var string = 0..<0
    private var numbers = InlineArray<4, Int>(repeating: 0)
    private var count = 0

    /// The numbers of the line, counted from 0; 0 beyond the last.
    subscript(number: Int) -> Int { number < count ? numbers[number] : 0 }

    /// Finds the first pattern of `table` that `line` matches as a whole.
    init(_ line: Span<UInt8>, in table: StaticString) {
        var index = 0
        var start = 0
        while start < table.utf8CodeUnitCount {
            if matches(line, table, start) {
                self.index = index
                return
            }
            start = table.end(ofLineAt: start) + 1
            index += 1
        }
    }

    private mutating func matches(_ line: Span<UInt8>, _ table: StaticString, _ start: Int) -> Bool {
        position = 0
        count = 0
        var offset = start
        while offset < table.utf8CodeUnitCount {
            let byte = table.byte(offset)
            offset += 1
            switch byte {
            case UInt8(ascii: "\n"): return isAtEnd(line)
            case UInt8(ascii: "*"): return true
            case UInt8(ascii: "%"):
                guard let string = line.string(at: &position) else { return false }
                self.string = string
            case UInt8(ascii: "#"):
                guard let number = line.number(at: &position), count < 4 else { return false }
                numbers[count] = number
                count += 1
            default:
                guard position < line.count, line[position] == byte else { return false }
                position += 1
                if byte == UInt8(ascii: ":") || byte == UInt8(ascii: ",") { skipSpaces(line) }
            }
        }
        return isAtEnd(line)
    }

    private mutating func isAtEnd(_ line: Span<UInt8>) -> Bool {
        skipSpaces(line)
        return position == line.count
    }

    private mutating func skipSpaces(_ line: Span<UInt8>) {
        while position < line.count, line[position] == UInt8(ascii: " ") { position += 1 }
    }
}

extension StaticString {
    /// The byte at `offset`: the one place where the text of a table is read.
    func byte(_ offset: Int) -> UInt8 { unsafe utf8Start[offset] }

    func end(ofLineAt start: Int) -> Int {
        var end = start
        while end < utf8CodeUnitCount, byte(end) != UInt8(ascii: "\n") { end += 1 }
        return end
    }
}

extension Span<UInt8> {
    /// Whether the line is exactly `text`.
    func isLine(_ text: StaticString) -> Bool { ATMatch(self, in: text).index == 0 }

    /// The decimal number at `position`, perhaps behind spaces, which moves behind it; `nil` without a digit there, or if it has over nine.
    func number(at position: inout Int) -> Int? {
        while position < count, self[position] == UInt8(ascii: " ") { position += 1 }
        let isNegative = position < count && self[position] == UInt8(ascii: "-")
        if isNegative { position += 1 }
        let start = position
        var value = 0
        while position < count, self[position] &- 0x30 < 10 {
            guard position - start < 9 else { return nil }
            value = value &* 10 &+ Int(self[position] &- 0x30)
            position += 1
        }
        guard position > start else { return nil }
        return isNegative ? -value : value
    }

    /// Where the string at `position` is, which moves behind it: in quotes, or up to the next comma.
    func string(at position: inout Int) -> Range<Int>? {
        let quote = UInt8(ascii: "\"")
        let isQuoted = position < count && self[position] == quote
        if isQuoted { position += 1 }
        let start = position
        while position < count, self[position] != (isQuoted ? quote : UInt8(ascii: ",")) { position += 1 }
        let end = position
        if isQuoted {
            guard position < count else { return nil }
            position += 1
        }
        return start..<end
    }
}

extension [UInt8] {
    mutating func append(number: Int) {
        if number > 9 { append(number: number / 10) }
        append(0x30 + UInt8(truncatingIfNeeded: number % 10))
    }

    /// Appends a string parameter. Cellular modems have no escapes, so that their strings cannot hold quotes.
    mutating func append(quoted text: [UInt8], escaping: Bool) {
        append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: ","), UInt8(ascii: "\""):
                if escaping { append(UInt8(ascii: "\\")) }
            default: break
            }
            append(byte)
        }
        append(UInt8(ascii: "\""))
    }

    /// Appends two hexadecimal digits for each byte.
    mutating func append(hexadecimal bytes: Span<UInt8>) {
        for index in bytes.indices {
            for digit in [bytes[index] >> 4, bytes[index] & 15] { append(digit < 10 ? 0x30 + digit : 0x37 + digit) }
        }
    }
}
