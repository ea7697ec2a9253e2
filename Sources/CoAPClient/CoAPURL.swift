internal import Kernel
public import SAL

/// A URL of CoAP, taken apart into where to send a request and with which options (RFC 7252, 6; RFC 8323, 8).
///
/// It is made of text, or of a request's options; either way ``text`` and ``options`` say the same.
public struct CoAPURL: Equatable, Sendable {
    /// How the server is reached.
    @nonexhaustive
    public enum Scheme: Equatable, Sendable, CaseIterable {
        /// UDP: `coap`.
        case coap
        /// DTLS: `coaps`.
        case coaps
        /// TCP: `coap+tcp`.
        case coapTCP
        /// TLS: `coaps+tcp`.
        case coapsTCP

        /// Whether it is encrypted.
        public var isSecure: Bool { self == .coaps || self == .coapsTCP }
        /// Whether it is a byte stream rather than datagrams.
        public var isStream: Bool { self == .coapTCP || self == .coapsTCP }
        /// The port of a URL without one: 5683, and 5684 where it is encrypted.
        public var defaultPort: UInt16 { isSecure ? 5684 : 5683 }

        /// What a URL begins with.
        var prefix: StaticString {
            switch self {
            case .coap: "coap://"
            case .coaps: "coaps://"
            case .coapTCP: "coap+tcp://"
            case .coapsTCP: "coaps+tcp://"
            }
        }
    }

    /// How the server is reached.
    public let scheme: Scheme
    /// The host, in lower case and without percent-encoding, and the port.
    public let endpoint: Endpoint
    /// The options of a request for it: Uri-Host, unless the host is an address; Uri-Path; Uri-Query.
    public let options: CoAPOptions

    /// Whether a request for it is encrypted.
    public var isSecure: Bool { scheme.isSecure }

    /// A URL from parts that fit together.
    init(_ scheme: Scheme, _ endpoint: Endpoint, _ options: CoAPOptions) {
        self.scheme = scheme
        self.endpoint = endpoint
        self.options = options
    }

    /// A URL from its text in ASCII. Throws ``CoAPError/invalidURL(offset:)`` for any other scheme, a fragment, user information,
    /// a wrong port, an escape that is none, or a character that must be escaped.
    public init(parsing text: Span<UInt8>) throws(CoAPError) {
        var parser = URLParser(text)
        scheme = try parser.scheme()
        let (host, isAddress) = try parser.host()
        let port = try parser.port() ?? scheme.defaultPort
        endpoint = Endpoint(host: host, port: port)
        var options = CoAPOptions()
        if !isAddress { options.add(.uriHost, host.span) }
        for segment in try parser.path() { options.add(.uriPath, segment.span) }
        for argument in try parser.query() { options.add(.uriQuery, argument.span) }
        guard parser.isAtEnd else { throw .invalidURL(offset: parser.offset) }
        self.options = options
    }
}

/// Reads the parts of a URL, in their order (RFC 3986, 3, with the limits of RFC 7252, 6.1 and 6.4).
struct URLParser {
    private let text: [UInt8]
    private(set) var offset = 0

    init(_ text: Span<UInt8>) { self.text = [UInt8](copying: text) }

    var isAtEnd: Bool { offset == text.count }
    private var byte: UInt8? { offset < text.count ? text[offset] : nil }

    private func starts(with prefix: StaticString) -> Bool {
        let count = prefix.utf8CodeUnitCount
        guard text.count - offset >= count else { return false }
        for index in 0..<count where unsafe prefix.utf8Start[index] != text[offset + index].lowercased {
            return false
        }
        return true
    }

    mutating func scheme() throws(CoAPError) -> CoAPURL.Scheme {
        for scheme in CoAPURL.Scheme.allCases where starts(with: scheme.prefix) {
            offset += scheme.prefix.utf8CodeUnitCount
            return scheme
        }
        throw .invalidURL(offset: 0)
    }

    /// The host, and whether it is an address.
    mutating func host() throws(CoAPError) -> ([UInt8], isAddress: Bool) {
        if byte == UInt8(ascii: "[") { return (try literal(), true) }
        let start = offset
        let host = try component(upTo: ":/?#", allowed: "")
        // Escapes hide no colon, slash or blank: who opens the endpoint would take it for something else than a name.
        guard !host.isEmpty, host.count <= 255, host.allSatisfy({ $0.isPlain || $0 >= 0x80 }) else {
            throw .invalidURL(offset: start)
        }
        return (host.map { $0.lowercased }, IPAddress(ipv4: host.span) != nil)
    }

