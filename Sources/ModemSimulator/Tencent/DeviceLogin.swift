internal import CCrypto
internal import CLinux

/// What a device shows the hub, computed by OpenSSL.
struct DeviceLogin {
    let clientID: String
    let userName: String
    let password: String
    /// The device's key: the decoded secret.
    let key: [UInt8]

    /// `nil` if the secret is not base64.
    init?(productID: String, deviceName: String, secret: String) {
        guard let key = Self.decoded(secret), !key.isEmpty else { return nil }
        self.key = key
        clientID = productID + deviceName
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
        let connection = String((0..<5).map { _ in letters.randomElement() ?? "0" })
        userName = "\(clientID);21010406;\(connection);\(time(nil) + 3_600)"
        var digest = [UInt8](repeating: 0, count: 20)
        var count: UInt32 = 0
        let text = Array(userName.utf8)
        HMAC(EVP_sha1(), key, Int32(key.count), text, text.count, &digest, &count)
        password = Hex.text(digest).lowercased() + ";hmacsha1"
    }

    private static func decoded(_ text: String) -> [UInt8]? {
        var padded = Array(text.utf8)
        guard !padded.isEmpty else { return nil }
        while padded.count % 4 != 0 { padded.append(UInt8(ascii: "=")) }
        var bytes = [UInt8](repeating: 0, count: padded.count / 4 * 3)
        let count = EVP_DecodeBlock(&bytes, padded, Int32(padded.count))
        guard count >= 0 else { return nil }
        // OpenSSL counts what the padding stands for.
        let padding = padded.suffix(2).count { $0 == UInt8(ascii: "=") }
        return Array(bytes.prefix(Int(count) - padding))
    }

    /// The MD5 of an image, in hexadecimal digits.
    static func md5(_ bytes: [UInt8]) -> String {
        var digest = [UInt8](repeating: 0, count: 16)
        EVP_Digest(bytes, bytes.count, &digest, nil, EVP_md5(), nil)
        return Hex.text(digest).lowercased()
    }
}
