#if !hasFeature(Embedded)
/// The decoder of one value.
struct JSONDecoding: Decoder, SingleValueDecodingContainer {
    let value: JSONValue
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .object(let members) = value else { throw mismatch([String: JSONValue].self) }
        var values: [String: JSONValue] = [:]
        for member in members where values[member.text] == nil { values[member.text] = member.value }
        return KeyedDecodingContainer(Members<Key>(values: values, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let values) = value else { throw mismatch([JSONValue].self) }
        return Elements(values: values, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { self }

    func decodeNil() -> Bool { value == .null }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if let value = value as? Value { return value }
        guard let plain = type as? any JSONReadable.Type else { return try Value(from: self) }
        guard let value = plain.init(json: value) as? Value else { throw mismatch(type) }
        return value
    }

    private func mismatch(_ type: Any.Type) -> DecodingError {
        let context = DecodingError.Context(codingPath: codingPath, debugDescription: "JSON has \(value.kind) here.")
        if case .null = value { return .valueNotFound(type, context) }
        return .typeMismatch(type, context)
    }

    private struct Members<Key: CodingKey>: KeyedDecodingContainerProtocol {
        let values: [String: JSONValue]
        let codingPath: [any CodingKey]

        var allKeys: [Key] { values.keys.compactMap { Key(stringValue: $0) } }
        func contains(_ key: Key) -> Bool { values[key.stringValue] != nil }
        func decodeNil(forKey key: Key) throws -> Bool { try decoder(key).decodeNil() }

        func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
            try decoder(key).decode(type)
        }

        func nestedContainer<Nested>(keyedBy type: Nested.Type, forKey key: Key) throws
            -> KeyedDecodingContainer<Nested>
        {
            try decoder(key).container(keyedBy: type)
        }

        func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
            try decoder(key).unkeyedContainer()
        }

        func superDecoder() throws -> any Decoder { try decoder(JSONKey.ofSuper) }
        func superDecoder(forKey key: Key) throws -> any Decoder { try decoder(key) }

        private func decoder(_ key: any CodingKey) throws -> JSONDecoding {
            guard let value = values[key.stringValue] else {
                let context = DecodingError.Context(
                    codingPath: codingPath,
                    debugDescription: "There is no member \(key.stringValue)."
                )
                throw DecodingError.keyNotFound(key, context)
            }
            return JSONDecoding(value: value, codingPath: codingPath + [key])
        }
    }

    private struct Elements: UnkeyedDecodingContainer {
        let values: [JSONValue]
        let codingPath: [any CodingKey]
        var currentIndex = 0

        init(values: [JSONValue], codingPath: [any CodingKey]) { (self.values, self.codingPath) = (values, codingPath) }

        var count: Int? { values.count }
        var isAtEnd: Bool { currentIndex >= values.count }

        mutating func decodeNil() throws -> Bool {
            guard try next(JSONValue.self).decodeNil() else { return false }
            currentIndex += 1
            return true
        }

        mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
            let value = try next(type).decode(type)
            currentIndex += 1
            return value
        }

        mutating func nestedContainer<Nested>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
            let container = try next(type).container(keyedBy: type)
            currentIndex += 1
            return container
        }

        mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
            let container = try next([JSONValue].self).unkeyedContainer()
            currentIndex += 1
            return container
        }

        mutating func superDecoder() throws -> any Decoder {
            let decoder = try next(JSONValue.self)
            currentIndex += 1
            return decoder
        }

        private func next(_ type: Any.Type) throws -> JSONDecoding {
            let path = codingPath + [JSONKey(intValue: currentIndex)]
            guard !isAtEnd else {
                let context = DecodingError.Context(codingPath: path, debugDescription: "The array ends here.")
                throw DecodingError.valueNotFound(type, context)
            }
            return JSONDecoding(value: values[currentIndex], codingPath: path)
        }
    }
}

/// What one value in JSON can be.
private protocol JSONReadable { init?(json: JSONValue) }

extension Bool: JSONReadable {
    // The hub's data template has 0 and 1.
    fileprivate init?(json: JSONValue) {
        switch json {
        case .bool(let value): self = value
        case .number(0): self = false
        case .number(1): self = true
        case .null, .number, .string, .array, .object: return nil
        }
    }
}
extension String: JSONReadable {
    fileprivate init?(json: JSONValue) {
        guard let text = json.stringValue else { return nil }
        self = text
    }
}
extension BinaryInteger {
    fileprivate init?(json: JSONValue) {
        guard let integer = json.integer else { return nil }
        self.init(exactly: integer)
    }
}
extension Int: JSONReadable {}
extension Int8: JSONReadable {}
extension Int16: JSONReadable {}
extension Int32: JSONReadable {}
extension Int64: JSONReadable {}
extension UInt: JSONReadable {}
extension UInt8: JSONReadable {}
extension UInt16: JSONReadable {}
extension UInt32: JSONReadable {}
extension UInt64: JSONReadable {}
extension Double: JSONReadable {
    fileprivate init?(json: JSONValue) {
        guard case .number(let number) = json else { return nil }
        self = number
    }
}
extension Float: JSONReadable {
    fileprivate init?(json: JSONValue) {
        guard case .number(let number) = json else { return nil }
        self = Float(number)
        guard isFinite else { return nil }
    }
}

extension JSONMember {
    fileprivate var text: String { String(decoding: name, as: UTF8.self) }
}

extension JSONValue {
    fileprivate var kind: String {
        switch self {
        case .null: "null"
        case .bool: "true or false"
        case .number: "a number"
        case .string: "a text"
        case .array: "an array"
        case .object: "an object"
        }
    }
}
#endif
