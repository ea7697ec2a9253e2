internal import Kernel

/// A link of the CoRE link format: a resource, and what is said of it (RFC 6690, 2).
///
/// The attributes keep their order, also where one comes twice, and their form. They are kept as they are on the wire: one array,
/// whatever their number. Names of attributes are compared without regard to case.
public struct CoAPLink: Sendable {
    /// What it links to, as between the angle brackets: a URL or a part of one, with percent-encoding, such as `/sensors/temp`.
    public let target: [UInt8]
    /// The attributes as on the wire, each with its semicolon and without blanks around it; valid at any time.
    private(set) var parameters: [UInt8] = []

    /// A link without attributes. Throws ``CoAPLinkError/invalidTarget(offset:)`` for a character that no URL has.
    public init(_ target: [UInt8]) throws(CoAPLinkError) {
        if let offset = target.firstIndex(where: { !$0.isPlain && !$0.isOne(of: ":/?#[]@%") }) {
            throw .invalidTarget(offset: offset)
        }
        self.target = target
    }

    /// A link to the resource that a request with these options asks for: their path and query, percent-encoded.
    public init(to options: CoAPOptions) { target = options.resourceText }

    // MARK: Attributes

    /// All attributes, in order.
    public var attributes: [CoAPLinkAttribute] {
        var list: [CoAPLinkAttribute] = []
        forEach { name, value in list.append(CoAPLinkAttribute([UInt8](copying: name), value)) }
        return list
    }

    /// Whether there is an attribute of this name, with a value or without.
    public func contains(_ name: StaticString) -> Bool { value(of: name) != nil }

    /// The value of the first attribute of this name, without quotes and their escapes; empty if it has none, and `nil` if there is no such
    /// attribute. Those behind the first do not count for most names (RFC 6690, 2 and 3).
    public func value(of name: StaticString) -> [UInt8]? { values(of: name).first }

    /// The values of all attributes of this name, in order; empty for one without a value.
    public func values(of name: StaticString) -> [[UInt8]] {
        var values: [[UInt8]] = []
        forEach { found, value in if isSameName(found, name) { values.append(value ?? []) } }
        return values
    }

    /// The resource types, `rt` (RFC 6690, 3.1).
    public var resourceTypes: [[UInt8]] { words(of: "rt") }
    /// The interface descriptions, `if` (RFC 6690, 3.2).
    public var interfaces: [[UInt8]] { words(of: "if") }
    /// How many bytes a representation has at most, `sz` (RFC 6690, 3.3); `nil` also if that is no number below 2^64.
    public var maximumSize: UInt64? { value(of: "sz").flatMap { decimal($0[...]) } }
    /// The content formats, `ct`, without what is none (RFC 7252, 7.2.1).
    public var contentFormats: [CoAPContentFormat] {
        words(of: "ct").compactMap {
            decimal($0[...]).flatMap { UInt16(exactly: $0) }.map { CoAPContentFormat(rawValue: $0) }
        }
    }
    /// Whether observing it makes sense, `obs` (RFC 7641, 6).
    public var isObservable: Bool { contains("obs") }
    /// What it is called for people, `title`, in UTF-8.
    public var title: [UInt8]? { value(of: "title") }
    /// How the target relates to the context, `rel`. None stands for `hosts` (RFC 6690, 2.2).
    public var relations: [[UInt8]] { words(of: "rel") }
    /// The context that is not the server itself, `anchor`: a URL or a part of one (RFC 6690, 2.1).
    public var anchor: [UInt8]? { value(of: "anchor") }

    /// The words of the first attribute of this name: what is between spaces.
    private func words(of name: StaticString) -> [[UInt8]] {
        guard let value = value(of: name) else { return [] }
        return value.split(separator: UInt8(ascii: " ")).map { [UInt8]($0) }
    }

    // MARK: Writing

    /// Adds an attribute without a value, such as `obs`. Throws ``CoAPLinkError/invalidAttributeName(offset:)`` if it is no name.
    public mutating func add(_ name: StaticString) throws(CoAPLinkError) {
        try add(name.bytes.span, nil)
    }

    /// Adds an attribute with a value, any bytes, in the form that its name and the bytes call for.
    ///
    /// Throws ``CoAPLinkError/invalidAttributeName(offset:)``, and for a name with an asterisk, whose value is neither quoted nor escaped here,
    /// ``CoAPLinkError/invalidAttributeValue(offset:)`` (RFC 5987, 3.2).
    public mutating func add(_ name: StaticString, _ value: [UInt8]) throws(CoAPLinkError) {
        try add(name.bytes.span, value)
    }

    /// Adds an attribute with a number, such as `sz`.
    public mutating func add(_ name: StaticString, number: UInt64) throws(CoAPLinkError) {
        var digits: [UInt8] = []
        digits.append(decimal: number)
        try add(name.bytes.span, digits)
    }

