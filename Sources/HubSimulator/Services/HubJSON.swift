internal import CcJSON

/// A JSON value. Objects keep the order of their members and are equal in any.
public enum HubJSON: Sendable {
    /// Nothing.
    case null
    /// True or false.
    case bool(Bool)
    /// Any number; whole ones are exact up to 2^53.
    case number(Double)
    /// A text.
    case string(String)
    /// A list.
    case array([HubJSON])
    /// Named values.
    case object([Member])

    /// A value with its name.
    public struct Member: Equatable, Sendable {
        /// The name; case matters.
        public var name: String
        /// The value.
        public var value: HubJSON

        /// A value with its name.
        public init(_ name: String, _ value: HubJSON) {
            self.name = name
            self.value = value
        }
    }

    /// The value that `text` holds and nothing else; `nil` if it does not. Nests at most 1000 deep.
    public init?(parsing text: some Sequence<UInt8>) {
        let bytes = Array(text)
        let parsed: HubJSON? = bytes.withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { text -> HubJSON? in
                var end: UnsafePointer<CChar>?
                let json = cJSON_ParseWithLengthOpts(text.baseAddress, text.count, &end, 0)
                guard let json else { return nil }
                defer { cJSON_Delete(json) }
                let used = text.baseAddress.flatMap { start in end.map { $0 - start } } ?? 0
                let isWhole = buffer[min(used, buffer.count)...].allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
                return isWhole ? HubJSON(json) : nil
            }
        }
        guard let parsed else { return nil }
        self = parsed
    }

    /// The value as text, without white space.
    public var text: [UInt8] {
        let json = makeCJSON()
        defer { cJSON_Delete(json) }
        guard let text = cJSON_PrintUnformatted(json) else { return [] }
        defer { cJSON_free(text) }
        return Array(String(cString: text).utf8)
    }

    private init(_ json: UnsafeMutablePointer<cJSON>) {
        if cJSON_IsTrue(json) != 0 || cJSON_IsFalse(json) != 0 {
            self = .bool(cJSON_IsTrue(json) != 0)
        } else if cJSON_IsNumber(json) != 0 {
            self = .number(json.pointee.valuedouble)
        } else if let text = cJSON_GetStringValue(json) {
            self = .string(String(cString: text))
        } else if cJSON_IsArray(json) != 0 {
            self = .array(Self.children(of: json).map { HubJSON($0) })
        } else if cJSON_IsObject(json) != 0 {
            self = .object(Self.children(of: json).map { Member(String(cString: $0.pointee.string), HubJSON($0)) })
        } else {
            self = .null
        }
    }

    private static func children(of json: UnsafeMutablePointer<cJSON>) -> [UnsafeMutablePointer<cJSON>] {
        Array(
            sequence(state: json.pointee.child) { next in
                defer { next = next?.pointee.next }
                return next
            }
        )
    }

    private func makeCJSON() -> UnsafeMutablePointer<cJSON>? {
        switch self {
        case .null: return cJSON_CreateNull()
        case .bool(let value): return cJSON_CreateBool(value ? 1 : 0)
        case .number(let value): return cJSON_CreateNumber(value)
        case .string(let value): return cJSON_CreateString(value)
        case .array(let values):
            let array = cJSON_CreateArray()
            for value in values { cJSON_AddItemToArray(array, value.makeCJSON()) }
            return array
        case .object(let members):
            let object = cJSON_CreateObject()
            for member in members { cJSON_AddItemToObject(object, member.name, member.value.makeCJSON()) }
            return object
        }
    }
}

extension HubJSON: Equatable {
    /// Whether both hold the same, objects in any order.
    public static func == (a: HubJSON, b: HubJSON) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)):
            a.count == b.count
                && a.allSatisfy { member in b.contains { $0.name == member.name && $0.value == member.value } }
        default: false
        }
    }
}

// MARK: - Reading and changing

extension HubJSON {
    /// The member of this name, if this is an object that has one. Setting `nil` takes it out; anything but an object becomes one.
    public subscript(_ name: String) -> HubJSON? {
        get { members?.first { $0.name == name }?.value }
        set {
            var changed = members ?? []
            switch (changed.firstIndex { $0.name == name }, newValue) {
            case (let index?, let value?): changed[index].value = value
            case (let index?, nil): changed.remove(at: index)
            case (nil, let value?): changed.append(Member(name, value))
            case (nil, nil): break
            }
            self = .object(changed)
        }
    }

    /// The members of an object.
    public var members: [Member]? {
        guard case .object(let members) = self else { return nil }
        return members
    }

    /// The values of a list.
    public var elements: [HubJSON]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    /// The text of a string.
    public var string: String? {
        guard case .string(let string) = self else { return nil }
        return string
    }

    /// A whole number, or one as the digits of a text: devices and hub send both.
    public var integer: Int? {
        switch self {
        case .number(let value): Int(exactly: value)
        case .string(let text): Int(text)
        case .null, .bool, .array, .object: nil
        }
    }

    /// Whether this is an object without members.
    var isEmptyObject: Bool { members?.isEmpty ?? false }

    static let emptyObject = HubJSON.object([])
}

// MARK: - Literals

// Not by `nil`, which would be a null where an optional has no value.

extension HubJSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// A text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A whole number.
    public init(integerLiteral value: Int) { self = .number(Double(value)) }
    /// A number.
    public init(floatLiteral value: Double) { self = .number(value) }
    /// True or false.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// A list.
    public init(arrayLiteral elements: HubJSON...) { self = .array(elements) }
    /// An object.
    public init(dictionaryLiteral elements: (String, HubJSON)...) {
        self = .object(elements.map { Member($0, $1) })
    }

    /// A whole number, exact up to 2^53.
    public init(_ value: Int) { self = .number(Double(value)) }
}
