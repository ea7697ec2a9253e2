internal import Kernel

/// What the firmwares with these commands differ in.
struct TencentTraits {
    /// In strings, commas and backslashes stand behind backslashes, as everywhere in ESP-AT; otherwise quotes only, and no string has a backslash.
    var escapesAll = false
    /// `AT+TCMQTTPUBL` takes `\"` and `\,` for escapes, and changes them; `AT+TCMQTTPUBRAW` does not.
    var changesEscapes = false
    var topicBytes = 128
    /// The longest payload inside a command line, and behind a prompt.
    var inlineBytes = 200
    var payloadBytes = 2_048
    var subscriptions = 10
}

/// The command lines of MQTT in a modem's firmware, and what fits into them.
struct TencentCommands {
    let traits: TencentTraits
    /// The longest command line, without its terminator.
    let lineBytes: Int

    /// How the parts of a publish are given to the firmware.
    struct Publish {
        var line: [UInt8] = []
        /// What the prompt is answered with; empty where the payload is in the line.
        var payload: [UInt8] = []
    }

    // MARK: Publishing

    /// The command of a publish: the short form where all of it can stand in a line, or the one with a prompt.
    func publish(topic: Span<UInt8>, payload: Span<UInt8>, qos: ModemMQTTQoS) throws(ModemMQTTError) -> Publish {
        try check(topic, isFilter: false)
        guard !payload.isEmpty else { throw .payloadEmpty }
        guard payload.count <= traits.payloadBytes else {
            throw .payloadTooLong(bytes: payload.count, limit: traits.payloadBytes)
        }
        var command = Publish()
        if payload.count <= traits.inlineBytes, isText(payload, isASCII: true) {
            command.line = try head("AT+TCMQTTPUB=", topic, qos)
            command.line.append(UInt8(ascii: ","))
            append(payload, to: &command.line)
            if command.line.count <= lineBytes { return command }
        }
        var hasEscapes = false
        for index in payload.indices {
            if payload[index] == UInt8(ascii: "+"), payload.has("+++\r\n", at: index) { throw .payloadUnsendable }
            guard payload[index] == UInt8(ascii: "\\") else { continue }
            if payload.has("\\\"", at: index) || payload.has("\\,", at: index) { hasEscapes = true }
        }
        let name: StaticString =
            hasEscapes && traits.changesEscapes ? "AT+TCMQTTPUBRAW=" : "AT+TCMQTTPUBL="
        command.line = try head(name, topic, qos)
        command.line.append(UInt8(ascii: ","))
        command.line.append(number: payload.count)
        guard command.line.count <= lineBytes else { throw .topicTooLong(bytes: topic.count, limit: traits.topicBytes) }
        // The line end behind it is not counted, and without it the firmware drops the message.
        command.payload.reserveCapacity(payload.count + 2)
        command.payload.append(payload)
        command.payload.append("\r\n")
        return command
    }

    /// Whether `text` can stand in a command line: no control characters, and nothing that cannot be told apart from an escape. Long forms are
    /// safer for what is not ASCII, since modems differ in what they take for a character.
    private func isText(_ text: Span<UInt8>, isASCII: Bool = false) -> Bool {
        for index in text.indices {
            switch text[index] {
            case UInt8(ascii: "\\"): guard traits.escapesAll else { return false }
            case 0..<0x20, 0x7F: return false
            case 0x80...: if isASCII { return false }
            default: break
            }
        }
        return true
    }

    // MARK: Subscribing

    func subscribe(_ filter: Span<UInt8>, qos: ModemMQTTQoS) throws(ModemMQTTError) -> [UInt8] {
        try check(filter, isFilter: true)
        return try head("AT+TCMQTTSUB=", filter, qos)
    }

    func unsubscribe(_ filter: Span<UInt8>) throws(ModemMQTTError) -> [UInt8] {
        try check(filter, isFilter: true)
        return try head("AT+TCMQTTUNSUB=", filter, nil)
    }

    private func check(_ topic: Span<UInt8>, isFilter: Bool) throws(ModemMQTTError) {
        guard !topic.isEmpty else { throw .invalidTopic }
        guard topic.count <= traits.topicBytes else {
            throw .topicTooLong(bytes: topic.count, limit: traits.topicBytes)
        }
        guard isText(topic) else { throw .invalidTopic }
        if isFilter { return }
        for index in topic.indices where topic[index] == UInt8(ascii: "#") || topic[index] == UInt8(ascii: "+") {
            throw .invalidTopic
        }
    }

    /// `name"topic",qos`.
    private func head(
        _ name: StaticString,
        _ topic: Span<UInt8>,
        _ qos: ModemMQTTQoS?
    ) throws(ModemMQTTError) -> [UInt8] {
        var line: [UInt8] = []
        line.append(name)
        append(topic, to: &line)
        if let qos {
            line.append(UInt8(ascii: ","))
            line.append(number: Int(qos.rawValue))
        }
        guard line.count <= lineBytes else { throw .topicTooLong(bytes: topic.count, limit: traits.topicBytes) }
        return line
    }

    /// Appends a string in quotes.
    private func append(_ text: Span<UInt8>, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        for index in text.indices {
            switch text[index] {
            case UInt8(ascii: "\""): line.append(UInt8(ascii: "\\"))
            case UInt8(ascii: ","), UInt8(ascii: "\\"): if traits.escapesAll { line.append(UInt8(ascii: "\\")) }
            default: break
            }
            line.append(text[index])
        }
        line.append(UInt8(ascii: "\""))
    }

    // MARK: Connecting

    /// Who the device is.
    func identity(_ identity: ModemMQTTIdentity, _ security: ModemMQTTConfiguration.Security) -> [UInt8] {
        var line: [UInt8] = []
        line.append("AT+TCDEVINFOSET=")
        line.append(number: Int(security.rawValue))
        for text in [identity.productID, identity.deviceName, identity.secret.text] {
            line.append(UInt8(ascii: ","))
            line.append(quoted: text, escaping: false)
        }
        return line
    }

    func server(_ host: [UInt8]) -> [UInt8] {
        var line: [UInt8] = []
        line.append("AT+TCMQTTSRV=")
        line.append(quoted: host, escaping: false)
        return line
    }

    func login(_ configuration: ModemMQTTConfiguration) -> [UInt8] {
        var line: [UInt8] = []
        line.append("AT+TCMQTTCONN=")
        line.append(number: Int(configuration.security.rawValue))
        for number in [
            configuration.commandTimeoutMilliseconds, configuration.keepAliveSeconds,
            configuration.cleanSession ? 1 : 0, configuration.firmwareReconnects ? 1 : 0,
        ] {
            line.append(UInt8(ascii: ","))
            line.append(number: number)
        }
        return line
    }

    // MARK: Images for the device

    /// `version` is of 1 to 32 printable characters; `nil` if it is not.
    func listen(version: Span<UInt8>) -> [UInt8]? {
        guard (1...32).contains(version.count), isText(version) else { return nil }
        var line: [UInt8] = []
        line.append("AT+TCOTASET=1,")
        append(version, to: &line)
        return line
    }

    func read(_ count: Int) -> [UInt8] {
        var line: [UInt8] = []
        line.append("AT+TCREADFWDATA=")
        line.append(number: count)
        return line
    }
}

extension Span<UInt8> {
    /// Whether `text` stands at `position`.
    func has(_ text: StaticString, at position: Int) -> Bool {
        guard position + text.utf8CodeUnitCount <= count else { return false }
        for offset in 0..<text.utf8CodeUnitCount where self[position + offset] != text.byte(offset) { return false }
        return true
    }
}
