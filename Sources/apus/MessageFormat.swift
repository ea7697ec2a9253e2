internal import CLinux
internal import MQTTClient

/// How a message is printed: the format of mosquitto_sub's -F.
struct MessageFormat {
    private enum Part {
        case text([UInt8])
        /// What `%` stands before.
        case field(Character)
        /// What `@` stands before: a conversion of strftime.
        case time(Character)
    }

    static let help = """
        A format has the fields %% %A (topic alias) %C (content type) %D (correlation data) %d (duplicate) %E (message expiry) \
        %F (payload format) %I (time, ISO 8601) %j and %J (JSON; %J if the payload is JSON too) %l (length) %m (packet \
        identifier) %P (user properties) %p (payload) %q (QoS) %R (response topic) %r (retained) %S (subscription identifiers) \
        %t (topic) %U (Unix time) %x and %X (payload in hexadecimal), @ before a conversion of strftime, and \\\\ \\0 \\a \\e \\n \\r \\t \\v.
        """

    private var parts: [Part] = []
    private let isPretty: Bool

    /// What -v prints, and what is printed without it.
    static func plain(isVerbose: Bool, endsLines: Bool) -> MessageFormat {
        var format = MessageFormat(isPretty: false)
        if isVerbose { format.parts = [.field("t"), .text([0x20])] }
        format.parts.append(.field("p"))
        if endsLines { format.parts.append(.text([0x0A])) }
        return format
    }

    private init(isPretty: Bool) { self.isPretty = isPretty }

    init(_ text: String, endsLines: Bool, isPretty: Bool) throws(UsageError) {
        self.init(isPretty: isPretty)
        var rest = text[...]
        while let character = rest.popFirst() {
            switch character {
            case "%":
                guard let field = rest.popFirst(), "%ACDdEFIjJlmPpqRrStUxX".contains(field) else {
                    throw UsageError("the format '\(text)' has a wrong field; 'apus sub --help' lists them")
                }
                parts.append(field == "%" ? .text([0x25]) : .field(field))
            case "@":
                guard let conversion = rest.popFirst() else { throw UsageError("'@' stands at the end of the format") }
                parts.append(conversion == "@" ? .text([0x40]) : .time(conversion))
            case "\\":
                let escapes: [Character: UInt8] = [
                    "\\": 0x5C, "0": 0, "a": 7, "e": 0x1B, "n": 0x0A, "r": 0x0D, "t": 9, "v": 0x0B,
                ]
                guard let byte = rest.popFirst().flatMap({ escapes[$0] }) else {
                    throw UsageError("the format '\(text)' has a wrong escape")
                }
                parts.append(.text([byte]))
            default: parts.append(.text(Array(String(character).utf8)))
            }
        }
        if endsLines { parts.append(.text([0x0A])) }
    }

    func bytes(of message: MQTTMessage) -> [UInt8] {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var bytes: [UInt8] = []
        for part in parts {
            switch part {
            case .text(let text): bytes += text
            case .field(let field): bytes += self.bytes(of: field, message, now)
            case .time(let conversion): bytes += Array(Self.time(now, "%\(conversion)").utf8)
            }
        }
        return bytes
    }

    private static func time(_ time: timespec, _ format: String) -> String {
        var seconds = time.tv_sec
        var parts = tm()
        localtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 256)
        let count = strftime(&buffer, buffer.count, format, &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let text = "\(number)"
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }

    /// As mosquitto_sub writes it, with microseconds.
    private static func iso(_ now: timespec) -> String {
        time(now, "%Y-%m-%dT%H:%M:%S.") + padded(now.tv_nsec / 1_000, 6) + time(now, "%z")
    }

    private func bytes(of field: Character, _ message: MQTTMessage, _ now: timespec) -> [UInt8] {
        let properties = message.properties
        func number(_ value: (some BinaryInteger)?) -> [UInt8] { value.map { Array("\($0)".utf8) } ?? [] }
        func text(_ value: String?) -> [UInt8] { Array((value ?? "").utf8) }
        func hexadecimal(_ digits: String) -> [UInt8] {
            let digits = Array(digits.utf8)
            return message.payload.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        }
        switch field {
        case "A": return number(properties.number(of: .topicAlias))
        case "C": return text(properties.contentType)
        case "D": return properties.correlationData ?? []
        case "d": return number(message.isDuplicate ? 1 : 0)
        case "E": return number(properties.messageExpirySeconds)
        case "F": return number(properties.number(of: .payloadFormatIndicator))
        case "I": return text(Self.time(now, "%Y-%m-%dT%H:%M:%S%z"))
        case "j": return json(message, now, parsesPayload: false)
        case "J": return json(message, now, parsesPayload: true)
        case "l": return number(message.payload.count)
        case "m": return number(message.receipt.packetID)
        case "P": return text(properties.userProperties.map { "\($0.name):\($0.value)" }.joined(separator: " "))
        case "p": return Array(message.payload)
        case "q": return number(message.qos.rawValue)
        case "R": return text(properties.responseTopic)
        case "r": return number(message.isRetained ? 1 : 0)
        case "S": return text(properties.subscriptionIdentifiers.map { "\($0)" }.joined(separator: " "))
        case "t": return Array(message.topic)
        case "U": return text("\(now.tv_sec).\(Self.padded(now.tv_nsec, 9))")
        case "x": return hexadecimal("0123456789abcdef")
        default: return hexadecimal("0123456789ABCDEF")
        }
    }

    private func json(_ message: MQTTMessage, _ now: timespec, parsesPayload: Bool) -> [UInt8] {
        let root = JSONObject()
        root.set("tst", Self.iso(now))
        root.set("topic", String(decoding: message.topic, as: UTF8.self))
        root.set("qos", Int(message.qos.rawValue))
        root.set("retain", message.isRetained ? 1 : 0)
        root.set("payloadlen", message.payload.count)
        if message.qos != .atMostOnce { root.set("mid", Int(message.receipt.packetID)) }
        let properties = message.properties
        if !properties.isEmpty {
            let list = JSONObject()
            if let format = properties.number(of: .payloadFormatIndicator) {
                list.set("payload-format-indicator", format)
            }
            if let seconds = properties.messageExpirySeconds { list.set("message-expiry-interval", Int(seconds)) }
            if let type = properties.contentType { list.set("content-type", type) }
            if let topic = properties.responseTopic { list.set("response-topic", topic) }
            if let data = properties.correlationData {
                list.set("correlation-data", String(decoding: data, as: UTF8.self))
            }
            for identifier in properties.subscriptionIdentifiers { list.set("subscription-identifier", identifier) }
            let pairs = properties.userProperties
            if !pairs.isEmpty {
                let users = JSONObject()
                for pair in pairs { users.add(pair.name, pair.value) }
                list.set("user-properties", users)
            }
            root.set("properties", list)
        }
        if !parsesPayload || !root.set("payload", parsing: message.payload) {
            root.set("payload", String(decoding: message.payload, as: UTF8.self))
        }
        return root.text(isPretty: isPretty)
    }
}
