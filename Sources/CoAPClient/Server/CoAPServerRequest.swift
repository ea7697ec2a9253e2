public import SAL

/// Names a request that a ``CoAPServerSession`` has handed out; never used again.
public struct CoAPServerRequestID: Equatable, Hashable, Sendable {
    let rawValue: UInt64
}

/// A request as a handler sees it: whole, if it came in blocks.
public final class CoAPServerRequest: Sendable {
    /// What the response is given for.
    public let id: CoAPServerRequestID
    /// The resource that it is for.
    public let resource: CoAPResourceID
    /// Who asks.
    public let peer: SocketAddress
    /// The method.
    public let method: CoAPCode
    /// The options.
    public let options: CoAPOptions
    /// The payload.
    public let payload: [UInt8]
    /// Whether it was sent to a group.
    public let isMulticast: Bool
    /// Whether nobody asks just now: an observer is to be told how the resource is.
    public let isNotification: Bool
    /// How many segments of the path belong to the resource.
    private let resourceDepth: Int

    init(_ request: CoAPServerSession.Pending, payload: [UInt8], resourceDepth: Int) {
        id = CoAPServerRequestID(rawValue: request.id)
        resource = request.resource
        peer = request.peer
        method = request.message.code
        options = request.message.options
        self.payload = payload
        isMulticast = request.isMulticast
        isNotification = request.observer != nil
        self.resourceDepth = resourceDepth
    }

    /// The segments of the path.
    public var path: [[UInt8]] { options.routedPath }
    /// The segments of the path behind those of the resource (``CoAPResource/includesSubpaths``).
    public var subpath: [[UInt8]] { [[UInt8]](path.dropFirst(resourceDepth)) }

    /// What If-Match and If-None-Match say to a representation that is there with this ETag, or is not there (`nil`): the response 4.12 if the method must not be carried
    /// out, else `nil` (RFC 7252, 5.10.8). A representation without an ETag has an empty one.
    public func failedPrecondition(current eTag: [UInt8]?) -> CoAPResponse? {
        let wanted = options.all(.ifMatch)
        // An empty value matches whatever is there.
        let matches = wanted.isEmpty || eTag.map { eTag in wanted.contains { $0.isEmpty || $0 == eTag } } == true
        let mustBeNew = options.contains(.ifNoneMatch)
        return matches && !(mustBeNew && eTag != nil) ? nil : CoAPResponse(.preconditionFailed)
    }

    /// Whether the client has the representation with this ETag already. A 2.05 with it is made a 2.03 without payload anyway (RFC 7252, 5.10.6.2); to ask saves making
    /// the payload.
    public func has(_ eTag: [UInt8]) -> Bool { options.all(.eTag).contains(eTag) }
}

extension CoAPResponse {
    /// A representation: 2.05 with a payload, its format, and what else there is to say of it.
    public static func content(
        _ payload: [UInt8],
        format: CoAPContentFormat? = nil,
        eTag: [UInt8]? = nil,
        maxAge: UInt32? = nil
    ) -> CoAPResponse {
        var response = CoAPResponse(.content, payload: payload)
        if let eTag { response.options.eTag = eTag }
        if let format { response.options.contentFormat = format }
        if let maxAge { response.options.maxAge = maxAge }
        return response
    }

    /// The links that match all filters of a request's query, as a document (RFC 6690, 4).
    public static func links(_ links: [CoAPLink], for options: CoAPOptions) -> CoAPResponse {
        let filters = options.queryArguments.compactMap { CoAPLinkFilter($0.span) }
        let chosen = links.filter { link in filters.allSatisfy { $0.matches(link) } }
        return .content(CoAPLinkFormat.compose(chosen), format: .linkFormat)
    }
}
