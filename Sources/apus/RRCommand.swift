internal import MQTTClient

let rrCommand = Command(
    "rr",
    "Publish a request and print the reply.",
    usage: "-t TOPIC [-e TOPIC] (-m TEXT | -f FILE | -s | -n) [OPTIONS]",
    notes: """
        It speaks MQTT 5.0 unless -V says otherwise; without -e the reply comes to a topic of its own, and is known by its correlation data. \
        In 3.1.1 -e names the topic, and the first message there is the reply.

        """ + MessageFormat.help,
    options: serverOptions + payloadOptions + formatOptions + [
        Option("e", "response-topic", value: "TOPIC", "Where the reply comes to."),
        Option("R", "no-retained", "Take no message for the reply that the server has kept."),
    ]
) { arguments in
    let server = try ServerArguments(arguments, defaultVersion: .v5_0)
    guard let topic = server.topics.last else { throw UsageError("-t TOPIC is missing") }
    let payload = try payload(arguments)
    let format = try messageFormat(arguments)
    let isVersion5 = server.configuration.version == .v5_0
    guard isVersion5 || arguments.has("response-topic") else { throw UsageError("in MQTT 3.1.1 -e TOPIC is needed") }
    let client = try await server.client()
    try await client.connect()
    let status = try await withTimeout(arguments) {
        var properties = server.properties["publish"]
        guard let responseTopic = arguments["response-topic"] else {
            let reply = try await client.request(
                payload,
                to: topic,
                qos: server.qos,
                properties: properties,
                timeout: .seconds(1_000_000)
            )
            Console.raw(format.bytes(of: reply))
            return 0
        }
        let replies = try await client.subscribe(
            to: responseTopic,
            options: server.properties.subscriptionOptions(server.qos)
        )
        if isVersion5 { properties.responseTopic = responseTopic }
        try await client.publish(payload, to: topic, qos: server.qos, properties: properties)
        for await reply in replies where !(reply.isRetained && arguments.has("no-retained")) {
            Console.raw(format.bytes(of: reply))
            return 0
        }
        return 1
    }
    try await server.disconnect(client)
    return status
}
