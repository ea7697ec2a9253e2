// MARK: - Devices

extension HubSimulator {
    /// All devices of the registry.
    public var devices: [RegisteredDevice] { registry.devices }

    /// The path of the certificate that devices verify the hub with.
    public var authorityCertificatePath: String { "\(directory)/ca.crt" }

    /// Adds a device with a key, and its product if that is new. Without a secret it gets 16 random bytes.
    @discardableResult
    public func addDevice(
        productID: String,
        deviceName: String,
        secret: String? = nil
    ) throws(HubSimulatorError) -> RegisteredDevice {
        var generator = SystemRandomNumberGenerator()
        let secret = secret ?? Base64.encode((0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) })
        let device = RegisteredDevice(
            productID: productID,
            deviceName: deviceName,
            credential: .key(secret: secret),
            isEnabled: true
        )
        try registry.add(device)
        return device
    }

    /// Adds a device with a certificate, which is made; and its product if that is new.
    @discardableResult
    public func addDeviceWithCertificate(
        productID: String,
        deviceName: String
    ) throws(HubSimulatorError) -> RegisteredDevice {
        let device = RegisteredDevice(
            productID: productID,
            deviceName: deviceName,
            credential: .certificate(
                certificatePath: RegistryFile.certificatePath(directory, productID: productID, deviceName: deviceName),
                privateKeyPath: RegistryFile.privateKeyPath(directory, productID: productID, deviceName: deviceName)
            ),
            isEnabled: true
        )
        try device.check()
        try identities.makeCertificate(productID: productID, deviceName: deviceName)
        try registry.add(device)
        return device
    }

    /// Lets a device log in, or no more; then it is also disconnected, within 100 ms.
    public func setEnabled(_ isEnabled: Bool, productID: String, deviceName: String) throws(HubSimulatorError) {
        try registry.setEnabled(isEnabled, productID: productID, deviceName: deviceName)
    }

    /// Takes a device out of the registry; it is also disconnected, within 100 ms.
    public func removeDevice(productID: String, deviceName: String) throws(HubSimulatorError) {
        try registry.remove(productID: productID, deviceName: deviceName)
    }
}

// MARK: - Messages

extension HubSimulator {
    /// Sends a message to the device's `control` topic with QoS 1. Does not wait; while the broker is stopped, the message is kept.
    ///
    /// A device without an MQTT connection gets it when it comes with a persistent session, or as the answer to a CoAP request; for these, the
    /// last 16 are kept.
    public func sendControl(
        to productID: String,
        deviceName: String,
        payload: [UInt8]
    ) throws(HubSimulatorError) {
        guard let device = registry.device(productID: productID, deviceName: deviceName) else {
            throw .unknownDevice("\(productID)/\(deviceName)")
        }
        try publish(topic: "\(productID)/\(deviceName)/control", payload: payload, qos: 1)
        record.keepForCoAP(payload, clientID: device.clientID)
    }

    /// Publishes to any topic, QoS 0 or 1, as the cloud. Does not wait. What is published where devices publish too, comes back as their message.
    public func publish(topic: String, payload: [UInt8], qos: Int = 1) throws(HubSimulatorError) {
        try parts().cloud.publish(topic: topic, payload: payload, qos: qos)
    }

    /// Calls a handler with each event from now on, on a thread of the hub's. It must be quick. Returns a number for ``removeHandler(_:)``.
    @discardableResult
    public func onEvent(_ handler: @escaping @Sendable (HubEvent) -> Void) -> Int { record.addHandler(handler) }

    /// Calls a handler with each message from now on, as ``onEvent(_:)``.
    @discardableResult
    public func onMessage(_ handler: @escaping @Sendable (HubMessage) -> Void) -> Int {
        onEvent { event in
            if case .message(let message) = event { handler(message) }
        }
    }

    /// Ends the calls of a handler.
    public func removeHandler(_ number: Int) { record.removeHandler(number) }

    /// The events from now on. Who reads slowly loses the oldest of more than `limit`.
    public func events(limit: Int = 10_000) -> AsyncStream<HubEvent> {
        let (stream, continuation) = AsyncStream.makeStream(of: HubEvent.self, bufferingPolicy: .bufferingNewest(limit))
        let number = onEvent { continuation.yield($0) }
        let record = record
        continuation.onTermination = { _ in record.removeHandler(number) }
        return stream
    }

    /// What a device has done since this object was made; zeros for one that is not in the registry.
    public func statistics(productID: String, deviceName: String) -> DeviceStatistics {
        record.statistics(of: productID + deviceName)
    }

    /// What was refused, oldest first; the last 1000.
    public var refusals: [HubRefusal] { record.refusals }
}
