// MARK: - Firmware

extension ControlAPI {
    func answerFirmware(_ call: Call) throws -> HubJSON? {
        let module = call.body["module"]?.string ?? call.query["module"]
        switch (call.method, call.subject) {
        case ("PUT", "firmware"):
            guard call.levels.count == 2 else { throw Refusal.missing("the path /firmware/PRODUCT/VERSION") }
            try services.addFirmware(call.levels[0], version: call.levels[1], module: module, call.bytes)
        case ("POST", "upgrades"):
            var options = UpgradeOptions()
            if let seconds = call.body["urlLifetimeSeconds"]?.integer { options.urlLifetime = .seconds(seconds) }
            options.userDefined = call.body["userDefined"]?.string
            options.taskID = call.body["taskId"]?.integer
            options.md5 = call.body["md5"]?.string
            options.fileSize = call.body["fileSize"]?.integer
            let version = try call.text("version")
            try services.beginUpgrade(try call.device(), to: version, module: module, options: options)
        case ("PUT", "upgrades"): try services.repeatUpgrade(try call.device(), module: module)
        case ("DELETE", "upgrades"): try services.cancelUpgrade(try call.device(), module: module)
        case ("GET", "upgrades"):
            let status = try services.upgradeStatus(of: try call.device(), module: module)
            return [
                "reportedVersion": status.reportedVersion.map { .string($0) } ?? .null,
                "targetVersion": status.targetVersion.map { .string($0) } ?? .null,
                "state": .string(status.state.rawValue), "percent": HubJSON(status.percent),
                "resultCode": HubJSON(status.resultCode), "resultMessage": .string(status.resultMessage),
                "violations": .array(status.violations.map { .string($0) }),
            ]
        default: return nil
        }
        return .emptyObject
    }
}

// MARK: - Gateways

extension ControlAPI {
    func answerGateways(_ call: Call) throws -> HubJSON? {
        let timeout = Duration.milliseconds(call.body["timeoutMs"]?.integer ?? 4000)
        switch (call.method, call.subject) {
        case ("PUT", "gateway-products"):
            try services.setGateway(try call.flag("gateway"), productID: try call.product())
        case ("GET", "sub-devices"):
            let gateway = try call.device()
            let online = Set(try services.subDevices(of: gateway, onlineOnly: true))
            return [
                "devices": .array(
                    try services.subDevices(of: gateway).map {
                        ["device": .string($0.description), "online": .bool(online.contains($0))]
                    }
                )
            ]
        case ("PUT", "gateway-of"):
            guard let text = call.body["gateway"] else { throw Refusal.missing("\"gateway\", PRODUCT/DEVICE or null,") }
            let gateway = text.string.flatMap { HubDeviceName($0) }
            guard gateway != nil || text == .null else { throw Refusal.missing("\"gateway\" as PRODUCT/DEVICE") }
            return try services.bind(try call.device(), to: gateway, timeout: timeout)
        case ("POST", "search-devices"):
            return try services.searchDevices(try call.device(), isOn: try call.flag("on"), timeout: timeout)
        case ("POST", "unbind-all"): return try services.unbindAll(try call.device(), timeout: timeout)
        case ("POST", "describe-sub-devices"):
            return try services.describeSubDevices(try call.device(), timeout: timeout)
        default: return nil
        }
        return .emptyObject
    }
}
