#if !hasFeature(Embedded)
/// A place in the JSON that is being made. The containers of an encoder share it.
final class JSONNode {
    private enum Content {
        case plain(JSONValue)
        case array([JSONNode])
        case object([(name: String, node: JSONNode)])
    }

    private var content = Content.object([])

    var value: JSONValue {
        switch content {
        case .plain(let value): value
        case .array(let nodes): .array(nodes.map(\.value))
        case .object(let members):
            .object(members.map { JSONMember(name: Array($0.name.utf8), value: $0.node.value) })
        }
    }

    func set(_ value: JSONValue) { content = .plain(value) }

    func beginObject() { if case .object = content {} else { content = .object([]) } }
    func beginArray() { if case .array = content {} else { content = .array([]) } }

    var count: Int { if case .array(let nodes) = content { nodes.count } else { 0 } }

    /// The place of a member, a new one if there is none yet.
    func member(_ name: String) -> JSONNode {
        guard case .object(var members) = content else { return self }
        if let member = members.first(where: { $0.name == name }) { return member.node }
        let node = JSONNode()
        members.append((name, node))
        content = .object(members)
        return node
    }

    /// A place at the end of the array.
    func appended() -> JSONNode {
        guard case .array(var nodes) = content else { return self }
        let node = JSONNode()
        nodes.append(node)
        content = .array(nodes)
        return node
    }

    /// Puts a value here.
    func encode(_ value: some Encodable, _ path: [any CodingKey]) throws {
        if let value = value as? JSONValue { return set(value) }
        guard let plain = value as? any JSONPlain else {
            return try value.encode(to: JSONEncoding(node: self, codingPath: path))
        }
        guard let json = plain.json else {
            let context = EncodingError.Context(
                codingPath: path,
                debugDescription: "JSON keeps finite numbers, and integers up to 2^53."
            )
            throw EncodingError.invalidValue(value, context)
        }
        set(json)
    }
}

/// What is one value in JSON.
private protocol JSONPlain { var json: JSONValue? { get } }

extension Bool: JSONPlain { fileprivate var json: JSONValue? { .bool(self) } }
extension String: JSONPlain { fileprivate var json: JSONValue? { .string(self) } }
extension BinaryInteger {
    fileprivate var json: JSONValue? {
        Int64(exactly: self).flatMap { $0.magnitude <= JSONValue.largestInteger.magnitude ? .integer($0) : nil }
    }
}
extension Int: JSONPlain {}
extension Int8: JSONPlain {}
extension Int16: JSONPlain {}
extension Int32: JSONPlain {}
extension Int64: JSONPlain {}
extension UInt: JSONPlain {}
extension UInt8: JSONPlain {}
extension UInt16: JSONPlain {}
extension UInt32: JSONPlain {}
extension UInt64: JSONPlain {}
extension Double: JSONPlain { fileprivate var json: JSONValue? { isFinite ? .number(self) : nil } }
extension Float: JSONPlain {
    // By its shortest text: 0.1 stays 0.1.
    fileprivate var json: JSONValue? { isFinite ? Double(description).map { .number($0) } : nil }
}

/// The encoder of one place.
struct JSONEncoding: Encoder, SingleValueEncodingContainer {
    let node: JSONNode
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        node.beginObject()
        return KeyedEncodingContainer(Members<Key>(node: node, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        node.beginArray()
        return Elements(node: node, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    func encodeNil() { node.set(.null) }
    func encode<Value: Encodable>(_ value: Value) throws { try node.encode(value, codingPath) }

    private struct Members<Key: CodingKey>: KeyedEncodingContainerProtocol {
        let node: JSONNode
        let codingPath: [any CodingKey]

        func encodeNil(forKey key: Key) { node.member(key.stringValue).set(.null) }

        func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
            try node.member(key.stringValue).encode(value, codingPath + [key])
        }

        func nestedContainer<Nested>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedEncodingContainer<Nested> {
            encoder(key).container(keyedBy: type)
        }

        func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { encoder(key).unkeyedContainer() }
        func superEncoder() -> any Encoder { encoder(JSONKey.ofSuper) }
        func superEncoder(forKey key: Key) -> any Encoder { encoder(key) }

        private func encoder(_ key: any CodingKey) -> JSONEncoding {
            JSONEncoding(node: node.member(key.stringValue), codingPath: codingPath + [key])
        }
    }

    private struct Elements: UnkeyedEncodingContainer {
        let node: JSONNode
        let codingPath: [any CodingKey]
        var count: Int { node.count }

        func encodeNil() { node.appended().set(.null) }

        func encode<Value: Encodable>(_ value: Value) throws {
            let path = codingPath + [JSONKey(intValue: count)]
            try node.appended().encode(value, path)
        }

        func nestedContainer<Nested>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
            encoder().container(keyedBy: type)
        }

        func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { encoder().unkeyedContainer() }
        func superEncoder() -> any Encoder { encoder() }

        private func encoder() -> JSONEncoding {
            let path = codingPath + [JSONKey(intValue: count)]
            return JSONEncoding(node: node.appended(), codingPath: path)
        }
    }
}
#endif
