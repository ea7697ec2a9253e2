internal import Kernel

/// A choice of links, for a server to make or for this side (RFC 6690, 4.1): `rt=temperature-c`, `rt=temp*`, `href=/sensors/*`, `obs=*`.
public struct CoAPLinkFilter: Equatable, Sendable {
    /// The name of an attribute, or `href` for the target.
    public let name: [UInt8]
    /// What the value is or, if ``isPrefix``, begins with.
    public let value: [UInt8]
    /// Whether values that go on match too: what an asterisk at the end says.
    public let isPrefix: Bool

    /// A filter from an argument of a query, without percent-encoding; `nil` if there is no equals sign, or nothing before it.
    public init?(_ argument: Span<UInt8>) {
        var equals = 0
        while equals < argument.count, argument[equals] != UInt8(ascii: "=") { equals += 1 }
        guard equals > 0, equals < argument.count else { return nil }
        name = [UInt8](copying: argument.extracting(..<equals))
        let pattern = argument.extracting((equals + 1)...)
        isPrefix = pattern.count > 0 && pattern[pattern.count - 1] == UInt8(ascii: "*")
        value = [UInt8](copying: pattern.extracting(droppingLast: isPrefix ? 1 : 0))
    }

    /// A filter for this name and value; an asterisk at the end of `pattern` stands for anything.
    public init(_ name: StaticString, _ pattern: [UInt8]) {
        self.name = name.bytes
        isPrefix = pattern.last == UInt8(ascii: "*")
        value = isPrefix ? pattern.dropLast() : pattern
    }

    /// The argument of a query, for ``CoAPOptions/addQuery(_:)``.
    public var argument: [UInt8] {
        var argument = name
        argument.append(UInt8(ascii: "="))
        argument += value
        if isPrefix { argument.append(UInt8(ascii: "*")) }
        return argument
    }

    /// Whether a link has what the filter wants. Of `rt`, `if`, `rel`, `rev` and `ct`, each word between spaces counts, besides the whole. An
    /// attribute without a value counts as empty. Where the standard has all but the first of a name ignored, they are.
    public func matches(_ link: CoAPLink) -> Bool {
        if isSameName(name.span, "href") { return matches(link.target[...]) }
        let hasWords = isOne(of: ["rt", "if", "rel", "rev", "ct"])
        let onlyFirst = isOne(of: ["rel", "media", "title", "title*", "type"])
        var isFirst = true
        var isMatch = false
        link.forEach { found, value in
            guard isSameName(found, name.span) else { return }
            if isFirst || !onlyFirst {
                let value = value ?? []
                isMatch = isMatch || matches(value[...])
                if hasWords { isMatch = isMatch || value.split(separator: UInt8(ascii: " ")).contains(where: matches) }
            }
            isFirst = false
        }
        return isMatch
    }

    private func matches(_ text: ArraySlice<UInt8>) -> Bool {
        isPrefix ? text.starts(with: value) : text == value[...]
    }

    private func isOne(of names: [StaticString]) -> Bool {
        for other in names where isSameName(name.span, other) { return true }
        return false
    }
}
