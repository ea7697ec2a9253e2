#if os(Linux) || TLS
#if os(Linux) || CERTIFICATES
/// A certificate of one's own, and the private key to it.
public struct TLSCertificate: Sendable {
    /// Where a private key is.
    public enum PrivateKey: Sendable {
        /// Here: PEM or DER, and what it is encrypted with, if it is.
        case bytes(SecretBytes, password: SecretBytes?)
        /// Elsewhere, such as in a secure element.
        case signer(Signer)
    }

    /// Signs `digest`, which `hash` made, with a private key that is elsewhere; `nil` if it cannot. An ECDSA signature is in DER (Ecdsa-Sig-Value, RFC 3279,
    /// 2.2.3), an RSA signature as PKCS #1 v1.5 makes it (RSASSA-PKCS1-v1_5, RFC 8017, 8.2.1). Called on the connection's loop, once in a full handshake, and
    /// holds the loop up: a slow key deserves a loop of its own.
    public typealias Signer = @Sendable (_ digest: [UInt8], _ hash: HashFunction) -> [UInt8]?

    /// The chain, one's own certificate first: PEM, several after another, or one DER.
    public var chain: [UInt8]
    /// The private key.
    public var privateKey: PrivateKey

    /// A certificate and its key: PEM or DER, with the password that it is encrypted with, if it is.
    public init(chain: [UInt8], privateKey: SecretBytes, password: SecretBytes? = nil) {
        self.chain = chain
        self.privateKey = .bytes(privateKey, password: password)
    }

    /// A certificate whose key is elsewhere. That the key is the certificate's own only a handshake shows.
    public init(chain: [UInt8], signer: @escaping Signer) {
        self.chain = chain
        privateKey = .signer(signer)
    }
}

/// Whose signature on a peer's certificate counts.
public enum TLSTrust: Sendable {
    /// Of the owners of these certificates: PEM, several after another, or one DER.
    case anchors([UInt8])
    #if !hasFeature(Embedded)
    /// Of those that the system trusts.
    case system
    #endif
}
#endif

/// The cipher suites that are agreed to.
public enum TLSSuites: Sendable {
    /// Authenticated encryption only, with ephemeral keys where there are certificates.
    case secure
    /// With a pre-shared key also AES-CBC with SHA-1, which is all that Tencent's hub speaks.
    case legacyPreSharedKey
}

/// A version of TLS.
public enum TLSVersion: Sendable {
    /// TLS 1.2 (RFC 5246), or DTLS 1.2 (RFC 6347).
    case tls12
    /// TLS 1.3 (RFC 8446), which mbedTLS has from 3.6 on.
    case tls13
}

/// The longest record that is sent, and that the peer is asked to send (RFC 6066, section 4): for peers with little memory.
public enum TLSRecordLimit: UInt8, Sendable {
    /// 512 bytes.
    case bytes512 = 1
    /// 1,024 bytes.
    case bytes1024 = 2
    /// 2,048 bytes.
    case bytes2048 = 3
    /// 4,096 bytes.
    case bytes4096 = 4
}

#if os(Linux) || CERTIFICATES
/// What is checked of a peer's certificate beside its signatures.
public struct TLSVerification: Sendable {
    #if !hasFeature(Embedded)
    /// Certificates that count no more: revocation lists of their issuers, PEM, several after another, or one DER. Without a list of its issuer,
    /// no certificate counts as revoked.
    public var revocationLists: [UInt8] = []
    #endif
    /// The peer's own certificate must have one of these keys, beside all else: SHA-256 hashes of its SubjectPublicKeyInfo (RFC 7469, section 2.4). None: any.
    public var pinnedKeys: [[UInt8]] = []
    /// The time that certificates must be valid at, in seconds since 1970, for who has a better clock than the system; `nil` for the system's. Firmware has no
    /// other: without a clock it takes certificates at any time.
    public var clock: (@Sendable () -> Int64)?
    #if !hasFeature(Embedded)
    /// Has the last word on each certificate of the chain: it is given what was found, and returns what is wrong, nothing if it is empty.
    public var verify: (@Sendable (PeerCertificate, CertificateProblems) -> CertificateProblems)?
    #endif

    /// Nothing beside the signatures, the name and the validity by the system's clock.
    public init() {}
}
#endif

/// How a client secures its connections with TLS 1.2. The server is always verified: by its certificate and name, or by
/// the pre-shared key that both have.
public struct TLSConfiguration: Sendable {
    /// Who the client is.
    public enum Identity: Sendable {
        #if os(Linux) || CERTIFICATES
        /// Nobody: the server learns who it is by other means.
        case anonymous
        #endif
        /// The holder of a key that the server has too (RFC 4279). The identity is sent in the clear.
        case preSharedKey(identity: [UInt8], key: SecretBytes)
        #if os(Linux) || CERTIFICATES
        /// The holder of a certificate.
        case certificate(TLSCertificate)
        #endif
    }

