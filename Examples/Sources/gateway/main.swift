// A device on Linux, secured with its key: the program of the README. Start a hub with `apus hub`, and give this program what that prints:
//     gateway PRODUCT DEVICE SECRET HOST PORT
import Kernel
import QCloudIoTHub
import SAL
import SecureTransport

let words = CommandLine.arguments
guard words.count == 6, let port = UInt16(words[5]) else {
    fatalError("usage: gateway PRODUCT DEVICE SECRET HOST PORT")
}
let identity = try DeviceIdentity(productID: words[1], deviceName: words[2], secret: words[3])
guard let tls = identity.preSharedKeyConfiguration() else { fatalError("a device with a key has this") }
let network = try SecureNetwork(over: LinuxNetwork(loop: .start()), tls)

let device = HubDevice(identity, hub: Endpoint(host: words[4], port: port), over: network)
try await device.connect()
let controls = try await device.controls()
try await device.reportEvent("{\"temperature\": 21.5}")  // returns when the hub has it
for await control in controls { print("told:", String(decoding: control.payload, as: UTF8.self)) }
