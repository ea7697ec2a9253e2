#if !hasFeature(Embedded)
/// How a client secures its connections with TLS 1.2. The server is always verified: by its certificate and name, or by
/// the pre-shared key that both have.
public struct TLSConfiguration: Sendable {
    /// Who the client is.
    public enum Identity: Sendable {
        /// Nobody: the server learns who it is by other means.
        case anonymous
        /// The holder of a key that the server has too (RFC 4279). The identity is sent in the clear.
        case preSharedKey(identity: [UInt8], key: SecretBytes)
        /// The holder of a certificate: the chain, the device's own first, and the private key, each PEM or DER.
        case certificate(chain: [UInt8], privateKey: SecretBytes, password: SecretBytes? = nil)
    }

    /// Whose signature on a server's certificate counts.
    public enum Trust: Sendable {
        /// Of the owners of these certificates: PEM, several after another, or one DER.
        case anchors([UInt8])
        /// Of those that the system trusts.
        case system
    }

    /// The cipher suites that are offered.
    public enum Suites: Sendable {
        /// Authenticated encryption only, with ephemeral keys where there are certificates.
        case secure
        /// With a pre-shared key also AES-CBC with SHA-1, which is all that Tencent's hub speaks.
        case legacyPreSharedKey
    }

    /// Who the client is.
    public var identity: Identity
    /// Whose signature counts; of no account with a pre-shared key.
    public var trust: Trust
    /// The name that the server's certificate must be for, and that it is asked for (SNI); `nil`: the host that one connects to.
    public var serverName: [UInt8]?
    /// The cipher suites that are offered.
    public var suites: Suites

    /// A configuration from its parts.
    public init(
        identity: Identity = .anonymous,
        trust: Trust = .system,
        serverName: [UInt8]? = nil,
        suites: Suites = .secure
    ) {
        self.identity = identity
        self.trust = trust
        self.serverName = serverName
        self.suites = suites
    }
}
#endif
