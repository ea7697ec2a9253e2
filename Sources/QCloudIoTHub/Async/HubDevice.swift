#if !hasFeature(Embedded)
internal import CLinux
public import MQTTClient
public import SAL

/// A device of the hub over MQTT: it logs in, reports events, and is told what to do.
///
/// The network decides how it is secured: give it a `SecureNetwork` with ``DeviceIdentity``'s TLS
/// configuration for the hub's port 8883, or a plain network for port 1883.
public struct HubDevice: Sendable {
    /// Who the device is.
    public let identity: DeviceIdentity
    /// The MQTT client below, for topics of one's own.
    public let client: MQTTClient

    /// A device of the hub at `endpoint`, not connected yet. Each login is made anew, and valid for `loginLifetime`; `nil` is
    /// for a device without a trusted clock.
    public init(
        _ identity: DeviceIdentity,
        hub endpoint: Endpoint,
        over network: any Network,
        loginLifetime: Duration? = .seconds(3_600),
        reconnects: Bool = true,
        configure: (inout MQTTConfiguration) -> Void = { _ in }
    ) {
        self.identity = identity
        var configuration = MQTTConfiguration(clientID: identity.clientID)
        configuration.keepAliveSeconds = 120
        configure(&configuration)
        client = MQTTClient(
            to: endpoint,
            over: network,
            configuration: configuration,
            reconnects: reconnects
        ) { configuration in
            let login = Self.login(identity, lifetime: loginLifetime)
            configuration.userName = login?.userName
            configuration.password = login?.password
        }
    }

    private static func login(_ identity: DeviceIdentity, lifetime: Duration?) -> HubLogin? {
        var generator = SystemRandomNumberGenerator()
        let connectionID = HubLogin.connectionID(random: generator.next() as UInt32)
        let expiry: HubLogin.Expiry =
            if let lifetime { .at(Int64(time(nil)) + lifetime.components.seconds) } else { .never }
        return try? HubLogin(identity, connectionID: connectionID, expiry: expiry)
    }

    /// Logs in; see `MQTTClient.connect()`.
    public func connect() async throws(MQTTError) { try await client.connect() }

    /// Reports an event; returns when the hub has it.
    public func reportEvent(_ payload: [UInt8]) async throws(MQTTError) {
        try await client.publish(payload, to: String(decoding: HubTopic.event(of: identity), as: UTF8.self))
    }

    /// What the hub tells the device from now on.
    public func controls() async throws(MQTTError) -> MQTTSubscription {
        try await client.subscribe(to: String(decoding: HubTopic.control(of: identity), as: UTF8.self))
    }

    /// Says goodbye and closes.
    public func disconnect() async { await client.disconnect() }
}
#endif