    /// Who the client is.
    public var identity: Identity
    #if os(Linux) || CERTIFICATES
    /// Whose signature counts; of no account with a pre-shared key.
    public var trust: TLSTrust
    /// What else is checked of the server's certificate.
    public var verification = TLSVerification()
    #endif
    /// The name that the server's certificate must be for, and that it is asked for (SNI); `nil`: the host that one connects to.
    public var serverName: [UInt8]?
    /// The cipher suites that are offered.
    public var suites: TLSSuites
    /// The oldest version that is spoken; the newest is the newest that mbedTLS has.
    public var minimumVersion = TLSVersion.tls12
    #if hasFeature(Embedded)
    #if CERTIFICATES
    /// The application protocols that are offered, the best first (ALPN, RFC 7301).
    public var applicationProtocols: [StaticString] = []
    #endif
    #else
    /// The application protocols that are offered, the best first (ALPN, RFC 7301).
    public var applicationProtocols: [String] = []
    #endif
    /// A limit to records that the server is asked to keep: at most what this build of mbedTLS sends itself.
    public var recordLimit: TLSRecordLimit?
    /// The longest datagram that is sent, with all that DTLS adds: messages of the handshake are cut to fit, and a ClientHello must fit by itself. As large as what goes
    /// over most ways whole: an Ethernet frame less IPv6, UDP and a tunnel.
    public var datagramBytes = 1_400
    /// Whether datagrams carry a connection ID that the server chooses (RFC 9146), so that the session goes on when this end gets another address: after sleep, or
    /// behind a router that forgets. mbedTLS has it from 3.0 on.
    public var usesConnectionID = false
    /// Where sessions are kept that may be resumed, which takes a fortieth of a handshake's time; `nil` for never. A configuration has a store of its own
    /// unless it is given one.
    public var sessions: TLSSessionStore? = TLSSessionStore()
    /// Where random numbers come from.
    public var random: SecureRandom

    #if !hasFeature(Embedded)
    /// A configuration from its parts.
    public init(
        identity: Identity = .anonymous,
        trust: TLSTrust = .system,
        serverName: [UInt8]? = nil,
        suites: TLSSuites = .secure
    ) {
        self.identity = identity
        self.trust = trust
        self.serverName = serverName
        self.suites = suites
        random = .system
    }
    #else
    #if os(Linux) || CERTIFICATES
    /// A configuration for a server with a certificate that one of `anchors` has signed.
    public init(identity: Identity = .anonymous, anchors: [UInt8], serverName: [UInt8]? = nil, random: SecureRandom) {
        self.identity = identity
        trust = .anchors(anchors)
        self.serverName = serverName
        suites = .secure
        self.random = random
    }
    #endif

    /// A configuration for a server that has the key too.
    public init(preSharedKey key: SecretBytes, identity: [UInt8], suites: TLSSuites = .secure, random: SecureRandom) {
        self.identity = .preSharedKey(identity: identity, key: key)
        #if os(Linux) || CERTIFICATES
        trust = .anchors([])
        #endif
        self.suites = suites
        self.random = random
    }
    #endif
}

#if !hasFeature(Embedded)
/// How a server secures the connections that it accepts with TLS 1.2.
public struct TLSServerConfiguration: Sendable {
    /// What clients show of themselves.
    public enum ClientCertificates: Sendable {
        /// Nothing: who they are they say by other means.
        case none
        /// A certificate if they have one, which must be good then.
        case optional(TLSTrust)
        /// A certificate.
        case required(TLSTrust)
    }

    /// The server's certificates: one, or one per kind of key (ECDSA, RSA).
    public var certificates: [TLSCertificate]
    /// Certificates for clients that ask for one of these names (SNI, RFC 6066, section 3), in lower case; clients that ask for another, or for none, get those of
    /// ``certificates``.
    public var certificatesByName: [String: [TLSCertificate]] = [:]
    /// The key of each client that has a pre-shared one; `nil` for clients that are not known. Called on the connection's loop.
    public var preSharedKeys: (@Sendable (_ identity: [UInt8]) -> SecretBytes?)?
    /// What clients show of themselves, where there are certificates.
    public var clientCertificates = ClientCertificates.none
    /// What else is checked of the clients' certificates.
    public var verification = TLSVerification()
    /// The cipher suites that are agreed to.
    public var suites = TLSSuites.secure
    /// The oldest version that is spoken; the newest is the newest that mbedTLS has.
    public var minimumVersion = TLSVersion.tls12
    /// The application protocols that are agreed to, the best first (ALPN, RFC 7301). A client that offers none of them is refused; one that offers none at all
    /// is not.
    public var applicationProtocols: [String] = []
    /// How many sessions are remembered for clients that resume by session identifier.
    public var sessionCount = 1024
    /// For how long sessions may be resumed, by ticket (RFC 5077) or identifier, in seconds; 0 for not at all.
    public var sessionSeconds = 86_400
    /// The longest datagram that is sent, with all that DTLS adds: messages of the handshake are cut to fit. As large as what goes
    /// over most ways whole: an Ethernet frame less IPv6, UDP and a tunnel.
    public var datagramBytes = 1_400
    /// How many bytes the connection IDs have that clients are known by whatever their address is (RFC 9146), over datagrams; 0 for none. mbedTLS has them from
    /// 3.0 on, of up to 32 bytes. Who can change the source of a datagram on its way turns the answers away, until the client sends again: there is no
    /// check that the client is at its new address (RFC 9146, 6).
    public var connectionIDBytes = 0
    /// Until when a handshake must be over.
    public var handshakeTime = Duration.seconds(10)
    /// How many handshakes may be under way; further clients wait in the system's line.
    public var handshakeCount = 256
    /// Where random numbers come from.
    public var random = SecureRandom.system

    /// A server with certificates.
    public init(certificates: [TLSCertificate]) { self.certificates = certificates }

    /// A server whose clients have pre-shared keys.
    public init(preSharedKeys: @escaping @Sendable (_ identity: [UInt8]) -> SecretBytes?) {
        certificates = []
        self.preSharedKeys = preSharedKeys
    }
}
#endif
#endif
