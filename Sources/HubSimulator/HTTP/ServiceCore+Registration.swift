/// Dynamic registration: a device that knows its product's secret is told its own credentials.
extension ServiceCore {
    typealias HTTPOutcome<Value> = Result<Value, GatewayHTTP.Refusal>

    static func refused<Value>(_ code: GatewayHTTP.Code, _ message: String) -> HTTPOutcome<Value> {
        .failure(GatewayHTTP.Refusal(code: code, message: message))
    }

    /// `POST /device/register`.
    func register(_ request: HTTPRequest) throws(HubSimulatorError) -> HTTPOutcome<HubJSON> {
        guard let signature = CloudSignature(request) else {
            return Self.refused(.invalid, "X-TC-Algorithm, X-TC-Timestamp, X-TC-Nonce and X-TC-Signature are needed")
        }
        guard let body = HubJSON(parsing: request.body), let productID = body["ProductId"]?.string,
            let name = body["DeviceName"]?.string
        else { return Self.refused(.invalid, "the body is JSON with ProductId and DeviceName") }
        guard let secret = registry.productSecret(of: productID) else {
            return Self.refused(.unknownProduct, "there is no product \(productID)")
        }
        signedHost = signature.host(of: request, key: .secret(secret))
        guard signedHost != nil else {
            return Self.refused(.wrongSignature, "the signature is not that of the product's secret")
        }
        return try registered(HubDeviceName(productID, name), secret: secret).map { payload in
            [
                "Len": HubJSON(payload.length), "Payload": .string(payload.encrypted),
                "State": payload.isNew ? 0 : 1,
            ]
        }
    }

    /// `POST /register/dev`, as older devices have it.
    func registerLegacy(_ request: HTTPRequest) throws(HubSimulatorError) -> HTTPOutcome<HubJSON> {
        guard let body = HubJSON(parsing: request.body), let productID = body["productId"]?.string,
            let name = body["deviceName"]?.string, let nonce = body["nonce"]?.integer,
            let timestamp = body["timestamp"]?.integer,
            let signature = body["signature"]?.string.flatMap({ Base64.decode($0) })
        else { return Self.refused(.invalid, "deviceName, nonce, productId, timestamp and signature are needed") }
        guard let secret = registry.productSecret(of: productID) else {
            return Self.refused(.unknownProduct, "there is no product \(productID)")
        }
        let text = "deviceName=\(name)&nonce=\(nonce)&productId=\(productID)&timestamp=\(timestamp)"
        let code = Cryptography.hmac(.sha1, key: Array(secret.utf8), Array(text.utf8))
        guard Cryptography.areEqual(Array(hex(code).utf8), signature) else {
            return Self.refused(.wrongSignature, "the signature is not that of the product's secret")
        }
        return try registered(HubDeviceName(productID, name), secret: secret).map { payload in
            ["code": 0, "message": "", "len": HubJSON(payload.length), "payload": .string(payload.encrypted)]
        }
    }

    /// What may be done with a product's devices by registration.
    func registration(of productID: String) throws(HubSimulatorError) -> RegistrationSettings {
        var settings = RegistrationSettings()
        let document = try store.document(.product, productID)
        settings.isAllowed = document?["isAllowed"] != .bool(false)
        settings.createsDevices = document?["createsDevices"] == .bool(true)
        settings.allowsActivatedDevices = document?["allowsActivatedDevices"] == .bool(true)
        return settings
    }

    func setRegistration(_ settings: RegistrationSettings, of productID: String) throws(HubSimulatorError) {
        guard registry.productSecret(of: productID) != nil else { throw .unknownDevice("\(productID)/…") }
        try store.put(
            .product,
            productID,
            [
                "isAllowed": .bool(settings.isAllowed), "createsDevices": .bool(settings.createsDevices),
                "allowsActivatedDevices": .bool(settings.allowsActivatedDevices),
            ]
        )
    }

    /// A device has logged in: it is activated from now on.
    func noteLogin(clientID: String) throws(HubSimulatorError) {
        guard let device = registry.device(clientID: clientID) else { return }
        guard try store.document(.device, device.description) == nil else { return }
        try store.put(.device, device.description, ["isActivated": true])
    }

    /// Finds or makes the device, and encrypts what it is to know.
    private func registered(
        _ name: HubDeviceName,
        secret: String
    ) throws(HubSimulatorError) -> HTTPOutcome<(encrypted: String, length: Int, isNew: Bool)> {
        let settings = try registration(of: name.productID)
        guard settings.isAllowed else { return Self.refused(.isNotAllowed, "the product does not allow it") }
        let key = Array(secret.utf8.prefix(16))
        guard key.count == 16 else { return Self.refused(.invalid, "the product's secret has less than 16 characters") }
        let found = registry.device(productID: name.productID, deviceName: name.deviceName)
        if let found, !found.isEnabled { return Self.refused(.isDisabled, "the device is disabled") }
        let isActivated = try store.document(.device, name.description)?["isActivated"] == .bool(true)
        if found != nil, isActivated, !settings.allowsActivatedDevices {
            return Self.refused(.isActivated, "the device has logged in before")
        }
        guard found != nil || settings.createsDevices else {
            return Self.refused(.unknownDevice, "the product has no device \(name.deviceName)")
        }
        let device: RegisteredDevice
        do throws(HubSimulatorError) {
            if let found { device = found } else { device = try makeDevice(name) }
        } catch .invalidIdentity(let reason) {
            return Self.refused(.invalid, reason)
        }
        let text = try credentials(of: device).text
        let iv = [UInt8](repeating: UInt8(ascii: "0"), count: 16)
        let encrypted = Cryptography.encryptWithZeros(text, key: key, iv: iv)
        return .success((Base64.encode(encrypted), text.count, found == nil))
    }

    private func makeDevice(_ name: HubDeviceName) throws(HubSimulatorError) -> RegisteredDevice {
        let device = RegisteredDevice(
            productID: name.productID,
            deviceName: name.deviceName,
            credential: .key(secret: Base64.encode(secretBytes(16))),
            isEnabled: true
        )
        try registry.add(device)
        return device
    }

    private func credentials(of device: RegisteredDevice) throws(HubSimulatorError) -> HubJSON {
        switch device.credential {
        case .key(let secret): return ["encryptionType": 2, "psk": .string(secret)]
        case .certificate(let certificatePath, let privateKeyPath):
            let certificate = String(decoding: try readFile(certificatePath), as: UTF8.self)
            let privateKey = String(decoding: try readFile(privateKeyPath), as: UTF8.self)
            return ["encryptionType": 1, "clientCert": .string(certificate), "clientKey": .string(privateKey)]
        }
    }
}

/// What dynamic registration may do with a product.
public struct RegistrationSettings: Equatable, Sendable {
    /// Whether devices may register at all.
    public var isAllowed = true
    /// Whether a device that the product does not have is made, with a key.
    public var createsDevices = false
    /// Whether a device that has logged in before may register again.
    public var allowsActivatedDevices = false

    /// Devices that exist may register until they log in.
    public init() {}
}
