/// Something that a device did.
public enum HubEvent: Equatable, Sendable {
    /// A message of a device arrived.
    case message(HubMessage)
    /// A device logged in.
    case loggedIn(clientID: String, address: String)
    /// A device's connection ended.
    case disconnected(clientID: String)
    /// A device was refused something.
    case refused(HubRefusal)
}

/// A message that a device sent.
public struct HubMessage: Equatable, Sendable {
    /// How it came.
    public enum Way: Equatable, Sendable {
        /// As a PUBLISH.
        case mqtt
        /// As a POST.
        case coap
        /// By the HTTP gateway.
        case http
    }

    /// The product of the device.
    public let productID: String
    /// The name of the device.
    public let deviceName: String
    /// The whole topic.
    public let topic: String
    /// What was sent.
    public let payload: [UInt8]
    /// 0 or 1; 1 for CoAP, whose requests are confirmed.
    public let qos: Int
    /// How it came.
    public let way: Way
}

/// Something that was refused.
public struct HubRefusal: Equatable, Sendable {
    /// Why; the names are those of the broker's log.
    public struct Reason: RawRepresentable, Hashable, Sendable {
        /// The name.
        public let rawValue: String
        /// A reason by its name.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// No device of this product is in the registry.
        public static let unknownProduct = Reason(rawValue: "unknown-product")
        /// The product has no such device.
        public static let unknownDevice = Reason(rawValue: "unknown-device")
        /// The device is disabled; it is also disconnected for this.
        public static let deviceDisabled = Reason(rawValue: "device-disabled")
        /// The login is not MQTT 3.1.1.
        public static let wrongProtocolLevel = Reason(rawValue: "wrong-protocol-level")
        /// The keep alive is over 900 seconds.
        public static let keepAliveTooLong = Reason(rawValue: "keep-alive-too-long")
        /// The username is not client ID, application ID, connection ID and expiry, with semicolons between.
        public static let malformedUsername = Reason(rawValue: "malformed-username")
        /// The username does not begin with the client ID.
        public static let wrongClientID = Reason(rawValue: "wrong-client-id")
        /// The expiry in the username has passed.
        public static let expired = Reason(rawValue: "expired")
        /// A device with a key logs in without a password, and not by TLS-PSK either.
        public static let missingPassword = Reason(rawValue: "missing-password")
        /// The password is not a token, a semicolon and `hmacsha256` or `hmacsha1`.
        public static let malformedPassword = Reason(rawValue: "malformed-password")
        /// The token is not that of the device's key and this username.
        public static let badSignature = Reason(rawValue: "bad-signature")
        /// Someone took the client ID of the cloud.
        public static let wrongCloudPassword = Reason(rawValue: "wrong-cloud-password")
        /// The TLS-PSK identity is not the client ID.
        public static let wrongPSKIdentity = Reason(rawValue: "wrong-psk-identity")
        /// The TLS-PSK handshake began and no login came: most often, the key is wrong.
        public static let pskHandshakeFailed = Reason(rawValue: "psk-handshake-failed")
        /// A device with a certificate logs in without it.
        public static let certificateNeeded = Reason(rawValue: "certificate-needed")
        /// A device with a key logs in with a certificate.
        public static let certificateNotAllowed = Reason(rawValue: "certificate-not-allowed")
        /// The certificate's common name is not the client ID.
        public static let wrongCertificate = Reason(rawValue: "wrong-certificate")
        /// The topic filter is not one of the device's own.
        public static let subscribeNotAllowed = Reason(rawValue: "subscribe-not-allowed")
        /// The topic is not one of the device's own, or only the hub may publish there.
        public static let publishNotAllowed = Reason(rawValue: "publish-not-allowed")
        /// The payload of a message is longer than the hub takes.
        public static let payloadTooLarge = Reason(rawValue: "payload-too-large")
    }

    /// The client ID or TLS-PSK identity that was refused.
    public let clientID: String
    /// Why.
    public let reason: Reason
    /// What it was about: a username, a topic.
    public let detail: String
    /// The numeric address it came from; empty when the hub itself ended a connection.
    public let address: String
}

/// What one device has done since the hub was made.
public struct DeviceStatistics: Equatable, Sendable {
    /// Logins by MQTT.
    public var logins = 0
    /// Refusals of any kind.
    public var refusals = 0
    /// Messages that arrived, repeated ones counted again.
    public var messages = 0
    /// MQTT connections now: 0 or 1, or 2 for a moment while a second login ends the first.
    public var connections = 0
}
