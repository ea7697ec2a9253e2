/// What a hub listens on, and what it is made of.
public struct HubConfiguration: Sendable {
    /// Which kind of keys certificates are made with.
    public enum CertificateKeys: String, Sendable {
        /// On the curve P-256.
        case ec
        /// RSA, 2048 bits.
        case rsa
    }

    /// The numeric address to listen on. With another one than loopback's, devices elsewhere can log in; CoAP stays on loopback.
    public var address = "127.0.0.1"
    /// The port for MQTT without TLS: device key and password. 0 takes a free one, here and below.
    public var mqttPort: UInt16 = 0
    /// The port for MQTT over TLS with a pre-shared key.
    public var pskPort: UInt16 = 0
    /// The port for MQTT over TLS with certificates on both sides.
    public var tlsPort: UInt16 = 0
    /// The port for MQTT over TLS where only the hub has a certificate: device key and password.
    public var tlsKeyPort: UInt16 = 0
    /// The UDP port for CoAP.
    public var coapPort: UInt16 = 0
    /// The UDP port for CoAP over DTLS with a pre-shared key.
    public var coapsPort: UInt16 = 0
    /// The port of the HTTP gateway: registration, messages, log lines, files.
    public var httpPort: UInt16 = 0
    /// The port of the same over TLS.
    public var httpsPort: UInt16 = 0
    /// The port of the control API, on 127.0.0.1 whatever the address is.
    public var controlPort: UInt16 = 0
    /// The longest payload in bytes; longer ones are acknowledged and dropped. IoT Explorer's limit is 65,536.
    public var maxPayloadBytes = 16_384
    /// The keys of the certificates that a first start makes.
    public var certificateKeys = CertificateKeys.ec
    /// Where libHubPlugin.so is; `nil` looks at the environment's `APUS_HUB_PLUGIN`, then beside the running program.
    public var pluginPath: String?
    /// Where mosquitto is; `nil` looks in `PATH` and in the system's directories for daemons.
    public var mosquittoPath: String?
    /// Whether a broker that has ended by itself is started again, with the same ports and sessions.
    public var restartsBroker = false
    /// What decides all that is random in the services, secrets of devices that register included, so that a run can be repeated; `nil` takes a random one.
    public var seed: UInt64?
    /// How long the broker may take until it accepts connections.
    public var startTimeout: Duration = .seconds(10)

    /// Free ports of loopback.
    public init() {}
}

/// Where a running hub listens.
public struct HubEndpoints: Equatable, Sendable {
    /// The address to connect to.
    public let host: String
    /// MQTT without TLS.
    public let mqttPort: UInt16
    /// MQTT over TLS with a pre-shared key.
    public let pskPort: UInt16
    /// MQTT over TLS with certificates.
    public let tlsPort: UInt16
    /// MQTT over TLS with a certificate of the hub only: device key and password.
    public let tlsKeyPort: UInt16
    /// CoAP, on 127.0.0.1.
    public let coapPort: UInt16
    /// CoAP over DTLS with a pre-shared key, on 127.0.0.1.
    public let coapsPort: UInt16
    /// The HTTP gateway.
    public let httpPort: UInt16
    /// The HTTP gateway over TLS.
    public let httpsPort: UInt16
    /// The control API, on 127.0.0.1.
    public let controlPort: UInt16
}
