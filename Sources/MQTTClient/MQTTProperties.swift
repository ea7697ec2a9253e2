#if os(Linux) || MQTT5
internal import Kernel

/// What a property says, by its identifier (MQTT 5.0, table 2-4).
public enum MQTTProperty: UInt8, Sendable {
    /// Whether a payload is UTF-8 text (1) or bytes (0).
    case payloadFormatIndicator = 0x01
    /// How long a message is worth delivering, in seconds.
    case messageExpiryInterval = 0x02
    /// What a payload is.
    case contentType = 0x03
    /// Where the answer to a request goes.
    case responseTopic = 0x08
    /// What an answer is known by.
    case correlationData = 0x09
    /// The number of a subscription.
    case subscriptionIdentifier = 0x0B
    /// How long a session outlives its connection, in seconds.
    case sessionExpiryInterval = 0x11
    /// The identifier that the server has given to the client.
    case assignedClientIdentifier = 0x12
    /// The keep alive that the server wants, in seconds.
    case serverKeepAlive = 0x13
    /// The name of the authentication method.
    case authenticationMethod = 0x15
    /// What the authentication method says.
    case authenticationData = 0x16
    /// Whether the client wants reason strings and user properties with failures.
    case requestProblemInformation = 0x17
    /// How long the server waits before it publishes the will, in seconds.
    case willDelayInterval = 0x18
    /// Whether the client wants response information.
    case requestResponseInformation = 0x19
    /// What response topics start with.
    case responseInformation = 0x1A
    /// Another server.
    case serverReference = 0x1C
    /// A reason for people.
    case reasonString = 0x1F
    /// How many messages with acknowledgements may be under way.
    case receiveMaximum = 0x21
    /// The largest topic alias.
    case topicAliasMaximum = 0x22
    /// The number that stands for a topic.
    case topicAlias = 0x23
    /// The highest guarantee.
    case maximumQoS = 0x24
    /// Whether the server keeps messages.
    case retainAvailable = 0x25
    /// A name and a value, for the users' own use.
    case userProperty = 0x26
    /// The largest packet, in bytes.
    case maximumPacketSize = 0x27
    /// Whether the server has subscriptions with wildcards.
    case wildcardSubscriptionAvailable = 0x28
    /// Whether the server has subscription identifiers.
    case subscriptionIdentifierAvailable = 0x29
    /// Whether the server has shared subscriptions.
    case sharedSubscriptionAvailable = 0x2A

    /// How a value is written.
    enum Form { case flag, two, four, variable, text, binary, pair }

    var form: Form {
        switch self {
        case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation, .maximumQoS,
            .retainAvailable, .wildcardSubscriptionAvailable, .subscriptionIdentifierAvailable,
            .sharedSubscriptionAvailable:
            .flag
        case .serverKeepAlive, .receiveMaximum, .topicAliasMaximum, .topicAlias: .two
        case .messageExpiryInterval, .sessionExpiryInterval, .willDelayInterval, .maximumPacketSize: .four
        case .subscriptionIdentifier: .variable
        case .contentType, .responseTopic, .assignedClientIdentifier, .authenticationMethod, .responseInformation,
            .serverReference, .reasonString:
            .text
        case .correlationData, .authenticationData: .binary
        case .userProperty: .pair
        }
    }

    /// The packets that it may stand in, as bits by their type; the bit 0 stands for the will in CONNECT.
    var packets: UInt16 {
        func bits(_ types: PacketType...) -> UInt16 { types.reduce(0) { $0 | 1 << UInt16($1.rawValue) } }
        return switch self {
        case .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData:
            bits(.publish) | 1
        case .subscriptionIdentifier: bits(.publish, .subscribe)
        case .sessionExpiryInterval: bits(.connect, .connack, .disconnect)
        case .assignedClientIdentifier, .serverKeepAlive, .responseInformation, .maximumQoS, .retainAvailable,
            .wildcardSubscriptionAvailable, .subscriptionIdentifierAvailable, .sharedSubscriptionAvailable:
            bits(.connack)
        case .authenticationMethod, .authenticationData: bits(.connect, .connack, .auth)
        case .requestProblemInformation, .requestResponseInformation: bits(.connect)
        case .willDelayInterval: 1
        case .serverReference: bits(.connack, .disconnect)
        case .reasonString:
            bits(.connack, .puback, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .disconnect, .auth)
        case .receiveMaximum, .topicAliasMaximum, .maximumPacketSize: bits(.connect, .connack)
        case .topicAlias: bits(.publish)
        case .userProperty: .max
        }
    }
}

