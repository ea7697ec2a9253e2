#if !hasFeature(Embedded)
internal import Kernel

// The properties by name, as Swift's types.
extension MQTTProperties {
    private func flag(_ property: MQTTProperty) -> Bool? { number(of: property).map { $0 != 0 } }
    private func text(_ property: MQTTProperty) -> String? {
        bytes(of: property).map { String(decoding: $0, as: UTF8.self) }
    }
    private mutating func set(_ property: MQTTProperty, text: String?) {
        set(property, to: text.map { Array($0.utf8) })
    }

    /// Whether the payload is UTF-8 text (3.3.2.3.2).
    public var payloadIsText: Bool? {
        get { flag(.payloadFormatIndicator) }
        set { set(.payloadFormatIndicator, to: newValue.map { $0 ? 1 : 0 }) }
    }

    /// How long the message is worth delivering, in seconds. Of one that has arrived: how long it still is (3.3.2.3.3).
    public var messageExpirySeconds: UInt32? {
        get { number(of: .messageExpiryInterval).map { UInt32($0) } }
        set { set(.messageExpiryInterval, to: newValue.map { Int($0) }) }
    }

    /// What the payload is, such as a MIME type (3.3.2.3.9).
    public var contentType: String? {
        get { text(.contentType) }
        set { set(.contentType, text: newValue) }
    }

    /// Where the answer to a request goes (3.3.2.3.5).
    public var responseTopic: String? {
        get { text(.responseTopic) }
        set { set(.responseTopic, text: newValue) }
    }

    /// What the answer to a request is known by (3.3.2.3.6).
    public var correlationData: [UInt8]? {
        get { bytes(of: .correlationData) }
        set { set(.correlationData, to: newValue) }
    }

    /// The numbers of the subscriptions that a message has arrived for; the number to give a subscription (3.3.2.3.8).
    public var subscriptionIdentifiers: [Int] {
        var result: [Int] = []
        var position = 0
        while let range = Self.find(.subscriptionIdentifier, in: bytes.span, from: position) {
            if let (value, _) = VariableByteInteger.read(bytes.span, at: range.lowerBound) { result.append(value) }
            position = range.upperBound
        }
        return result
    }

    /// How long the session outlives the connection, in seconds (3.1.2.11.2, 3.2.2.3.2).
    public var sessionExpirySeconds: UInt32? {
        get { number(of: .sessionExpiryInterval).map { UInt32($0) } }
        set { set(.sessionExpiryInterval, to: newValue.map { Int($0) }) }
    }

    /// The identifier that the server has given to the client (3.2.2.3.7).
    public var assignedClientIdentifier: String? { text(.assignedClientIdentifier) }

    /// The keep alive that the server wants instead of the client's, in seconds (3.2.2.3.14).
    public var serverKeepAliveSeconds: UInt16? { number(of: .serverKeepAlive).map { UInt16($0) } }

    /// How long the server waits before it publishes the will, in seconds (3.1.3.2.2).
    public var willDelaySeconds: UInt32? {
        get { number(of: .willDelayInterval).map { UInt32($0) } }
        set { set(.willDelayInterval, to: newValue.map { Int($0) }) }
    }

    /// What response topics are to start with (3.2.2.3.15).
    public var responseInformation: String? { text(.responseInformation) }

    /// Another server to use (3.2.2.3.16).
    public var serverReference: String? { text(.serverReference) }

    /// A reason for people (3.2.2.3.9 and others).
    public var reasonString: String? {
        get { text(.reasonString) }
        set { set(.reasonString, text: newValue) }
    }

    /// How many messages with acknowledgements the other end takes at a time (3.2.2.3.3).
    public var receiveMaximum: UInt16? { number(of: .receiveMaximum).map { UInt16($0) } }

    /// How many topic aliases the other end takes (3.2.2.3.8).
    public var topicAliasMaximum: UInt16? { number(of: .topicAliasMaximum).map { UInt16($0) } }

    /// The highest guarantee of the server; `nil` for QoS 2 (3.2.2.3.4).
    public var maximumQoS: QoS? { number(of: .maximumQoS).flatMap { QoS(rawValue: UInt8(truncatingIfNeeded: $0)) } }

    /// Whether the server keeps messages; `nil`: it does (3.2.2.3.5).
    public var retainAvailable: Bool? { flag(.retainAvailable) }

    /// The largest packet that the other end takes, in bytes (3.2.2.3.6).
    public var maximumPacketBytes: UInt32? { number(of: .maximumPacketSize).map { UInt32($0) } }

    /// Whether the server has subscriptions with wildcards; `nil`: it has (3.2.2.3.11).
    public var wildcardSubscriptionAvailable: Bool? { flag(.wildcardSubscriptionAvailable) }

    /// Whether the server has subscription identifiers; `nil`: it has (3.2.2.3.12).
    public var subscriptionIdentifierAvailable: Bool? { flag(.subscriptionIdentifierAvailable) }

    /// Whether the server has shared subscriptions; `nil`: it has (3.2.2.3.13).
    public var sharedSubscriptionAvailable: Bool? { flag(.sharedSubscriptionAvailable) }

    /// The name of the authentication method (3.1.2.11.9).
    public var authenticationMethod: String? {
        get { text(.authenticationMethod) }
        set { set(.authenticationMethod, text: newValue) }
    }

    /// What the authentication method says (3.1.2.11.10).
    public var authenticationData: [UInt8]? {
        get { bytes(of: .authenticationData) }
        set { set(.authenticationData, to: newValue) }
    }

    /// The user properties, in their order.
    public var userProperties: [MQTTUserProperty] {
        get {
            var result: [MQTTUserProperty] = []
            var position = 0
            while let range = Self.find(.userProperty, in: bytes.span, from: position) {
                let value = bytes.span.extracting(range)
                let second = 2 + Self.integer(value, 0, 2)
                result.append(
                    MQTTUserProperty(
                        String(decoding: [UInt8](copying: value.extracting(2..<second)), as: UTF8.self),
                        String(
                            decoding: [UInt8](copying: value.extracting(droppingFirst: second + 2)),
                            as: UTF8.self
                        )
                    )
                )
                position = range.upperBound
            }
            return result
        }
        set {
            remove(.userProperty)
            for property in newValue {
                addUserProperty(name: Array(property.name.utf8), value: Array(property.value.utf8))
            }
        }
    }
}
#endif
