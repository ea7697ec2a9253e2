#if !hasFeature(Embedded)
extension CoAPLink: CustomStringConvertible {
    /// A link from text: its target, percent-encoded, and attributes, in this order; a value of `nil` is none at all.
    ///
    /// Throws ``CoAPLinkError`` for what ``init(_:)`` and ``add(_:_:)-(StaticString,_)`` refuse.
    public init(_ target: String, _ attributes: KeyValuePairs<String, String?> = [:]) throws(CoAPLinkError) {
        try self.init(Array(target.utf8))
        for (name, value) in attributes { try add(name, value) }
    }

    /// Adds an attribute, without a value if that is `nil`.
    public mutating func add(_ name: String, _ value: String?) throws(CoAPLinkError) {
        try add(name.utf8.span, value.map { Array($0.utf8) })
    }

    /// The value of the first attribute of this name; empty if it has none, and `nil` if there is no such attribute.
    public func text(of name: String) -> String? {
        var text: String?
        forEach { found, value in
            if text == nil, isSameName(found, name.utf8.span) { text = String(decoding: value ?? [], as: UTF8.self) }
        }
        return text
    }

    /// The target.
    public var targetText: String { String(decoding: target, as: UTF8.self) }

    /// The link as on the wire.
    public var description: String { String(decoding: text, as: UTF8.self) }
}

extension CoAPLinkAttribute: CustomStringConvertible {
    /// The name and the value, which is in quotes here in any case.
    public var description: String {
        let name = String(decoding: name, as: UTF8.self)
        return value.map { "\(name)=\"\(String(decoding: $0, as: UTF8.self))\"" } ?? name
    }
}

extension CoAPLinkFormat {
    /// The links of a document, as ``parse(_:matching:limit:)-(Span<UInt8>,_,_)`` reads them.
    public static func parse(
        _ document: String,
        matching filters: [CoAPLinkFilter] = [],
        limit: Int = 1000
    ) throws(CoAPLinkError) -> [CoAPLink] {
        try parse(document.utf8.span, matching: filters, limit: limit)
    }
}

extension CoAPLinkFilter: CustomStringConvertible, LosslessStringConvertible {
    /// A filter from text such as `rt=temp*`; `nil` if there is no equals sign, or nothing before it.
    public init?(_ text: String) { self.init(text.utf8.span) }

    /// The filter, see ``argument``.
    public var description: String { String(decoding: argument, as: UTF8.self) }
}
#endif
