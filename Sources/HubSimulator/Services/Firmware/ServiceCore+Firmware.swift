/// Firmware updates: topics `$ota/report` and `$ota/update`, and the files themselves by HTTP.
extension ServiceCore {
    func answerFirmware(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        let module = request["report"]?["fw_type"]?.string
        if let module, try !isModule(module, of: message.device) {
            return refuseFirmware(message, request, code: -1)
        }
        let key = Self.upgradeKey(message.device, module)
        var record = UpgradeRecord(try store.document(.upgrade, key))
        switch request["type"]?.string {
        case "report_version":
            guard let version = request["report"]?["version"]?.string, Self.isVersion(version) else {
                return refuseFirmware(message, request, code: -1)
            }
            record.reportVersion(version)
            try store.put(.upgrade, key, record.document)
            replyVersion(message.device, request, code: 0, text: "success")
            try pushUpgrade(message.device, module, record, isReply: true)
        case "report_progress":
            guard let report = request["report"] else { fallthrough }
            record.reportProgress(report)
            try store.put(.upgrade, key, record.document)
        default: statistics.malformed += 1
        }
    }

    func refuseFirmware(_ message: ServiceMessage, _ request: HubJSON, code: Int) {
        guard request["type"]?.string == "report_version" else { return }
        replyVersion(message.device, request, code: code, text: "refused")
    }

    /// Keeps a firmware of a product.
    func addFirmware(_ productID: String, _ version: String, _ module: String?, _ bytes: [UInt8])
        throws(HubSimulatorError)
    {
        guard Self.isVersion(version), Self.isVersion(module ?? "x") else {
            throw .invalidRequest("a version or module is 1 to 32 of A-Z, a-z, 0-9, . _ and -")
        }
        guard registry.productSecret(of: productID) != nil else { throw .unknownDevice("\(productID)/…") }
        let name = Self.firmwareName(productID, version, module)
        try writeFile(name, bytes)
        let md5 = hex(Cryptography.digest(.md5, bytes))
        try store.put(.firmware, name, ["md5": .string(md5), "size": HubJSON(bytes.count)])
    }

    /// Has a device updated: it is told at once if it has said that it runs something else, and whenever it says so.
    func beginUpgrade(
        _ device: HubDeviceName,
        _ version: String,
        _ module: String?,
        _ options: UpgradeOptions
    ) throws(HubSimulatorError) {
        try requireDevice(device)
        guard try store.document(.firmware, Self.firmwareName(device.productID, version, module)) != nil else {
            throw .invalidRequest("the product \(device.productID) has no firmware \(version)")
        }
        if let text = options.userDefined, text.utf8.count > 1536 {
            throw .tooLong("the text for the device", limit: 1536)
        }
        let key = Self.upgradeKey(device, module)
        var record = UpgradeRecord(try store.document(.upgrade, key))
        record.begin(version, Self.json(options))
        try store.put(.upgrade, key, record.document)
        if record.reportedVersion != nil { try pushUpgrade(device, module, record, isReply: false) }
    }

    /// Tells a device of its update once more.
    func repeatUpgrade(_ device: HubDeviceName, _ module: String?) throws(HubSimulatorError) {
        let record = UpgradeRecord(try store.document(.upgrade, Self.upgradeKey(device, module)))
        guard record.isOpen else { throw .invalidRequest("the device \(device) has no update") }
        try pushUpgrade(device, module, record, isReply: false)
    }

    func cancelUpgrade(_ device: HubDeviceName, _ module: String?) throws(HubSimulatorError) {
        let key = Self.upgradeKey(device, module)
        var record = UpgradeRecord(try store.document(.upgrade, key))
        record.document["target"] = nil
        try store.put(.upgrade, key, record.document)
    }

    func upgradeStatus(_ device: HubDeviceName, _ module: String?) throws(HubSimulatorError) -> UpgradeStatus {
        UpgradeRecord(try store.document(.upgrade, Self.upgradeKey(device, module))).status
    }

