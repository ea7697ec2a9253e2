// A device on Linux, secured with its key. Start a hub with `apus hub`, and give this program what the hub prints:
//     gateway PRODUCT DEVICE SECRET HOST PORT
import Kernel
import QCloudIoTHub
import SAL
import SecureTransport

let arguments = CommandLine.arguments
guard arguments.count == 6, let port = UInt16(arguments[5]) else {
    fatalError("usage: gateway PRODUCT DEVICE SECRET HOST PORT")
}
let secret = try DeviceSecret(base64: Array(arguments[3].utf8).span)
let identity = try DeviceIdentity(
    productID: Array(arguments[1].utf8),
    deviceName: Array(arguments[2].utf8),
    credential: .key(secret)
)
guard let tls = identity.preSharedKeyConfiguration() else { fatalError("a device with a key has this") }
let network = try SecureNetwork(over: LinuxNetwork(loop: .start()), tls)

let device = HubDevice(identity, hub: Endpoint(host: arguments[4], port: port), over: network)
try await device.connect()
let controls = try await device.controls()
try await device.reportEvent(Array("{\"temperature\": 21.5}".utf8))  // returns when the hub has it
print("reported")
for await control in controls { print("told:", String(decoding: control.payload, as: UTF8.self)) }
