internal import Kernel
internal import SecureTransport

/// The user name and the password of an MQTT login with the device key.
///
/// The user name is `${productID}${deviceName};${sdkAppID};${connectionID};${expiry}`; the password is the hexadecimal HMAC of
/// the user name under the device key, `;`, and the algorithm's name.
public struct HubLogin: Sendable {
    /// How the login is signed. The hub takes either.
    public enum Algorithm: Sendable {
        /// HMAC-SHA256.
        case hmacSHA256
        /// HMAC-SHA1, as the older SDKs of the vendor use it.
        case hmacSHA1
    }

    /// Until when the login opens connections.
    public enum Expiry: Sendable {
        /// For a device without a clock: the largest 32-bit time.
        case never
        /// Seconds since 1970-01-01T00:00:00Z.
        case at(Int64)
    }

    /// The identifier of the SDK in user names; the hub takes any of the vendor's.
    public static let sdkAppID: StaticString = "21010406"

    /// The user name, UTF-8.
    public let userName: [UInt8]
    /// The password, UTF-8; `nil` for a device with a certificate.
    public let password: [UInt8]?

    /// The login of `identity`. The connection ID is 5 characters of `A-Z a-z 0-9`, new for each attempt; it appears in the hub's logs.
    public init(
        _ identity: DeviceIdentity,
        connectionID: [UInt8],
        expiry: Expiry,
        algorithm: Algorithm = .hmacSHA256,
        sdkAppID: StaticString = HubLogin.sdkAppID
    ) throws(HubIdentityError) {
        guard connectionID.count == 5 else { throw .invalidConnectionID }
        for byte in connectionID where !Self.isLetterOrDigit(byte) { throw .invalidConnectionID }
        var name = identity.clientID
        name.append(UInt8(ascii: ";"))
        name.append(sdkAppID)
        name.append(UInt8(ascii: ";"))
        name.append(connectionID.span)
        name.append(UInt8(ascii: ";"))
        switch expiry {
        case .never: name.append("2147483647")
        case .at(let seconds): name.append(decimal: seconds)
        }
        userName = name
        password =
            switch identity.credential {
            case .certificate: nil
            case .key(let secret): Self.sign(name, with: secret, algorithm)
            }
    }

    private static func sign(_ userName: [UInt8], with secret: DeviceSecret, _ algorithm: Algorithm) -> [UInt8] {
        let signature: [UInt8]
        let name: StaticString
        switch algorithm {
        case .hmacSHA256:
            signature = HMAC.sha256(key: secret.key, message: userName.span)
            name = ";hmacsha256"
        case .hmacSHA1:
            signature = HMAC.sha1(key: secret.key, message: userName.span)
            name = ";hmacsha1"
        }
        var password: [UInt8] = []
        password.reserveCapacity(signature.count * 2 + name.utf8CodeUnitCount)
        for byte in signature {
            password.append(hexadecimalDigit(byte >> 4))
            password.append(hexadecimalDigit(byte & 15))
        }
        password.append(name)
        return password
    }

    static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    /// A connection ID from a random number.
    public static func connectionID(random: UInt32) -> [UInt8] {
        var rest = random
        var id: [UInt8] = []
        for _ in 0..<5 {
            let digit = UInt8(truncatingIfNeeded: rest % 62)
            rest /= 62
            id.append(digit < 10 ? digit + 0x30 : digit < 36 ? digit + 0x37 : digit + 0x3D)
        }
        return id
    }
}

extension [UInt8] {
    /// Appends `value` in decimal, without a division, which for 64 bits is a function of its own on a Cortex-M.
    mutating func append(decimal value: Int64) {
        if value < 0 { append(UInt8(ascii: "-")) }
        var rest = value.magnitude
        var power: UInt64 = 1_000_000_000_000_000_000
        var hasDigits = false
        while power > 0 {
            var digit: UInt8 = 0
            while rest >= power {
                rest -= power
                digit += 1
            }
            hasDigits = hasDigits || digit > 0 || power == 1
            if hasDigits { append(UInt8(ascii: "0") + digit) }
            power = Self.tenth(of: power)
        }
    }

    /// A tenth of a power of ten.
    private static func tenth(of power: UInt64) -> UInt64 {
        var tenth: UInt64 = 1
        guard power > 1 else { return 0 }
        while tenth * 10 < power { tenth *= 10 }
        return tenth
    }
}
