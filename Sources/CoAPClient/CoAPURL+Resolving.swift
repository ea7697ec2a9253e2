internal import Kernel

extension CoAPURL {
    /// The URL that `reference` means in a document at `base` (RFC 3986, 5.2): the target of a link, such as `/sensors/temp` or `../temp`, or a
    /// whole URL.
    ///
    /// Throws ``CoAPError/invalidURL(offset:)`` as ``init(parsing:)`` does, also for a URL of another scheme; the offset is that in `reference`.
    public init(_ reference: Span<UInt8>, relativeTo base: CoAPURL) throws(CoAPError) {
        if hasScheme(reference) {
            try self.init(parsing: reference)
            return
        }
        var text: [UInt8] = []
        if reference.starts(with: "//") {
            text.append(base.scheme.prefix)
            text.removeLast(2)
        } else {
            text = base.originText
            if reference.count == 0 {
                text += base.options.resourceText
            } else if reference[0] == UInt8(ascii: "?") {
                text += base.options.pathText
            } else if reference[0] != UInt8(ascii: "/") {
                let path = base.options.pathText
                text += path[...(path.lastIndex(of: UInt8(ascii: "/")) ?? 0)]
            }
        }
        let start = text.count
        text.append(reference)
        do throws(CoAPError) { try self.init(parsing: text.span) } catch {
            // What comes from the base is in order.
            if case .invalidURL(let offset) = error { throw .invalidURL(offset: max(0, offset - start)) }
            throw error
        }
    }
}

/// Whether a reference begins with a scheme, any one.
private func hasScheme(_ reference: Span<UInt8>) -> Bool {
    for index in reference.indices where !reference[index].isAlphanumeric && !reference[index].isOne(of: "+-.") {
        return index > 0 && !reference[0].isDigit && reference[index] == UInt8(ascii: ":")
    }
    return false
}

extension Span<UInt8> {
    fileprivate func starts(with prefix: StaticString) -> Bool {
        if count < prefix.utf8CodeUnitCount { return false }
        for index in 0..<prefix.utf8CodeUnitCount where unsafe prefix.utf8Start[index] != self[index] { return false }
        return true
    }
}
