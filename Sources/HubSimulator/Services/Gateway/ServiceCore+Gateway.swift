/// Gateways and their sub-devices: topics `$gateway/operation` and `$gateway/operation/result`.
extension ServiceCore {
    /// The hub's limit of sub-devices of one gateway.
    static let subDeviceLimit = 1500

    /// The results of 6.1 of the specification.
    enum GatewayResult: Int {
        case done = 0
        case notBound = -1
        case systemError = -2
        case parameterError = 801
        case unknownDevice = 802
        case wrongSignature = 803
        case unknownMethod = 804
        case expired = 805
        case boundElsewhere = 806
        case notOrdinary = 807
        case notAllowed = 808
        case boundTwice = 809
    }

    func answerGateway(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        guard let type = request["type"]?.string else {
            statistics.malformed += 1
            return
        }
        let gateway = message.device
        // What answers a push has the push's type, and a list of sub-devices answers the hub's question for it.
        if finishGatewayCall(gateway, type, request) { return }
        switch type {
        case "describe_sub_devices":
            let bound = try subDevices(of: gateway).map(Self.json)
            sendGateway(["type": .string(type), "payload": ["devices": .array(bound)]], to: gateway, isReply: true)
        case "online", "offline", "bind", "unbind":
            guard let entries = request["payload"]?["devices"]?.elements, !entries.isEmpty else {
                return refuseGateway(message, request, code: GatewayResult.parameterError.rawValue)
            }
            var results: [HubJSON] = []
            for entry in entries {
                let result = try carryOut(type, entry, gateway)
                results.append(Self.result(entry, result.rawValue))
            }
            tellPlugin(gateway)
            replyGateway(gateway, type: type, results)
        default: statistics.malformed += 1
        }
    }

    func refuseGateway(_ message: ServiceMessage, _ request: HubJSON, code: Int) {
        let entries = request["payload"]?["devices"]?.elements ?? []
        let type = request["type"]?.string ?? ""
        replyGateway(message.device, type: type, entries.map { Self.result($0, code) })
    }

    /// The connection of a gateway has ended, and with it those of its sub-devices.
    func forgetSubDevices(ofClient clientID: String) {
        for gateway in onlineSubDevices.keys where gateway.clientID == clientID { onlineSubDevices[gateway] = nil }
    }

    // MARK: Requests

    private func carryOut(_ type: String, _ entry: HubJSON, _ gateway: HubDeviceName) throws(HubSimulatorError)
        -> GatewayResult
    {
        guard let productID = entry["product_id"]?.string, let name = entry["device_name"]?.string else {
            return .parameterError
        }
        let device = HubDeviceName(productID, name)
        guard let registered = registry.device(productID: productID, deviceName: name) else { return .unknownDevice }
        let owner = try self.gateway(of: device)
        switch type {
        case "bind":
            let result = try checkBinding(entry, registered, gateway, owner)
            if result == .done { try bind(device, gateway) }
            return result
        case "unbind":
            guard owner == gateway else { return .notBound }
            try unbind(device)
        case "online":
            guard owner == gateway else { return .notBound }
            guard registered.isEnabled else { return .systemError }
            onlineSubDevices[gateway, default: []].insert(device)
            try noteLogin(clientID: device.clientID)
        default:
            guard owner == gateway else { return .notBound }
            onlineSubDevices[gateway]?.remove(device)
        }
        return .done
    }