    /// Adds an attribute, as those with a static name do.
    mutating func add(_ name: Span<UInt8>, _ value: [UInt8]?) throws(CoAPLinkError) {
        let count = LinkSyntax.nameCount(name, at: 0)
        guard count > 0, count == name.count else { throw .invalidAttributeName(offset: count) }
        if name[count - 1] == UInt8(ascii: "*") {
            let value = value ?? []
            let end = LinkSyntax.tokenEnd(value.span, at: 0)
            guard end > 0, end == value.count else { throw .invalidAttributeValue(offset: end) }
        }
        parameters.append(UInt8(ascii: ";"))
        parameters.append(name)
        guard let value else { return }
        parameters.append(UInt8(ascii: "="))
        if LinkSyntax.isToken(value.span, of: name) { return parameters.append(value.span) }
        parameters.append(UInt8(ascii: "\""))
        for byte in value {
            if byte.isControl || byte.isOne(of: "\"\\") { parameters.append(UInt8(ascii: "\\")) }
            parameters.append(byte)
        }
        parameters.append(UInt8(ascii: "\""))
    }

    // MARK: The wire

    /// Reads the link at `offset` and goes behind it and the blanks there.
    init(_ document: Span<UInt8>, at offset: inout Int) throws(CoAPLinkError) {
        target = [UInt8](copying: document.extracting(try LinkSyntax.target(document, at: &offset)))
        while let parameter = try LinkSyntax.parameter(document, at: &offset) {
            parameters.append(UInt8(ascii: ";"))
            parameters.append(document.extracting(parameter.name.lowerBound..<offset))
        }
    }

    /// The link as on the wire.
    public var text: [UInt8] {
        var text: [UInt8] = []
        append(to: &text)
        return text
    }

    func append(to document: inout [UInt8]) {
        document.append(UInt8(ascii: "<"))
        document.append(target.span)
        document.append(UInt8(ascii: ">"))
        document.append(parameters.span)
    }

    /// Calls `body` with each attribute, in order: its name and its value, `nil` for none.
    func forEach(_ body: (Span<UInt8>, [UInt8]?) -> Void) {
        let text = parameters.span
        var offset = 0
        // What is kept was checked.
        while let parameter = try? LinkSyntax.parameter(text, at: &offset) {
            let value = parameter.value.map { range in
                parameter.isQuoted ? unescaped(range) : [UInt8](copying: parameters.span.extracting(range))
            }
            body(text.extracting(parameter.name), value)
        }
    }

    private func unescaped(_ range: Range<Int>) -> [UInt8] {
        var value: [UInt8] = []
        var isEscaped = false
        for index in range {
            isEscaped = !isEscaped && parameters[index] == UInt8(ascii: "\\")
            if !isEscaped { value.append(parameters[index]) }
        }
        return value
    }
}

extension CoAPLink: Equatable {
    /// Whether both have the same target and the same attributes in the same order, with or without quotes around the values.
    public static func == (a: CoAPLink, b: CoAPLink) -> Bool {
        a.target == b.target && (a.parameters == b.parameters || a.attributes == b.attributes)
    }
}

/// An attribute of a link.
public struct CoAPLinkAttribute: Equatable, Sendable {
    /// Its name as it was written; for comparing, the case does not matter.
    public let name: [UInt8]
    /// Its value without quotes and their escapes, `nil` for an attribute without one. That of a name with an asterisk, such as `title*`,
    /// is as on the wire: `UTF-8'de'n%c3%a4chstes` (RFC 5987, 3.2).
    public let value: [UInt8]?

    init(_ name: [UInt8], _ value: [UInt8]?) {
        self.name = name
        self.value = value
    }

    /// Whether both have the same name, in any case, and the same value.
    public static func == (a: CoAPLinkAttribute, b: CoAPLinkAttribute) -> Bool {
        a.value == b.value && isSameName(a.name.span, b.name.span)
    }
}

func isSameName(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    if a.count != b.count { return false }
    for index in a.indices where a[index].lowercased != b[index].lowercased { return false }
    return true
}

func isSameName(_ a: Span<UInt8>, _ b: StaticString) -> Bool {
    if a.count != b.utf8CodeUnitCount { return false }
    for index in a.indices where unsafe a[index].lowercased != b.utf8Start[index] { return false }
    return true
}

/// The number that all of `digits` make.
private func decimal(_ digits: ArraySlice<UInt8>) -> UInt64? {
    var number: UInt64 = 0
    for digit in digits {
        guard digit.isDigit else { return nil }
        let (tens, isTooLarge) = number.multipliedReportingOverflow(by: 10)
        let (sum, isLarger) = tens.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
        if isTooLarge || isLarger { return nil }
        number = sum
    }
    return digits.isEmpty ? nil : number
}
