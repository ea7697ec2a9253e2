// MARK: - Faults, behavior, clock, files

extension ControlAPI {
    func answerSettings(_ call: Call) throws -> HubJSON? {
        switch (call.method, call.subject) {
        case ("GET", "faults"): return ["faults": .array(try services.faults.map { .string("\($0)") })]
        case ("POST", "faults"): try services.add(try fault(call))
        case ("DELETE", "faults"): try services.removeFaults()
        case ("POST", "http-faults"):
            let effect = try httpEffect(call)
            let path = call.body["path"]?.string ?? "/"
            try services.add(HTTPFault(effect, path: path, count: call.body["count"]?.integer ?? 1))
        case ("DELETE", "http-faults"): try services.removeHTTPFaults()
        case ("PUT", "behavior"): try services.setBehavior(try behavior(call))
        case ("PUT", "clock"): try services.setClockOffset(.milliseconds(try call.integer("offsetMs")))
        case ("PUT", "files"): try services.putFile(call.levels.joined(separator: "/"), call.bytes)
        case ("GET", "resources"): return try services.resources(of: try call.device())
        case ("PUT", "resources"):
            guard call.levels.count == 3 else { throw Refusal.missing("the path /resources/PRODUCT/DEVICE/NAME") }
            let device = HubDeviceName(call.levels[0], call.levels[1])
            try services.offerFile(device, name: call.levels[2], call.bytes, md5: call.query["md5"])
        case ("POST", "file-urls"):
            let url = try services.fileURL(
                try call.text("name"),
                method: call.body["method"]?.string ?? "GET",
                lifetime: .seconds(call.body["lifetimeSeconds"]?.integer ?? 3600)
            )
            return ["url": .string(url)]
        default: return nil
        }
        return .emptyObject
    }

    private func fault(_ call: Call) throws(Refusal) -> ServiceFault {
        let effect: ServiceFault.Effect
        switch try call.text("effect") {
        case "requestLost": effect = .requestLost
        case "answerLost": effect = .answerLost
        case "late": effect = .late(.milliseconds(try call.integer("milliseconds")))
        case "duplicated": effect = .duplicated
        case "malformed": effect = .malformed
        case "wrongToken": effect = .wrongToken
        case "error": effect = .error(try call.integer("code"))
        case let name:
            throw Refusal(
                status: 400,
                message: "\(name) is none of requestLost, answerLost, late, duplicated, malformed, wrongToken, error"
            )
        }
        var fault = ServiceFault(effect, count: call.body["count"]?.integer ?? 1)
        if let text = call.body["device"]?.string {
            guard let device = HubDeviceName(text) else { throw .missing("\"device\" as PRODUCT/DEVICE") }
            fault.device = device
        }
        if let text = call.body["service"]?.string {
            guard let service = CloudService(rawValue: text) else {
                let names = CloudService.allCases.map(\.rawValue).joined(separator: ", ")
                throw Refusal(status: 400, message: "\(text) is none of \(names)")
            }
            fault.service = service
        }
        fault.isForPushes = call.body["pushes"] == .bool(true)
        return fault
    }

    private func httpEffect(_ call: Call) throws(Refusal) -> HTTPFault.Effect {
        switch try call.text("effect") {
        case "status":
            let status = try call.integer("status")
            guard 200...599 ~= status else { throw .missing("\"status\" of 200 to 599") }
            return .status(status)
        case "error": return .error(try call.text("code"))
        case "late": return .late(.milliseconds(try call.integer("milliseconds")))
        case "cut": return .cut(after: try call.integer("bytes"))
        case "slow": return .slow(bytesPerSecond: try call.integer("bytesPerSecond"))
        case "chunked": return .chunked
        case "ignoresRange": return .ignoresRange
        case "wrongBytes": return .wrongBytes
        case let name:
            throw Refusal(
                status: 400,
                message: "\(name) is none of status, error, late, cut, slow, chunked, ignoresRange, wrongBytes"
            )
        }
    }

    /// What the body names is changed, the rest stays.
    private func behavior(_ call: Call) throws -> ServiceBehavior {
        var behavior = try services.behavior
        for member in call.body.members ?? [] {
            switch member.name {
            case "isStrict": behavior.isStrict = try call.flag(member.name)
            case "timeSkewMs": behavior.timeSkew = .milliseconds(try call.integer(member.name))
            case "omitsNTPTimes": behavior.omitsNTPTimes = try call.flag(member.name)
            case "hasShadowTimesInSeconds": behavior.hasShadowTimesInSeconds = try call.flag(member.name)
            case "sendsConfigurationAsText": behavior.sendsConfigurationAsText = try call.flag(member.name)
            case "deltaHasOnlyDifferences": behavior.deltaHasOnlyDifferences = try call.flag(member.name)
            case "echoesRaw": behavior.echoesRaw = try call.flag(member.name)
            case "gatewayAnswersOnlyFirst": behavior.gatewayAnswersOnlyFirst = try call.flag(member.name)
            case "answersUnbindAsBind": behavior.answersUnbindAsBind = try call.flag(member.name)
            case "sendsFilesByTLS": behavior.sendsFilesByTLS = try call.flag(member.name)
            case "bindSignatureAgeSeconds": behavior.bindSignatureAge = .seconds(try call.integer(member.name))
            case "httpSignatureAgeSeconds": behavior.httpSignatureAge = .seconds(try call.integer(member.name))
            default: throw Refusal(status: 400, message: "there is no \"\(member.name)\"")
            }
        }
        return behavior
    }
}
