internal import SAL

extension ModemDriver {
    /// ESP8266 with Tencent's firmware: ESP-AT 1.7, and ``ModemMQTT``.
    public static var tencentESP8266: ModemDriver {
        ModemDriver { TencentFirmware(ESPAT(), TencentTraits(escapesAll: true, changesEscapes: true)) }
    }

    /// Fibocom's L610 with Tencent's firmware: sockets, and ``ModemMQTT``.
    public static var tencentL610: ModemDriver { ModemDriver { TencentFirmware(L610(), TencentTraits()) } }
}

/// A modem of some family whose firmware has MQTT inside. It is a modem of that family, with messages that come by themselves.
final class TencentFirmware: ATDialect {
    private let family: any ATDialect
    private let commands: TencentTraits

    init(_ family: any ATDialect, _ commands: TencentTraits) {
        self.family = family
        self.commands = commands
    }

    var traits: ATTraits { family.traits }
    var isPassive: Bool { family.isPassive }
    #if !hasFeature(Embedded)
    var transparency: ATTransparency? { family.transparency }
    #endif
    var tencent: TencentTraits? { commands }

    func template(for request: ATRequest, _ configuration: ModemConfiguration) -> StaticString? {
        family.template(for: request, configuration)
    }

    func attachStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        family.attachStepEnded(step, error, isOptional: isOptional)
    }

    func notice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        family.notice(line, during: request)
    }

    #if !hasFeature(Embedded)
    var registeredStep: Int { family.registeredStep }
    #endif

    /// `+TCMQTTRCVPUB:"topic",length,"payload"` and `+TCREADFWDATA:length,payload`.
    func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        if line.has("+TCMQTTRCVPUB:", at: 0) {
            // Without a payload no message was told of.
            if isOver { return .payload(link: ATHeader.ofService, count: -1) }
            guard let count = Self.messageBytes(line) else { return .none }
            return .payload(link: ATHeader.ofService, count: count)
        }
        if line.has("+TCREADFWDATA:", at: 0), !isOver {
            let match = ATMatch(line, in: "+TCREADFWDATA:#,")
            if match.index == 0 { return .payload(link: ATHeader.ofService, count: match[0]) }
        }
        return family.header(line, isOver: isOver)
    }

    /// The length in a line that ends with `",length,"`: it is looked for from the end, since the topic may hold anything. Negative for one that cannot be.
    static func messageBytes(_ line: Span<UInt8>) -> Int? {
        guard let end = topicEnd(line) else { return nil }
        var position = end + 2
        return line.number(at: &position) ?? -1
    }

    /// Where the quote behind the topic is.
    static func topicEnd(_ line: Span<UInt8>) -> Int? {
        let quote = UInt8(ascii: "\"")
        var position = line.count - 2
        guard position > 0, line[position + 1] == quote, line[position] == UInt8(ascii: ",") else { return nil }
        position -= 1
        let lastDigit = position
        while position > 0, line[position] &- 0x30 < 10 { position -= 1 }
        guard position < lastDigit, line[position] == UInt8(ascii: ",") else { return nil }
        position -= 1
        // The quote before the topic comes behind the name.
        guard position > 14, line[position] == quote else { return nil }
        return position
    }
}
