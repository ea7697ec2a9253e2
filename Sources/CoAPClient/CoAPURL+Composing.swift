internal import Kernel
public import SAL

extension CoAPURL {
    /// The URL of the resource that a request with these options asks for, when it is sent to `destination` (RFC 7252, 6.5).
    /// Options other than Uri-Host, Uri-Port, Uri-Path and Uri-Query do not matter.
    ///
    /// Throws ``CoAPError/invalidOption(_:)`` where no URL can say what an option says, and ``CoAPError/invalidURL(offset:)`` for a
    /// `destination` that is no name, no address, or has port 0; the offset is the place in the text where it goes wrong.
    public init(_ scheme: Scheme, to destination: Endpoint, options: CoAPOptions) throws(CoAPError) {
        var parts = CoAPOptions()
        for number in [.uriHost, .uriPort, .uriPath, .uriQuery] as [CoAPOptionNumber] {
            for value in options.all(number) { parts.add(number, value.span) }
        }
        if let number = parts.firstInvalid { throw .invalidOption(number) }

        // A host is what is read again from its text.
        var text: [UInt8] = []
        text.append(scheme.prefix)
        let start = text.count
        text.appendHost(destination.host.span)
        var (host, isAddress) = try Self.host(text.span)
        if let name = parts.first(.uriHost) {
            text.removeSubrange(start...)
            if name.first == UInt8(ascii: "[") {
                text += name
            } else {
                text.appendEscaped(name.span)
            }
            do { (host, isAddress) = try Self.host(text.span) } catch { throw .invalidOption(.uriHost) }
            parts.remove(.uriHost)
        }
        if !isAddress { parts.add(.uriHost, host.span) }

        var port = destination.port
        if let number = parts.uint(.uriPort) {
            guard number > 0 else { throw .invalidOption(.uriPort) }
            port = UInt16(truncatingIfNeeded: number)
            parts.remove(.uriPort)
        }
        if port == 0 { throw .invalidURL(offset: text.count + 1) }
        // No segment and one without characters are the same path: "/".
        if parts.pathSegments == [[]] { parts.remove(.uriPath) }

        self.init(scheme, Endpoint(host: host, port: port), parts)
    }

    private static func host(_ text: Span<UInt8>) throws(CoAPError) -> ([UInt8], isAddress: Bool) {
        var parser = URLParser(text)
        _ = try parser.scheme()
        let host = try parser.host()
        guard parser.isAtEnd else { throw .invalidURL(offset: parser.offset) }
        return host
    }

    /// The URL in ASCII: without the port where it is the scheme's, and with percent-encoding where the standard wants it. A name
    /// beyond ASCII is percent-encoded too, where RFC 7252 has Punycode.
    public var text: [UInt8] { originText + options.resourceText }

    /// The URL up to its path.
    var originText: [UInt8] {
        var text: [UInt8] = []
        text.append(scheme.prefix)
        text.appendHost(endpoint.host.span)
        if endpoint.port != scheme.defaultPort {
            text.append(UInt8(ascii: ":"))
            text.append(decimal: UInt64(endpoint.port))
        }
        return text
    }
}

extension CoAPOptions {
    /// The path and the query as in a URL, with percent-encoding: `/` if there are neither (RFC 7252, 6.5, steps 6 to 8).
    public var resourceText: [UInt8] {
        var text = pathText
        var separator = UInt8(ascii: "?")
        for argument in queryArguments {
            text.append(separator)
            text.appendEscaped(argument.span, allowed: ":@/?", excluded: "&")
            separator = UInt8(ascii: "&")
        }
        return text
    }

    /// The path as in a URL, with percent-encoding.
    var pathText: [UInt8] {
        var text: [UInt8] = []
        for segment in pathSegments {
            text.append(UInt8(ascii: "/"))
            text.appendEscaped(segment.span, allowed: ":@")
        }
        if text.isEmpty { text.append(UInt8(ascii: "/")) }
        return text
    }
}

extension [UInt8] {
    /// Appends a host: what has a colon is an address of IPv6, with a zone perhaps (RFC 6874).
    fileprivate mutating func appendHost(_ host: Span<UInt8>) {
        var colon = 0
        while colon < host.count, host[colon] != UInt8(ascii: ":") { colon += 1 }
        if colon == host.count { return appendEscaped(host) }
        var zone = 0
        while zone < host.count, host[zone] != UInt8(ascii: "%") { zone += 1 }
        append(UInt8(ascii: "["))
        append(host.extracting(..<zone))
        appendEscaped(host.extracting(zone...))
        append(UInt8(ascii: "]"))
    }
}
