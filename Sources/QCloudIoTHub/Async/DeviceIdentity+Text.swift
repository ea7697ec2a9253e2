#if !hasFeature(Embedded)
public import MQTTClient

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

extension HubDevice {
    /// Reports an event, such as a JSON object; returns when the hub has it.
    public func reportEvent(_ text: String) async throws(MQTTError) { try await reportEvent(Array(text.utf8)) }
}
#endif
