internal import CLinux
internal import Kernel

/// A Mosquitto broker with our plugin, as a child of this process. It keeps its ports and its sessions while it is stopped.
final class MosquittoBroker: Sendable {
    /// The user without limits, for ``CloudLink``.
    struct CloudLogin {
        /// The plugin ties it to these rights.
        static let clientID = "hub-cloud"
        let user = "cloud-\(randomHex(8))"
        let password = randomHex(32)
    }

    let mqttPort: ReservedPort
    let pskPort: ReservedPort
    let tlsPort: ReservedPort
    let tlsKeyPort: ReservedPort
    let cloudLogin = CloudLogin()
    private let configuration: HubConfiguration
    private let directory: String
    private let programPath: String
    private let pluginPath: String
    private let child = Guarded<ChildProcess?>(nil)

    private var logPath: String { "\(directory)/broker/mosquitto.log" }
    private var configurationPath: String { "\(directory)/broker/mosquitto.conf" }

    /// Reserves the ports; finds the programs. `directory` is the hub's.
    init(directory: String, configuration: HubConfiguration) throws(HubSimulatorError) {
        self.directory = directory
        self.configuration = configuration
        guard let program = configuration.mosquittoPath ?? findProgram("mosquitto"), access(program, X_OK) == 0 else {
            throw .programMissing(configuration.mosquittoPath ?? "mosquitto", package: "mosquitto")
        }
        programPath = program
        pluginPath = try Self.findPlugin(configuration)
        mqttPort = try ReservedPort(address: configuration.address, port: configuration.mqttPort)
        pskPort = try ReservedPort(address: configuration.address, port: configuration.pskPort)
        tlsPort = try ReservedPort(address: configuration.address, port: configuration.tlsPort)
        tlsKeyPort = try ReservedPort(address: configuration.address, port: configuration.tlsKeyPort)
    }

    deinit { stop() }

    /// Where a program of this host connects to.
    var host: String {
        switch configuration.address {
        case "0.0.0.0": "127.0.0.1"
        case "::": "::1"
        case let address: address
        }
    }

    /// The broker's number while it runs.
    var processID: pid_t? {
        child.withLock { child in
            guard let child, child.exitStatus == nil else { return nil }
            return child.processID
        }
    }

    /// The end of the broker's log.
    var lastWords: String {
        guard let log = try? readFile(logPath) else { return "(nothing)" }
        let lines = String(decoding: log.suffix(2000), as: UTF8.self).split(separator: "\n")
        return lines.isEmpty ? "(nothing)" : lines.suffix(6).joined(separator: "\n")
    }

    /// Starts the broker and waits until it accepts connections.
    func start() throws(HubSimulatorError) {
        try makeDirectory("\(directory)/broker")
        try replaceFile(configurationPath, with: Array(configurationText.utf8))
        let arguments = ["-c", configurationPath]
        let started = try ChildProcess(programPath, arguments: arguments, outputPath: logPath)
        let accepts = waitUntil(timeout: configuration.startTimeout) {
            started.exitStatus != nil
                || [mqttPort, pskPort, tlsPort, tlsKeyPort].allSatisfy {
                    ReservedPort.accepts(address: host, port: $0.number)
                }
        }
        guard accepts, started.exitStatus == nil else {
            started.stop()
            throw .brokerFailed(lastWords)
        }
        child.withLock { $0 = started }
    }

    /// Stops the broker, which saves its sessions first.
    func stop() {
        let running = child.withLock { child in
            defer { child = nil }
            return child
        }
        running?.stop()
    }

    private static func findPlugin(_ configuration: HubConfiguration) throws(HubSimulatorError) -> String {
        var paths: [String] = []
        if let path = configuration.pluginPath ?? environmentValue("APUS_HUB_PLUGIN") {
            paths = [absolutePath(path)]
        } else if let program = realpath("/proc/self/exe", nil) {
            defer { free(program) }
            let directory = String(cString: program).split(separator: "/").dropLast().joined(separator: "/")
            paths = ["/\(directory)/libHubPlugin.so", "/\(directory)/../lib/apus/libHubPlugin.so"]
        }
        guard let path = paths.first(where: { access($0, R_OK) == 0 }) else { throw .pluginMissing(paths) }
        return path
    }

    private var configurationText: String {
        let user = getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) } ?? "mosquitto"
        return """
            user \(user)
            log_dest stderr
            log_timestamp_format %Y-%m-%dT%H:%M:%S
            persistence true
            persistence_location \(directory)/broker/
            autosave_interval 30
            persistent_client_expiration 1d
            allow_anonymous false
            retain_available false
            set_tcp_nodelay true
            max_keepalive 900
            # The plugin refuses what is longer than the hub takes; this only bounds memory.
            max_packet_size \(configuration.maxPayloadBytes + 131_072)
            # For clients that are away; nothing is dropped for one that is connected, however fast its messages come.
            max_queued_messages 150
            max_inflight_messages 0

            plugin \(pluginPath)
            plugin_opt_registry \(directory)/registry.json
            plugin_opt_cloud_user \(cloudLogin.user)
            plugin_opt_cloud_password \(cloudLogin.password)
            plugin_opt_max_payload \(configuration.maxPayloadBytes)
            plugin_opt_parent_pid \(getpid())

            listener \(mqttPort.number) \(configuration.address)
            max_qos 1

            listener \(pskPort.number) \(configuration.address)
            max_qos 1
            tls_version tlsv1.2
            psk_hint hub
            use_identity_as_username false

            listener \(tlsPort.number) \(configuration.address)
            max_qos 1
            tls_version tlsv1.2
            cafile \(directory)/ca.crt
            certfile \(directory)/server.crt
            keyfile \(directory)/server.key
            require_certificate true
            use_identity_as_username false

            listener \(tlsKeyPort.number) \(configuration.address)
            max_qos 1
            tls_version tlsv1.2
            certfile \(directory)/server.crt
            keyfile \(directory)/server.key

            """
    }
}
