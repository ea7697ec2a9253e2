/// Checks that a text is JSON (RFC 8259), strictly and within limits, before cJSON takes memory for it. cJSON alone takes what is none (raw control
/// characters, leading zeros, bytes after the end, any encoding), goes 1,000 levels deep, and does not say whether the text or the memory was bad.
struct JSONScanner {
    /// What may come next.
    private enum Expectation {
        case value
        case valueOrEnd
        case name
        case nameOrEnd
        case commaOrEnd
        case end
    }

    private var index = 0
    private var expected = Expectation.value
    private var depth = 0
    private var valueCount = 0
    /// Of each level a bit, the innermost lowest: 1 for an object.
    private var levels: UInt64 = 0

    /// Throws what is wrong with `text`.
    static func check(_ text: Span<UInt8>, _ limits: JSONLimits) throws(JSONError) {
        guard text.count <= limits.bytes else { throw .tooLarge(limit: limits.bytes) }
        var scanner = JSONScanner()
        let depth = min(limits.depth, 64)
        while scanner.skipSpace(text) {
            try scanner.step(text, depth)
            guard scanner.valueCount <= limits.values else { throw .tooManyValues(limit: limits.values) }
        }
        guard scanner.expected == .end else { throw .malformed(at: text.count) }
    }

    /// Whether there is more.
    private mutating func skipSpace(_ text: Span<UInt8>) -> Bool {
        while index < text.count, text[index] == 0x20 || (0x09...0x0A).contains(text[index]) || text[index] == 0x0D {
            index += 1
        }
        return index < text.count
    }