    /// An IPv6 address in brackets, with a zone perhaps: `%25eth0` (RFC 6874).
    private mutating func literal() throws(CoAPError) -> [UInt8] {
        offset += 1
        var host: [UInt8] = []
        var colons = 0
        while let byte, byte != UInt8(ascii: "%"), byte != UInt8(ascii: "]") {
            guard byte.hexValue != nil || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".") else {
                throw .invalidURL(offset: offset)
            }
            if byte == UInt8(ascii: ":") { colons += 1 }
            host.append(byte.lowercased)
            offset += 1
        }
        if byte == UInt8(ascii: "%") {
            guard starts(with: "%25") else { throw .invalidURL(offset: offset) }
            offset += 3
            host.append(UInt8(ascii: "%"))
            host += try component(upTo: "]", allowed: "")
            guard host.last != UInt8(ascii: "%") else { throw .invalidURL(offset: offset) }
        }
        guard byte == UInt8(ascii: "]"), colons >= 2, colons <= 7 else { throw .invalidURL(offset: offset) }
        offset += 1
        return host
    }

    /// The port; an empty one is the default.
    mutating func port() throws(CoAPError) -> UInt16? {
        guard byte == UInt8(ascii: ":") else {
            guard byte == nil || byte == UInt8(ascii: "/") || byte == UInt8(ascii: "?") else {
                throw .invalidURL(offset: offset)
            }
            return nil
        }
        offset += 1
        let start = offset
        var port = 0
        while let byte, byte.isDigit {
            port = port * 10 + Int(byte - UInt8(ascii: "0"))
            guard port <= 65_535 else { throw .invalidURL(offset: start) }
            offset += 1
        }
        if offset == start { return nil }
        guard port > 0 else { throw .invalidURL(offset: start) }
        return UInt16(port)
    }

    /// The segments of the path, with those of "." and ".." resolved (RFC 3986, 5.2.4). "/" alone has none.
    mutating func path() throws(CoAPError) -> [[UInt8]] {
        var segments: [[UInt8]] = []
        while byte == UInt8(ascii: "/") {
            offset += 1
            let start = offset
            let segment = try component(upTo: "/?#", allowed: ":@")
            let isEscaped = offset - start != segment.count
            switch dots(segment) {
            case 0:
                guard segment.count <= 255 else { throw .invalidURL(offset: start) }
                segments.append(segment)
            case let dots:
                // Written with escapes they are data, which no Uri-Path option can carry (RFC 7252, 5.10.1).
                if isEscaped { throw .invalidURL(offset: start) }
                if dots == 2 { _ = segments.popLast() }
                // What they leave at the end is a slash.
                if byte != UInt8(ascii: "/") { segments.append([]) }
            }
        }
        return segments == [[]] ? [] : segments
    }

    private func dots(_ segment: [UInt8]) -> Int {
        segment.count <= 2 && segment.allSatisfy { $0 == UInt8(ascii: ".") } ? segment.count : 0
    }

    mutating func query() throws(CoAPError) -> [[UInt8]] {
        guard byte == UInt8(ascii: "?") else { return [] }
        var arguments: [[UInt8]] = []
        repeat {
            offset += 1
            let start = offset
            let argument = try component(upTo: "&#", allowed: ":@/?")
            guard argument.count <= 255 else { throw .invalidURL(offset: start) }
            arguments.append(argument)
        } while byte == UInt8(ascii: "&")
        return arguments
    }

    /// Reads up to one of `terminators` or the end, and decodes escapes. Beside the plain characters only the `allowed` ones may be there.
    private mutating func component(
        upTo terminators: StaticString,
        allowed: StaticString
    ) throws(CoAPError) -> [UInt8] {
        var bytes: [UInt8] = []
        while let byte, !byte.isOne(of: terminators) {
            if byte == UInt8(ascii: "%") {
                guard text.count - offset >= 3, let high = text[offset + 1].hexValue,
                    let low = text[offset + 2].hexValue
                else { throw .invalidURL(offset: offset) }
                bytes.append(high << 4 | low)
                offset += 3
                continue
            }
            guard byte.isPlain || byte.isOne(of: allowed) else { throw .invalidURL(offset: offset) }
            bytes.append(byte)
            offset += 1
        }
        return bytes
    }
}
