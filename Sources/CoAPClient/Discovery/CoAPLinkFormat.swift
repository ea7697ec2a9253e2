internal import Kernel

/// The CoRE link format: a list of links as a text, content format 40 (RFC 6690). Servers say at `/.well-known/core` what they have.
public enum CoAPLinkFormat {
    /// A place between the links of a document.
    public struct Cursor: Sendable {
        fileprivate var offset = 0
        /// The start of a document.
        public init() {}
    }

    /// The next link of a document, `nil` at its end. Needs memory for that link only.
    ///
    /// Throws ``CoAPLinkError/unexpectedEnd(offset:)`` if the document ends within a link or behind a comma, so that one
    /// which was cut off there is not taken for a whole one, and ``CoAPLinkError/unexpectedByte(_:offset:)``.
    public static func next(in document: Span<UInt8>, _ cursor: inout Cursor) throws(CoAPLinkError) -> CoAPLink? {
        var offset = cursor.offset
        LinkSyntax.skipBlanks(document, at: &offset)
        guard offset < document.count else { return nil }
        let link = try CoAPLink(document, at: &offset)
        if offset < document.count {
            guard document[offset] == UInt8(ascii: ",") else { throw LinkSyntax.unexpected(document, at: offset) }
            offset += 1
            LinkSyntax.skipBlanks(document, at: &offset)
            if offset == document.count { throw .unexpectedEnd(offset: offset) }
        }
        cursor.offset = offset
        return link
    }

    /// The links of a document that match all `filters`, in order. An empty document has none.
    ///
    /// Throws what ``next(in:_:)`` does, and ``CoAPLinkError/tooManyLinks(limit:offset:)`` if more than `limit` match.
    public static func parse(
        _ document: Span<UInt8>,
        matching filters: [CoAPLinkFilter] = [],
        limit: Int = 1000
    ) throws(CoAPLinkError) -> [CoAPLink] {
        var links: [CoAPLink] = []
        var cursor = Cursor()
        var offset = 0
        while let link = try next(in: document, &cursor) {
            if filters.allSatisfy({ $0.matches(link) }) {
                guard links.count < limit else { throw .tooManyLinks(limit: limit, offset: offset) }
                links.append(link)
            }
            offset = cursor.offset
        }
        return links
    }

    /// The document of these links, without blanks between them.
    public static func compose(_ links: [CoAPLink]) -> [UInt8] {
        var document: [UInt8] = []
        for link in links {
            if !document.isEmpty { document.append(UInt8(ascii: ",")) }
            link.append(to: &document)
        }
        return document
    }
}
