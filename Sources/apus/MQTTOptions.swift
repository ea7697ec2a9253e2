internal import CLinux
internal import Kernel
internal import MQTTClient
internal import SAL
internal import SecureTransport

/// The options that pub, sub and rr share: those of mosquitto_pub, mosquitto_sub and mosquitto_rr, and the ways that those do not have.
let serverOptions =
    [
        Option(
            "L",
            "url",
            value: "URL",
            "The server, login and topic: mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC, ws[s]://HOST/PATH."
        ),
        Option("h", "host", value: "HOST", "The server; 'localhost' unless given."),
        Option("p", "port", value: "PORT", "Its port; 1883, or 8883 with TLS, unless given."),
        Option(nil, "unix", value: "PATH", "Reach the server through a socket of the file system."),
        Option(nil, "ws", "Speak WebSocket; the port is 80, or 443 with TLS, unless given."),
        Option(nil, "ws-path", value: "PATH", "The path of the WebSocket; '/mqtt' unless given."),
        Option(nil, "proxy", value: "URL", "Go through an HTTP proxy: http://[USER:PASSWORD@]HOST:PORT."),
        Option("V", "protocol-version", value: "VERSION", "The version of MQTT: 5 or 311 (also mqttv5, mqttv311)."),
        Option("i", "id", value: "ID", "The client identifier; random unless given."),
        Option("I", "id-prefix", value: "PREFIX", "Put the process's number behind this for the client identifier."),
        Option("u", "username", value: "NAME", "The user name."),
        Option("P", "pw", value: "PASSWORD", "The password."),
        Option("k", "keepalive", value: "SECONDS", "Ping after so long a silence; 60 unless given."),
        Option("c", "disable-clean-session", "Have the server keep the session; needs -i."),
        Option(
            "x",
            "session-expiry-interval",
            value: "SECONDS",
            "5.0: how long the session outlives the connection; -1: for ever."
        ),
        Option("q", "qos", value: "QOS", "The guarantee: 0, 1 or 2; 0 unless given."),
        Option("t", "topic", value: "TOPIC", "The topic, or for 'sub' a topic filter; there may be several."),
        propertyOption,
        Option(nil, "will-topic", value: "TOPIC", "The topic of a will."),
        Option(nil, "will-payload", value: "TEXT", "The payload of the will."),
        Option(nil, "will-qos", value: "QOS", "The guarantee of the will."),
        Option(nil, "will-retain", "Have the server keep the will for new subscribers."),
        Option(nil, "cafile", value: "FILE", "TLS: the certificates that are trusted, PEM."),
        Option(nil, "tls-use-os-certs", "TLS: trust what the system trusts."),
        Option(nil, "cert", value: "FILE", "TLS: the client's certificate, PEM."),
        Option(nil, "key", value: "FILE", "TLS: the client's private key, PEM."),
        Option(nil, "insecure", "TLS: take a certificate that is for another name. Not for production."),
        Option(nil, "tls-alpn", value: "NAME", "TLS: the application protocol that is asked for."),
        Option(nil, "psk", value: "HEX", "TLS: the pre-shared key in hexadecimal."),
        Option(nil, "psk-identity", value: "NAME", "TLS: the identity for the pre-shared key."),
        Option("d", "debug", "Tell on the standard error what happens to the connection."),
        Option(nil, "quiet", "Print no errors."),
    ] + wayOptions

/// A server and how to talk to it, from the options.
struct ServerArguments {
    private let endpoint: Endpoint
    var configuration: MQTTConfiguration
    private let tls: TLSConfiguration?
    private let webSocketPath: String?
    private let proxy: Endpoint?
    private let proxyLogin: (userName: String?, password: String?)
    private let modem: ModemLine?
    let qos: QoS
    /// The topics of -t, and that of the URL.
    let topics: [String]
    let properties: PropertyArguments
    private let isDebugging: Bool

    init(_ arguments: Arguments, defaultVersion: MQTTVersion = .v3_1_1) throws {
        var topics = arguments.all("topic")
        let url = try arguments["url"].map { text throws(UsageError) in try Self.url(text, &topics) }
        self.topics = topics
        var tls = try tlsConfiguration(arguments)
        if tls == nil, url?.isSecure == true || arguments.has("tls-use-os-certs") {
            tls = TLSConfiguration(trust: .system)
        }
        if let name = arguments["tls-alpn"] { tls?.applicationProtocols = [name] }
        if arguments.has("insecure") {
            tls?.verification.verify = { _, problems in problems.subtracting(.wrongName) }
        }
        self.tls = tls
        let isWebSocket = arguments.has("ws") || url?.scheme == .ws || url?.scheme == .wss
        webSocketPath = isWebSocket ? arguments["ws-path"] ?? url?.path ?? "/mqtt" : nil
        let usual =
            switch (isWebSocket, tls != nil) {
            case (false, false): 1_883
            case (false, true): 8_883
            case (true, false): 80
            case (true, true): 443
            }
        if let path = arguments["unix"] {
            endpoint = Endpoint(path: path)
        } else if let url {
            endpoint = url.endpoint
        } else {
            let port = try arguments.number("port", in: 1...65_535) ?? usual
            endpoint = Endpoint(host: arguments["host"] ?? "localhost", port: UInt16(port))
        }
        (proxy, proxyLogin) = try Self.proxy(arguments)
        modem = try ModemLine(way: arguments)
        let version = try Self.version(arguments) ?? defaultVersion
        properties = try PropertyArguments(arguments, version)
        configuration = try Self.configuration(arguments, version, url, properties)
        qos = try Self.qos(arguments, "qos")
        isDebugging = arguments.has("debug")
    }

