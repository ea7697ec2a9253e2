internal import Kernel

/// Reading and writing the lines of a modem by tables, one pattern or template a line: all on bytes, nothing trusted.
///
/// In a pattern `#` stands for a decimal number, and `*` at its end for anything.
struct ATMatch {
    /// Which pattern of the table it is, counted from 0; -1 for none.
    var index = -1
    /// Where the line goes on behind what is matched.
    var position = 0
    /// The numbers in the line.
    var first = 0
    var second = 0

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
        var offset = start
        while offset < table.utf8CodeUnitCount {
            let byte = table.byte(offset)
            offset += 1
            switch byte {
            case UInt8(ascii: "\n"): return position == line.count
            case UInt8(ascii: "*"): return true
            case UInt8(ascii: "#"):
                guard let number = line.number(at: &position) else { return false }
                first = second
                second = number
            default:
                guard position < line.count, line[position] == byte else { return false }
                position += 1
            }
        }
        return position == line.count
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

    /// The decimal number at `position`, which moves behind it; `nil` without a digit there, or if it has over nine.
    func number(at position: inout Int) -> Int? {
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
}

extension [UInt8] {
    mutating func append(number: Int) {
        if number > 9 { append(number: number / 10) }
        append(0x30 + UInt8(truncatingIfNeeded: number % 10))
    }

    /// Appends a string parameter; what `escapes` holds gets a backslash before it.
    mutating func append(quoted text: [UInt8]) {
        append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: ","), UInt8(ascii: "\""): append(UInt8(ascii: "\\"))
            default: break
            }
            append(byte)
        }
        append(UInt8(ascii: "\""))
    }
}
