/// Remote configuration, a text per product: topics `$config/operation` and `$config/operation/result`, or by their old names `$config/report` and `$config/update`.
extension ServiceCore {
    static let maximumConfigurationBytes = 131_072
    private static let disabled = 1001
    private static let missing = 1002
    private static let invalid = 1003

    func answerConfiguration(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        guard request["type"]?.string == "get" else {
            statistics.malformed += 1
            return
        }
        replyConfiguration(message, try configurationBody(message.device.productID, type: "reply"))
    }

    func replyConfiguration(_ message: ServiceMessage, _ body: HubJSON) {
        let root = message.root == "$config/report" ? "$config/update" : "$config/operation/result"
        sendConfiguration(body, to: message.device, root: root, isReply: true)
    }

    /// Keeps a product's configuration. It is checked when a device asks.
    func setConfiguration(_ productID: String, _ text: [UInt8]?) throws(HubSimulatorError) {
        if let text, text.count > Self.maximumConfigurationBytes {
            throw .tooLong("the configuration", limit: Self.maximumConfigurationBytes)
        }
        var document = try configuration(productID)
        document["text"] = text.map { .string(String(decoding: $0, as: UTF8.self)) }
        try store.put(.configuration, productID, document)
    }

    func setConfigurationEnabled(_ productID: String, _ isEnabled: Bool) throws(HubSimulatorError) {
        var document = try configuration(productID)
        document["isDisabled"] = isEnabled ? nil : true
        try store.put(.configuration, productID, document)
    }

    /// Sends the configuration to all devices of the product, by the new names of the topics and the old.
    func pushConfiguration(_ productID: String) throws(HubSimulatorError) {
        let devices = registry.devices.filter { $0.productID == productID }
        guard !devices.isEmpty else { throw .unknownDevice("\(productID)/…") }
        let body = try configurationBody(productID, type: "push")
        for device in devices {
            let name = HubDeviceName(productID, device.deviceName)
            sendConfiguration(body, to: name, root: "$config/operation/result", isReply: false)
            sendConfiguration(body, to: name, root: "$config/update", isReply: false)
        }
    }

    private func configuration(_ productID: String) throws(HubSimulatorError) -> HubJSON {
        try store.document(.configuration, productID) ?? .emptyObject
    }

    private func configurationBody(_ productID: String, type: String) throws(HubSimulatorError) -> HubJSON {
        let document = try configuration(productID)
        func refusal(_ code: Int) -> HubJSON { ["type": .string(type), "result": HubJSON(code)] }
        if document["isDisabled"] != nil { return refusal(Self.disabled) }
        guard let text = document["text"]?.string else { return refusal(Self.missing) }
        guard let payload = HubJSON(parsing: text.utf8), payload.members != nil else { return refusal(Self.invalid) }
        let value = behavior.sendsConfigurationAsText ? .string(text) : payload
        return ["type": .string(type), "result": 0, "payload": value]
    }

    private func sendConfiguration(_ body: HubJSON, to device: HubDeviceName, root: String, isReply: Bool) {
        // One that is too long for a message does not arrive; the device waits in vain, as it does with the real cloud.
        guard body.text.count <= maximumPayloadBytes else {
            statistics.dropped += 1
            return
        }
        let topic = "\(root)/\(device)"
        send(ServiceAnswer(service: .configuration, device: device, topic: topic, body: .json(body), isReply: isReply))
    }
}
