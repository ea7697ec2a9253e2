/// The table of the demo: drawn over itself in a terminal, printed now and then elsewhere.
struct DemoTable {
    private let devices: [DeviceStatus]
    private let isLive: Bool
    private var drawnLines = 0
    private var lastPrinted: ContinuousClock.Instant?

    init(_ devices: [DeviceStatus], isLive: Bool) {
        self.devices = devices
        self.isLive = isLive
    }

    mutating func draw(footer: [String]) {
        if isLive {
            let lines = rows + [""] + footer
            // Up over the earlier drawing, then each line to its end.
            let up = drawnLines > 0 ? "\u{1B}[\(drawnLines)A" : ""
            Console.raw(up + lines.map { "\r\u{1B}[2K" + $0 + "\n" }.joined())
            drawnLines = lines.count
        } else {
            let now = ContinuousClock.now
            if let lastPrinted, now - lastPrinted < .seconds(10) { return }
            lastPrinted = now
            for row in rows { Console.print(row) }
        }
    }

    private var rows: [String] {
        let cells =
            [["DEVICE", "WAY", "LOGIN", "SENT", "ACKNOWLEDGED", "RECEIVED", "ROUND TRIP", ""]]
            + devices.map { device in
                let counters = device.snapshot
                return [
                    device.name, device.way, counters.login, String(counters.published), String(counters.acknowledged),
                    String(counters.received), counters.roundTrip.map(Self.milliseconds) ?? "-",
                    counters.login == "ok" ? "" : counters.lastError ?? "",
                ]
            }
        let widths = (0..<7).map { column in cells.map { $0[column].count }.max() ?? 0 }
        return cells.map { row in
            row.enumerated().map { column, text in
                guard column < 7 else { return text }
                let padding = String(repeating: " ", count: widths[column] - text.count)
                return (3...6).contains(column) ? padding + text : text + padding
            }.joined(separator: "  ")
        }
    }

    private static func milliseconds(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let tenths = seconds * 10_000 + attoseconds / 100_000_000_000_000
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}
