import CLinux
import Testing

@testable import HubSimulator

/// What curl got.
struct CurlAnswer: Sendable {
    /// 0 if there was no answer.
    let status: Int
    /// By their names in small letters.
    let headers: [String: String]
    let body: [UInt8]
    /// Of curl itself: 18 for a body that ended early.
    let exitStatus: Int32

    var text: String { String(decoding: body, as: UTF8.self) }
    var json: HubJSON { HubJSON(parsing: body) ?? .null }
}

/// Sends a request with curl.
func curl(
    _ url: String,
    method: String = "GET",
    headers: [String] = [],
    body: [UInt8]? = nil,
    more: [String] = []
) async throws -> CurlAnswer {
    let directory = try temporaryDirectory()
    defer { removeDirectory(directory) }
    var arguments = ["-s", "-m", "30", "-X", method, "-o", "\(directory)/body", "-D", "\(directory)/head", url] + more
    for header in headers { arguments += ["-H", header] }
    if let body {
        try replaceFile("\(directory)/request", with: body)
        arguments += ["--data-binary", "@\(directory)/request"]
    }
    let exitStatus = await run("curl", arguments).status
    let head = String(decoding: (try? readFile("\(directory)/head")) ?? [], as: UTF8.self)
    // Behind what went before, a "100 Continue".
    let lines = head.split(separator: "\r\n")
    let start = lines.lastIndex { $0.hasPrefix("HTTP/") } ?? lines.startIndex
    var named: [String: String] = [:]
    for line in lines.dropFirst(start + 1) {
        let parts = line.split(separator: ":", maxSplits: 1)
        if parts.count == 2 { named[parts[0].lowercased()] = parts[1].trimmingPrefix(" ").description }
    }
    let status = lines.isEmpty ? 0 : Int(lines[start].split(separator: " ")[1]) ?? 0
    return CurlAnswer(
        status: status,
        headers: named,
        body: (try? readFile("\(directory)/body")) ?? [],
        exitStatus: exitStatus
    )
}

extension TestHub {
    /// The devices of the specification's vectors: A1B2C3D4E5/dev_0001, with the product's secret.
    func addVectorDevice(withDevice: Bool = true) throws {
        var registry = try #require(HubJSON(parsing: readFile(hub.registry.path)))
        let device: HubJSON = [
            "deviceName": "dev_0001", "type": "key", "deviceSecret": "AAECAwQFBgcICQoLDA0ODw==", "enabled": true,
        ]
        let product: HubJSON = [
            "productId": "A1B2C3D4E5", "productSecret": "KXJ9mWqLp3RtYv7NcZ2bHd4F",
            "devices": withDevice ? [device] : [],
        ]
        registry["products"] = .array((registry["products"]?.elements ?? []) + [product])
        try replaceFile(hub.registry.path, with: registry.text)
    }

    var http: String { get throws { "http://127.0.0.1:\(try endpoints.httpPort)" } }

    /// Posts with a signature in the header.
    func post(
        _ path: String,
        _ body: String,
        algorithm: String,
        signature: String,
        timestamp: Int = 1_700_000_000,
        nonce: Int = 5456,
        more: [String] = []
    ) async throws -> HubJSON {
        let headers = [
            "X-TC-Algorithm: \(algorithm)", "X-TC-Timestamp: \(timestamp)", "X-TC-Nonce: \(nonce)",
            "X-TC-Signature: \(signature)", "Content-Type: application/json; charset=utf-8",
        ]
        let answer = try await curl(http + path, method: "POST", headers: headers, body: Array(body.utf8), more: more)
        #expect(answer.status == 200 && answer.headers["content-length"] == "\(answer.body.count)")
        return try #require(answer.json["Response"], "\(answer.text)")
    }

    /// A request of the control API.
    func control(_ method: String, _ path: String, _ body: HubJSON? = nil, status: Int = 200) async throws -> HubJSON {
        let url = "http://127.0.0.1:\(try endpoints.controlPort)\(path)"
        let answer = try await curl(url, method: method, body: body?.text)
        #expect(answer.status == status, "\(method) \(path): \(answer.text)")
        return answer.json
    }
}
