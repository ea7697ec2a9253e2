internal import Kernel
internal import SecureTransport

/// A device behind a gateway, which has no connection of its own.
public struct HubSubDevice: Equatable, Sendable {
    /// The product ID.
    public let productID: [UInt8]
    /// The device name.
    public let deviceName: [UInt8]

    /// A device behind a gateway.
    public init(productID: [UInt8], deviceName: [UInt8]) { (self.productID, self.deviceName) = (productID, deviceName) }

    /// The device in a message; `nil` if there is none.
    init?(_ entry: JSONValue) {
        guard let productID = entry["product_id"]?.text, let deviceName = entry["device_name"]?.text else { return nil }
        self.init(productID: productID, deviceName: deviceName)
    }

    var message: JSONValue {
        var entry = JSONValue.emptyObject
        entry.set("product_id", .string(productID))
        entry.set("device_name", .string(deviceName))
        return entry
    }
}

/// What the hub says of a sub-device that a request names.
public struct HubSubDeviceResult: Equatable, Sendable {
    /// The sub-device.
    public let device: HubSubDevice
    /// How it went.
    public let result: HubResult

    /// What the hub says of `device`.
    public init(_ device: HubSubDevice, _ result: HubResult) { (self.device, self.result) = (device, result) }
}

extension HubResult {
    /// Gateway: it is not bound to this sub-device.
    public static let notBound = HubResult(rawValue: -1)
    /// Gateway: the hub could not do it.
    public static let systemError = HubResult(rawValue: -2)
    /// Gateway: a parameter is wrong.
    public static let parameterError = HubResult(rawValue: 801)
    /// Gateway: there is no such device, or its name is wrong.
    public static let unknownDevice = HubResult(rawValue: 802)
    /// Gateway: the signature is wrong.
    public static let wrongSignature = HubResult(rawValue: 803)
    /// Gateway: the signature's method is not supported.
    public static let unsupportedSignature = HubResult(rawValue: 804)
    /// Gateway: the signature is too old.
    public static let expiredSignature = HubResult(rawValue: 805)
    /// Gateway: another gateway has the device.
    public static let boundElsewhere = HubResult(rawValue: 806)
    /// Gateway: a gateway cannot be bound.
    public static let notOrdinary = HubResult(rawValue: 807)
    /// Gateway: it is not allowed.
    public static let notAllowed = HubResult(rawValue: 808)
    /// Gateway: it is bound already.
    public static let boundTwice = HubResult(rawValue: 809)
    /// Gateway: sub-devices of this kind are not supported.
    public static let unsupportedDevice = HubResult(rawValue: 810)
}

/// What binds a sub-device to a gateway: the proof that somebody has its key or its certificate.
public struct HubBinding: Sendable {
    /// The sub-device.
    public let device: HubSubDevice
    private let signature: [UInt8]
    private let random: UInt32
    private let seconds: Int64
    private let method: StaticString
    private let kind: StaticString

    /// A binding by the sub-device's key, in base64 as the console shows it: the text itself is what signs. `random` is any number, of which 31 bits count;
    /// `seconds` is the time since 1970-01-01T00:00:00Z, which the hub compares with its own.
    public init(
        _ device: HubSubDevice,
        secret: Span<UInt8>,
        random: UInt32,
        seconds: Int64,
        algorithm: HubLogin.Algorithm = .hmacSHA256
    ) {
        self.init(device, key: SecretBytes([UInt8](copying: secret)), "psk", random, seconds, algorithm)
    }

    /// How a certificate signs. The vendor's SDK and its documents differ.
    public enum CertificateDigest: Sendable {
        /// As the SDK does it.
        case md5
        /// As the documents say.
        case sha1
    }

    /// A binding by the sub-device's certificate, the bytes of its file.
    public init(
        _ device: HubSubDevice,
        certificate: Span<UInt8>,
        digest: CertificateDigest = .md5,
        random: UInt32,
        seconds: Int64,
        algorithm: HubLogin.Algorithm = .hmacSHA256
    ) {
        let bytes =
            switch digest {
            case .md5: Digest.md5(certificate)
            case .sha1: Digest.sha1(certificate)
            }
        var key: [UInt8] = []
        for byte in bytes {
            key.append(HubLogin.hexadecimalDigit(byte >> 4))
            key.append(HubLogin.hexadecimalDigit(byte & 15))
        }
        self.init(device, key: SecretBytes(key), "certificate", random, seconds, algorithm)
    }

    private init(
        _ device: HubSubDevice,
        key: SecretBytes,
        _ kind: StaticString,
        _ random: UInt32,
        _ seconds: Int64,
        _ algorithm: HubLogin.Algorithm
    ) {
        self.device = device
        self.kind = kind
        self.random = random & 0x7FFF_FFFF
        self.seconds = seconds
        method =
            switch algorithm {
            case .hmacSHA256: "hmacsha256"
            case .hmacSHA1: "hmacsha1"
            }
        signature = Self.signature(of: device, key, self.random, seconds, algorithm)
    }

    private static func signature(
        of device: HubSubDevice,
        _ key: SecretBytes,
        _ random: UInt32,
        _ seconds: Int64,
        _ algorithm: HubLogin.Algorithm
    ) -> [UInt8] {
        var text = device.productID
        text.append(device.deviceName.span)
        text.append(UInt8(ascii: ";"))
        text.append(decimal: Int64(random))
        text.append(UInt8(ascii: ";"))
        text.append(decimal: seconds)
        let code =
            switch algorithm {
            case .hmacSHA256: HMAC.sha256(key: key, message: text.span)
            case .hmacSHA1: HMAC.sha1(key: key, message: text.span)
            }
        return Base64.encode(code.span)
    }

    var message: JSONValue {
        var entry = device.message
        entry.set("signature", .string(signature))
        entry.set("random", .integer(Int64(random)))
        entry.set("timestamp", .integer(seconds))
        entry.set("signmethod", .string(method))
        entry.set("authtype", .string(kind))
        return entry
    }
}
