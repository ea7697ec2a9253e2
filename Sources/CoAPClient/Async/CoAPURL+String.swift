#if !hasFeature(Embedded)
extension CoAPURL: CustomStringConvertible, LosslessStringConvertible {
    /// A URL from its text; `nil` where ``init(parsing:)`` throws.
    public init?(_ text: String) {
        do throws(CoAPError) { try self.init(parsing: text.utf8.span) } catch { return nil }
    }

    /// The URL that `reference` means in a document at `base`, such as a link's target; `nil` where ``init(_:relativeTo:)-(Span<UInt8>,_)`` throws.
    public init?(_ reference: String, relativeTo base: CoAPURL) {
        do throws(CoAPError) { try self.init(reference.utf8.span, relativeTo: base) } catch { return nil }
    }

    /// The URL, see ``text``.
    public var description: String { String(decoding: text, as: UTF8.self) }
}

extension CoAPURL.Scheme: CustomStringConvertible {
    /// The name, such as `coaps+tcp`.
    public var description: String { String(prefix.description.dropLast(3)) }
}
#endif
