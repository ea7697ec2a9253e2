/// IoT Explorer's data template: topics `$thing/up/…` and `$thing/down/…`.
extension ServiceCore {
    static let doesNotFit = 406

    func answerThing(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        guard let method = request["method"]?.string else {
            statistics.malformed += 1
            return
        }
        if method.hasSuffix("_reply") { return try finishThingCall(message, request) }
        switch (message.service, method) {
        case (.property, "report"): try takeReport(message, request)
        case (.property, "get_status"): try answerStatus(message, request)
        case (.property, "clear_control"):
            try changeThing(message.device) { $0["control"] = nil }
            replyThing(message, request, method, status: "success")
        case (.property, "report_info"):
            try changeThing(message.device) { $0["info"] = request["params"] }
            replyThing(message, request, method, status: "success")
        case (.event, "event_post"): try takeEvents(message, request, [request])
        case (.event, "events_post"): try takeEvents(message, request, request["events"]?.elements ?? [])
        case (.thing, "app_bind_token"):
            try changeThing(message.device) { $0["bindToken"] = request["params"]?["token"] }
            replyThing(message, request, method, status: "success")
        case (.thing, "unbind_device_request"):
            replyThing(message, request, "unbind_device", status: "success")
        default: statistics.malformed += 1
        }
    }

    /// Refuses a request without carrying it out.
    func refuseThing(_ message: ServiceMessage, _ request: HubJSON, code: Int) {
        guard let method = request["method"]?.string, !method.hasSuffix("_reply") else { return }
        replyThing(message, request, method, code: code, status: "refused")
    }

    /// What a product's devices report is checked against this from now on.
    func setThingModel(_ productID: String, _ model: HubJSON?) throws(HubSimulatorError) {
        guard let model else { return try store.remove(.product, "\(productID)/model") }
        guard ThingModel(model) != nil else {
            throw .invalidRequest("a data template has properties, events or actions")
        }
        try store.put(.product, "\(productID)/model", model)
    }

    func thing(_ device: HubDeviceName) throws(HubSimulatorError) -> HubJSON {
        try store.document(.thing, device.description) ?? .emptyObject
    }

    func thingModel(_ productID: String) throws(HubSimulatorError) -> ThingModel? {
        try store.document(.product, "\(productID)/model").flatMap { ThingModel($0) }
    }

    func changeThing(_ device: HubDeviceName, _ change: (inout HubJSON) -> Void) throws(HubSimulatorError) {
        var document = try thing(device)
        change(&document)
        guard document.text.count <= ServiceCore.maximumThingBytes else {
            throw .tooLong("what is known of \(device)", limit: ServiceCore.maximumThingBytes)
        }
        try store.put(.thing, device.description, document)
    }

    private static let maximumThingBytes = 262_144

    // MARK: Requests

    private func takeReport(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        guard let params = request["params"], let members = params.members else {
            return replyThing(message, request, "report", code: Self.doesNotFit, status: "params is no object")
        }
        if let fault = try thingModel(message.device.productID)?.fault(inProperties: params) {
            return replyThing(message, request, "report", code: Self.doesNotFit, status: fault)
        }
        try changeThing(message.device) { thing in
            var reported = thing["reported"] ?? .emptyObject
            for member in members { reported[member.name] = member.value }
            thing["reported"] = reported
        }
        replyThing(message, request, "report", status: "")
    }

    private func answerStatus(_ message: ServiceMessage, _ request: HubJSON) throws(HubSimulatorError) {
        let thing = try thing(message.device)
        var data = HubJSON.emptyObject
        data["reported"] = thing["reported"]
        // What was to be set while the device was away.
        if request["type"] != "report", let control = thing["control"], !control.isEmptyObject {
            data["control"] = control
        }
        var more: [HubJSON.Member] = [HubJSON.Member("data", data)]
        if let type = request["type"] { more.append(HubJSON.Member("type", type)) }
        replyThing(message, request, "get_status", status: "success", more: more)
    }

    private func takeEvents(
        _ message: ServiceMessage,
        _ request: HubJSON,
        _ events: [HubJSON]
    ) throws(HubSimulatorError) {
        let model = try thingModel(message.device.productID)
        let kinds: [HubJSON] = ["info", "alert", "fault"]
        var fault = events.isEmpty ? "no events" : nil
        for event in events where fault == nil {
            fault =
                kinds.contains(event["type"] ?? "")
                ? model?.fault(inEvent: event) : "type is none of info, alert, fault"
        }
        let more = [HubJSON.Member("version", "1.0"), HubJSON.Member("data", .emptyObject)]
        replyThing(message, request, "event", code: fault == nil ? 0 : Self.doesNotFit, status: fault ?? "", more: more)
    }

    private func replyThing(
        _ message: ServiceMessage,
        _ request: HubJSON,
        _ method: String,
        code: Int = 0,
        status: String,
        more: [HubJSON.Member] = []
    ) {
        let method = message.service == .event ? "event" : method
        var body: HubJSON = ["method": .string("\(method)_reply")]
        if let token = request["clientToken"] { body["clientToken"] = token }
        body["code"] = HubJSON(code)
        body["status"] = .string(status)
        for member in more { body[member.name] = member.value }
        sendThing(body, message.service, to: message.device, isReply: true)
    }

    func sendThing(_ body: HubJSON, _ service: CloudService, to device: HubDeviceName, isReply: Bool) {
        let name = service == .thing ? "service" : service.rawValue
        let topic = "$thing/down/\(name)/\(device)"
        send(ServiceAnswer(service: service, device: device, topic: topic, body: .json(body), isReply: isReply))
    }

    /// A product's script that gives back what it got.
    func echoRaw(_ message: ServiceMessage) {
        guard behavior.echoesRaw else { return }
        let topic = "$thing/down/raw/\(message.device)"
        send(
            ServiceAnswer(
                service: .raw,
                device: message.device,
                topic: topic,
                body: .bytes(message.payload),
                isReply: true
            )
        )
    }
}
