#if !hasFeature(Embedded)
// Between JSON and the types of a program. What is tolerated in messages is here too: numbers that stand as text, and the reverse.
extension JSONValue {
    /// The JSON of `value`; an optional member that is `nil` is left out. A member of the type ``JSONValue`` stays as it is.
    ///
    /// Throws `EncodingError` for what JSON cannot keep: integers beyond 2^53, and what is not finite.
    public init(encoding value: some Encodable) throws {
        let node = JSONNode()
        try node.encode(value, [])
        self = node.value
    }

    /// The value as `type`. Throws `DecodingError`.
    public func decoded<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        try JSONDecoding(value: self, codingPath: []).decode(type)
    }

    /// The value that the text holds.
    public init(parsing text: String) throws(JSONError) { try self.init(parsing: text.utf8.span) }

    /// A text.
    public static func string(_ text: String) -> JSONValue { .string(Array(text.utf8)) }

    /// The text, or the digits of a whole number; `nil` for anything else.
    public var stringValue: String? { text.map { String(decoding: $0, as: UTF8.self) } }

    /// The value of a member, which may also be set; `nil` removes it. Of what is no object, there are no members until one is set.
    public subscript(name: String) -> JSONValue? {
        get { self[name: Array(name.utf8)] }
        set {
            if let newValue { return set(name: Array(name.utf8), newValue) }
            guard case .object(let members) = self else { return }
            self = .object(members.filter { $0.name != Array(name.utf8) })
        }
    }
}

extension JSONValue: Codable {
    /// Any JSON, by the decoder of this module; another one must have keyed, unkeyed or single values.
    public init(from decoder: any Decoder) throws {
        if let decoder = decoder as? JSONDecoding {
            self = decoder.value
        } else if let container = try? decoder.container(keyedBy: JSONKey.self) {
            self = .object(
                try container.allKeys.map {
                    JSONMember(
                        name: Array($0.stringValue.utf8),
                        value: try container.decode(JSONValue.self, forKey: $0)
                    )
                }
            )
        } else if var container = try? decoder.unkeyedContainer() {
            var values: [JSONValue] = []
            while !container.isAtEnd { values.append(try container.decode(JSONValue.self)) }
            self = .array(values)
        } else {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let value = try? container.decode(Bool.self) {
                self = .bool(value)
            } else if let value = try? container.decode(Double.self) {
                self = .number(value)
            } else {
                self = .string(try container.decode(String.self))
            }
        }
    }

    /// Writes it, by any encoder.
    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .null:
            var container = encoder.singleValueContainer()
            try container.encodeNil()
        case .bool(let value):
            var container = encoder.singleValueContainer()
            try container.encode(value)
        case .number(let value):
            var container = encoder.singleValueContainer()
            try container.encode(value)
        case .string(let text):
            var container = encoder.singleValueContainer()
            try container.encode(String(decoding: text, as: UTF8.self))
        case .array(let values):
            var container = encoder.unkeyedContainer()
            for value in values { try container.encode(value) }
        case .object(let members):
            var container = encoder.container(keyedBy: JSONKey.self)
            for member in members {
                try container.encode(member.value, forKey: JSONKey(String(decoding: member.name, as: UTF8.self)))
            }
        }
    }
}

// Not by `nil`, which would be `null` where an optional is meant.
extension JSONValue: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// `true` or `false`.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// A whole number.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// A number.
    public init(floatLiteral value: Double) { self = .number(value) }
    /// A text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// An array.
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// An object.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .emptyObject
        for (name, value) in elements { set(name: Array(name.utf8), value) }
    }
}

/// The name of a member, or a place in an array.
struct JSONKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(_ name: String) { (stringValue, intValue) = (name, nil) }
    init(stringValue: String) { self.init(stringValue) }
    init(intValue: Int) { (stringValue, self.intValue) = (String(intValue), intValue) }

    /// What the standard library calls the part of a class that its superclass encodes.
    static let ofSuper = JSONKey("super")
}
#endif
