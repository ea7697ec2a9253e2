#if !hasFeature(Embedded)
extension DeviceIdentity {
    /// The identity of a device with the device key `secret`, in base64 as the console shows it.
    public init(productID: String, deviceName: String, secret: String) throws(HubIdentityError) {
        let text = Array(secret.utf8)
        try self.init(
            productID: Array(productID.utf8),
            deviceName: Array(deviceName.utf8),
            credential: .key(DeviceSecret(base64: text.span))
        )
    }
}
#endif
