#if os(Linux) || TLS
public import SAL

/// Every way in which a secure connection can fail.
@nonexhaustive
public enum SecureTransportError: Error, Equatable, Sendable {
    /// A part of the configuration cannot be used; mbedTLS's error number, 0 if the reason is the part itself.
    case badConfiguration(ConfigurationPart, code: Int32)
    #if os(Linux) || CERTIFICATES
    /// The peer's certificate was not accepted, for these reasons.
    case certificateRejected(CertificateRejection)
    /// The peer's certificate cannot be read, or has a critical extension that mbedTLS does not know, such as name constraints; mbedTLS's error number.
    case certificateUnreadable(code: Int32)
    /// What the peer has signed in the handshake is not signed by its certificate's key.
    case wrongSignature
    /// The key of one's own certificate is elsewhere, and did not sign.
    case signingFailed
    #endif
    #if !hasFeature(Embedded)
    /// The client of a server has logged in with an identity that has no key.
    case unknownIdentity
    /// The client of a server has offered no cipher suite that the server agrees to: ``SecureServerNetwork/suites`` has those.
    case nothingInCommon
    #endif
    /// The peer ended the connection with this alert (RFC 5246, 7.2).
    case alertReceived(TLSAlert)
    /// The handshake or a record was not acceptable to us; mbedTLS's error number.
    case protocolFailure(code: Int32)
    /// The peer closed the connection in the middle of the handshake.
    case closedInHandshake
    /// The connection ended without the peer's close_notify: data may be missing (RFC 5246, 7.2.1).
    case truncated
    /// The handshake was not over at the deadline.
    case timedOut
    /// mbedTLS had no memory.
    case outOfMemory
    /// The byte stream below failed.
    case transport(SocketError)

    /// The parts of a ``TLSConfiguration``.
    public enum ConfigurationPart: Equatable, Sendable {
        /// The certificates that are trusted.
        case anchors
        /// The device's own certificate chain.
        case certificateChain
        /// The device's private key: unreadable, or the password is wrong.
        case privateKey
        /// The private key is not that of the certificate.
        case keyDoesNotMatchCertificate
        /// The pre-shared key or its identity: empty, or too long.
        case preSharedKey
        /// The name of the server.
        case serverName
        /// The oldest version: this mbedTLS has none so new.
        case version
        /// Connection IDs: this mbedTLS has none, or they are too long.
        case connectionID
        /// The lists of revoked certificates.
        case revocationLists
        /// The application protocols: an empty name, or too long a list.
        case applicationProtocols
        /// Anything else.
        case other
    }
}

#if os(Linux) || CERTIFICATES
/// What is wrong with a certificate.
public struct CertificateProblems: OptionSet, Sendable {
    /// The bits of mbedTLS's verification result.
    public let rawValue: UInt32
    /// Problems from their bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Its validity is over.
    public static let expired = CertificateProblems(rawValue: 0x01)
    /// It was revoked.
    public static let revoked = CertificateProblems(rawValue: 0x02)
    /// It is for another name.
    public static let wrongName = CertificateProblems(rawValue: 0x04)
    /// Nobody who is trusted has signed it.
    public static let unknownIssuer = CertificateProblems(rawValue: 0x08)
    /// There is none.
    public static let missing = CertificateProblems(rawValue: 0x40)
    /// Its validity has not begun.
    public static let notYetValid = CertificateProblems(rawValue: 0x0200)
    /// It may not be used for this.
    public static let wrongUse = CertificateProblems(rawValue: 0x3800)
    /// The list of revoked certificates cannot be trusted, is over, or is not yet valid.
    public static let badRevocationList = CertificateProblems(rawValue: 0x0E_0430)
    /// Its key is none of ``TLSVerification/pinnedKeys``.
    public static let notPinned = CertificateProblems(rawValue: 0x0100_0000)
    /// ``TLSVerification/verify`` does not like it.
    public static let refused = CertificateProblems(rawValue: 0x0200_0000)
    /// It says for which names its owner may sign certificates, which is not looked at here (RFC 5280, 4.2.1.10).
    public static let nameConstraints = CertificateProblems(rawValue: 0x0400_0000)
    /// It is signed with a weak hash function.
    public static let weakHash = CertificateProblems(rawValue: 0x4000)
    /// Its key, or that of its issuer, is of a kind that is not accepted, or too short.
    public static let weakKey = CertificateProblems(rawValue: 0x18000)
}
#endif

#if !hasFeature(Embedded)
extension CertificateProblems: CustomStringConvertible {
    /// The problems in words.
    public var description: String {
        let words: [(CertificateProblems, String)] = [
            (.expired, "expired"), (.revoked, "revoked"), (.wrongName, "for another name"),
            (.unknownIssuer, "not signed by anybody who is trusted"), (.missing, "missing"),
            (.notYetValid, "not yet valid"), (.wrongUse, "not meant for this use"),
            (.badRevocationList, "without a good list of the revoked ones"),
            (.notPinned, "not one of the pinned ones"), (.refused, "refused"),
            (.nameConstraints, "restricted to names, which are not looked at"),
            (.weakHash, "signed with a weak hash"), (.weakKey, "has a weak key"),
        ]
        let text = words.filter { !isDisjoint(with: $0.0) }.map(\.1).joined(separator: ", ")
        return text.isEmpty ? "0x" + String(rawValue, radix: 16) : text
    }
}
#endif

/// The description of a TLS alert (RFC 5246, 7.2; the later ones by IANA).
public struct TLSAlert: RawRepresentable, Equatable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt8
    /// An alert from its number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// No parameters that both sides accept.
    public static let handshakeFailure = TLSAlert(rawValue: 40)
    /// The client's certificate was not accepted.
    public static let badCertificate = TLSAlert(rawValue: 42)
    /// The client's certificate is over.
    public static let certificateExpired = TLSAlert(rawValue: 45)
    /// The client's certificate was not accepted for another reason.
    public static let certificateUnknown = TLSAlert(rawValue: 46)
    /// The issuer of the client's certificate is not known to the server.
    public static let unknownCA = TLSAlert(rawValue: 48)
    /// A value that could not be decrypted: with a pre-shared key, most often the wrong key.
    public static let decryptError = TLSAlert(rawValue: 51)
    /// A record that could not be authenticated: with a pre-shared key, most often the wrong key.
    public static let badRecordMAC = TLSAlert(rawValue: 20)
    /// The protocol version is not accepted.
    public static let protocolVersion = TLSAlert(rawValue: 70)
    /// The server failed for reasons of its own.
    public static let internalError = TLSAlert(rawValue: 80)
    /// The identity of the pre-shared key is not known to the server.
    public static let unknownPSKIdentity = TLSAlert(rawValue: 115)
}

#if !hasFeature(Embedded)
extension TLSAlert: CustomStringConvertible {
    /// The name in the standard, or the number.
    public var description: String {
        let names: [UInt8: String] = [
            0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow",
            40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
            45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca",
            49: "access_denied", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version",
            71: "insufficient_security", 80: "internal_error", 90: "user_canceled", 112: "unrecognized_name",
            115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
        ]
        return names[rawValue] ?? "alert \(rawValue)"
    }
}
#endif
#endif
