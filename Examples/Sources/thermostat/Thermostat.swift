// A device with a shadow, which applications can call. Start a hub with `apus hub`, and give this program what that prints:
//     thermostat PRODUCT DEVICE SECRET HOST PORT
// docs/hub-simulator.md shows how to want something of it, and how to call it.
import Kernel
import QCloudIoTHub
import SAL
import SecureTransport

/// What the device reports, and what is wanted of it: a change has some of the members.
struct State: Codable, Sendable {
    var celsius: Double?
    var isHeating: Bool?
}

@main struct Thermostat {
    static func main() async throws {
        let words = CommandLine.arguments
        guard words.count == 6, let port = UInt16(words[5]) else {
            fatalError("usage: thermostat PRODUCT DEVICE SECRET HOST PORT")
        }
        let identity = try DeviceIdentity(productID: words[1], deviceName: words[2], secret: words[3])
        guard let tls = identity.preSharedKeyConfiguration() else { fatalError("a device with a key has this") }
        let network = try SecureNetwork(over: LinuxNetwork(loop: .start()), tls)
        let device = HubDevice(identity, hub: Endpoint(host: words[4], port: port), over: network)
        try await device.connect()
        print("The hub's clock says \(try await device.time().milliseconds / 1_000) s since 1970.")

        let calls = Task {
            try await device.serveRRPC { call in
                print("called with \(call.payload.count) bytes")
                return Array("{\"isHere\":true}".utf8)
            }
        }
        defer { calls.cancel() }

        // A report waits for a connection, and is merged with others meanwhile.
        try await device.shadow.report(encoding: State(celsius: 19.5, isHeating: false))
        for await delta in try await device.shadow.deltas {
            let wanted = try delta.decoded(as: State.self)
            print("wanted: \(wanted.celsius.map { "\($0) °C" } ?? "no temperature")")
            do {
                try await device.shadow.acknowledge(delta)
            } catch {
                // With a conflict something newer is wanted, which comes as the next delta.
                guard case .service(.conflict(_)) = error else { throw error }
            }
        }
    }
}
