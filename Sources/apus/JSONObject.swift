internal import CcJSON

/// A JSON object of cJSON.
final class JSONObject {
    private let pointer: UnsafeMutablePointer<cJSON>?

    /// An empty object.
    init() { pointer = cJSON_CreateObject() }

    /// The object that `text` holds; `nil` if it is not one.
    init?(parsing text: some Sequence<UInt8>) {
        let bytes = Array(text)
        pointer = bytes.withUnsafeBytes { raw in
            cJSON_ParseWithLength(raw.baseAddress?.assumingMemoryBound(to: CChar.self), raw.count)
        }
        // What was parsed is freed by the end of this object, also of one that is none.
        guard cJSON_IsObject(pointer) != 0 else { return nil }
    }

    deinit { cJSON_Delete(pointer) }

    func set(_ name: String, _ value: Double) { _ = cJSON_AddNumberToObject(pointer, name, value) }
    func set(_ name: String, _ value: String) { _ = cJSON_AddStringToObject(pointer, name, value) }
    func set(_ name: String, _ values: [Double]) {
        cJSON_AddItemToObject(pointer, name, cJSON_CreateDoubleArray(values, Int32(values.count)))
    }

    func set(_ name: String, isTrue value: Bool) { _ = cJSON_AddBoolToObject(pointer, name, value ? 1 : 0) }
    func set(_ name: String, _ value: Int) { set(name, Double(value)) }
    func set(_ name: String, _ value: JSONObject) {
        cJSON_AddItemToObject(pointer, name, cJSON_Duplicate(value.pointer, 1))
    }

    /// Adds another member of the same name.
    func add(_ name: String, _ value: String) { cJSON_AddItemToObject(pointer, name, cJSON_CreateString(value)) }

    /// Sets what `text` holds as JSON; `false` if that is none.
    func set(_ name: String, parsing text: some Sequence<UInt8>) -> Bool {
        let bytes = Array(text)
        let value = bytes.withUnsafeBytes { raw in
            cJSON_ParseWithLength(raw.baseAddress?.assumingMemoryBound(to: CChar.self), raw.count)
        }
        guard let value else { return false }
        cJSON_AddItemToObject(pointer, name, value)
        return true
    }

    func number(_ name: String) -> Double? {
        let item = cJSON_GetObjectItemCaseSensitive(pointer, name)
        return cJSON_IsNumber(item) != 0 ? cJSON_GetNumberValue(item) : nil
    }

    func string(_ name: String) -> String? {
        let item = cJSON_GetObjectItemCaseSensitive(pointer, name)
        guard let text = cJSON_GetStringValue(item) else { return nil }
        return String(cString: text)
    }

    /// The object as text, without white space unless it is to be pretty.
    func text(isPretty: Bool = false) -> [UInt8] {
        guard let text = isPretty ? cJSON_Print(pointer) : cJSON_PrintUnformatted(pointer) else { return [] }
        defer { cJSON_free(text) }
        return Array(String(cString: text).utf8)
    }
}