    private static func version(_ arguments: Arguments) throws(UsageError) -> MQTTVersion? {
        switch arguments["protocol-version"] {
        case nil: nil
        case "5", "mqttv5": .v5_0
        case "311", "mqttv311": .v3_1_1
        case let other?: throw UsageError("-V is 5 or 311, not '\(other)'")
        }
    }

    private static func qos(_ arguments: Arguments, _ name: String) throws(UsageError) -> QoS {
        QoS(rawValue: UInt8(try arguments.number(name, in: 0...2) ?? 0)) ?? .atMostOnce
    }

    private static func configuration(
        _ arguments: Arguments,
        _ version: MQTTVersion,
        _ url: MQTTURL?,
        _ properties: PropertyArguments
    ) throws(UsageError) -> MQTTConfiguration {
        let id =
            arguments["id-prefix"].map { "\($0)\(getpid())" } ?? arguments["id"]
            ?? "apus-\(UInt32.random(in: .min ... .max))"
        var configuration = MQTTConfiguration(clientID: Array(id.utf8))
        configuration.version = version
        configuration.userName = arguments["username"].map { Array($0.utf8) } ?? url?.userName
        configuration.password = arguments["pw"].map { Array($0.utf8) } ?? url?.password
        configuration.keepAliveSeconds = UInt16(try arguments.number("keepalive", in: 0...65_535) ?? 60)
        configuration.queue.bytes = 300_000_000
        configuration.maximumPacketBytes = 268_435_460
        // Who asks for one knows the server.
        configuration.hasSharedSubscriptions = true
        if arguments.has("disable-clean-session") {
            guard arguments.has("id") else { throw UsageError("-c needs a client identifier, -i") }
            configuration.cleanStart = false
            configuration.sessionExpirySeconds = .max
        }
        if let seconds = try arguments.number("session-expiry-interval", in: -1...4_294_967_295) {
            guard version == .v5_0 else { throw UsageError("-x needs MQTT 5.0, -V 5") }
            configuration.sessionExpirySeconds = seconds < 0 ? .max : UInt32(seconds)
        }
        try properties.set(&configuration)
        if let topic = arguments["will-topic"] {
            configuration.will = .init(
                topic: Array(topic.utf8),
                payload: Array((arguments["will-payload"] ?? "").utf8),
                qos: try qos(arguments, "will-qos"),
                isRetained: arguments.has("will-retain")
            )
            configuration.will?.properties = properties["will"]
        } else if !properties["will"].isEmpty || arguments.has("will-payload") {
            throw UsageError("a will needs --will-topic")
        }
        return configuration
    }

    /// The server of a URL; the topic behind it, which mosquitto's programs take there, is added to `topics`.
    private static func url(_ text: String, _ topics: inout [String]) throws(UsageError) -> MQTTURL {
        var text = text
        if text.hasPrefix("mqtt://") || text.hasPrefix("mqtts://"), let scheme = text.firstRange(of: "://"),
            let slash = text[scheme.upperBound...].firstIndex(of: "/")
        {
            let topic = text[text.index(after: slash)...]
            if !topic.isEmpty { topics.append(String(topic)) }
            text = String(text[..<slash])
        }
        guard let url = MQTTURL(text) else {
            throw UsageError("-L is a URL like mqtts://user:password@host:8883/topic or wss://host/path, not '\(text)'")
        }
        return url
    }

    private static func proxy(
        _ arguments: Arguments
    ) throws(UsageError) -> (Endpoint?, (userName: String?, password: String?)) {
        guard let text = arguments["proxy"] else { return (nil, (nil, nil)) }
        // The same form as that of a server, with another scheme.
        guard text.hasPrefix("http://"), let url = MQTTURL("mqtt://" + text.dropFirst("http://".count)) else {
            throw UsageError("--proxy is a URL like http://user:password@host:3128, not '\(text)'")
        }
        func string(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
        return (url.endpoint, (string(url.userName), string(url.password)))
    }

    /// A client for the server, not connected yet.
    func client() async throws -> MQTTClient {
        let loop = EventLoop.start()
        var network: any Network = LinuxNetwork(loop: loop)
        if let modem { network = try await modem.openModem(on: loop) }
        if let proxy {
            network = HTTPProxyNetwork(
                over: network,
                proxy: proxy,
                userName: proxyLogin.userName,
                password: proxyLogin.password
            )
        }
        if let tls { network = try SecureNetwork(over: network, tls) }
        if let webSocketPath { network = WebSocketNetwork(over: network, path: webSocketPath) }
        let client = MQTTClient(to: endpoint, over: network, configuration: configuration)
        if isDebugging {
            let states = client.states
            Task { for await state in states { Console.error("\(state)") } }
        }
        return client
    }

    /// Says goodbye with what -D asks for.
    func disconnect(_ client: MQTTClient) async throws {
        try await client.disconnect(.success, properties: properties["disconnect"])
    }
}