/// A name and a value that mean something to the users alone.
public struct MQTTUserProperty: Equatable, Sendable {
    /// The name; there may be several of the same.
    public var name: String
    /// The value.
    public var value: String

    /// A property from its parts; at most 65,535 bytes each.
    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// The properties of a packet (MQTT 5.0, 2.2.2), as they stand in it: to make or read them costs nothing but what is asked for.
public struct MQTTProperties: Equatable, Sendable {
    /// The properties one after another, without their length.
    var bytes: [UInt8]

    /// No properties.
    public init() { bytes = [] }

    init(copying bytes: Span<UInt8>) { self.bytes = [UInt8](copying: bytes) }

    /// Whether there are none.
    public var isEmpty: Bool { bytes.isEmpty }

    // MARK: Reading

    /// Where the value of the first `property` from `start` on stands in properties that are well formed.
    static func find(_ property: MQTTProperty, in bytes: Span<UInt8>, from start: Int = 0) -> Range<Int>? {
        var position = start
        while position < bytes.count {
            guard let kind = MQTTProperty(rawValue: bytes[position]),
                let end = end(of: kind.form, in: bytes, at: position + 1)
            else { return nil }
            if kind == property { return (position + 1)..<end }
            position = end
        }
        return nil
    }

    /// Where a value ends that starts at `start`; `nil` if it does not fit.
    private static func end(of form: MQTTProperty.Form, in bytes: Span<UInt8>, at start: Int) -> Int? {
        let end: Int
        switch form {
        case .flag: end = start + 1
        case .two: end = start + 2
        case .four: end = start + 4
        case .variable:
            guard let (_, next) = VariableByteInteger.read(bytes, at: start) else { return nil }
            end = next
        case .text, .binary:
            guard start + 2 <= bytes.count else { return nil }
            end = start + 2 + integer(bytes, start, 2)
        case .pair:
            guard start + 2 <= bytes.count else { return nil }
            let second = start + 2 + integer(bytes, start, 2)
            guard second + 2 <= bytes.count else { return nil }
            end = second + 2 + integer(bytes, second, 2)
        }
        return end <= bytes.count ? end : nil
    }

    static func integer(_ bytes: Span<UInt8>, _ start: Int, _ count: Int) -> Int {
        var value = 0
        for index in start..<(start + count) { value = value << 8 | Int(bytes[index]) }
        return value
    }

    /// The value of a property that is a number; `nil` if it is not there.
    static func number(_ property: MQTTProperty, in bytes: Span<UInt8>) -> Int? {
        guard let range = find(property, in: bytes) else { return nil }
        if property.form == .variable { return VariableByteInteger.read(bytes, at: range.lowerBound)?.value }
        return integer(bytes, range.lowerBound, range.count)
    }

    /// The value of a property that is a number; `nil` if it is not there.
    public func number(of property: MQTTProperty) -> Int? { Self.number(property, in: bytes.span) }

    /// The value of a property that is text or bytes; `nil` if it is not there.
    public func bytes(of property: MQTTProperty) -> [UInt8]? {
        guard let range = Self.find(property, in: bytes.span) else { return nil }
        return [UInt8](copying: bytes.span.extracting((range.lowerBound + 2)..<range.upperBound))
    }

