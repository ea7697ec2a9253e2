internal import Kernel

/// What the hub tells a gateway by itself, and waits for the answer to.
extension ServiceCore {
    typealias Finish = (Result<[UInt8], HubSimulatorError>) -> Void

    /// Tells a gateway something that it answers with a message of type `answerType`.
    func callGateway(
        _ gateway: HubDeviceName,
        _ body: HubJSON,
        answerType: String,
        timeout: Duration,
        finish: @escaping Finish
    ) throws(HubSimulatorError) {
        try requireDevice(gateway)
        let key = Self.gatewayCallKey(gateway, answerType)
        try open(key, "a push to the gateway \(gateway)", timeout: timeout, finish: finish)
        sendGateway(body, to: gateway, isReply: false)
    }

    /// Binds a device to a gateway, or takes it away, as an operator does.
    func changeBinding(_ device: HubDeviceName, _ gateway: HubDeviceName?) throws(HubSimulatorError) -> HubDeviceName {
        try requireDevice(device)
        let owner = try self.gateway(of: device)
        guard let gateway else {
            guard let owner else { throw .invalidRequest("the device \(device) is not bound") }
            try unbind(device)
            return owner
        }
        try requireDevice(gateway)
        guard owner == nil else { throw .invalidRequest("the device \(device) is bound to a gateway already") }
        guard try subDevices(of: gateway).count < Self.subDeviceLimit else {
            throw .tooMany("sub-devices", limit: Self.subDeviceLimit)
        }
        try bind(device, gateway)
        return gateway
    }

    /// Takes away all sub-devices of a gateway.
    func unbindAll(_ gateway: HubDeviceName) throws(HubSimulatorError) {
        for device in try subDevices(of: gateway) { try unbind(device) }
    }

    /// Whether a gateway's message answered a push that waits.
    func finishGatewayCall(_ gateway: HubDeviceName, _ type: String, _ answer: HubJSON) -> Bool {
        guard ["change", "search_devices", "unbind_all"].contains(type) else { return false }
        guard let call = calls.removeValue(forKey: Self.gatewayCallKey(gateway, type)) else {
            statistics.lateCallAnswers += 1
            return true
        }
        agenda.cancel(call.timeout)
        call.finish(.success(answer.text))
        return true
    }

    private static func gatewayCallKey(_ gateway: HubDeviceName, _ type: String) -> String {
        "$gateway/operation/\(gateway) \(type)"
    }
}

// MARK: - The operator's side

extension CloudServices {
    /// Makes a product one of gateways, whose devices cannot be bound, or one of ordinary devices.
    public func setGateway(_ isGateway: Bool, productID: String) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in
            try core.store.put(.product, "\(productID)/kind", isGateway ? "gateway" : "device")
        }
    }

    /// The gateway that a device is bound to.
    public func gateway(of device: HubDeviceName) throws(HubSimulatorError) -> HubDeviceName? {
        try perform { core throws(HubSimulatorError) in try core.gateway(of: device) }
    }

    /// The devices that are bound to a gateway; with `onlineOnly`, those that it has said are online.
    public func subDevices(
        of gateway: HubDeviceName,
        onlineOnly: Bool = false
    ) throws(HubSimulatorError) -> [HubDeviceName] {
        try perform { core throws(HubSimulatorError) in
            try core.subDevices(of: gateway).filter {
                !onlineOnly || core.onlineSubDevices[gateway, default: []].contains($0)
            }
        }
    }

    /// Binds a device to a gateway; the gateway is told, and this waits for what it answers. `nil` takes it away from its gateway.
    @discardableResult
    public func bind(
        _ device: HubDeviceName,
        to gateway: HubDeviceName?,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> HubJSON {
        try call(timeout: timeout) { core, finish throws(HubSimulatorError) in
            let owner = try core.changeBinding(device, gateway)
            let payload: HubJSON = [
                "status": gateway == nil ? 0 : 1, "devices": .array([ServiceCore.json(device)]),
            ]
            let body: HubJSON = ["type": "change", "payload": payload]
            try core.callGateway(owner, body, answerType: "change", timeout: timeout, finish: finish)
        }
    }

    /// Has a gateway look for sub-devices, or stop it; waits for what it answers.
    @discardableResult
    public func searchDevices(
        _ gateway: HubDeviceName,
        isOn: Bool,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> HubJSON {
        try call(timeout: timeout) { core, finish throws(HubSimulatorError) in
            let body: HubJSON = ["type": "search_devices", "payload": ["status": isOn ? 1 : 0]]
            try core.callGateway(gateway, body, answerType: "search_devices", timeout: timeout, finish: finish)
        }
    }

    /// Takes away all sub-devices of a gateway, tells it, and waits for what it answers.
    @discardableResult
    public func unbindAll(
        _ gateway: HubDeviceName,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> HubJSON {
        try call(timeout: timeout) { core, finish throws(HubSimulatorError) in
            try core.unbindAll(gateway)
            try core.callGateway(
                gateway,
                ["type": "unbind_all"],
                answerType: "unbind_all",
                timeout: timeout,
                finish: finish
            )
        }
    }

    /// Asks a gateway for its own list of sub-devices, as the hub asks the newest of the vendor's gateways.
    public func describeSubDevices(
        _ gateway: HubDeviceName,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> HubJSON {
        try call(timeout: timeout) { core, finish throws(HubSimulatorError) in
            let body: HubJSON = ["type": "describe_sub_devices"]
            try core.callGateway(gateway, body, answerType: "change", timeout: timeout, finish: finish)
        }
    }

    private func call(
        timeout: Duration,
        _ begin: @escaping @Sendable (ServiceCore, @escaping ServiceCore.Finish) throws(HubSimulatorError) -> Void
    ) throws(HubSimulatorError) -> HubJSON {
        HubJSON(parsing: try wait(begin)) ?? .null
    }
}
