internal import CLinux
internal import Kernel

/// What a test or an operator does with a running hub, as JSON over HTTP on loopback: `docs/hub-simulator.md` lists the requests.
struct ControlAPI: Sendable {
    /// Why a request is refused.
    struct Refusal: Error {
        let status: Int
        let message: String

        static func missing(_ what: String) -> Refusal { Refusal(status: 400, message: "\(what) is needed") }
    }

    /// A request's path and body, taken apart.
    struct Call {
        let method: String
        /// The first level of the path.
        let subject: String
        /// What follows it.
        let levels: [String]
        let query: [String: String]
        let body: HubJSON
        let bytes: [UInt8]

        /// The device that the path names.
        func device() throws(Refusal) -> HubDeviceName {
            guard levels.count == 2 else { throw .missing("the path /\(subject)/PRODUCT/DEVICE") }
            return HubDeviceName(levels[0], levels[1])
        }

        /// The product that the path names.
        func product() throws(Refusal) -> String {
            guard levels.count == 1 else { throw .missing("the path /\(subject)/PRODUCT") }
            return levels[0]
        }

        func text(_ name: String) throws(Refusal) -> String {
            guard let text = body[name]?.string else { throw .missing("the text \"\(name)\"") }
            return text
        }

        func integer(_ name: String) throws(Refusal) -> Int {
            guard let number = body[name]?.integer else { throw .missing("the number \"\(name)\"") }
            return number
        }

        func flag(_ name: String) throws(Refusal) -> Bool {
            guard case .bool(let flag)? = body[name] else { throw .missing("\"\(name)\", true or false,") }
            return flag
        }

        /// `payload` as text, or `payloadBase64`.
        func payload() throws(Refusal) -> [UInt8] {
            if let text = body["payload"]?.string { return Array(text.utf8) }
            guard let bytes = body["payloadBase64"]?.string.flatMap({ Base64.decode($0) }) else {
                throw .missing("\"payload\" or \"payloadBase64\"")
            }
            return bytes
        }
    }

    static let longestWait = 60_000

    let services: CloudServices
    let registry: DeviceRegistry
    let record: HubRecord
    let identities: Identities

    /// Answers a request.
    func respond(to request: HTTPRequest) -> HTTPResponse {
        // A web page must not reach it by a name of its own for this host.
        guard ["localhost", "127.0.0.1"].contains(request.host) else {
            return Self.error(403, "the host of the request is localhost or 127.0.0.1")
        }
        let levels = request.path.split(separator: "/").map(String.init)
        let isFile = ["files", "firmware", "resources"].contains(levels.first)
        let body = request.body.isEmpty || isFile ? HubJSON.emptyObject : HubJSON(parsing: request.body)
        guard let body, body.members != nil else { return Self.error(400, "the body is a JSON object") }
        let call = Call(
            method: request.method,
            subject: levels.first ?? "",
            levels: Array(levels.dropFirst()),
            query: request.query,
            body: body,
            bytes: request.body
        )
        do {
            guard let answer = try answer(call) else {
                return Self.error(404, "there is no \(request.method) \(request.path) here")
            }
            return HTTPResponse(json: answer)
        } catch let refusal as Refusal {
            return Self.error(refusal.status, refusal.message)
        } catch HubSimulatorError.unknownDevice(let name) {
            return Self.error(404, "\(HubSimulatorError.unknownDevice(name))")
        } catch HubSimulatorError.noAnswer(let what) {
            return Self.error(504, "\(HubSimulatorError.noAnswer(what))")
        } catch let error as HubSimulatorError {
            return Self.error(409, "\(error)")
        } catch {
            return Self.error(500, "\(error)")
        }
    }

    private static func error(_ status: Int, _ message: String) -> HTTPResponse {
        HTTPResponse(status, json: ["error": .string(message)])
    }

    /// What is done and answered; `nil` if there is no such request.
    private func answer(_ call: Call) throws -> HubJSON? {
        if let answer = try answerDevices(call) ?? answerServices(call) ?? answerRecords(call) { return answer }
        if let answer = try answerSettings(call) ?? answerFirmware(call) { return answer }
        return try answerGateways(call) ?? answerThings(call)
    }

    // MARK: What happened

    private func answerRecords(_ call: Call) throws -> HubJSON? {
        switch (call.method, call.subject) {
        case ("GET", "records"):
            let since = call.query["since"].flatMap { Int($0) } ?? 0
            return ["records": .array(try services.records.filter { $0.number > since }.map(Self.json))]
        case ("POST", "wait"): return try wait(call)
        case ("GET", "refusals"):
            return [
                "refusals": .array(
                    record.refusals.map {
                        [
                            "client": .string($0.clientID), "reason": .string($0.reason.rawValue),
                            "detail": .string($0.detail), "address": .string($0.address),
                        ]
                    }
                )
            ]
        case ("GET", "http-records"):
            return [
                "records": .array(
                    try services.httpRecords.map {
                        [
                            "method": .string($0.method), "path": .string($0.path),
                            "range": $0.range.map { .string($0) } ?? .null, "status": HubJSON($0.status),
                            "tls": .bool($0.isSecure), "signedHost": $0.signedHost.map { .string($0) } ?? .null,
                        ]
                    }
                )
            ]
        case ("GET", "statistics"):
            let statistics = try services.statistics
            return [
                "requests": HubJSON(statistics.requests), "malformed": HubJSON(statistics.malformed),
                "dropped": HubJSON(statistics.dropped), "answers": HubJSON(statistics.answers),
                "faults": HubJSON(statistics.faults), "lateCallAnswers": HubJSON(statistics.lateCallAnswers),
                "failures": HubJSON(statistics.failures),
                "lastFailure": (try services.lastFailure).map { .string("\($0)") } ?? .null,
                "seed": .string("\(services.seed)"),
            ]
        default: return nil
        }
    }

    /// Waits for a message of a device that fits, which may have come already.
    private func wait(_ call: Call) throws -> HubJSON {
        let since = call.body["since"]?.integer ?? 0
        let timeout = min(max(0, call.body["timeoutMs"]?.integer ?? 10_000), Self.longestWait)
        let part = call.body["contains"]?.string.map { Array($0.utf8) }
        var found: ServiceRecord?
        _ = waitUntil(timeout: .milliseconds(timeout)) {
            found = (try? services.records)?.first { entry in
                entry.number > since && entry.isFromDevice
                    && (call.body["topic"]?.string ?? entry.topic) == entry.topic
                    && (call.body["device"]?.string.map { entry.topic.contains($0) } ?? true)
                    && (part.map { entry.payload.contains($0) } ?? true)
            }
            return found != nil
        }
        guard let found else { throw Refusal(status: 504, message: "no such message came in \(timeout) ms") }
        return Self.json(found)
    }

    private static func json(_ entry: ServiceRecord) -> HubJSON {
        var json: HubJSON = [
            "number": HubJSON(entry.number), "time": HubJSON(entry.time), "up": .bool(entry.isFromDevice),
            "topic": .string(entry.topic), "payloadBase64": .string(Base64.encode(entry.payload)),
        ]
        if let text = String(validating: entry.payload, as: UTF8.self) { json["payload"] = .string(text) }
        return json
    }
}
