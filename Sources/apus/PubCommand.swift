internal import CLinux
internal import MQTTClient

/// The options that say what is published.
let payloadOptions = [
    Option("m", "message", value: "TEXT", "The payload."),
    Option("f", "file", value: "FILE", "Take the payload from a file."),
    Option("s", "stdin-file", "Take the payload from the standard input."),
    Option("n", "null-message", "Publish an empty payload."),
]

/// The payload that the options ask for.
func payload(_ arguments: Arguments, orLines: Bool = false) throws -> [UInt8] {
    let sources = ["message", "file", "stdin-file", "null-message"] + (orLines ? ["stdin-line"] : [])
    guard sources.filter(arguments.has).count == 1 else {
        throw UsageError("one of -m, -f, -s\(orLines ? ", -l" : "") and -n says what to publish")
    }
    if let path = arguments["file"] { return try readFile(path) }
    return arguments.has("stdin-file") ? try readFile("/dev/stdin") : Array((arguments["message"] ?? "").utf8)
}

let pubCommand = Command(
    "pub",
    "Publish messages.",
    usage: "-t TOPIC (-m TEXT | -f FILE | -l | -s | -n) [OPTIONS]",
    notes: "With -q 1 and -q 2 the command ends when the server has acknowledged every message.",
    options: serverOptions + payloadOptions + [
        Option("l", "stdin-line", "Publish each line of the standard input."),
        Option("r", "retain", "Have the server keep the message for new subscribers."),
        Option("M", "max-inflight", value: "N", "So many messages are under way at most; 100 unless given."),
        Option(nil, "repeat", value: "N", "Publish the message so often."),
        Option(nil, "repeat-delay", value: "SECONDS", "Wait so long in between; may have a fraction."),
    ]
) { arguments in
    let server = try ServerArguments(arguments)
    guard let topic = server.topics.last else { throw UsageError("-t TOPIC is missing") }
    let isRetained = arguments.has("retain")
    let payload = try payload(arguments, orLines: true)
    let underWay = try arguments.number("max-inflight", in: 1...65_535) ?? 100
    let times = try arguments.number("repeat", in: 1...Int.max) ?? 1
    let delay = try arguments["repeat-delay"].map { text throws(UsageError) in
        guard let seconds = Double(text), seconds >= 0 else { throw UsageError("--repeat-delay is a time in seconds") }
        return Duration.seconds(seconds)
    }
    let client = try await server.client()
    try await client.connect()
    @Sendable func publish(_ payload: [UInt8]) async throws {
        try await client.publish(
            payload,
            to: topic,
            qos: server.qos,
            isRetained: isRetained,
            properties: server.properties["publish"]
        )
    }
    // Several are under way at once; the server's acknowledgements come when they come.
    try await withThrowingTaskGroup(of: Void.self) { group in
        var count = 0
        func add(_ payload: [UInt8]) async throws {
            if count >= underWay { try await group.next() }
            count += 1
            group.addTask { try await publish(payload) }
        }
        if arguments.has("stdin-line") {
            for line in FileLines(STDIN_FILENO) { try await add(line) }
        } else {
            for number in 0..<times {
                if number > 0, let delay { try await Task.sleep(for: delay) }
                try await add(payload)
            }
        }
        try await group.waitForAll()
    }
    try await server.disconnect(client)
    return 0
}
