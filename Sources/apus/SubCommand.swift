internal import CLinux
internal import MQTTClient

let subCommand = Command(
    "sub",
    "Print messages as they arrive.",
    usage: "-t FILTER [-t FILTER ...] [OPTIONS]",
    notes: "The command ends with -C, with -W, or with Ctrl-C.",
    options: serverOptions + [
        Option("c", "disable-clean-session", "Have the server keep the session; needs -i."),
        Option("v", "verbose", "Print the topic before each payload."),
        Option("N", "no-newline", "Print no line end after a payload."),
        Option("C", "count", value: "N", "End after so many messages."),
        Option("W", "timeout", value: "SECONDS", "End with status 27 after so long."),
    ]
) { arguments in
    let filters = arguments.all("topic")
    guard !filters.isEmpty else { throw UsageError("-t FILTER is missing") }
    var server = try ServerArguments(arguments)
    if arguments.has("disable-clean-session") {
        guard arguments.has("id") else { throw UsageError("-c needs a client identifier, -i") }
        server.configuration.cleanStart = false
    }
    let limit = try arguments.number("count", in: 1...Int.max)
    let timeout = try arguments.number("timeout", in: 1...1_000_000)
    let client = try await server.client()
    try await client.connect()
    var subscriptions: [MQTTSubscription] = []
    for filter in filters { subscriptions.append(try await client.subscribe(to: filter, qos: server.qos)) }
    let printer = Printer(isVerbose: arguments.has("verbose"), endsLines: !arguments.has("no-newline"), limit: limit)
    let status: Int32 = await withTaskGroup { group in
        for subscription in subscriptions {
            group.addTask {
                for await message in subscription where await printer.print(message) { break }
                return Int32(0)
            }
        }
        if let timeout {
            group.addTask {
                try? await Task.sleep(for: .seconds(timeout))
                return Int32(27)
            }
        }
        let status = await group.next() ?? 0
        group.cancelAll()
        return status
    }
    await client.disconnect()
    return status
}

/// Prints messages, and counts them.
private actor Printer {
    private let isVerbose: Bool
    private let endsLines: Bool
    private var left: Int?

    init(isVerbose: Bool, endsLines: Bool, limit: Int?) {
        self.isVerbose = isVerbose
        self.endsLines = endsLines
        left = limit
    }

    /// Prints `message`; returns whether it was the last.
    func print(_ message: MQTTMessage) -> Bool {
        guard left != 0 else { return true }
        let topic = isVerbose ? Array(message.topic) + [UInt8(ascii: " ")] : []
        Console.raw(topic + message.payload + (endsLines ? [UInt8(ascii: "\n")] : []))
        left = left.map { $0 - 1 }
        return left == 0
    }
}
