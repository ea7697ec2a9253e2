/// The grammar of a link's pieces (RFC 6690, 2). Blanks and line ends around commas and semicolons are passed over, as in the
/// examples of the standard, although its grammar has none; a value may be quoted whatever its name (RFC 8288, 3).
enum LinkSyntax {
    /// Where the parts of an attribute are.
    struct Parameter {
        let name: Range<Int>
        /// The value; of one in quotes, what is between them.
        let value: Range<Int>?
        let isQuoted: Bool
    }

    static func skipBlanks(_ text: Span<UInt8>, at offset: inout Int) {
        while offset < text.count, text[offset].isOne(of: " \t\r\n") { offset += 1 }
    }

    /// Reads `<`, a URL or a part of one, and `>`. Only what could not be meant is refused: the rest is left to who uses the URL.
    static func target(_ text: Span<UInt8>, at offset: inout Int) throws(CoAPLinkError) -> Range<Int> {
        guard try byte(text, at: offset) == UInt8(ascii: "<") else { throw unexpected(text, at: offset) }
        offset += 1
        let start = offset
        while case let byte = try byte(text, at: offset), byte != UInt8(ascii: ">") {
            if byte.isControl || byte.isOne(of: " \"<") { throw unexpected(text, at: offset) }
            offset += 1
        }
        offset += 1
        return start..<offset - 1
    }

    /// Reads an attribute with the semicolon and blanks before it; `nil` where there is no semicolon.
    static func parameter(_ text: Span<UInt8>, at offset: inout Int) throws(CoAPLinkError) -> Parameter? {
        skipBlanks(text, at: &offset)
        guard offset < text.count, text[offset] == UInt8(ascii: ";") else { return nil }
        offset += 1
        skipBlanks(text, at: &offset)
        let name = offset..<offset + nameCount(text, at: offset)
        if name.isEmpty { throw unexpected(text, at: offset) }
        offset = name.upperBound
        guard offset < text.count, text[offset] == UInt8(ascii: "=") else {
            return Parameter(name: name, value: nil, isQuoted: false)
        }
        offset += 1
        guard offset < text.count, text[offset] == UInt8(ascii: "\"") else {
            let value = offset..<tokenEnd(text, at: offset)
            if value.isEmpty { throw unexpected(text, at: offset) }
            offset = value.upperBound
            return Parameter(name: name, value: value, isQuoted: false)
        }
        return Parameter(name: name, value: try quoted(text, at: &offset), isQuoted: true)
    }

    /// Reads a quoted string (RFC 2616, 2.2) and returns what is between the quotes.
    private static func quoted(_ text: Span<UInt8>, at offset: inout Int) throws(CoAPLinkError) -> Range<Int> {
        offset += 1
        let start = offset
        while case let next = try byte(text, at: offset), next != UInt8(ascii: "\"") {
            if next == UInt8(ascii: "\\") {
                offset += 1
                _ = try byte(text, at: offset)
            } else if next.isControl, !next.isOne(of: "\t\r\n") {
                throw unexpected(text, at: offset)
            }
            offset += 1
        }
        offset += 1
        return start..<offset - 1
    }

    /// How many bytes of `text` at `offset` are a name: parmname, or one with an asterisk at its end.
    static func nameCount(_ text: Span<UInt8>, at offset: Int) -> Int {
        var end = offset
        while end < text.count, text[end].isAlphanumeric || text[end].isOne(of: "!#$&+-.^_`|~") { end += 1 }
        if end > offset, end < text.count, text[end] == UInt8(ascii: "*") { end += 1 }
        return end - offset
    }

    /// Where the token (ptoken) at `offset` ends.
    static func tokenEnd(_ text: Span<UInt8>, at offset: Int) -> Int {
        var end = offset
        while end < text.count,
            text[end] > 0x20 && text[end] < 0x7F && !text[end].isOne(of: "\",;\\")
        {
            end += 1
        }
        return end
    }

    /// Whether a value is written without quotes: numbers, but where the grammar wants a string; and what it has no quotes for.
    static func isToken(_ value: Span<UInt8>, of name: Span<UInt8>) -> Bool {
        if value.count == 0 || tokenEnd(value, at: 0) < value.count { return false }
        if name[name.count - 1] == UInt8(ascii: "*") || isSameName(name, "hreflang") { return true }
        for index in value.indices where !value[index].isDigit { return false }
        for text in ["title", "anchor", "rt", "if", "rel", "rev"] as [StaticString] where isSameName(name, text) {
            return false
        }
        return true
    }

    private static func byte(_ text: Span<UInt8>, at offset: Int) throws(CoAPLinkError) -> UInt8 {
        guard offset < text.count else { throw .unexpectedEnd(offset: offset) }
        return text[offset]
    }

    /// What is wrong at `offset`: the byte there, or that there is none.
    static func unexpected(_ text: Span<UInt8>, at offset: Int) -> CoAPLinkError {
        offset < text.count ? .unexpectedByte(text[offset], offset: offset) : .unexpectedEnd(offset: offset)
    }
}
