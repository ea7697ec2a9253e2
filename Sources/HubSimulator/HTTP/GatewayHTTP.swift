internal import Kernel

/// The hub's HTTP gateway: what devices ask for by HTTP. Each request is dealt with on the services' thread.
struct GatewayHTTP: Sendable {
    /// The codes of the gateway's errors. The vendor does not publish them; these are the simulator's own.
    enum Code: String {
        case invalid = "InvalidParameterValue"
        case wrongSignature = "AuthFailure.SignatureFailure"
        case expired = "AuthFailure.SignatureExpire"
        case unknownProduct = "ResourceNotFound.ProductNotExist"
        case unknownDevice = "ResourceNotFound.DeviceNotExist"
        case isActivated = "FailedOperation.DeviceAlreadyActivated"
        case isDisabled = "FailedOperation.DeviceDisabled"
        case isNotAllowed = "FailedOperation.DynamicRegistrationDisabled"
        case internalError = "InternalError"
    }

    /// Why a request is refused.
    struct Refusal: Error {
        let code: Code
        let message: String
    }

    typealias Answer = @Sendable (ServiceCore) throws(HubSimulatorError) -> ServiceCore.HTTPOutcome<HubJSON>

    /// The longest body in bytes: a file that a device sends.
    static let maximumBodyBytes = 8 << 20
    static let recordLimit = 1000

    let services: CloudServices
    let record: HubRecord

    /// Answers a request, unless something is to go wrong with it.
    func respond(to request: HTTPRequest) -> HTTPResponse {
        let fault = (try? services.perform { $0.takeHTTPFault(request.path) }) ?? nil
        switch fault {
        case .status(let status): return note(request, HTTPResponse(status, body: .bytes([]), headers: []))
        case .error(let code): return note(request, errorBody(code, "as it was asked for"))
        case .late, .cut, .slow, .chunked, .ignoresRange, .wrongBytes, nil: break
        }
        var response = route(request, ignoresRange: fault == .ignoresRange)
        switch fault {
        case .late(let delay): response.delay = delay
        case .cut(let count): response.isCutAfter = count
        case .slow(let rate): response.bytesPerSecond = max(10, rate)
        case .chunked: response.isChunked = true
        case .wrongBytes: response.body = .bytes([UInt8](repeating: 0x21, count: response.body.count))
        case .status, .error, .ignoresRange, nil: break
        }
        return note(request, response)
    }

    private func note(_ request: HTTPRequest, _ response: HTTPResponse) -> HTTPResponse {
        let entry = HTTPRecord(
            method: request.method,
            path: request.path,
            range: request.headers["range"],
            status: response.status,
            isSecure: request.isSecure,
            signedHost: response.signedHost
        )
        try? services.perform { core in
            if core.httpRecords.count == Self.recordLimit { core.httpRecords.removeFirst() }
            core.httpRecords.append(entry)
        }
        return response
    }

    private func route(_ request: HTTPRequest, ignoresRange: Bool) -> HTTPResponse {
        switch (request.method, request.path) {
        case ("POST", "/device/register"):
            return answer { core throws(HubSimulatorError) in try core.register(request) }
        case ("POST", "/device/reportlog"):
            return answer { core throws(HubSimulatorError) in try core.takeLog(request) }
        case ("POST", "/device/publish"): return publish(request)
        case ("POST", "/register/dev"): return registerLegacy(request)
        case ("POST", "/cgi-bin/report-log"): return reportLegacyLog(request)
        case ("GET", _), ("HEAD", _), ("PUT", _), ("POST", _):
            guard request.path.hasPrefix(ServiceCore.fileRoot) else { break }
            do {
                return try services.change { core throws(HubSimulatorError) in
                    try core.serveFile(request, ignoresRange: ignoresRange)
                }
            } catch {
                return HTTPResponse(500, "\(error)")
            }
        default: break
        }
        return HTTPResponse(404, "there is no \(request.method) \(request.path) here")
    }

    /// `{"Response":{…}}`, with what `body` returns or with its refusal.
    private func answer(_ body: @escaping Answer) -> HTTPResponse {
        let (outcome, host) = attempt(body)
        var response: HTTPResponse
        switch outcome {
        case .success(var members):
            members["RequestId"] = .string(requestID())
            response = HTTPResponse(json: ["Response": members])
        case .failure(let refusal): response = errorBody(refusal.code.rawValue, refusal.message)
        }
        response.signedHost = host
        return response
    }

    /// The outcome, and the host that the request was signed with.
    private func attempt(_ body: @escaping Answer) -> (outcome: ServiceCore.HTTPOutcome<HubJSON>, host: String?) {
        do {
            return try services.change { core throws(HubSimulatorError) in
                core.signedHost = nil
                let outcome = try body(core)
                return (outcome, core.signedHost)
            }
        } catch {
            return (.failure(Refusal(code: .internalError, message: "\(error)")), nil)
        }
    }

    /// The message goes to the record as one that came by MQTT does.
    private func publish(_ request: HTTPRequest) -> HTTPResponse {
        let published = Guarded<HubMessage?>(nil)
        let response = answer { core throws(HubSimulatorError) in
            try core.publishedMessage(request).map { message in
                published.withLock { $0 = message }
                return .emptyObject
            }
        }
        // Not on the services' thread, whose users' handlers would hold it up.
        if let message = published.withLock({ $0 }) { record.take(.message(message)) }
        return response
    }

    private func errorBody(_ code: String, _ message: String) -> HTTPResponse {
        let error: HubJSON = ["Code": .string(code), "Message": .string(message)]
        return HTTPResponse(json: ["Response": ["Error": error, "RequestId": .string(requestID())]])
    }

    private func requestID() -> String {
        let bytes = try? services.perform { core in
            (0..<16).map { _ in UInt8.random(in: 0...255, using: &core.generator) }
        }
        let digits = Array(hex(bytes ?? [UInt8](repeating: 0, count: 16)))
        let groups = [0..<8, 8..<12, 12..<16, 16..<20, 20..<32]
        return groups.map { String(digits[$0]) }.joined(separator: "-")
    }

    /// The older registration: `{"code":0,"message":"","len":53,"payload":"…"}`.
    private func registerLegacy(_ request: HTTPRequest) -> HTTPResponse {
        switch attempt({ core throws(HubSimulatorError) in try core.registerLegacy(request) }).outcome {
        case .success(let body): HTTPResponse(json: body)
        case .failure(let refusal): HTTPResponse(json: ["code": 1, "message": .string(refusal.code.rawValue)])
        }
    }

    private func reportLegacyLog(_ request: HTTPRequest) -> HTTPResponse {
        switch attempt({ core throws(HubSimulatorError) in try core.takeLegacyLog(request) }).outcome {
        case .success: HTTPResponse(json: ["Retcode": 0])
        case .failure(let refusal): HTTPResponse(json: ["Retcode": 1, "Message": .string(refusal.code.rawValue)])
        }
    }
}
