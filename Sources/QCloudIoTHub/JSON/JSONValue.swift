internal import Kernel

/// A JSON value. Reading is tolerant where the hub is: a number may stand as text, and the reverse.
public enum JSONValue: Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number; integers up to 2^53 are exact.
    case number(Double)
    /// A text, UTF-8.
    case string([UInt8])
    /// Values in an order.
    case array([JSONValue])
    /// Members, in the order of the text. Of two with one name, the first counts.
    case object([JSONMember])

    /// The integers that a 64-bit float holds without gaps.
    static let largestInteger: Int64 = 9_007_199_254_740_992

    /// An object without members.
    public static var emptyObject: JSONValue { .object([]) }

    /// A number; those beyond 2^53 are rounded.
    public static func integer(_ value: Int64) -> JSONValue { .number(Double(value)) }

    /// A text.
    static func string(_ text: StaticString) -> JSONValue {
        var bytes: [UInt8] = []
        bytes.append(text)
        return .string(bytes)
    }

    /// The members of an object; `nil` for anything else.
    public var members: [JSONMember]? {
        if case .object(let members) = self { members } else { nil }
    }

    /// Whether it is an object.
    public var isObject: Bool { members != nil }

    /// Whether it is an object or an array with nothing in it.
    public var isEmpty: Bool {
        switch self {
        case .object(let members): members.isEmpty
        case .array(let values): values.isEmpty
        case .null, .bool, .number, .string: false
        }
    }

    /// The value of a member; `nil` if there is none, or this is no object.
    public subscript(name: StaticString) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        for member in members where member.isNamed(name) { return member.value }
        return nil
    }

    /// The value of a member; `nil` if there is none, or this is no object.
    public subscript(name name: [UInt8]) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        for member in members where member.name == name { return member.value }
        return nil
    }

    /// Adds a member to an object, or changes it; anything else becomes an object first.
    public mutating func set(_ name: StaticString, _ value: JSONValue) {
        var bytes: [UInt8] = []
        bytes.append(name)
        set(name: bytes, value)
    }

    /// Adds a member to an object, or changes it; anything else becomes an object first.
    public mutating func set(name: [UInt8], _ value: JSONValue) {
        var all = members ?? []
        self = .null  // So that the members are changed in place.
        for index in all.indices where all[index].name == name {
            all[index].value = value
            self = .object(all)
            return
        }
        all.append(JSONMember(name: name, value: value))
        self = .object(all)
    }

    // MARK: Plain values

    /// A whole number of at most 2^53, also one that stands as text; `nil` for anything else.
    public var integer: Int64? {
        switch self {
        case .number(let number): return Self.wholeNumber(number)
        case .string(let text): return Self.integer(text)
        case .null, .bool, .array, .object: return nil
        }
    }

    /// The integer of at most 2^53 that `number` is; `nil` if it is none. `Int64(exactly:)` would need the library of mathematics.
    static func wholeNumber(_ number: Double) -> Int64? {
        let largest = Double(largestInteger)
        guard number >= -largest, number <= largest else { return nil }
        let integer = Int64(number)
        return Double(integer) == number ? integer : nil
    }

    /// A text, also the digits of a whole number; `nil` for anything else.
    public var text: [UInt8]? {
        if case .string(let text) = self { return text }
        guard case .number = self, let integer else { return nil }
        var digits: [UInt8] = []
        digits.append(decimal: integer)
        return digits
    }

    /// Whether it is the text `other`.
    func isText(_ other: StaticString) -> Bool {
        guard case .string(let text) = self else { return false }
        return JSONMember.equal(text, other)
    }

    private static func integer(_ text: [UInt8]) -> Int64? {
        let isNegative = text.first == UInt8(ascii: "-")
        let start = isNegative ? 1 : 0
        // 16 digits are all that 2^53 has.
        guard text.count > start, text.count <= start + 16 else { return nil }
        var value: Int64 = 0
        for index in start..<text.count {
            guard text[index] >= 0x30, text[index] <= 0x39 else { return nil }
            value = value * 10 + Int64(text[index] - 0x30)
        }
        guard value <= largestInteger else { return nil }
        return isNegative ? -value : value
    }
}

/// A member of a JSON object.
public struct JSONMember: Equatable, Sendable {
    /// Its name, UTF-8.
    public var name: [UInt8]
    /// Its value.
    public var value: JSONValue

    /// A member.
    public init(name: [UInt8], value: JSONValue) { (self.name, self.value) = (name, value) }

    func isNamed(_ other: StaticString) -> Bool { Self.equal(name, other) }

    static func equal(_ bytes: [UInt8], _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in bytes.indices where unsafe bytes[index] != text.utf8Start[index] { return false }
        return true
    }
}

extension JSONValue: Equatable {
    /// Two objects are equal if they have the same members, in any order.
    public static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): return true
        case (.bool(let a), .bool(let b)): return a == b
        case (.number(let a), .number(let b)): return a == b
        case (.string(let a), .string(let b)): return a == b
        case (.array(let a), .array(let b)): return a == b
        case (.object(let members), .object(let others)):
            guard members.count == others.count else { return false }
            for member in members {
                guard let other = b[name: member.name], member.value == other else { return false }
            }
            // With a name twice, one side may have a member that the other lacks.
            for other in others where a[name: other.name] == nil { return false }
            return true
        case (.null, _), (.bool, _), (.number, _), (.string, _), (.array, _), (.object, _): return false
        }
    }
}
