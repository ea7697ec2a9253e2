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
