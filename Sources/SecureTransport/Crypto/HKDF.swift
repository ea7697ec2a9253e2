internal import Kernel

/// Keys from a secret: HKDF with SHA-256 (RFC 5869), on mbedTLS's HMAC.
public enum HKDF {
    /// The pseudorandom key that ``expand(_:info:count:)`` takes, of 32 bytes, from a secret that need not look random (RFC 5869, 2.2).
    public static func extract(_ secret: SecretBytes, salt: Span<UInt8>) -> SecretBytes {
        let salt = SecretBytes([UInt8](copying: salt))
        var key = secret.withBytes { HMAC.sha256(key: salt, message: $0) }
        defer { key.wipe() }
        return SecretBytes(key)
    }

    /// `count` bytes, up to 8,160, for the purpose that `info` names: for another one they are others (RFC 5869, 2.3).
    public static func expand(_ key: SecretBytes, info: Span<UInt8>, count: Int) -> SecretBytes {
        precondition(count >= 0 && count <= 255 * 32, "more than HKDF makes of a key")
        // Reserved at once, so that no copy stays behind.
        var bytes: [UInt8] = []
        var message: [UInt8] = []
        bytes.reserveCapacity(count)
        message.reserveCapacity(32 + info.count + 1)
        defer {
            bytes.wipe()
            message.wipe()
        }
        var counter: UInt8 = 0
        while bytes.count < count {
            counter += 1
            message.append(info)
            message.append(counter)
            var block = HMAC.sha256(key: key, message: message.span)
            message.wipe()
            message.clear()
            message.append(block.span)
            for index in block.indices where bytes.count < count { bytes.append(block[index]) }
            block.wipe()
        }
        return SecretBytes(bytes)
    }
}
