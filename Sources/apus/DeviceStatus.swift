internal import Kernel

/// What a device has done so far, for the table and the last lines of the demo.
struct DeviceCounters: Sendable {
    var login = "starting"
    /// Telemetry messages handed over for sending.
    var published = 0
    /// Those that the hub has acknowledged.
    var acknowledged = 0
    /// Control messages received.
    var received = 0
    /// How long the last acknowledgement took.
    var roundTrip: Duration?
    var interval: Duration = .seconds(1)
    var hasLoggedIn = false
    /// The sequence numbers that were acknowledged to the device.
    var acknowledgedSequences: Set<Int> = []
    /// The last thing that went wrong.
    var lastError: String?
}

/// One device of the demo: who and which way, and how it is doing. Written by the device, read by the table.
final class DeviceStatus: Sendable {
    let name: String
    let way: String
    private let counters = Guarded(DeviceCounters())

    init(name: String, way: String) {
        self.name = name
        self.way = way
    }

    func update(_ body: (inout DeviceCounters) -> Void) { counters.withLock { body(&$0) } }
    var snapshot: DeviceCounters { counters.withLock { $0 } }

    func acknowledged(_ sequence: Int, after roundTrip: Duration) {
        update {
            $0.acknowledged += 1
            $0.acknowledgedSequences.insert(sequence)
            $0.roundTrip = roundTrip
        }
    }
}
