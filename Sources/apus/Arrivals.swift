internal import HubSimulator
internal import Kernel

/// Which reports have arrived at the hub's cloud side, by device.
final class Arrivals: Sendable {
    private let sequences = Guarded<[String: Set<Int>]>([:])

    /// Notes a message of a device.
    func note(_ message: HubMessage) {
        guard let sequence = JSONObject(parsing: message.payload)?.number("seq") else { return }
        sequences.withLock { _ = $0[message.deviceName, default: []].insert(Int(sequence)) }
    }

    /// How many reports the device has an acknowledgement for that did not arrive.
    func missing(of device: DeviceStatus) -> Int {
        let arrived = sequences.withLock { $0[device.name] ?? [] }
        let counters = device.snapshot
        return counters.acknowledgedSequences.subtracting(arrived).count
    }
}
