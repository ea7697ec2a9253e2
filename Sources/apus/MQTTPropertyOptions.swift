internal import MQTTClient

let propertyOption = Option(
    "D",
    "property",
    value: "COMMAND NAME VALUE",
    "5.0: a property of connect, publish, subscribe, unsubscribe, disconnect or will; 'user-property' has a key and a value.",
    words: { words in words.dropFirst().first == "user-property" ? 4 : 3 }
)

/// The properties that -D gives to each packet.
struct PropertyArguments {
    /// What a property's name stands for.
    private static let names: [String: MQTTProperty] = [
        "payload-format-indicator": .payloadFormatIndicator, "message-expiry-interval": .messageExpiryInterval,
        "content-type": .contentType, "response-topic": .responseTopic, "correlation-data": .correlationData,
        "subscription-identifier": .subscriptionIdentifier, "session-expiry-interval": .sessionExpiryInterval,
        "request-problem-information": .requestProblemInformation, "will-delay-interval": .willDelayInterval,
        "request-response-information": .requestResponseInformation, "reason-string": .reasonString,
        "receive-maximum": .receiveMaximum, "topic-alias-maximum": .topicAliasMaximum,
        "maximum-packet-size": .maximumPacketSize, "authentication-method": .authenticationMethod,
        "authentication-data": .authenticationData, "user-property": .userProperty,
    ]
    private static let commands: [String: [MQTTProperty]] = [
        "connect": [
            .sessionExpiryInterval, .receiveMaximum, .maximumPacketSize, .topicAliasMaximum, .requestProblemInformation,
            .requestResponseInformation, .userProperty,
        ],
        "publish": [
            .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData,
            .userProperty,
        ],
        "subscribe": [.subscriptionIdentifier, .userProperty],
        "unsubscribe": [.userProperty],
        "disconnect": [.sessionExpiryInterval, .reasonString, .userProperty],
        "will": [
            .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData,
            .userProperty,
            .willDelayInterval,
        ],
    ]

    private var properties: [String: MQTTProperties] = [:]

    subscript(_ command: String) -> MQTTProperties { properties[command] ?? MQTTProperties() }

    init(_ arguments: Arguments, _ version: MQTTVersion) throws(UsageError) {
        for words in arguments.lists("property") {
            guard version == .v5_0 else { throw UsageError("-D needs MQTT 5.0, -V 5") }
            guard let allowed = Self.commands[words[0]] else {
                throw UsageError(
                    "-D has no command '\(words[0])'; it has \(Self.commands.keys.sorted().joined(separator: ", "))"
                )
            }
            guard let property = Self.names[words[1]], allowed.contains(property) else {
                let names = Self.names.filter { allowed.contains($0.value) }.keys.sorted().joined(separator: ", ")
                throw UsageError("-D \(words[0]) has no property '\(words[1])'; it has \(names)")
            }
            guard words.dropFirst(2).allSatisfy({ $0.utf8.count <= 65_535 }) else {
                throw UsageError("a property has at most 65,535 bytes")
            }
            var list = self[words[0]]
            switch property {
            case .userProperty: list.addUserProperty(name: Array(words[2].utf8), value: Array(words[3].utf8))
            case .contentType, .responseTopic, .correlationData, .reasonString:
                list.set(property, to: Array(words[2].utf8))
            default:
                let most =
                    switch property {
                    case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation: 1
                    case .receiveMaximum, .topicAliasMaximum: 65_535
                    case .subscriptionIdentifier: 268_435_455
                    default: 4_294_967_295
                    }
                guard let number = Int(words[2]), (0...most).contains(number) else {
                    throw UsageError("\(words[1]) is a number from 0 to \(most), not '\(words[2])'")
                }
                list.set(property, to: number)
            }
            properties[words[0]] = list
        }
    }

    /// Sets those of CONNECT.
    func set(_ configuration: inout MQTTConfiguration) throws(UsageError) {
        var list = self["connect"]
        if let seconds = list.number(of: .sessionExpiryInterval) {
            configuration.sessionExpirySeconds = UInt32(seconds)
        }
        if let count = list.number(of: .receiveMaximum) {
            guard count > 0 else { throw UsageError("receive-maximum is not zero") }
            configuration.receiveMaximum = UInt16(count)
        }
        if let bytes = list.number(of: .maximumPacketSize) {
            guard bytes > 0 else { throw UsageError("maximum-packet-size is not zero") }
            configuration.maximumPacketBytes = bytes
        }
        if let count = list.number(of: .topicAliasMaximum) { configuration.topicAliasMaximum = UInt16(count) }
        for property in [MQTTProperty.sessionExpiryInterval, .receiveMaximum, .maximumPacketSize, .topicAliasMaximum] {
            list.remove(property)
        }
        configuration.connectProperties = list
    }

    /// The options of a subscription with those of SUBSCRIBE.
    func subscriptionOptions(_ qos: QoS) -> MQTTSubscriptionOptions {
        var options = MQTTSubscriptionOptions(qos)
        options.properties = self["subscribe"]
        options.identifier = options.properties.number(of: .subscriptionIdentifier)
        options.properties.remove(.subscriptionIdentifier)
        return options
    }
}
