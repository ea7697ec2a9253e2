internal import Kernel

/// What the application asks of a device with a data template.
extension ServiceCore {
    /// Has a device set properties. Until it says that it has, they wait for a device that is away.
    func control(
        _ device: HubDeviceName,
        _ params: HubJSON,
        timeout: Duration,
        finish: @escaping Finish
    ) throws(HubSimulatorError) {
        try requireDevice(device)
        guard let members = params.members else { throw .invalidRequest("properties are an object") }
        if let fault = try thingModel(device.productID)?.fault(inControl: params) { throw .invalidRequest(fault) }
        try changeThing(device) { thing in
            var control = thing["control"] ?? .emptyObject
            for member in members { control[member.name] = member.value }
            thing["control"] = control
        }
        let body: HubJSON = ["method": "control", "params": params]
        let token = try callThing(device, .property, body, timeout: timeout, finish: finish)
        if sentControls.count == Self.callLimit { sentControls.removeFirst() }
        sentControls.append((token, params))
    }

    func callAction(
        _ device: HubDeviceName,
        _ id: String,
        _ params: HubJSON,
        timeout: Duration,
        finish: @escaping Finish
    ) throws(HubSimulatorError) {
        if let fault = try thingModel(device.productID)?.fault(inAction: id, params) { throw .invalidRequest(fault) }
        let body: HubJSON = [
            "method": "action", "actionId": .string(id), "timestamp": HubJSON(now / 1000), "params": params,
        ]
        try callThing(device, .action, body, timeout: timeout, finish: finish)
    }

    /// Sends a call with a new token, which is returned, and waits for the reply that has the same.
    @discardableResult
    func callThing(
        _ device: HubDeviceName,
        _ service: CloudService,
        _ body: HubJSON,
        timeout: Duration,
        finish: @escaping Finish
    ) throws(HubSimulatorError) -> String {
        try requireDevice(device)
        let token = generator.name(16)
        var body = body
        body["clientToken"] = .string(token)
        try open("\(service) \(device) \(token)", "a call of \(device)", timeout: timeout, finish: finish)
        sendThing(body, service, to: device, isReply: false)
        return token
    }

    /// Tells a device something that it does not answer.
    func notifyThing(_ device: HubDeviceName, _ method: String) throws(HubSimulatorError) {
        try requireDevice(device)
        let body: HubJSON = [
            "method": .string(method), "clientToken": .string(generator.name(16)), "timestamp": HubJSON(now / 1000),
        ]
        sendThing(body, .thing, to: device, isReply: false)
    }

    /// What a device has set waits no more, unless it is to be something else by now.
    private func takeOut(_ params: HubJSON, of device: HubDeviceName) throws(HubSimulatorError) {
        try changeThing(device) { thing in
            guard let waiting = thing["control"]?.members else { return }
            let rest = waiting.filter { params[$0.name] != $0.value }
            thing["control"] = rest.isEmpty ? nil : .object(rest)
        }
    }

    func finishThingCall(_ message: ServiceMessage, _ answer: HubJSON) throws(HubSimulatorError) {
        let token = answer["clientToken"]?.string ?? ""
        if let index = sentControls.firstIndex(where: { $0.token == token }) {
            let params = sentControls.remove(at: index).params
            if answer["code"]?.integer ?? 0 == 0 { try takeOut(params, of: message.device) }
        }
        guard let call = calls.removeValue(forKey: "\(message.service) \(message.device) \(token)") else {
            statistics.lateCallAnswers += 1
            return
        }
        agenda.cancel(call.timeout)
        call.finish(.success(answer.text))
    }
}

// MARK: - The application's side

extension CloudServices {
    /// Checks what a product's devices report against a data template, as the console exports it; `nil` checks nothing.
    public func setThingModel(_ productID: String, _ model: HubJSON?) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.setThingModel(productID, model) }
    }

    /// What is known of a device with a data template: `reported`, `control` that it has not taken, `info`, `bindToken`.
    public func thing(_ device: HubDeviceName) throws(HubSimulatorError) -> HubJSON {
        try perform { core throws(HubSimulatorError) in try core.thing(device) }
    }

    /// Has a device set properties, and waits for its reply. Without one in time it throws `noAnswer`, and they wait for the device.
    @discardableResult
    public func control(
        _ device: HubDeviceName,
        _ params: HubJSON,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> HubJSON {
        let answer = try wait { core, finish throws(HubSimulatorError) in
            try core.control(device, params, timeout: timeout, finish: finish)
        }
        return HubJSON(parsing: answer) ?? .null
    }

    /// Has a device do something, and waits for its reply: `code`, `status` and `response`.
    public func callAction(
        _ device: HubDeviceName,
        _ id: String,
        _ params: HubJSON,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> HubJSON {
        let answer = try wait { core, finish throws(HubSimulatorError) in
            try core.callAction(device, id, params, timeout: timeout, finish: finish)
        }
        return HubJSON(parsing: answer) ?? .null
    }

    /// Calls a method of a device's service topic, such as `alert_fence_event`, with members of the caller's, and waits for its reply.
    public func callService(
        _ device: HubDeviceName,
        _ method: String,
        _ members: HubJSON,
        timeout: Duration = callTimeout
    ) throws(HubSimulatorError) -> HubJSON {
        var body = members
        body["method"] = .string(method)
        let call = body
        let answer = try wait { core, finish throws(HubSimulatorError) in
            try core.callThing(device, .thing, call, timeout: timeout, finish: finish)
        }
        return HubJSON(parsing: answer) ?? .null
    }

    /// Tells a device that a user has bound it (`bind_device`) or removed it (`unbind_device`); there is no answer.
    public func notifyBinding(_ device: HubDeviceName, isBound: Bool) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in
            try core.notifyThing(device, isBound ? "bind_device" : "unbind_device")
        }
    }

    /// Sends bytes to a device as its product's script does.
    public func sendRaw(_ device: HubDeviceName, _ payload: [UInt8]) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in
            try core.requireDevice(device)
            let topic = "$thing/down/raw/\(device)"
            core.send(ServiceAnswer(service: .raw, device: device, topic: topic, body: .bytes(payload)))
        }
    }
}
