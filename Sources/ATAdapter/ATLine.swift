/// Reading the lines of a modem: all on bytes, nothing trusted.
extension [UInt8] {
    /// Whether the line is exactly `text`.
    func isLine(_ text: StaticString) -> Bool { count == text.utf8CodeUnitCount && starts(with: text) }

    /// Whether the line starts with `text`.
    func starts(with text: StaticString) -> Bool {
        guard count >= text.utf8CodeUnitCount else { return false }
        for index in 0..<text.utf8CodeUnitCount where unsafe text.utf8Start[index] != self[index] { return false }
        return true
    }

    /// Whether the line ends with `text`.
    func ends(with text: StaticString) -> Bool {
        let start = count - text.utf8CodeUnitCount
        guard start >= 0 else { return false }
        for index in 0..<text.utf8CodeUnitCount where unsafe text.utf8Start[index] != self[start + index] {
            return false
        }
        return true
    }

    /// The decimal number at `index`, which moves behind it; `nil` without a digit there, or if it is over nine digits long.
    func number(at index: inout Int) -> Int? {
        var value = 0
        let start = index
        while index < count, index - start < 9, self[index] >= UInt8(ascii: "0"), self[index] <= UInt8(ascii: "9") {
            value = value * 10 + Int(self[index] - UInt8(ascii: "0"))
            index += 1
        }
        return index > start ? value : nil
    }

    /// Whether `byte` stands at `index`, which then moves behind it.
    func skip(_ byte: UInt8, at index: inout Int) -> Bool {
        guard index < count, self[index] == byte else { return false }
        index += 1
        return true
    }

    mutating func append(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { append(unsafe text.utf8Start[index]) }
    }

    mutating func append(number: Int) {
        if number >= 10 { append(number: number / 10) }
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    }
}