    private mutating func step(_ text: Span<UInt8>, _ limit: Int) throws(JSONError) {
        let byte = text[index]
        switch expected {
        case .end: throw .malformed(at: index)
        case .value: try value(text, limit)
        case .valueOrEnd where byte == UInt8(ascii: "]"): leave()
        case .valueOrEnd: try value(text, limit)
        case .nameOrEnd where byte == UInt8(ascii: "}"): leave()
        case .name, .nameOrEnd: try name(text)
        case .commaOrEnd:
            let isObject = levels & 1 == 1
            if byte == UInt8(ascii: ",") {
                index += 1
                expected = isObject ? .name : .value
            } else if byte == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
                leave()
            } else {
                throw .malformed(at: index)
            }
        }
    }

    private mutating func enter(isObject: Bool, _ limit: Int) throws(JSONError) {
        guard depth < limit else { throw .tooDeep(limit: limit) }
        depth += 1
        levels = levels << 1 | (isObject ? 1 : 0)
        index += 1
        expected = isObject ? .nameOrEnd : .valueOrEnd
    }

    private mutating func leave() {
        depth -= 1
        levels >>= 1
        index += 1
        expected = depth == 0 ? .end : .commaOrEnd
    }

    private mutating func name(_ text: Span<UInt8>) throws(JSONError) {
        guard text[index] == UInt8(ascii: "\"") else { throw .malformed(at: index) }
        try string(text)
        guard skipSpace(text), text[index] == UInt8(ascii: ":") else { throw .malformed(at: index) }
        index += 1
        expected = .value
    }

    private mutating func value(_ text: Span<UInt8>, _ limit: Int) throws(JSONError) {
        valueCount += 1
        switch text[index] {
        case UInt8(ascii: "{"): return try enter(isObject: true, limit)
        case UInt8(ascii: "["): return try enter(isObject: false, limit)
        case UInt8(ascii: "\""): try string(text)
        case UInt8(ascii: "t"): try word(text, "true")
        case UInt8(ascii: "f"): try word(text, "false")
        case UInt8(ascii: "n"): try word(text, "null")
        default: try number(text)
        }
        expected = depth == 0 ? .end : .commaOrEnd
    }

    private mutating func word(_ text: Span<UInt8>, _ word: StaticString) throws(JSONError) {
        for offset in 0..<word.utf8CodeUnitCount {
            guard index < text.count, unsafe text[index] == word.utf8Start[offset] else { throw .malformed(at: index) }
            index += 1
        }
    }

    // MARK: Numbers

    private mutating func number(_ text: Span<UInt8>) throws(JSONError) {
        let start = index
        if text[index] == UInt8(ascii: "-") { index += 1 }
        if index < text.count, text[index] == UInt8(ascii: "0") { index += 1 } else { try digits(text) }
        if index < text.count, text[index] == UInt8(ascii: ".") {
            index += 1
            try digits(text)
        }
        if index < text.count, text[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            if index < text.count, text[index] == UInt8(ascii: "+") || text[index] == UInt8(ascii: "-") { index += 1 }
            try digits(text)
        }
        // cJSON cuts what is longer.
        guard index - start <= 63 else { throw .numberOutOfRange }
    }

    private mutating func digits(_ text: Span<UInt8>) throws(JSONError) {
        let start = index
        while index < text.count, text[index] >= 0x30, text[index] <= 0x39 { index += 1 }
        guard index > start else { throw .malformed(at: index) }
    }

    // MARK: Strings

    private mutating func string(_ text: Span<UInt8>) throws(JSONError) {
        index += 1
        while index < text.count {
            let byte = text[index]
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return
            case UInt8(ascii: "\\"): try escape(text)
            case 0..<0x20: throw .malformed(at: index)
            case 0x20..<0x80: index += 1
            default:
                let count = UTF8Rules.characterBytes(text, at: index)
                guard count > 0 else { throw .malformed(at: index) }
                index += count
            }
        }
        throw .malformed(at: index)
    }

    private mutating func escape(_ text: Span<UInt8>) throws(JSONError) {
        guard index + 1 < text.count else { throw .malformed(at: text.count) }
        switch text[index + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            index += 2
        case UInt8(ascii: "u"):
            let start = index
            let first = try codeUnit(text)
            guard first != 0 else { throw .nullCharacter }
            // Half a surrogate pair is no character.
            if (0xDC00...0xDFFF).contains(first) { throw .malformed(at: start) }
            if (0xD800...0xDBFF).contains(first) {
                guard (0xDC00...0xDFFF).contains(try codeUnit(text)) else { throw .malformed(at: start) }
            }
        default: throw .malformed(at: index + 1)
        }
    }

    /// The number in `\uXXXX`.
    private mutating func codeUnit(_ text: Span<UInt8>) throws(JSONError) -> UInt32 {
        guard index + 6 <= text.count else { throw .malformed(at: text.count) }
        guard text[index] == UInt8(ascii: "\\"), text[index + 1] == UInt8(ascii: "u") else {
            throw .malformed(at: index)
        }
        var value: UInt32 = 0
        for offset in 2..<6 {
            let byte = text[index + offset]
            switch byte {
            case 0x30...0x39: value = value << 4 | UInt32(byte - 0x30)
            case 0x41...0x46: value = value << 4 | UInt32(byte - 0x37)
            case 0x61...0x66: value = value << 4 | UInt32(byte - 0x57)
            default: throw .malformed(at: index + offset)
            }
        }
        index += 6
        return value
    }
}

/// The rules of UTF-8.
enum UTF8Rules {
    /// How many bytes the character at `index` has, 1 to 4; 0 if it is none (the Unicode standard, table 3-7).
    static func characterBytes(_ text: Span<UInt8>, at index: Int) -> Int {
        let first = text[index]
        if first < 0x80 { return 1 }
        let count: Int
        var (lowest, highest): (UInt8, UInt8) = (0x80, 0xBF)
        switch first {
        case 0xC2...0xDF: count = 2
        case 0xE0: (count, lowest) = (3, 0xA0)
        case 0xED: (count, highest) = (3, 0x9F)
        case 0xE1...0xEF: count = 3
        case 0xF0: (count, lowest) = (4, 0x90)
        case 0xF4: (count, highest) = (4, 0x8F)
        case 0xF1...0xF3: count = 4
        default: return 0
        }
        guard index + count <= text.count else { return 0 }
        for offset in 1..<count {
            guard text[index + offset] >= lowest, text[index + offset] <= highest else { return 0 }
            (lowest, highest) = (0x80, 0xBF)
        }
        return count
    }

    /// Whether it is all UTF-8, without U+0000.
    static func check(_ text: Span<UInt8>) throws(JSONError) {
        var index = 0
        while index < text.count {
            guard text[index] != 0 else { throw .nullCharacter }
            let count = characterBytes(text, at: index)
            guard count > 0 else { throw .notUTF8 }
            index += count
        }
    }
}
