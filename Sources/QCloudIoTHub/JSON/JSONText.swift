internal import CcJSON
internal import Kernel

// Between text and values: the one place that calls cJSON. Its trees do not outlive a function here.
extension JSONValue {
    /// The value that `text` holds, with nothing but white space around it.
    public init(parsing text: Span<UInt8>, limits: JSONLimits = JSONLimits()) throws(JSONError) {
        try JSONScanner.check(text, limits)
        let root = unsafe text.withUnsafeBufferPointer { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) { unsafe cJSON_ParseWithLength($0.baseAddress, $0.count) }
        }
        // The text is JSON.
        guard let root = unsafe root else { throw .outOfMemory }
        defer { unsafe cJSON_Delete(root) }
        self = try unsafe Self.value(of: root)
    }

    private static func value(of item: UnsafeMutablePointer<cJSON>) throws(JSONError) -> JSONValue {
        if unsafe cJSON_IsObject(item) != 0 {
            var members: [JSONMember] = []
            var next = unsafe item.pointee.child
            while let child = unsafe next {
                let name = unsafe bytes(of: child.pointee.string)
                members.append(JSONMember(name: name, value: try unsafe value(of: child)))
                unsafe next = child.pointee.next
            }
            return .object(members)
        }
        if unsafe cJSON_IsArray(item) != 0 {
            var values: [JSONValue] = []
            var next = unsafe item.pointee.child
            while let child = unsafe next {
                values.append(try unsafe value(of: child))
                unsafe next = child.pointee.next
            }
            return .array(values)
        }
        if unsafe cJSON_IsString(item) != 0 { return .string(unsafe bytes(of: item.pointee.valuestring)) }
        if unsafe cJSON_IsNumber(item) != 0 {
            let number = unsafe item.pointee.valuedouble
            guard number.isFinite else { throw .numberOutOfRange }
            return .number(number)
        }
        if unsafe cJSON_IsBool(item) != 0 { return .bool(unsafe cJSON_IsTrue(item) != 0) }
        return .null
    }

    /// The bytes of a text that ends with a zero.
    private static func bytes(of text: UnsafeMutablePointer<CChar>?) -> [UInt8] {
        guard let text = unsafe text else { return [] }
        var bytes: [UInt8] = []
        var index = 0
        while unsafe text[index] != 0 {
            bytes.append(unsafe UInt8(bitPattern: text[index]))
            index += 1
        }
        return bytes
    }

    /// The value as text, without white space. It is to be within `limits`, so that who has the same can read it.
    public func serialized(limits: JSONLimits = JSONLimits()) throws(JSONError) -> [UInt8] {
        var count = 0
        let tree = unsafe try Self.tree(of: self, depth: 0, count: &count, limits)
        defer { unsafe cJSON_Delete(tree) }
        guard let text = unsafe cJSON_PrintUnformatted(tree) else { throw .outOfMemory }
        defer { unsafe cJSON_free(text) }
        let bytes = unsafe Self.bytes(of: text)
        guard bytes.count <= limits.bytes else { throw .tooLarge(limit: limits.bytes) }
        return bytes
    }

    /// The tree of cJSON; the caller's, who deletes it.
    private static func tree(
        of value: JSONValue,
        depth: Int,
        count: inout Int,
        _ limits: JSONLimits
    ) throws(JSONError) -> UnsafeMutablePointer<cJSON> {
        count += 1
        guard count <= limits.values else { throw .tooManyValues(limit: limits.values) }
        let item: UnsafeMutablePointer<cJSON>?
        switch value {
        case .null: unsafe item = cJSON_CreateNull()
        case .bool(let value): unsafe item = cJSON_CreateBool(value ? 1 : 0)
        case .number(let number): unsafe item = try self.item(of: number)
        case .string(let text): unsafe item = try withCString(text) { unsafe cJSON_CreateString($0) }
        case .array: unsafe item = cJSON_CreateArray()
        case .object: unsafe item = cJSON_CreateObject()
        }
        guard let item = unsafe item else { throw .outOfMemory }
        do throws(JSONError) {
            switch value {
            case .null, .bool, .number, .string: break
            case .array(let values):
                try checkDepth(depth, limits)
                for value in values {
                    let child = unsafe try tree(of: value, depth: depth + 1, count: &count, limits)
                    _ = unsafe cJSON_AddItemToArray(item, child)
                }
            case .object(let members):
                try checkDepth(depth, limits)
                for member in members {
                    let child = unsafe try tree(of: member.value, depth: depth + 1, count: &count, limits)
                    unsafe try add(child, member.name, to: item)
                }
            }
        } catch {
            unsafe cJSON_Delete(item)
            throw error
        }
        return unsafe item
    }

    private static func checkDepth(_ depth: Int, _ limits: JSONLimits) throws(JSONError) {
        guard depth < min(limits.depth, 64) else { throw .tooDeep(limit: limits.depth) }
    }

    /// Adds `child` to an object, which owns it then, or deletes it.
    private static func add(
        _ child: UnsafeMutablePointer<cJSON>,
        _ name: [UInt8],
        to object: UnsafeMutablePointer<cJSON>
    ) throws(JSONError) {
        do throws(JSONError) {
            let isAdded = unsafe try withCString(name) { unsafe cJSON_AddItemToObject(object, $0, child) }
            guard isAdded != 0 else { throw .outOfMemory }
        } catch {
            unsafe cJSON_Delete(child)
            throw error
        }
    }

    /// A number. cJSON writes 15 digits where they come near, integers above 10^15 with an exponent, and asks the C library for either.
    private static func item(of number: Double) throws(JSONError) -> UnsafeMutablePointer<cJSON>? {
        guard number.isFinite else { throw .numberOutOfRange }
        var digits: [UInt8] = []
        if let integer = wholeNumber(number) {
            digits.append(decimal: integer)
        } else {
            #if hasFeature(Embedded)
            return unsafe cJSON_CreateNumber(number)
            #else
            digits = Array(number.description.utf8)
            #endif
        }
        return unsafe try withCString(digits) { unsafe cJSON_CreateRaw($0) }
    }

    /// Calls `body` with `bytes` and a zero behind them.
    private static func withCString<Result>(
        _ bytes: [UInt8],
        _ body: (UnsafePointer<CChar>?) -> Result
    ) throws(JSONError) -> Result {
        try UTF8Rules.check(bytes.span)
        var bytes = bytes
        bytes.append(0)
        return unsafe bytes.span.withUnsafeBufferPointer { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) { unsafe body($0.baseAddress) }
        }
    }
}
