// MARK: - Devices

extension ControlAPI {
    func answerDevices(_ call: Call) throws -> HubJSON? {
        switch (call.method, call.subject) {
        case ("GET", "devices"):
            return ["devices": .array(registry.devices.map(json))]
        case ("POST", "devices"): return json(try addDevice(call))
        case ("PUT", "devices"):
            let name = try call.device()
            let isEnabled = try call.flag("enabled")
            try registry.setEnabled(isEnabled, productID: name.productID, deviceName: name.deviceName)
        case ("DELETE", "devices"):
            let name = try call.device()
            try registry.remove(productID: name.productID, deviceName: name.deviceName)
        default: return nil
        }
        return .emptyObject
    }

    private func addDevice(_ call: Call) throws -> RegisteredDevice {
        let (productID, name) = (try call.text("productId"), try call.text("deviceName"))
        let credential: RegisteredDevice.Credential
        let isCertificate = call.body["type"]?.string == "certificate"
        if isCertificate {
            let directory = identities.directory
            credential = .certificate(
                certificatePath: RegistryFile.certificatePath(directory, productID: productID, deviceName: name),
                privateKeyPath: RegistryFile.privateKeyPath(directory, productID: productID, deviceName: name)
            )
        } else {
            var generator = SystemRandomNumberGenerator()
            let random = (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }
            credential = .key(secret: call.body["deviceSecret"]?.string ?? Base64.encode(random))
        }
        let device = RegisteredDevice(
            productID: productID,
            deviceName: name,
            credential: credential,
            isEnabled: true
        )
        try device.check()
        if isCertificate { try identities.makeCertificate(productID: productID, deviceName: name) }
        try registry.add(device)
        return device
    }

    /// The secrets are in the registry's file, which this host's user can read.
    private func json(_ device: RegisteredDevice) -> HubJSON {
        let statistics = record.statistics(of: device.clientID)
        return [
            "productId": .string(device.productID), "deviceName": .string(device.deviceName),
            "type": .string(device.credential.description), "enabled": .bool(device.isEnabled),
            "online": .bool(statistics.connections > 0), "logins": HubJSON(statistics.logins),
            "messages": HubJSON(statistics.messages), "refusals": HubJSON(statistics.refusals),
        ]
    }
}

// MARK: - Services

extension ControlAPI {
    func answerServices(_ call: Call) throws -> HubJSON? {
        switch (call.method, call.subject) {
        case ("POST", "publish"):
            let (topic, payload) = (try call.text("topic"), try call.payload())
            let qos = call.body["qos"]?.integer ?? 1
            guard 0...1 ~= qos else { throw Refusal.missing("\"qos\" 0 or 1") }
            try services.publish(topic: topic, payload: payload, qos: qos)
        case ("GET", "shadow"): return try services.shadow(of: try call.device())
        case ("POST", "shadow"):
            guard let desired = call.body["desired"] else { throw Refusal.missing("\"desired\"") }
            return try services.updateDesired(
                try call.device(),
                desired,
                version: call.body["version"]?.integer ?? 0
            )
        case ("POST", "rrpc"):
            let answer = try services.callRRPC(
                try call.device(),
                try call.payload(),
                processID: call.body["processId"]?.string,
                timeout: .milliseconds(call.body["timeoutMs"]?.integer ?? 4000)
            )
            var json: HubJSON = ["payloadBase64": .string(Base64.encode(answer))]
            if let text = String(validating: answer, as: UTF8.self) { json["payload"] = .string(text) }
            return json
        case ("POST", "broadcast"):
            return ["devices": HubJSON(try services.broadcast(try call.product(), try call.payload()))]
        case ("PUT", "remote-login"): try services.setRemoteLogin(try call.device(), try call.flag("on"))
        default: return try answerConfiguration(call)
        }
        return .emptyObject
    }

    private func answerConfiguration(_ call: Call) throws -> HubJSON? {
        switch (call.method, call.subject) {
        case ("GET", "configuration"):
            let text = try services.configuration(of: try call.product())
            return ["text": text.map { .string(String(decoding: $0, as: UTF8.self)) } ?? .null]
        case ("PUT", "configuration"):
            let product = try call.product()
            if let text = call.body["text"] {
                try services.setConfiguration(product, text.string.map { Array($0.utf8) })
            }
            if call.body["enabled"] != nil { try services.setConfigurationEnabled(product, try call.flag("enabled")) }
            if call.body["push"] == .bool(true) { try services.pushConfiguration(product) }
        case ("GET", "log-level"):
            return ["level": HubJSON(try services.logLevel(of: try call.device()).rawValue)]
        case ("PUT", "log-level"):
            guard let level = CloudLogLevel(rawValue: try call.integer("level")) else {
                throw Refusal.missing("\"level\" of 0 to 4")
            }
            try services.setLogLevel(try call.device(), level)
        case ("GET", "log-lines"):
            return ["lines": .array(try services.logLines(of: try call.device()).map { .string($0) })]
        case ("PUT", "registration"):
            let product = try call.product()
            var settings = try services.registration(of: product)
            if call.body["allowed"] != nil { settings.isAllowed = try call.flag("allowed") }
            if call.body["createsDevices"] != nil { settings.createsDevices = try call.flag("createsDevices") }
            if call.body["allowsActivatedDevices"] != nil {
                settings.allowsActivatedDevices = try call.flag("allowsActivatedDevices")
            }
            try services.setRegistration(settings, of: product)
        default: return nil
        }
        return .emptyObject
    }
}
