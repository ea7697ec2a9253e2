/// Names a resource of a server; never used again.
public struct CoAPResourceID: Equatable, Hashable, Sendable {
    let rawValue: UInt32
}

/// A set of methods.
public struct CoAPMethods: OptionSet, Equatable, Sendable {
    /// A bit for each method code, 0.01 to 0.31.
    public let rawValue: UInt32
    /// A set from its bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The set of one method; empty if the code is none.
    public init(_ code: CoAPCode) { rawValue = code.isRequest ? 1 << UInt32(code.detail) : 0 }

    /// GET.
    public static let get = CoAPMethods(.get)
    /// POST.
    public static let post = CoAPMethods(.post)
    /// PUT.
    public static let put = CoAPMethods(.put)
    /// DELETE.
    public static let delete = CoAPMethods(.delete)
    /// FETCH (RFC 8132).
    public static let fetch = CoAPMethods(.fetch)
    /// PATCH (RFC 8132).
    public static let patch = CoAPMethods(.patch)
    /// iPATCH (RFC 8132).
    public static let iPatch = CoAPMethods(.iPatch)
}

/// What a server has at a path, and what it takes there. What does not fit is answered without asking the handler.
public struct CoAPResource: Sendable {
    /// The segments of the path; none for the root.
    public let path: [[UInt8]]
    /// The methods that the handler knows; others get 4.05 (RFC 7252, 5.8).
    public var methods: CoAPMethods
    /// Whether the handler is asked for all paths below this one too, unless another resource is there.
    public var includesSubpaths = false
    /// Whether it can be observed (RFC 7641).
    public var isObservable = false
    /// The formats of its representations; a request that wants another gets 4.06 (RFC 7252, 5.10.4). With none the handler decides.
    public var formats: [CoAPContentFormat] = []
    /// The formats of the payloads that it takes; a request with another gets 4.15 (RFC 7252, 5.10.3). With none the handler decides.
    public var acceptedFormats: [CoAPContentFormat] = []
    /// Whether requests that change something must show by an Echo option that they are not old ones, recorded and sent again (RFC 9175, 2.4).
    public var requiresFreshness = false
    /// Whether it is listed at `/.well-known/core`.
    public var isListed = true
    /// What the list says of it (RFC 6690): add `rt`, `if`, `title` and so on. `ct` and `obs` come from the properties here.
    public var link: CoAPLink

    /// A resource at `path`, whose segments are separated by slashes and taken as they are: no percent-encoding.
    public init(_ path: Span<UInt8>, _ methods: CoAPMethods) {
        var options = CoAPOptions()
        options.addPath(path)
        self.init(segments: options.pathSegments, methods)
    }

    /// A resource at a path of these segments, none for the root, each of at most 255 bytes.
    public init(segments: [[UInt8]], _ methods: CoAPMethods) {
        var options = CoAPOptions()
        for segment in segments { options.add(.uriPath, segment.span) }
        path = options.routedPath
        self.methods = methods
        link = CoAPLink(to: options)
    }

    /// The link with what the properties say.
    var listed: CoAPLink {
        var link = link
        do throws(CoAPLinkError) {
            if !formats.isEmpty, !link.contains("ct") {
                var value: [UInt8] = []
                for format in formats {
                    if !value.isEmpty { value.append(UInt8(ascii: " ")) }
                    value.append(decimal: UInt64(format.rawValue))
                }
                try link.add("ct", value)
            }
            if isObservable, !link.contains("obs") { try link.add("obs") }
        } catch {
            preconditionFailure("these names are valid")
        }
        return link
    }
}

extension CoAPOptions {
    /// The segments of the path, none for the root: one without characters is the same (RFC 7252, 6.5).
    var routedPath: [[UInt8]] {
        let segments = pathSegments
        return segments == [[]] ? [] : segments
    }
}
