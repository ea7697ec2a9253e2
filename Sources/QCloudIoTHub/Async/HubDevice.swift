#if !hasFeature(Embedded)
public import ATAdapter
internal import CLinux
public import Kernel
public import MQTTClient
public import SAL

/// A device of the hub over this project's MQTT client.
public typealias HubDevice = HubMQTTDevice<MQTTClient>

/// A device of the hub over the MQTT in a modem's firmware.
public typealias HubModemDevice = HubMQTTDevice<ModemMQTTClient>

/// A device of the hub over MQTT: it reports events, and is told what to do. ``HubDevice`` and ``HubModemDevice`` say who speaks MQTT for it.
public struct HubMQTTDevice<Client: HubMessaging>: Sendable {
    /// Who the device is.
    public let identity: DeviceIdentity
    /// The MQTT below, for topics of one's own.
    public let client: Client
    let runner: HubServiceRunner<Client>

    /// A device that `client` logs in as `identity`.
    public init(
        _ identity: DeviceIdentity,
        by client: Client,
        shadow: HubShadowConfiguration = HubShadowConfiguration()
    ) {
        (self.identity, self.client) = (identity, client)
        runner = HubServiceRunner(identity, by: client, shadow: shadow)
    }

    /// The same with a clock of one's own.
    init(_ identity: DeviceIdentity, by client: Client, shadow: HubShadowConfiguration, clock: HubServiceClock) {
        (self.identity, self.client) = (identity, client)
        runner = HubServiceRunner(identity, by: client, shadow: shadow, clock: clock)
    }

    /// Logs in; see ``HubMessaging/connect()``.
    public func connect() async throws(Client.Failure) { try await client.connect() }

    /// Reports an event; with QoS 1 this returns when the hub has it.
    public func reportEvent(_ payload: [UInt8], qos: QoS = .atLeastOnce) async throws(Client.Failure) {
        try await client.publish(
            payload,
            topic: String(decoding: HubTopic.event(of: identity), as: UTF8.self),
            qos: qos
        )
    }

    /// Reports an event, such as a JSON object.
    public func reportEvent(_ text: String) async throws(Client.Failure) { try await reportEvent(Array(text.utf8)) }

    /// What the hub tells the device from now on.
    public func controls() async throws(Client.Failure) -> Client.Messages {
        try await client.messages(
            of: String(decoding: HubTopic.control(of: identity), as: UTF8.self),
            qos: .atLeastOnce
        )
    }

    /// Says goodbye and closes.
    public func disconnect() async { await client.disconnect() }
}

extension HubMQTTDevice where Client == ModemMQTTClient {
    /// A device with a key, not connected yet, which the firmware of a modem logs in. `modem` is called on `loop`, which must be the modem's.
    ///
    /// Throws `ModemMQTTError`, or what `modem` throws.
    public init(
        _ identity: DeviceIdentity,
        on loop: EventLoop,
        configuration: ModemMQTTConfiguration = ModemMQTTConfiguration(),
        shadow: HubShadowConfiguration = HubShadowConfiguration(),
        modem: @escaping @Sendable () throws -> Modem
    ) async throws {
        let client = try await ModemMQTTClient(
            on: loop,
            identity: identity.forModem(),
            configuration: configuration,
            modem: modem
        )
        self.init(identity, by: client, shadow: shadow)
    }
}

extension HubMQTTDevice where Client == MQTTClient {
    /// A device of the hub at `endpoint`, not connected yet. Each login is made anew, and valid for `loginLifetime`; `nil` is
    /// for a device without a trusted clock.
    ///
    /// The network decides how it is secured: give it a `SecureNetwork` with ``DeviceIdentity``'s TLS
    /// configuration for the hub's port 8883, or a plain network for port 1883.
    public init(
        _ identity: DeviceIdentity,
        hub endpoint: Endpoint,
        over network: any Network,
        loginLifetime: Duration? = .seconds(3_600),
        reconnects: Bool = true,
        shadow: HubShadowConfiguration = HubShadowConfiguration(),
        configure: (inout MQTTConfiguration) -> Void = { _ in }
    ) {
        var configuration = MQTTConfiguration(clientID: identity.clientID)
        configuration.keepAliveSeconds = 120
        configure(&configuration)
        let client = MQTTClient(
            to: endpoint,
            over: network,
            configuration: configuration,
            reconnects: reconnects
        ) { configuration in
            let login = Self.login(identity, lifetime: loginLifetime)
            configuration.userName = login?.userName
            configuration.password = login?.password
        }
        self.init(identity, by: client, shadow: shadow)
    }

    private static func login(_ identity: DeviceIdentity, lifetime: Duration?) -> HubLogin? {
        var generator = SystemRandomNumberGenerator()
        let connectionID = HubLogin.connectionID(random: generator.next() as UInt32)
        let expiry: HubLogin.Expiry =
            if let lifetime { .at(secondsSince1970() + lifetime.components.seconds) } else { .never }
        return try? HubLogin(identity, connectionID: connectionID, expiry: expiry)
    }
}

/// By the system's clock. Inside a device, `time` is the hub's.
private func secondsSince1970() -> Int64 { Int64(time(nil)) }
#endif
