internal import CLinux
internal import CcJSON

/// What a device reports: the load, the memory, the network counters and the temperatures of the machine it runs on, from
/// /proc and /sys.
struct Telemetry {
    private let sequence: Int

    /// The report number `sequence`, counted from 1.
    init(sequence: Int) { self.sequence = sequence }

    /// The report as JSON.
    func json() -> [UInt8] {
        let root = JSONObject()
        root.set("seq", Double(sequence))
        root.set("uptime", Self.fields("/proc/uptime").first ?? 0)
        let load = Self.fields("/proc/loadavg")
        if load.count >= 3 { root.set("load", [load[0], load[1], load[2]]) }
        for line in Self.lines("/proc/meminfo") {
            let parts = line.split(separator: " ")
            guard parts.count >= 2, let value = Double(parts[1]) else { continue }
            if parts[0] == "MemTotal:" { root.set("memoryTotalKiB", value) }
            if parts[0] == "MemAvailable:" { root.set("memoryAvailableKiB", value) }
        }
        var received = 0.0
        var sent = 0.0
        for line in Self.lines("/proc/net/dev").dropFirst(2) {
            let parts = line.split(whereSeparator: { $0 == " " || $0 == ":" })
            guard parts.count >= 10 else { continue }
            received += Double(parts[1]) ?? 0
            sent += Double(parts[9]) ?? 0
        }
        root.set("networkReceivedBytes", received)
        root.set("networkSentBytes", sent)
        let temperatures = (0..<16).compactMap { zone in
            Self.fields("/sys/class/thermal/thermal_zone\(zone)/temp").first.map { $0 / 1_000 }
        }
        if !temperatures.isEmpty { root.set("temperatures", temperatures) }
        return root.text()
    }

    private static func lines(_ path: String) -> [Substring] {
        guard let bytes = try? readFile(path) else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }

    private static func fields(_ path: String) -> [Double] {
        (lines(path).first ?? "").split(separator: " ").compactMap { Double($0) }
    }
}

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
        guard cJSON_IsObject(pointer) != 0 else {
            cJSON_Delete(pointer)
            return nil
        }
    }

    deinit { cJSON_Delete(pointer) }

    func set(_ name: String, _ value: Double) { _ = cJSON_AddNumberToObject(pointer, name, value) }
    func set(_ name: String, _ value: String) { _ = cJSON_AddStringToObject(pointer, name, value) }
    func set(_ name: String, _ values: [Double]) {
        cJSON_AddItemToObject(pointer, name, cJSON_CreateDoubleArray(values, Int32(values.count)))
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

    /// The object as text without white space.
    func text() -> [UInt8] {
        guard let text = cJSON_PrintUnformatted(pointer) else { return [] }
        defer { cJSON_free(text) }
        return Array(String(cString: text).utf8)
    }
}