    private func checkBinding(
        _ entry: HubJSON,
        _ device: RegisteredDevice,
        _ gateway: HubDeviceName,
        _ owner: HubDeviceName?
    ) throws(HubSimulatorError) -> GatewayResult {
        guard let signature = entry["signature"]?.string, let random = entry["random"]?.integer, random >= 0,
            let timestamp = entry["timestamp"]?.integer, let method = entry["signmethod"]?.string,
            let kind = entry["authtype"]?.string, kind == (device.secret == nil ? "certificate" : "psk")
        else { return .parameterError }
        guard ["hmacsha1", "hmacsha256"].contains(method) else { return .unknownMethod }
        guard device.clientID != gateway.clientID else { return .notAllowed }
        guard try !isGateway(device.productID) else { return .notOrdinary }
        guard abs(timestamp - now / 1000) <= Int(behavior.bindSignatureAge.components.seconds) else { return .expired }
        let text = Array("\(device.clientID);\(random);\(timestamp)".utf8)
        let digest = method == "hmacsha1" ? Cryptography.Digest.sha1 : .sha256
        let isRight = try bindKeys(of: device).contains { key in
            Base64.decode(signature).map {
                Cryptography.areEqual($0, Cryptography.hmac(digest, key: Array(key.utf8), text))
            } ?? false
        }
        guard isRight else { return .wrongSignature }
        if let owner { return owner == gateway ? .boundTwice : .boundElsewhere }
        guard try subDevices(of: gateway).count < Self.subDeviceLimit else { return .notAllowed }
        return .done
    }

    /// The secret's text; of a certificate, the digits of its file's MD5, as the vendor's SDK has it, or of its SHA-1, as the documents have it.
    private func bindKeys(of device: RegisteredDevice) throws(HubSimulatorError) -> [String] {
        switch device.credential {
        case .key(let secret): return [secret]
        case .certificate(let path, _):
            let file = try readFile(path)
            return [hex(Cryptography.digest(.md5, file)), hex(Cryptography.digest(.sha1, file))]
        }
    }

    // MARK: Bindings

    /// The gateway that a device is bound to.
    func gateway(of device: HubDeviceName) throws(HubSimulatorError) -> HubDeviceName? {
        try store.document(.binding, device.description)?.string.flatMap { HubDeviceName($0) }
    }

    /// What is bound to a gateway.
    func subDevices(of gateway: HubDeviceName) throws(HubSimulatorError) -> [HubDeviceName] {
        try store.documents(.binding).filter { $0.value == .string(gateway.description) }.compactMap {
            HubDeviceName($0.key)
        }
    }

    func bind(_ device: HubDeviceName, _ gateway: HubDeviceName) throws(HubSimulatorError) {
        try store.put(.binding, device.description, .string(gateway.description))
    }

    func unbind(_ device: HubDeviceName) throws(HubSimulatorError) {
        if let gateway = try gateway(of: device) {
            onlineSubDevices[gateway]?.remove(device)
            tellPlugin(gateway)
        }
        try store.remove(.binding, device.description)
    }

    private func isGateway(_ productID: String) throws(HubSimulatorError) -> Bool {
        try store.document(.product, "\(productID)/kind") == "gateway"
    }

    /// Which topics the gateway may use from now on. It comes before what is sent to the gateway next.
    func tellPlugin(_ gateway: HubDeviceName) {
        let devices = onlineSubDevices[gateway, default: []].map(\.clientID).sorted()
        sendInternally("$hub/sub-devices/\(gateway.clientID)", Array(devices.joined(separator: "\n").utf8))
    }

    // MARK: Messages

    static func json(_ device: HubDeviceName) -> HubJSON {
        ["product_id": .string(device.productID), "device_name": .string(device.deviceName)]
    }

    private static func result(_ entry: HubJSON, _ code: Int) -> HubJSON {
        [
            "product_id": entry["product_id"] ?? "", "device_name": entry["device_name"] ?? "",
            "result": HubJSON(code),
        ]
    }

    private func replyGateway(_ gateway: HubDeviceName, type: String, _ results: [HubJSON]) {
        let shown = behavior.gatewayAnswersOnlyFirst ? Array(results.prefix(1)) : results
        let type = behavior.answersUnbindAsBind && type == "unbind" ? "bind" : type
        sendGateway(["type": .string(type), "payload": ["devices": .array(shown)]], to: gateway, isReply: true)
    }

    func sendGateway(_ body: HubJSON, to gateway: HubDeviceName, isReply: Bool) {
        let topic = "$gateway/operation/result/\(gateway)"
        send(
            ServiceAnswer(
                service: .gateway,
                device: gateway,
                topic: topic,
                body: .json(body),
                qos: 1,
                isReply: isReply
            )
        )
    }
}
