internal import CLinux
internal import Kernel
internal import MQTTClient
internal import SAL
internal import SecureTransport

/// The options that pub and sub share: those of mosquitto_pub and mosquitto_sub, as far as they exist here.
let serverOptions = [
    Option("h", "host", value: "HOST", "The server; 'localhost' unless given."),
    Option("p", "port", value: "PORT", "Its port; 1883, or 8883 with TLS, unless given."),
    Option("i", "id", value: "ID", "The client identifier; random unless given."),
    Option("u", "username", value: "NAME", "The user name."),
    Option("P", "pw", value: "PASSWORD", "The password."),
    Option("k", "keepalive", value: "SECONDS", "Ping after so long a silence; 60 unless given."),
    Option("q", "qos", value: "QOS", "The guarantee: 0 or 1; 0 unless given."),
    Option("t", "topic", value: "TOPIC", "The topic, or for 'sub' a topic filter; there may be several."),
    Option(nil, "will-topic", value: "TOPIC", "The topic of a will."),
    Option(nil, "will-payload", value: "TEXT", "The payload of the will."),
    Option(nil, "cafile", value: "FILE", "TLS: the certificates that are trusted, PEM."),
    Option(nil, "cert", value: "FILE", "TLS: the client's certificate, PEM."),
    Option(nil, "key", value: "FILE", "TLS: the client's private key, PEM."),
    Option(nil, "psk", value: "HEX", "TLS: the pre-shared key in hexadecimal."),
    Option(nil, "psk-identity", value: "NAME", "TLS: the identity for the pre-shared key."),
    Option(nil, "modem", value: "DEVICE", "Reach the server through the ESP-AT modem at this serial device."),
]

/// A server and how to talk to it, from the options.
struct ServerArguments {
    let endpoint: Endpoint
    var configuration: MQTTConfiguration
    let tls: TLSConfiguration?
    let qos: QoS
    let modem: String?

    init(_ arguments: Arguments) throws {
        tls = try tlsConfiguration(arguments)
        let port = try arguments.number("port", in: 1...65_535) ?? (tls == nil ? 1883 : 8883)
        endpoint = Endpoint(host: arguments["host"] ?? "localhost", port: UInt16(port))
        var configuration = MQTTConfiguration(
            clientID: Array((arguments["id"] ?? "apus-\(UInt32.random(in: .min ... .max))").utf8)
        )
        configuration.userName = arguments["username"].map { Array($0.utf8) }
        configuration.password = arguments["pw"].map { Array($0.utf8) }
        configuration.keepAliveSeconds = UInt16(try arguments.number("keepalive", in: 0...65_535) ?? 60)
        if let topic = arguments["will-topic"] {
            configuration.will = .init(topic: Array(topic.utf8), payload: Array((arguments["will-payload"] ?? "").utf8))
        }
        self.configuration = configuration
        qos = try arguments.number("qos", in: 0...1) == 1 ? .atLeastOnce : .atMostOnce
        modem = arguments["modem"]
    }

    func client() async throws -> MQTTClient {
        let network = try await openNetwork(modem: modem, tls: tls)
        return MQTTClient(to: endpoint, over: network, configuration: configuration)
    }
}

let pubCommand = Command(
    "pub",
    "Publish messages.",
    usage: "-t TOPIC (-m TEXT | -f FILE | -l | -n) [OPTIONS]",
    notes: "With -q 1 the command ends when the server has acknowledged every message.",
    options: serverOptions + [
        Option("m", "message", value: "TEXT", "The payload."),
        Option("f", "file", value: "FILE", "Take the payload from a file."),
        Option("l", "stdin-line", "Publish each line of the standard input."),
        Option("n", "null-message", "Publish an empty payload."),
        Option("r", "retain", "Have the server keep the message for new subscribers."),
    ]
) { arguments in
    guard let topic = arguments["topic"] else { throw UsageError("-t TOPIC is missing") }
    let server = try ServerArguments(arguments)
    let isRetained = arguments.has("retain")
    let sources = ["message", "file", "stdin-line", "null-message"].filter(arguments.has)
    guard sources.count == 1 else { throw UsageError("one of -m, -f, -l and -n says what to publish") }
    let payload = try arguments["file"].map { try readFile($0) } ?? Array((arguments["message"] ?? "").utf8)
    let client = try await server.client()
    try await client.connect()
    if arguments.has("stdin-line") {
        // Several are under way at once; the server's acknowledgements come when they come.
        try await withThrowingTaskGroup(of: Void.self) { group in
            var underWay = 0
            while let line = readLine() {
                if underWay == 100 {
                    try await group.next()
                    underWay -= 1
                }
                group.addTask {
                    try await client.publish(line, to: topic, qos: server.qos, isRetained: isRetained)
                }
                underWay += 1
            }
            try await group.waitForAll()
        }
    } else {
        try await client.publish(payload, to: topic, qos: server.qos, isRetained: isRetained)
    }
    await client.disconnect()
    return 0
}
