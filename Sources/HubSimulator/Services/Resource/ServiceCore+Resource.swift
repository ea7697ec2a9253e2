internal import CLinux

/// Files between a device and the cloud: topics `$resource/up/service` and `$resource/down/service`, and HTTP for the bytes.
extension ServiceCore {
    /// The uploads that are kept of each device; the oldest go first.
    static let uploadLimit = 100
    private static let urlLifetime: Duration = .seconds(3600)
    private static let wrongSum = -4

    func answerResource(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        let device = message.device
        switch request["type"]?.string {
        case "create_upload_task":
            guard let name = request["name"]?.string, 1...64 ~= name.utf8.count, let size = request["size"]?.integer,
                let sum = request["md5sum"]?.string
            else { break }
            try beginUpload(device, name, sum)
            let url = try fileURL(Self.uploadName(device, name), method: "PUT", lifetime: Self.urlLifetime)
            let body: HubJSON = [
                "type": "create_upload_task_rsp", "size": HubJSON(size), "name": .string(name),
                "md5sum": .string(sum), "url": .string(url),
            ]
            return sendResource(body, to: device, isReply: true)
        case "get_download_task":
            // Without a task there is no reply.
            guard let body = try downloadBody(device, type: "get_download_task_rsp") else { return }
            return sendResource(body, to: device, isReply: true)
        case let type? where ["report_upload_progress", "report_download_progress"].contains(type):
            guard let name = request["name"]?.string, let progress = request["progress"] else { break }
            let code = try takeProgress(device, isUpload: type == "report_upload_progress", name, progress)
            let body: HubJSON = [
                "type": .string("\(type)_rsp"), "result_code": HubJSON(code),
                "result_msg": .string(code == 0 ? "ok" : "md5sum not matched"),
            ]
            return sendResource(body, to: device, isReply: true)
        default: break
        }
        statistics.malformed += 1
    }

    func refuseResource(_ message: ServiceMessage, _ request: HubJSON, code: Int) {
        guard let type = request["type"]?.string, type.hasPrefix("report_") else { return }
        let body: HubJSON = [
            "type": .string("\(type)_rsp"), "result_code": HubJSON(code), "result_msg": "refused",
        ]
        sendResource(body, to: message.device, isReply: true)
    }

    /// Keeps a file for a device, and tells it.
    func offerFile(_ device: HubDeviceName, _ name: String, _ bytes: [UInt8], md5: String?) throws(HubSimulatorError) {
        try requireDevice(device)
        guard 1...64 ~= name.utf8.count else { throw .invalidRequest("a file's name is 1 to 64 bytes") }
        try writeFile(Self.downloadName(device), bytes)
        var document = try resources(device)
        document["download"] = [
            "name": .string(name), "size": HubJSON(bytes.count), "state": "pending",
            "md5sum": .string(md5 ?? hex(Cryptography.digest(.md5, bytes))),
        ]
        try store.put(.resource, device.description, document)
        if let body = try downloadBody(device, type: "download") { sendResource(body, to: device, isReply: false) }
    }

    /// What is known of a device's files: `download`, and `uploads` in the order that they began.
    func resources(_ device: HubDeviceName) throws(HubSimulatorError) -> HubJSON {
        try store.document(.resource, device.description) ?? .emptyObject
    }

    static func uploadName(_ device: HubDeviceName, _ name: String) -> String { "uploads/\(device)/\(name)" }

    private static func downloadName(_ device: HubDeviceName) -> String { "downloads/\(device)" }

    private func beginUpload(_ device: HubDeviceName, _ name: String, _ sum: String) throws(HubSimulatorError) {
        var document = try resources(device)
        var uploads = (document["uploads"]?.elements ?? []).filter { $0["name"] != .string(name) }
        while uploads.count >= Self.uploadLimit {
            let oldest = uploads.removeFirst()
            unlink(filePath(Self.uploadName(device, oldest["name"]?.string ?? "")))
        }
        unlink(filePath(Self.uploadName(device, name)))
        uploads.append(["name": .string(name), "md5sum": .string(sum), "state": "pending"])
        document["uploads"] = .array(uploads)
        try store.put(.resource, device.description, document)
    }

    private func downloadBody(_ device: HubDeviceName, type: String) throws(HubSimulatorError) -> HubJSON? {
        guard let task = try resources(device)["download"], task["state"] != "done" else { return nil }
        let url = try fileURL(Self.downloadName(device), method: "GET", lifetime: Self.urlLifetime)
        return [
            "type": .string(type), "size": task["size"] ?? 0, "name": task["name"] ?? "",
            "md5sum": task["md5sum"] ?? "", "url": .string(url),
        ]
    }

    /// Notes how far a device is; returns what is wrong with an upload that it says is done.
    private func takeProgress(
        _ device: HubDeviceName,
        isUpload: Bool,
        _ name: String,
        _ progress: HubJSON
    ) throws(HubSimulatorError) -> Int {
        var document = try resources(device)
        func noted(_ task: HubJSON) -> HubJSON {
            var task = task
            for member in ["state", "percent", "result_code", "result_msg"] { task[member] = progress[member] }
            return task
        }
        guard isUpload else {
            if let task = document["download"], task["name"] == .string(name) { document["download"] = noted(task) }
            try store.put(.resource, device.description, document)
            return 0
        }
        let uploads = document["uploads"]?.elements ?? []
        document["uploads"] = .array(uploads.map { $0["name"] == .string(name) ? noted($0) : $0 })
        try store.put(.resource, device.description, document)
        guard progress["state"] == "done" else { return 0 }
        let wanted = uploads.first { $0["name"] == .string(name) }?["md5sum"]
        let file = try? readFile(filePath(Self.uploadName(device, name)))
        let isRight = file.map { .string(hex(Cryptography.digest(.md5, $0))) == wanted } ?? false
        return isRight ? 0 : Self.wrongSum
    }

    private func sendResource(_ body: HubJSON, to device: HubDeviceName, isReply: Bool) {
        let topic = "$resource/down/service/\(device)"
        send(
            ServiceAnswer(
                service: .resource,
                device: device,
                topic: topic,
                body: .json(body),
                qos: 1,
                isReply: isReply
            )
        )
    }
}

// MARK: - The application's side

extension CloudServices {
    /// Keeps a file for a device, which is told at once and when it asks; `md5` is told instead of the right one.
    public func offerFile(
        _ device: HubDeviceName,
        name: String,
        _ bytes: [UInt8],
        md5: String? = nil
    ) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.offerFile(device, name, bytes, md5: md5) }
    }

    /// What is known of a device's files: `download`, and `uploads` in the order that they began, each with what the device says of it.
    public func resources(of device: HubDeviceName) throws(HubSimulatorError) -> HubJSON {
        try perform { core throws(HubSimulatorError) in try core.resources(device) }
    }

    /// The bytes of a file that a device has sent.
    public func upload(of device: HubDeviceName, name: String) throws(HubSimulatorError) -> [UInt8] {
        try file(ServiceCore.uploadName(device, name))
    }
}