    /// Each message has a URL of its own, with a signature that is fresh.
    private func pushUpgrade(
        _ device: HubDeviceName,
        _ module: String?,
        _ record: UpgradeRecord,
        isReply: Bool
    ) throws(HubSimulatorError) {
        guard record.isOpen, let version = record.targetVersion, version != record.reportedVersion else { return }
        let name = Self.firmwareName(device.productID, version, module)
        guard let file = try store.document(.firmware, name) else { return }
        let options = record.document["options"] ?? .emptyObject
        let lifetime = Duration.seconds(options["lifetime"]?.integer ?? 86_400)
        var body: HubJSON = [
            "type": "update_firmware", "version": .string(version),
            "url": .string(try fileURL(name, method: "GET", lifetime: lifetime)),
            "md5sum": options["md5"] ?? file["md5"] ?? "", "file_size": options["size"] ?? file["size"] ?? 0,
        ]
        if let module { body["fw_type"] = .string(module) }
        if let text = options["userDefined"] { body["user_defined"] = text }
        if let task = options["taskID"] { body["task_id"] = task }
        sendFirmware(body, to: device, isReply: isReply)
    }

    private func replyVersion(_ device: HubDeviceName, _ request: HubJSON, code: Int, text: String) {
        var body: HubJSON = [
            "type": "report_version_rsp", "result_code": HubJSON(code), "result_msg": .string(text),
            "version": request["report"]?["version"] ?? "",
        ]
        if let module = request["report"]?["fw_type"] { body["fw_type"] = module }
        sendFirmware(body, to: device, isReply: true)
    }

    private func sendFirmware(_ body: HubJSON, to device: HubDeviceName, isReply: Bool) {
        let topic = "$ota/update/\(device)"
        send(
            ServiceAnswer(
                service: .firmware,
                device: device,
                topic: topic,
                body: .json(body),
                qos: 1,
                isReply: isReply
            )
        )
    }

    /// A device may name at most 16 parts of itself.
    private func isModule(_ module: String, of device: HubDeviceName) throws(HubSimulatorError) -> Bool {
        guard Self.isVersion(module) else { return false }
        let known = try store.documents(.upgrade, prefix: "\(device)/").map(\.key)
        return known.count < 16 || known.contains(Self.upgradeKey(device, module))
    }

    private static func upgradeKey(_ device: HubDeviceName, _ module: String?) -> String {
        module.map { "\(device)/\($0)" } ?? "\(device)"
    }

    private static func firmwareName(_ productID: String, _ version: String, _ module: String?) -> String {
        "firmware/\(productID)/\(module.map { "\($0)/" } ?? "")\(version).bin"
    }

    private static func isVersion(_ text: String) -> Bool {
        1...32 ~= text.utf8.count
            && text.utf8.allSatisfy { $0.isUpper || $0.isLower || $0.isDigit || "._-".utf8.contains($0) }
    }

    private static func json(_ options: UpgradeOptions) -> HubJSON {
        var json: HubJSON = ["lifetime": HubJSON(Int(options.urlLifetime.components.seconds))]
        json["userDefined"] = options.userDefined.map { .string($0) }
        json["taskID"] = options.taskID.map { HubJSON($0) }
        json["md5"] = options.md5.map { .string($0) }
        json["size"] = options.fileSize.map { HubJSON($0) }
        return json
    }
}

// MARK: - The application's side

extension CloudServices {
    /// Keeps a firmware of a product: at most 64 MiB; `module` is a part of the device that has versions of its own.
    public func addFirmware(
        _ productID: String,
        version: String,
        module: String? = nil,
        _ bytes: [UInt8]
    ) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.addFirmware(productID, version, module, bytes) }
    }

    /// Has a device updated to a firmware that was added. It is told at once if it has reported another version, and after each such report, until it
    /// says that it is done or reports the version.
    public func beginUpgrade(
        _ device: HubDeviceName,
        to version: String,
        module: String? = nil,
        options: UpgradeOptions = UpgradeOptions()
    ) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.beginUpgrade(device, version, module, options) }
    }

    /// Tells a device of its update once more; throws `invalidRequest` if it has none.
    public func repeatUpgrade(_ device: HubDeviceName, module: String? = nil) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.repeatUpgrade(device, module) }
    }

    /// Takes back a device's update.
    public func cancelUpgrade(_ device: HubDeviceName, module: String? = nil) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.cancelUpgrade(device, module) }
    }

    /// How far a device is with its update.
    public func upgradeStatus(
        of device: HubDeviceName,
        module: String? = nil
    ) throws(HubSimulatorError) -> UpgradeStatus {
        try perform { core throws(HubSimulatorError) in try core.upgradeStatus(device, module) }
    }
}
