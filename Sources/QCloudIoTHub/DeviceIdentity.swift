internal import Kernel
internal import SecureTransport

/// Who a device is for the hub: its product, its name, and how it proves it.
public struct DeviceIdentity: Sendable {
    /// How a device proves who it is; a property of its product.
    public enum Credential: Sendable {
        /// The device key.
        case key(DeviceSecret)
        /// A certificate, which the TLS connection presents.
        case certificate
    }

    /// The product ID: 10 characters of `A-Z 0-9`.
    public let productID: [UInt8]
    /// The device name: 1 to 48 characters of `A-Z a-z 0-9 _ -`.
    public let deviceName: [UInt8]
    /// How it proves who it is.
    public let credential: Credential

    /// The identity of a device with the credential `credential`.
    public init(productID: [UInt8], deviceName: [UInt8], credential: Credential) throws(HubIdentityError) {
        guard productID.count == 10 else { throw .invalidProductID }
        for byte in productID where !Self.isUpperCaseOrDigit(byte) { throw .invalidProductID }
        guard (1...48).contains(deviceName.count) else { throw .invalidDeviceName }
        for byte in deviceName where !Self.isNameCharacter(byte) { throw .invalidDeviceName }
        self.productID = productID
        self.deviceName = deviceName
        self.credential = credential
    }

    /// What the hub knows the device by, as client identifier, PSK identity and certificate name: product ID and device name with
    /// nothing between them.
    public var clientID: [UInt8] {
        var id = productID
        id.append(deviceName.span)
        return id
    }

    private static func isUpperCaseOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }

    private static func isNameCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: isUpperCaseOrDigit(byte)
        }
    }
}

/// A device key: never printed, and wiped when nobody uses it any more.
public final class DeviceSecret: Sendable {
    /// The key itself: the decoded text.
    let key: SecretBytes

    /// A key from its base64 text (with or without padding), as the console shows it: 1 to 48 bytes when decoded.
    public init(base64 text: Span<UInt8>) throws(HubIdentityError) {
        guard let key = Base64.decode(text), (1...48).contains(key.count) else { throw .invalidDeviceSecret }
        self.key = SecretBytes(key)
    }
}
