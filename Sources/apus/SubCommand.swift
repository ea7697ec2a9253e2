internal import CLinux
internal import MQTTClient

/// The options that say how messages are printed.
let formatOptions = [
    Option("v", "verbose", "Print the topic before each payload."),
    Option("N", "no-newline", "Print no line end after a message."),
    Option("F", "format", value: "FORMAT", "Print messages in this format; see below."),
    Option(nil, "pretty", "Print JSON over several lines."),
    Option("W", "timeout", value: "SECONDS", "End with status 27 after so long."),
]

/// How messages are printed.
func messageFormat(_ arguments: Arguments) throws(UsageError) -> MessageFormat {
    let endsLines = !arguments.has("no-newline")
    guard let text = arguments["format"] else {
        return .plain(isVerbose: arguments.has("verbose"), endsLines: endsLines)
    }
    return try MessageFormat(text, endsLines: endsLines, isPretty: arguments.has("pretty"))
}

/// Calls `body`; 27 if it is not through in the time of -W.
func withTimeout(_ arguments: Arguments, _ body: @escaping @Sendable () async throws -> Int32) async throws -> Int32 {
    guard let seconds = try arguments.number("timeout", in: 1...1_000_000) else { return try await body() }
    return try await withThrowingTaskGroup(of: Int32.self) { group in
        group.addTask(operation: body)
        group.addTask {
            try await Task.sleep(for: .seconds(seconds))
            return 27
        }
        defer { group.cancelAll() }
        return try await group.next() ?? 0
    }
}

let subCommand = Command(
    "sub",
    "Print messages as they arrive.",
    usage: "-t FILTER [-t FILTER ...] [OPTIONS]",
    notes: "The command ends with -C, -E, -W, or Ctrl-C.\n\n" + MessageFormat.help,
    options: serverOptions + formatOptions + [
        Option("C", "count", value: "N", "End after so many messages."),
        Option("E", "exit-after-subscribe", "End when the server has granted the subscriptions."),
        Option("T", "filter-out", value: "FILTER", "Do not print messages of these topics; there may be several."),
        Option("U", "unsubscribe", value: "FILTER", "End this subscription first; there may be several."),
        Option("R", "no-retained", "Do not print messages that the server has kept."),
        Option(nil, "retained-only", "Print only messages that the server has kept."),
        Option(nil, "remove-retained", "Have the server forget the kept messages that come."),
        Option(nil, "retain-as-published", "5.0: let messages keep their retain flag."),
        Option(
            nil,
            "retain-handling",
            value: "N",
            "5.0: kept messages are sent: 0 always, 1 if the subscription is new, 2 never."
        ),
        Option(nil, "no-local", "5.0: leave out what this client itself publishes."),
    ]
) { arguments in
    let server = try ServerArguments(arguments)
    let filters = server.topics
    let ended = arguments.all("unsubscribe")
    guard !filters.isEmpty || !ended.isEmpty else { throw UsageError("-t FILTER is missing") }
    var options = server.properties.subscriptionOptions(server.qos)
    options.noLocal = arguments.has("no-local")
    options.retainAsPublished = arguments.has("retain-as-published")
    if let number = try arguments.number("retain-handling", in: 0...2) {
        options.retainHandling = MQTTSubscriptionOptions.RetainHandling(rawValue: UInt8(number)) ?? .send
    }
    let printer = Printer(
        format: try messageFormat(arguments),
        limit: try arguments.number("count", in: 1...Int.max),
        leavesOut: arguments.all("filter-out"),
        skipsRetained: arguments.has("no-retained"),
        skipsLive: arguments.has("retained-only")
    )
    let client = try await server.client()
    // Each message is read once, however many filters it matches: by what stands before all filters.
    var roots: Set<String> = []
    for filter in filters {
        let filter =
            filter.hasPrefix("$share/") ? filter.split(separator: "/").dropFirst(2).joined(separator: "/") : filter
        roots.insert(filter.hasPrefix("$") ? "\(filter.prefix { $0 != "/" })/#" : "#")
    }
    var readers: [MQTTSubscription] = []
    for root in roots { readers.append(await client.messages(matching: root)) }
    try await client.connect()
    for filter in ended { try await client.unsubscribe(from: filter, properties: server.properties["unsubscribe"]) }
    if !filters.isEmpty {
        for result in try await client.requestSubscriptions(filters.map { ($0, options) }) { _ = try result.get() }
    }
    let removesRetained = arguments.has("remove-retained")
    let sequences = readers
    let status =
        arguments.has("exit-after-subscribe") || filters.isEmpty
        ? 0
        : try await withTimeout(arguments) {
            let isThrough = try await withThrowingTaskGroup(of: Bool.self) { group in
                for reader in sequences {
                    group.addTask {
                        for await message in reader {
                            if removesRetained, message.isRetained {
                                try await client.publish(
                                    "",
                                    to: String(decoding: message.topic, as: UTF8.self),
                                    isRetained: true
                                )
                            }
                            if await printer.print(message) { return true }
                        }
                        return false
                    }
                }
                // The first that ends, ends all.
                defer { group.cancelAll() }
                return try await group.next() ?? false
            }
            if isThrough { return 0 }
            // The connection is over, for a reason that its state has.
            for await case .disconnected(let error) in client.states { throw error }
            throw CancellationError()
        }
    try await server.disconnect(client)
    return status
}

/// Prints messages, and counts them.
private actor Printer {
    private let format: MessageFormat
    private var left: Int?
    private let leavesOut: [[UInt8]]
    private let skipsRetained: Bool
    private let skipsLive: Bool

    init(format: MessageFormat, limit: Int?, leavesOut: [String], skipsRetained: Bool, skipsLive: Bool) {
        self.format = format
        left = limit
        self.leavesOut = leavesOut.map { Array($0.utf8) }
        self.skipsRetained = skipsRetained
        self.skipsLive = skipsLive
    }

    /// Prints `message` unless it is to be left out; returns whether it was the last.
    func print(_ message: MQTTMessage) -> Bool {
        guard left != 0 else { return true }
        if message.isRetained ? skipsRetained : skipsLive { return false }
        let topic = Array(message.topic)
        for filter in leavesOut where TopicFilter.matches(filter.span, topic: topic.span) { return false }
        Console.raw(format.bytes(of: message))
        left = left.map { $0 - 1 }
        return left == 0
    }
}