    /// What is wrong with the properties of a packet, if anything: its own malformation, a property that the packet may not have, or one that is there twice.
    static func fault(in bytes: Span<UInt8>, of packet: UInt16) -> ProtocolViolation? {
        var seen: UInt64 = 0
        var position = 0
        while position < bytes.count {
            let identifier = bytes[position]
            guard let property = MQTTProperty(rawValue: identifier),
                let end = end(of: property.form, in: bytes, at: position + 1)
            else { return .malformedProperties(identifier: identifier) }
            guard property.packets & packet != 0 else { return .misplacedProperty(property) }
            let value = bytes.extracting((position + 1)..<end)
            // A PUBLISH has the identifiers of all the subscriptions that it is for.
            let mayRepeat =
                property == .userProperty
                || property == .subscriptionIdentifier && packet == 1 << UInt16(PacketType.publish.rawValue)
            if !mayRepeat {
                if seen & 1 << UInt64(identifier) != 0 { return .repeatedProperty(property) }
                seen |= 1 << UInt64(identifier)
            }
            switch property.form {
            case .flag: if value[0] > 1 { return .invalidProperty(property) }
            case .binary: break
            case .two, .four, .variable:
                let mayBeZero =
                    switch property {
                    case .receiveMaximum, .maximumPacketSize, .topicAlias, .subscriptionIdentifier: false
                    default: true
                    }
                var isZero = true
                for index in value.indices where value[index] != 0 { isZero = false }
                if isZero && !mayBeZero { return .invalidProperty(property) }
            case .text:
                let text = value.extracting(droppingFirst: 2)
                guard TopicFilter.isValidString(text) else { return .malformedProperties(identifier: identifier) }
                // The topic must be one that can be published on (3.3.2.3.5).
                if property == .responseTopic, !TopicFilter.isValidName(text) { return .invalidProperty(property) }
            case .pair:
                let second = 2 + integer(value, 0, 2)
                guard TopicFilter.isValidString(value.extracting(2..<second)),
                    TopicFilter.isValidString(value.extracting(droppingFirst: second + 2))
                else { return .malformedProperties(identifier: identifier) }
            }
            position = end
        }
        return nil
    }

    // MARK: Writing

    /// Takes all properties of this kind out.
    public mutating func remove(_ property: MQTTProperty) {
        var position = 0
        var rest: [UInt8] = []
        while position < bytes.count {
            guard let kind = MQTTProperty(rawValue: bytes[position]),
                let end = Self.end(of: kind.form, in: bytes.span, at: position + 1)
            else { break }
            if kind != property { rest.append(bytes.span.extracting(position..<end)) }
            position = end
        }
        bytes = rest
    }

    /// Sets a property that is a number; `nil` takes it out.
    public mutating func set(_ property: MQTTProperty, to value: Int?) {
        if Self.find(property, in: bytes.span) != nil { remove(property) }
        guard let value else { return }
        bytes.append(property.rawValue)
        switch property.form {
        case .flag: bytes.append(UInt8(clamping: value))
        case .two: bytes.appendInteger(UInt16(clamping: value))
        case .four:
            let value = UInt32(clamping: value)
            bytes.appendInteger(UInt16(value >> 16))
            bytes.appendInteger(UInt16(truncatingIfNeeded: value))
        case .variable: bytes.appendVariableByteInteger(min(max(value, 0), VariableByteInteger.maximum))
        case .text, .binary, .pair: preconditionFailure("this property is no number")
        }
    }

    /// Sets a property that is text or bytes, at most 65,535 of them; `nil` takes it out.
    public mutating func set(_ property: MQTTProperty, to value: [UInt8]?) {
        if Self.find(property, in: bytes.span) != nil { remove(property) }
        guard let value else { return }
        precondition(property.form == .text || property.form == .binary, "this property is no text")
        precondition(value.count <= 65_535, "a property has at most 65,535 bytes")
        bytes.append(property.rawValue)
        bytes.appendField(value.span)
    }

    /// Adds another number that a message is known to belong to a subscription by.
    mutating func appendSubscriptionIdentifier(_ identifier: Int) {
        bytes.append(MQTTProperty.subscriptionIdentifier.rawValue)
        bytes.appendVariableByteInteger(identifier)
    }

    /// Adds a user property; name and value have at most 65,535 bytes.
    public mutating func addUserProperty(name: [UInt8], value: [UInt8]) {
        precondition(name.count <= 65_535 && value.count <= 65_535, "a property has at most 65,535 bytes")
        bytes.append(MQTTProperty.userProperty.rawValue)
        bytes.appendField(name.span)
        bytes.appendField(value.span)
    }
}
#endif
