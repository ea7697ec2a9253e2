import CLinux
import Testing

@testable import HubSimulator

/// A hub in a directory of its own that goes with it, and the clients of mosquitto-clients to try it with.
final class TestHub: Sendable {
    let hub: HubSimulator
    let directory: String

    /// Runs `body` with a hub, and takes everything away again.
    static func with(
        _ configuration: HubConfiguration = HubConfiguration(),
        _ body: (TestHub) async throws -> Void
    ) async throws {
        let directory = try temporaryDirectory()
        let result = await offPool { Result { try HubSimulator(directory: directory, configuration: configuration) } }
        do {
            let hub = try result.get()
            try await offPool { Result { try hub.start() } }.get()
            try await body(TestHub(hub: hub, directory: directory))
        } catch {
            Issue.record(error)
        }
        await offPool {
            try? result.get().stop()
            removeDirectory(directory)
        }
    }

    private init(hub: HubSimulator, directory: String) {
        self.hub = hub
        self.directory = directory
    }

    /// A device of the first start's registry.
    func device(_ name: String) throws -> RegisteredDevice {
        try #require(hub.registry.device(productID: "APUSDEMO01", deviceName: name))
    }

    var endpoints: HubEndpoints { get throws { try hub.endpoints } }

    /// Why something was refused last.
    var lastRefusal: HubRefusal? { hub.refusals.last }

    /// Publishes one message with QoS 1. The exit status of mosquitto_pub is the CONNACK code, or 0.
    func publish(_ login: Login, topic: String? = nil, payload: String = "x") async throws -> Int32 {
        let topic = topic ?? login.device.description + "/event"
        let arguments = try login.arguments(endpoints) + ["-t", topic, "-m", payload, "-q", "1"]
        return await run("mosquitto_pub", arguments).status
    }

    /// What the SUBACK says for each filter.
    func subscribe(_ login: Login, _ filters: [String]) async throws -> [Int] {
        let arguments = try login.arguments(endpoints) + filters.flatMap { ["-t", $0] } + ["-q", "1", "-d", "-E"]
        let output = await run("mosquitto_sub", arguments).output
        let line = try #require(output.split(separator: "\n").first { $0.hasPrefix("Subscribed") }, "\(output)")
        return line.split(separator: ":").last?.split(separator: ",").compactMap { Int($0.filter(\.isNumber)) } ?? []
    }

    /// A mosquitto_sub that prints each message as a line with its topic.
    func subscriber(_ login: Login, _ filters: [String], more: [String] = []) throws -> TestProgram {
        let arguments =
            try login.arguments(endpoints) + filters.flatMap { ["-t", $0] } + ["-q", "1", "-d", "-v"] + more
        return try TestProgram("stdbuf", ["-oL", "mosquitto_sub"] + arguments)
    }
}

/// How a device logs in.
struct Login: Sendable {
    enum Way: Equatable {
        case plain
        case psk(identity: String? = nil, key: String? = nil)
        case certificate(of: RegisteredDevice? = nil)
        case tls(authority: String)
    }

    static let never = "9223372036854775807"

    let device: RegisteredDevice
    var way = Way.plain
    var clientID: String?
    var username: String?
    var password: String?
    var more: [String] = []

    func arguments(_ endpoints: HubEndpoints) throws -> [String] {
        let username = username ?? "\(device.clientID);12010126;aB3dE;\(Self.never)"
        var arguments = ["-h", "127.0.0.1", "-i", clientID ?? device.clientID, "-u", username]
        if let password { arguments += ["-P", password] }
        switch way {
        case .plain: arguments += ["-p", "\(endpoints.mqttPort)"]
        case .psk(let identity, let key):
            let key = try key ?? hex(#require(Base64.decode(device.secret ?? "")))
            arguments += ["-p", "\(endpoints.pskPort)", "--psk-identity", identity ?? device.clientID, "--psk", key]
            arguments += ["--tls-version", "tlsv1.2"]
        case .tls(let authority): arguments += ["-p", "\(endpoints.tlsKeyPort)", "--cafile", authority]
        case .certificate(let other):
            guard case .certificate(let certificate, let privateKey) = (other ?? device).credential else { break }
            let authority = certificate.split(separator: "/").dropLast(3).joined(separator: "/")
            arguments += ["-p", "\(endpoints.tlsPort)", "--cafile", "/\(authority)/ca.crt"]
            arguments += ["--cert", certificate, "--key", privateKey]
        }
        return arguments + more
    }

    /// A login by key whose password OpenSSL has computed.
    static func signed(
        _ device: RegisteredDevice,
        expiry: String = never,
        algorithm: String = "sha256",
        key: String? = nil
    ) async throws -> Login {
        let username = "\(device.clientID);12010126;aB3dE;\(expiry)"
        let key = try key ?? hex(#require(Base64.decode(device.secret ?? "")))
        let file = try temporaryDirectory()
        defer { removeDirectory(file) }
        try replaceFile("\(file)/text", with: Array(username.utf8))
        let arguments = ["dgst", "-\(algorithm)", "-mac", "HMAC", "-macopt", "hexkey:\(key)", "\(file)/text"]
        let output = await run("openssl", arguments).output
        let token = try #require(output.split(whereSeparator: \.isWhitespace).last)
        return Login(device: device, username: username, password: "\(token);hmac\(algorithm)")
    }
}

/// A program that runs while this exists.
final class TestProgram: Sendable {
    private let child: ChildProcess
    private let directory: String

    init(_ name: String, _ arguments: [String]) throws {
        let program = findProgram(name) ?? name
        directory = try temporaryDirectory()
        let environment = ["APUS_HUB_PLUGIN", "ASAN_OPTIONS", "TSAN_OPTIONS"].compactMap { name in
            environmentValue(name).map { "\(name)=\($0)" }
        }
        child = try ChildProcess(
            program,
            arguments: arguments,
            environment: environment,
            outputPath: "\(directory)/output"
        )
    }

    deinit {
        child.stop(patience: .seconds(1))
        removeDirectory(directory)
    }

    var processID: Int32 { child.processID }
    var output: String { String(decoding: (try? readFile("\(directory)/output")) ?? [], as: UTF8.self) }
    func signal(_ number: Int32) { kill(child.processID, number) }
    func wait() async -> Int32 { await offPool { self.child.wait() } }
    func prints(_ text: String) async -> Bool { await eventually { self.output.contains(text) } }
}

/// The path of a program of this package: they are built beside the test program.
func programBesideTests(_ name: String) -> String {
    let path = realpath("/proc/self/exe", nil)
    defer { free(path) }
    return path.map { "/" + String(cString: $0).split(separator: "/").dropLast().joined(separator: "/") + "/" + name }
        ?? name
}

/// Runs a program to its end.
func run(_ name: String, _ arguments: [String]) async -> (status: Int32, output: String) {
    guard let program = try? TestProgram(name, arguments) else { return (-1, "cannot start \(name)") }
    return (await program.wait(), program.output)
}

/// Whether a condition holds within ten seconds.
func eventually(within timeout: Duration = .seconds(10), _ condition: @escaping @Sendable () -> Bool) async -> Bool {
    await offPool { waitUntil(timeout: timeout, condition) }
}

func temporaryDirectory() throws -> String {
    var path = Array("/tmp/apus-hub-test-XXXXXX".utf8CString)
    try #require(mkdtemp(&path) != nil)
    return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

func removeDirectory(_ path: String) {
    _ = (try? ChildProcess("/bin/rm", arguments: ["-rf", path], outputPath: "/dev/null"))?.wait()
}
