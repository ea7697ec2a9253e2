/// The device shadow: topics `$shadow/operation` and `$shadow/operation/result`, and the same with `$template`.
extension ServiceCore {
    func answerShadow(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        var document = try shadowDocument(message.device)
        let onlyDifferences = behavior.deltaHasOnlyDifferences
        switch request["type"]?.string {
        case "get":
            let isWithMetadata = request["metadata"] == .bool(true)
            let payload = document.payload(at: now, withMetadata: isWithMetadata, onlyDifferences: onlyDifferences)
            replyShadow(message, request, type: "get", result: 0, payload)
        case "update":
            let outcome = document.update(request, at: now, onlyDifferences: onlyDifferences)
            if outcome.result == 0 { try store.put(.shadow, message.device.description, document.stored) }
            replyShadow(message, request, type: "update", result: outcome.result, outcome.payload)
            pushDelta(outcome.delta, to: message.device, root: message.root)
        default: refuseShadow(message, request, code: ShadowDocument.malformed)
        }
    }

    /// What the application does: changes `desired`, unless the shadow has another version than it says. Returns what a device would be answered.
    func updateDesired(_ device: HubDeviceName, _ desired: HubJSON, version: Int) throws(HubSimulatorError) -> HubJSON {
        try requireDevice(device)
        var document = try shadowDocument(device)
        let request: HubJSON = ["state": ["desired": desired], "version": HubJSON(version)]
        let onlyDifferences = behavior.deltaHasOnlyDifferences
        let outcome = document.update(request, at: now, onlyDifferences: onlyDifferences)
        if outcome.result == 0 { try store.put(.shadow, device.description, document.stored) }
        pushDelta(outcome.delta, to: device, root: "$shadow/operation")
        pushDelta(outcome.delta, to: device, root: "$template/operation")
        return [
            "type": "update", "result": HubJSON(outcome.result), "timestamp": HubJSON(now / 1000),
            "payload": outcome.payload,
        ]
    }

    func shadowDocument(_ device: HubDeviceName) throws(HubSimulatorError) -> ShadowDocument {
        try store.document(.shadow, device.description).map { ShadowDocument(stored: $0) } ?? ShadowDocument()
    }

    func refuseShadow(_ message: ServiceMessage, _ request: HubJSON, code: Int) {
        // On request, a conflict has the whole document as a real one has.
        let document = code == ShadowDocument.conflict ? try? shadowDocument(message.device) : nil
        let onlyDifferences = behavior.deltaHasOnlyDifferences
        let payload = document?.payload(at: now, withMetadata: true, onlyDifferences: onlyDifferences)
        replyShadow(message, request, type: request["type"]?.string ?? "update", result: code, payload ?? .emptyObject)
    }

    private func replyShadow(
        _ message: ServiceMessage,
        _ request: HubJSON,
        type: String,
        result: Int,
        _ payload: HubJSON
    ) {
        var body: HubJSON = [
            "type": .string(type), "result": HubJSON(result), "timestamp": HubJSON(now / 1000), "payload": payload,
        ]
        // As it was given, text or number.
        if let token = request["clientToken"] { body["clientToken"] = token }
        sendShadow(body, to: message.device, root: message.root, isReply: true)
    }

    private func pushDelta(_ delta: HubJSON?, to device: HubDeviceName, root: String) {
        guard let delta else { return }
        let body: HubJSON = ["type": "delta", "timestamp": HubJSON(now / 1000), "payload": delta]
        sendShadow(body, to: device, root: root, isReply: false)
    }

    private func sendShadow(_ body: HubJSON, to device: HubDeviceName, root: String, isReply: Bool) {
        let body = behavior.hasShadowTimesInSeconds ? Self.inSeconds(body) : body
        let topic = "\(root)/result/\(device)"
        send(ServiceAnswer(service: .shadow, device: device, topic: topic, body: .json(body), isReply: isReply))
    }

    /// The same with the times of its payload in seconds; the state, which may have any names, stays.
    private static func inSeconds(_ body: HubJSON) -> HubJSON {
        func converted(_ value: HubJSON) -> HubJSON {
            guard let members = value.members else { return value }
            return .object(
                members.map { member in
                    if member.name == "timestamp", let time = member.value.integer, time > 100_000_000_000 {
                        return HubJSON.Member(member.name, HubJSON(time / 1000))
                    }
                    return HubJSON.Member(member.name, member.name == "state" ? member.value : converted(member.value))
                }
            )
        }
        return converted(body)
    }
}
