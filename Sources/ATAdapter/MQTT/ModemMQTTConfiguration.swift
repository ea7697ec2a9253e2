/// Who the device is that the firmware logs in: what the console of the hub shows.
public struct ModemMQTTIdentity: Sendable {
    let productID: [UInt8]
    let deviceName: [UInt8]
    let secret: ModemSecret

    /// An identity from its texts in ASCII: the secret is in base64. Throws ``ModemMQTTError/invalidIdentity``.
    public init(productID: [UInt8], deviceName: [UInt8], secret: [UInt8]) throws(ModemMQTTError) {
        guard Self.isText(productID, 10), Self.isText(deviceName, 48), Self.isText(secret, 44) else {
            throw .invalidIdentity
        }
        self.productID = productID
        self.deviceName = deviceName
        self.secret = ModemSecret(secret)
    }

    private static func isText(_ text: [UInt8], _ limit: Int) -> Bool {
        guard !text.isEmpty, text.count <= limit else { return false }
        for byte in text {
            switch byte {
            // Neither quotes, commas nor backslashes: no firmware needs to be told how they are meant.
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: ","): return false
            case 0x21...0x7E: break
            default: return false
            }
        }
        return true
    }
}

/// A secret: never printed, and wiped when nobody uses it any more.
final class ModemSecret: @unchecked Sendable {
    // @unchecked: `text` is changed by `deinit` only.
    private(set) var text: [UInt8]

    init(_ text: [UInt8]) { self.text = text }

    deinit { for index in text.indices { text[index] = 0 } }
}

/// How the firmware connects, and the limits of what waits for it.
public struct ModemMQTTConfiguration: Sendable {
    /// How the firmware secures its connection.
    public enum Security: UInt8, Sendable {
        /// Not at all; the login is signed with the key. ESP8266 does not have it.
        case none = 0
        /// By TLS with the device's key.
        case key = 1
    }

    /// How the connection is secured.
    public var security = Security.key
    /// The server's name or address, if it is not the vendor's: `AT+TCMQTTSRV`, which not every firmware has.
    public var server: [UInt8] = []
    /// How long the firmware waits for the server, in milliseconds: 1,000 to 20,000; ESP8266 takes up to 10,000.
    public var commandTimeoutMilliseconds = 5_000
    /// The keep alive, in seconds: 60 to 690.
    public var keepAliveSeconds = 240
    /// Whether the server forgets what it kept for the device.
    public var cleanSession = true
    /// The firmware itself connects again, for up to a minute, and keeps its subscriptions; otherwise it is told to.
    public var firmwareReconnects = false
    /// Whether a connection that has failed or was lost is tried again.
    public var reconnects = true
    /// The pause before the first new attempt, in milliseconds; each later one is twice as long.
    public var firstDelayMilliseconds = 1_000
    /// The longest pause, in milliseconds.
    public var longestDelayMilliseconds = 60_000
    /// How many requests may wait.
    public var requests = 16
    /// How often a request is given to the firmware before it has failed, where it may help to repeat it. Not so for QoS 0.
    public var attempts = 3
    /// The longest message that is received whole, in bytes.
    public var messageBytes = 4_096
    /// How often a quiet firmware is asked whether it is connected, since it may have failed to tell.
    public var stateInterval: Duration = .seconds(30)

    /// The defaults.
    public init() {}

    var isValid: Bool {
        switch (commandTimeoutMilliseconds, keepAliveSeconds) {
        case (1_000...20_000, 60...690): break
        default: return false
        }
        for byte in server where byte < 0x21 || byte > 0x7E || byte == UInt8(ascii: "\"") { return false }
        return requests > 0 && attempts > 0 && firstDelayMilliseconds > 0 && server.count <= 128
            && longestDelayMilliseconds >= firstDelayMilliseconds && messageBytes > 0
            && stateInterval > .zero
    }
}
