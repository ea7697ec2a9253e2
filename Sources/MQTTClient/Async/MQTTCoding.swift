#if !hasFeature(Embedded)
/// How values become payloads, and payloads values: what a program has for `Codable`. With Foundation's JSON it is
///
/// ```swift
/// let json = MQTTCoding(
///     encode: { Array(try JSONEncoder().encode($0)) },
///     decode: { try JSONDecoder().decode($0, from: Data($1)) }
/// )
/// ```
public struct MQTTCoding: Sendable {
    let encode: @Sendable (any Encodable) throws -> [UInt8]
    let decode: @Sendable (any Decodable.Type, ArraySlice<UInt8>) throws -> any Decodable

    /// A coding from its two ways.
    public init(
        encode: @escaping @Sendable (_ value: any Encodable) throws -> [UInt8],
        decode: @escaping @Sendable (_ type: any Decodable.Type, _ payload: ArraySlice<UInt8>) throws -> any Decodable
    ) {
        self.encode = encode
        self.decode = decode
    }

    /// The value that a payload stands for.
    public func value<Value: Decodable>(of type: Value.Type, in payload: ArraySlice<UInt8>) throws -> Value {
        guard let value = try decode(type, payload) as? Value else {
            throw DecodingError.typeMismatch(
                type,
                .init(codingPath: [], debugDescription: "the coding has made something else")
            )
        }
        return value
    }
}

/// A message with the value that its payload stands for.
public struct MQTTValue<Value: Decodable & Sendable>: Sendable {
    /// The message.
    public let message: MQTTMessage
    private let coding: MQTTCoding

    init(_ message: MQTTMessage, _ coding: MQTTCoding) {
        self.message = message
        self.coding = coding
    }

    /// The value; throws what the coding throws if the payload stands for none.
    public var value: Value {
        get throws { try coding.value(of: Value.self, in: message.payload) }
    }
}

extension MQTTClient {
    /// Publishes a value, as ``publish(_:to:qos:isRetained:properties:)-([UInt8],_,_,_,_)`` publishes bytes; throws also what the coding throws.
    @discardableResult
    public nonisolated func publish<Value: Encodable & Sendable>(
        _ value: Value,
        to topic: String,
        by coding: MQTTCoding,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false,
        properties: MQTTProperties = MQTTProperties()
    ) async throws -> MQTTReasonCode {
        let payload = try coding.encode(value)
        return try await publish(payload, to: topic, qos: qos, isRetained: isRetained, properties: properties)
    }
}

extension MQTTSubscription {
    /// The messages with the values that they stand for. One that stands for none does not end the sequence: its ``MQTTValue/value`` throws.
    public func values<Value: Decodable & Sendable>(
        of type: Value.Type,
        by coding: MQTTCoding
    ) -> AsyncMapSequence<MQTTSubscription, MQTTValue<Value>> {
        map { MQTTValue($0, coding) }
    }
}

extension MQTTMessage {
    /// The topic name as text.
    public var topicText: String { String(decoding: topic, as: UTF8.self) }

    /// The payload as text; `nil` if it is not UTF-8.
    public var payloadText: String? { String(validating: payload, as: UTF8.self) }
}
#endif
