/// The number of an option, which also says how to treat one that is not understood (RFC 7252, 5.4).
public struct CoAPOptionNumber: RawRepresentable, Equatable, Hashable, Comparable, Sendable {
    /// The number.
    public let rawValue: UInt16
    /// An option number.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Whether a message with this option must be rejected by who does not understand it; otherwise it is elective.
    public var isCritical: Bool { rawValue & 1 != 0 }
    /// Whether a proxy that does not understand it must not forward it.
    public var isUnsafeToForward: Bool { rawValue & 2 != 0 }
    /// Whether it is no part of the key of a cache: only where it is safe to forward.
    public var isNoCacheKey: Bool { rawValue & 0x1E == 0x1C }

    /// The order in which options are sent.
    public static func < (a: CoAPOptionNumber, b: CoAPOptionNumber) -> Bool { a.rawValue < b.rawValue }

    /// If-Match.
    public static let ifMatch = CoAPOptionNumber(rawValue: 1)
    /// Uri-Host.
    public static let uriHost = CoAPOptionNumber(rawValue: 3)
    /// ETag.
    public static let eTag = CoAPOptionNumber(rawValue: 4)
    /// If-None-Match.
    public static let ifNoneMatch = CoAPOptionNumber(rawValue: 5)
    /// Observe (RFC 7641).
    public static let observe = CoAPOptionNumber(rawValue: 6)
    /// Uri-Port.
    public static let uriPort = CoAPOptionNumber(rawValue: 7)
    /// OSCORE (RFC 8613).
    public static let oscore = CoAPOptionNumber(rawValue: 9)
    /// Location-Path.
    public static let locationPath = CoAPOptionNumber(rawValue: 8)
    /// Uri-Path.
    public static let uriPath = CoAPOptionNumber(rawValue: 11)
    /// Content-Format.
    public static let contentFormat = CoAPOptionNumber(rawValue: 12)
    /// Max-Age.
    public static let maxAge = CoAPOptionNumber(rawValue: 14)
    /// Hop-Limit (RFC 8768).
    static let hopLimit = CoAPOptionNumber(rawValue: 16)
    /// Uri-Query.
    public static let uriQuery = CoAPOptionNumber(rawValue: 15)
    /// Accept.
    public static let accept = CoAPOptionNumber(rawValue: 17)
    /// Location-Query.
    public static let locationQuery = CoAPOptionNumber(rawValue: 20)
    /// Proxy-Uri.
    public static let proxyUri = CoAPOptionNumber(rawValue: 35)
    /// Proxy-Scheme.
    public static let proxyScheme = CoAPOptionNumber(rawValue: 39)
    /// Block2 (RFC 7959).
    public static let block2 = CoAPOptionNumber(rawValue: 23)
    /// Block1 (RFC 7959).
    public static let block1 = CoAPOptionNumber(rawValue: 27)
    /// Size2 (RFC 7959).
    public static let size2 = CoAPOptionNumber(rawValue: 28)
    /// Size1.
    public static let size1 = CoAPOptionNumber(rawValue: 60)

    /// Echo (RFC 9175, 2).
    public static let echo = CoAPOptionNumber(rawValue: 252)
    /// No-Response (RFC 7967).
    public static let noResponse = CoAPOptionNumber(rawValue: 258)
    /// Request-Tag (RFC 9175, 3).
    public static let requestTag = CoAPOptionNumber(rawValue: 292)

    /// What the standard says of the values of an option.
    struct Rule {
        let lengths: ClosedRange<Int>
        let isRepeatable: Bool

        fileprivate init(_ lengths: ClosedRange<Int>, repeatable: Bool = false) {
            self.lengths = lengths
            isRepeatable = repeatable
        }

        func allows(_ length: Int, isRepeated: Bool) -> Bool {
            lengths.contains(length) && (isRepeatable || !isRepeated)
        }
    }

    /// The rule of an option that is understood here, else `nil` (RFC 7252, table 4; RFC 7641, table 1; RFC 7959, table 1; RFC 7967, 2; RFC 9175, 2.2 and 3.2).
    var rule: Rule? {
        switch self {
        case .ifMatch: Rule(0...8, repeatable: true)
        case .uriHost: Rule(1...255)
        case .eTag: Rule(1...8, repeatable: true)
        case .ifNoneMatch: Rule(0...0)
        case .observe: Rule(0...3)
        case .uriPort: Rule(0...2)
        case .locationPath, .uriPath, .uriQuery, .locationQuery: Rule(0...255, repeatable: true)
        case .contentFormat, .accept: Rule(0...2)
        case .block1, .block2: Rule(0...3)
        case .maxAge, .size1, .size2: Rule(0...4)
        case .proxyUri: Rule(1...1034)
        case .proxyScheme: Rule(1...255)
        case .echo: Rule(1...40)
        case .noResponse: Rule(0...1)
        case .requestTag: Rule(0...8, repeatable: true)
        default: nil
        }
    }
}
