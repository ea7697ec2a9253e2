/// What devices log: the level that they are told on `$log/operation/result`, and the lines that they upload by HTTP.
extension ServiceCore {
    /// The lines that are kept of each device.
    static let lineLimit = 2000

    func answerLog(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        guard request["type"]?.string == "get_log_level" else {
            statistics.malformed += 1
            return
        }
        var body = levelBody(try logLevel(message.device))
        if let token = request["clientToken"] { body["clientToken"] = token }
        sendLog(body, to: message.device, isReply: true)
    }

    func refuseLog(_ message: ServiceMessage, _ request: HubJSON, code: Int) {
        var body: HubJSON = ["type": "get_log_level", "result": HubJSON(code), "timestamp": HubJSON(now / 1000)]
        if let token = request["clientToken"] { body["clientToken"] = token }
        sendLog(body, to: message.device, isReply: true)
    }

    /// Sets what a device is to upload, and tells it.
    func setLogLevel(_ device: HubDeviceName, _ level: CloudLogLevel) throws(HubSimulatorError) {
        try requireDevice(device)
        try store.put(.logLevel, device.description, HubJSON(level.rawValue))
        sendLog(levelBody(level), to: device, isReply: false)
    }

    func logLevel(_ device: HubDeviceName) throws(HubSimulatorError) -> CloudLogLevel {
        try store.document(.logLevel, device.description)?.integer.flatMap { CloudLogLevel(rawValue: $0) } ?? .off
    }

    private func levelBody(_ level: CloudLogLevel) -> HubJSON {
        [
            "type": "get_log_level", "log_level": HubJSON(level.rawValue), "result": 0,
            "timestamp": HubJSON(now / 1000),
        ]
    }

    private func sendLog(_ body: HubJSON, to device: HubDeviceName, isReply: Bool) {
        let topic = "$log/operation/result/\(device)"
        send(ServiceAnswer(service: .log, device: device, topic: topic, body: .json(body), isReply: isReply))
    }
}

/// What a device uploads of its log: a level and all that are graver.
public enum CloudLogLevel: Int, CaseIterable, Sendable {
    /// Nothing.
    case off
    /// Errors.
    case error
    /// Warnings too.
    case warning
    /// Information too.
    case information
    /// Everything.
    case debug
}
