// MARK: - Data template

extension ControlAPI {
    func answerThings(_ call: Call) throws -> HubJSON? {
        let timeout = Duration.milliseconds(call.body["timeoutMs"]?.integer ?? 4000)
        let params = call.body["params"] ?? .emptyObject
        switch (call.method, call.subject) {
        case ("PUT", "thing-models"): try services.setThingModel(try call.product(), call.body)
        case ("DELETE", "thing-models"): try services.setThingModel(try call.product(), nil)
        case ("GET", "things"): return try services.thing(try call.device())
        case ("POST", "thing-control"):
            return try services.control(try call.device(), params, timeout: timeout)
        case ("POST", "thing-actions"):
            return try services.callAction(try call.device(), try call.text("actionId"), params, timeout: timeout)
        case ("POST", "thing-services"):
            let members = call.body["members"] ?? .emptyObject
            return try services.callService(try call.device(), try call.text("method"), members, timeout: timeout)
        case ("POST", "thing-binding"):
            try services.notifyBinding(try call.device(), isBound: try call.flag("bound"))
        case ("POST", "thing-raw"): try services.sendRaw(try call.device(), try call.payload())
        default: return nil
        }
        return .emptyObject
    }
}
