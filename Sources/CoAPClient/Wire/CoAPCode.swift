/// The code of a message: a method in a request, the outcome in a response (RFC 7252, 12.1).
public struct CoAPCode: RawRepresentable, Equatable, Hashable, Sendable {
    /// The code on the wire: three bits of class, five of detail.
    public let rawValue: UInt8

    /// A code from the wire.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A code from its parts, as in `CoAPCode(4, 04)` for 4.04: a class up to 7 and a detail up to 31.
    public init(_ codeClass: UInt8, _ detail: UInt8) {
        precondition(codeClass <= 7 && detail <= 31, "no such code")
        rawValue = codeClass << 5 | detail
    }

    /// The class: 0 request, 2 success, 4 client error, 5 server error.
    public var codeClass: UInt8 { rawValue >> 5 }
    /// The detail within the class.
    public var detail: UInt8 { rawValue & 0x1F }

    /// Whether it is a method code: 0.01 to 0.31.
    public var isRequest: Bool { codeClass == 0 && detail > 0 }
    /// Whether it is a response code: class 2, 4 or 5, registered or not.
    public var isResponse: Bool { codeClass == 2 || codeClass == 4 || codeClass == 5 }
    /// Whether it is a response code of success: class 2.
    public var isSuccess: Bool { codeClass == 2 }

    /// An empty message: an acknowledgement, a reset, a ping.
    public static let empty = CoAPCode(0, 00)

    /// Method GET.
    public static let get = CoAPCode(0, 01)
    /// Method POST.
    public static let post = CoAPCode(0, 02)
    /// Method PUT.
    public static let put = CoAPCode(0, 03)
    /// Method DELETE.
    public static let delete = CoAPCode(0, 04)
    /// Method FETCH (RFC 8132).
    public static let fetch = CoAPCode(0, 05)
    /// Method PATCH (RFC 8132).
    public static let patch = CoAPCode(0, 06)
    /// Method iPATCH (RFC 8132).
    public static let iPatch = CoAPCode(0, 07)

    // Signals of CoAP over byte streams (RFC 8323, 5), which are neither requests nor responses.

    static let capabilities = CoAPCode(7, 01)
    static let ping = CoAPCode(7, 02)
    static let pong = CoAPCode(7, 03)
    static let release = CoAPCode(7, 04)
    static let abort = CoAPCode(7, 05)

    /// 2.01 Created.
    public static let created = CoAPCode(2, 01)
    /// 2.02 Deleted.
    public static let deleted = CoAPCode(2, 02)
    /// 2.03 Valid.
    public static let valid = CoAPCode(2, 03)
    /// 2.04 Changed.
    public static let changed = CoAPCode(2, 04)
    /// 2.05 Content.
    public static let content = CoAPCode(2, 05)
    /// 2.31 Continue (RFC 7959).
    public static let `continue` = CoAPCode(2, 31)
    /// 4.00 Bad Request.
    public static let badRequest = CoAPCode(4, 00)
    /// 4.01 Unauthorized.
    public static let unauthorized = CoAPCode(4, 01)
    /// 4.02 Bad Option.
    public static let badOption = CoAPCode(4, 02)
    /// 4.03 Forbidden.
    public static let forbidden = CoAPCode(4, 03)
    /// 4.04 Not Found.
    public static let notFound = CoAPCode(4, 04)
    /// 4.05 Method Not Allowed.
    public static let methodNotAllowed = CoAPCode(4, 05)
    /// 4.06 Not Acceptable.
    public static let notAcceptable = CoAPCode(4, 06)
    /// 4.08 Request Entity Incomplete (RFC 7959).
    public static let requestEntityIncomplete = CoAPCode(4, 08)
    /// 4.09 Conflict (RFC 8132).
    public static let conflict = CoAPCode(4, 09)
    /// 4.12 Precondition Failed.
    public static let preconditionFailed = CoAPCode(4, 12)
    /// 4.13 Request Entity Too Large.
    public static let requestEntityTooLarge = CoAPCode(4, 13)
    /// 4.15 Unsupported Content-Format.
    public static let unsupportedContentFormat = CoAPCode(4, 15)
    /// 4.22 Unprocessable Entity (RFC 8132).
    public static let unprocessableEntity = CoAPCode(4, 22)
    /// 4.29 Too Many Requests (RFC 8516): Max-Age says when to try again.
    public static let tooManyRequests = CoAPCode(4, 29)
    /// 5.00 Internal Server Error.
    public static let internalServerError = CoAPCode(5, 00)
    /// 5.01 Not Implemented.
    public static let notImplemented = CoAPCode(5, 01)
    /// 5.02 Bad Gateway.
    public static let badGateway = CoAPCode(5, 02)
    /// 5.03 Service Unavailable.
    public static let serviceUnavailable = CoAPCode(5, 03)
    /// 5.04 Gateway Timeout.
    public static let gatewayTimeout = CoAPCode(5, 04)
    /// 5.05 Proxying Not Supported.
    public static let proxyingNotSupported = CoAPCode(5, 05)
}

/// What a payload is (RFC 7252, 12.3).
public struct CoAPContentFormat: RawRepresentable, Equatable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16
    /// A format from the wire.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// text/plain; charset=utf-8.
    public static let textPlain = CoAPContentFormat(rawValue: 0)
    /// application/link-format.
    public static let linkFormat = CoAPContentFormat(rawValue: 40)
    /// application/xml.
    public static let xml = CoAPContentFormat(rawValue: 41)
    /// application/octet-stream.
    public static let octetStream = CoAPContentFormat(rawValue: 42)
    /// application/exi.
    public static let exi = CoAPContentFormat(rawValue: 47)
    /// application/json.
    public static let json = CoAPContentFormat(rawValue: 50)
    /// application/cbor (RFC 8949).
    public static let cbor = CoAPContentFormat(rawValue: 60)
}
