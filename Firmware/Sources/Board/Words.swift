/// A line of words of the form `name=value`, between spaces: what a device is told when it starts.
public struct Words {
    private let line: [UInt8]

    /// The words of `line`.
    public init(_ line: [UInt8]) { self.line = line }

    /// What stands behind `name=`, up to the next space.
    public func value(of name: StaticString) -> [UInt8]? {
        guard var start = find(name, in: line.span) else { return nil }
        start += name.utf8CodeUnitCount
        guard start < line.count, line[start] == UInt8(ascii: "=") else { return nil }
        var end = start + 1
        while end < line.count, line[end] != 0x20 { end += 1 }
        return copy(line.span, start + 1, end)
    }

    /// The decimal number behind `name=`.
    public func number(_ name: StaticString) -> Int? {
        guard let text = value(of: name) else { return nil }
        return decimal(text.span, from: 0)
    }

    /// The bytes behind `name=`, two hexadecimal digits each.
    public func bytes(_ name: StaticString) -> [UInt8]? {
        guard let text = value(of: name), text.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for index in text.indices {
            let digit: UInt8
            switch text[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = text[index] - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = text[index] - UInt8(ascii: "a") + 10
            default: return nil
            }
            if index % 2 == 0 { bytes.append(digit << 4) } else { bytes[index / 2] |= digit }
        }
        return bytes
    }
}

/// The bytes from `start` up to `end`: a slice would bring the library's generic way to copy one.
public func copy(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> [UInt8] {
    var copy: [UInt8] = []
    for index in start..<end { copy.append(bytes[index]) }
    return copy
}

/// Where `text` stands in `bytes`.
public func find(_ text: StaticString, in bytes: Span<UInt8>) -> Int? {
    let count = text.utf8CodeUnitCount
    var start = 0
    while start + count <= bytes.count {
        var same = 0
        while same < count, bytes[start + same] == text.utf8Start[same] { same += 1 }
        if same == count { return start }
        start += 1
    }
    return nil
}

/// The decimal number in `bytes` at `start`, of at most eight digits.
public func decimal(_ bytes: Span<UInt8>, from start: Int) -> Int? {
    var value = 0
    var index = start
    while index < bytes.count, index - start < 8, bytes[index] >= UInt8(ascii: "0"), bytes[index] <= UInt8(ascii: "9") {
        value = value * 10 + Int(bytes[index] - UInt8(ascii: "0"))
        index += 1
    }
    return index > start ? value : nil
}
