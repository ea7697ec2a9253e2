internal import Kernel

/// Why a message cannot be protected, or is not what its sender has protected. No error has anything of a key or a payload in it.
@nonexhaustive
public enum OSCOREError: Error, Equatable, Sendable {
    // The context.

    /// Of the algorithms of COSE only AES-CCM-16-64-128 is here (RFC 8613, 3.2).
    case unsupportedAlgorithm(OSCOREAlgorithm)
    /// A sender or recipient ID has this many bytes, and may have 7 (RFC 8613, 3.3).
    case identifierTooLong(bytes: Int)
    /// The sender ID is the recipient ID: both ends would use the same key and nonces (RFC 8613, 3.3).
    case identifiersAreEqual
    /// The ID context has this many bytes, and may have 255: its length travels in one (RFC 8613, 6.1).
    case identifierContextTooLong(bytes: Int)
    /// All of the context's 2^40 sequence numbers are used; it protects nothing any more (RFC 8613, 7.2.1).
    case sequenceNumbersExhausted
    /// The store of the sequence numbers has failed, so that none can be used.
    case sequenceStore(OSCOREStoreError)

    // What is to be protected.

    /// The code is not that of a request, or not that of a response.
    case invalidCode(CoAPCode)
    /// A message to be protected has an option that cannot be in it: one of OSCORE's own, or Proxy-Uri, whose parts are to be given as Proxy-Scheme,
    /// Uri-Host, Uri-Port, Uri-Path and Uri-Query (RFC 8613, 4.1.3.3).
    case invalidOption(CoAPOptionNumber)
    /// The options and the payload to be encrypted have this many bytes.
    case messageTooLarge(bytes: Int, limit: Int)

    // What has arrived.

    /// The message has no OSCORE option. If it is a response to a protected request, anybody may have sent it: a proxy, a server that lacks the
    /// security context (RFC 8613, 8.4), or an attacker.
    case notProtected(CoAPCode)
    /// The OSCORE option is there more than once, is truncated or has bits that are reserved, or the message lacks a Partial IV, a kid or a payload
    /// where there must be one (RFC 8613, 2 and 6.1).
    case malformed
    /// The message is for another security context (RFC 8613, 8.2), or the context takes no requests.
    case contextNotFound
    /// A message with this sequence number was received before (RFC 8613, 7.4).
    case replayed(UInt64)
    /// The sequence number is so old that it is not known whether it was received before (RFC 8613, 7.4).
    case outOfWindow(UInt64)
    /// The message is not what its sender has protected: it was changed, or the keys are others.
    case notAuthentic
    /// What was protected, by who has the keys, is not a message of CoAP (RFC 8613, 5.3).
    case malformedPlaintext

    /// The answer to a request that was not accepted: not protected, and not to be cached (RFC 8613, 8.2); `nil` where it is no fault of the request's.
    public var response: CoAPResponse? {
        let code: CoAPCode
        let diagnostic: StaticString
        switch self {
        case .malformed: (code, diagnostic) = (.badOption, "Failed to decode COSE")
        case .contextNotFound: (code, diagnostic) = (.unauthorized, "Security context not found")
        case .replayed, .outOfWindow: (code, diagnostic) = (.unauthorized, "Replay detected")
        case .notAuthentic, .malformedPlaintext: (code, diagnostic) = (.badRequest, "Decryption failed")
        case .unsupportedAlgorithm, .identifierTooLong, .identifiersAreEqual, .identifierContextTooLong,
            .sequenceNumbersExhausted, .sequenceStore, .invalidCode, .invalidOption, .messageTooLarge, .notProtected:
            return nil
        }
        var response = CoAPResponse(code)
        response.options.maxAge = 0
        response.payload.append(diagnostic)
        return response
    }
}

/// An algorithm that encrypts and authenticates, by its number in COSE.
public struct OSCOREAlgorithm: RawRepresentable, Equatable, Sendable {
    /// The number in the registry of COSE algorithms.
    public let rawValue: Int
    /// An algorithm from its number.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// AES-CCM with a key of 128 bits, a tag of 64 and a nonce of 13 bytes, which every implementation of OSCORE has (RFC 8613, 3.2).
    public static let aesCCM16_64_128 = OSCOREAlgorithm(rawValue: 10)
}
