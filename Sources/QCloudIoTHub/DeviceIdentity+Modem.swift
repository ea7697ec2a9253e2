public import ATAdapter
internal import SecureTransport

extension DeviceIdentity {
    /// What the firmware of a modem is told, which then logs the device in by itself: see `ModemMQTT`.
    ///
    /// Throws `ModemMQTTError.invalidIdentity` for a device with a certificate, or with a key that no firmware takes: over 33 bytes.
    public func forModem() throws(ModemMQTTError) -> ModemMQTTIdentity {
        guard case .key(let secret) = credential else { throw .invalidIdentity }
        return try ModemMQTTIdentity(
            productID: productID,
            deviceName: deviceName,
            secret: secret.key.withBytes { Base64.encode($0) }
        )
    }
}
