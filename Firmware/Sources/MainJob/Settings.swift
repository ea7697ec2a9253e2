import Board
import QCloudIoTHub

/// What the device is told when it starts.
struct Settings {
    let host: [UInt8]
    let port: UInt16
    let identity: DeviceIdentity
    let interval: Int
    #if TLS
    /// What the random numbers are made from.
    let seed: [UInt8]
    #endif

    /// Settings from the line that holds them; `nil` if one is missing or wrong.
    init?(_ line: [UInt8]) {
        let words = Words(line)
        guard let host = words.value(of: "host"), let port = words.number("port"),
            let product = words.value(of: "product"), let name = words.value(of: "device"),
            let secret = words.value(of: "secret"), let interval = words.number("interval"),
            port > 0, port <= 65_535, interval > 0
        else { return nil }
        do throws(HubIdentityError) {
            identity = try DeviceIdentity(
                productID: product,
                deviceName: name,
                credential: .key(try DeviceSecret(base64: secret.span))
            )
        } catch { return nil }
        self.host = host
        self.port = UInt16(port)
        self.interval = interval
        #if TLS
        guard let seed = words.bytes("seed"), seed.count == 32 else { return nil }
        self.seed = seed
        #endif
    }
}
