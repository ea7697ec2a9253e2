/// A device that may log in, as the registry has it.
public struct RegisteredDevice: Equatable, Sendable {
    /// What it proves itself with.
    public enum Credential: Equatable, Sendable {
        /// A key; the secret is its base64 text.
        case key(secret: String)
        /// A client certificate and its private key, as paths of PEM files.
        case certificate(certificatePath: String, privateKeyPath: String)
    }

    /// 10 of A-Z and 0-9.
    public let productID: String
    /// 1 to 48 of A-Z, a-z, 0-9, `_` and `-`.
    public let deviceName: String
    /// What it proves itself with.
    public let credential: Credential
    /// Whether it may log in.
    public internal(set) var isEnabled: Bool

    /// The MQTT client ID and TLS-PSK identity.
    public var clientID: String { productID + deviceName }

    /// The key's base64 text, for a device with a key.
    public var secret: String? {
        guard case .key(let secret) = credential else { return nil }
        return secret
    }

    /// Whether the product ID, the name and the secret keep to the rules; throws what is wrong.
    func check() throws(HubSimulatorError) {
        guard productID.utf8.count == 10, productID.utf8.allSatisfy({ $0.isUpper || $0.isDigit }) else {
            throw .invalidIdentity("a product ID is 10 of A-Z and 0-9, not \"\(productID)\"")
        }
        let dash = UInt8(ascii: "-")
        let underscore = UInt8(ascii: "_")
        guard
            1...48 ~= deviceName.utf8.count,
            deviceName.utf8.allSatisfy({ $0.isUpper || $0.isLower || $0.isDigit || $0 == dash || $0 == underscore })
        else { throw .invalidIdentity("a device name is 1 to 48 of A-Z, a-z, 0-9, _ and -, not \"\(deviceName)\"") }
        guard let secret else { return }
        guard let key = Base64.decode(secret), 1...48 ~= key.count else {
            throw .invalidIdentity("the secret of \(deviceName) is not base64 of 1 to 48 bytes")
        }
    }
}

extension RegisteredDevice: CustomStringConvertible, CustomReflectable {
    /// The product ID and name; never the secret.
    public var description: String { "\(productID)/\(deviceName)" }
    /// The same.
    public var customMirror: Mirror { Mirror(reflecting: description) }
}

extension RegisteredDevice.Credential: CustomStringConvertible, CustomReflectable {
    /// The kind; never the secret.
    public var description: String {
        switch self {
        case .key: "key"
        case .certificate: "certificate"
        }
    }
    /// The same.
    public var customMirror: Mirror { Mirror(reflecting: description) }
}

/// RFC 4648, 4.
enum Base64 {
    private static let alphabet = [UInt8]("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for digit in 0..<4 {
                text.append(digit <= group.count ? alphabet[bits >> (18 - 6 * digit) & 63] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Takes text with all of its padding or none.
    static func decode(_ text: String) -> [UInt8]? {
        let digits = text.utf8.prefix { $0 != UInt8(ascii: "=") }
        let padding = text.utf8.count - digits.count
        guard digits.count % 4 != 1, padding == 0 || padding == (4 - digits.count % 4) % 4,
            text.utf8.suffix(padding).allSatisfy({ $0 == UInt8(ascii: "=") })
        else { return nil }
        var bytes: [UInt8] = []
        var bits = 0
        var count = 0
        for digit in digits {
            guard let value = alphabet.firstIndex(of: digit) else { return nil }
            bits = (bits << 6 | value) & 0xFFFF
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> count))
        }
        return bytes
    }
}

extension UInt8 {
    var isDigit: Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= self }
    var isUpper: Bool { UInt8(ascii: "A")...UInt8(ascii: "Z") ~= self }
    var isLower: Bool { UInt8(ascii: "a")...UInt8(ascii: "z") ~= self }
}
