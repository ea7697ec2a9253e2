internal import ATAdapter
internal import Kernel
internal import QCloudIoTHub
internal import SAL
internal import SecureTransport

let deviceCommand = Command(
    "device",
    "Run one device: report this machine's telemetry, answer control messages.",
    usage: "--product ID --name NAME (--secret TEXT | --cert FILE --key FILE --cafile FILE) [OPTIONS]",
    notes: """
        With --secret the connection is secured with the device key (TLS-PSK); --plain leaves TLS out.
        Without --host the device connects to Tencent Cloud IoT Hub.
        With --modem-mqtt the modem's own firmware connects, by TLS with the key or with --plain without; it knows the hub's ports.
        """,
    options: [
        Option(nil, "product", value: "ID", "The product ID: 10 characters."),
        Option(nil, "name", value: "NAME", "The device name."),
        Option(nil, "secret", value: "TEXT", "The device secret: base64, as the hub shows it."),
        Option(nil, "cert", value: "FILE", "The device certificate, PEM."),
        Option(nil, "key", value: "FILE", "Its private key, PEM."),
        Option(nil, "cafile", value: "FILE", "The certificates that the hub's must be signed by, PEM."),
        Option("h", "host", value: "HOST", "The hub's host."),
        Option("p", "port", value: "PORT", "The hub's port; 8883, or 1883 with --plain, unless given."),
        Option(nil, "plain", "Connect without TLS."),
        Option(
            nil,
            "modem-mqtt",
            "Let the firmware of the modem speak MQTT: with --dialect espat-tencent or l610-tencent."
        ),
        Option(nil, "interval", value: "MS", "Report so often, in milliseconds; 1000 unless given."),
        Option(nil, "seconds", value: "N", "End after so long; until Ctrl-C unless given."),
    ] + wayOptions
) { arguments in
    guard let product = arguments["product"] else { throw UsageError("--product ID is missing") }
    guard let name = arguments["name"] else { throw UsageError("--name NAME is missing") }
    let credential: DeviceIdentity.Credential
    if let secret = arguments["secret"] {
        credential = .key(try DeviceSecret(base64: Array(secret.utf8).span))
    } else {
        guard arguments.has("cert"), !arguments.has("plain") else {
            throw UsageError("--secret TEXT, or --cert FILE with --key FILE and --cafile FILE, is missing")
        }
        credential = .certificate
    }
    let identity = try DeviceIdentity(
        productID: Array(product.utf8),
        deviceName: Array(name.utf8),
        credential: credential
    )
    let tls: TLSConfiguration? =
        if arguments.has("plain") { nil } else {
            try identity.preSharedKeyConfiguration() ?? tlsConfiguration(arguments)
        }
    let port = try arguments.number("port", in: 1...65_535) ?? (tls == nil ? 1883 : 8883)
    let endpoint = Endpoint(host: arguments["host"] ?? "\(product).iotcloud.tencentdevices.com", port: UInt16(port))
    let status = DeviceStatus(name: name, way: "")
    if let interval = try arguments.number("interval", in: 1...86_400_000) {
        status.update { $0.interval = .milliseconds(interval) }
    }
    let seconds = try arguments.number("seconds", in: 1...1_000_000)
    Interruption.watch()
    let way = try ModemLine(way: arguments)
    let run: @Sendable () async throws -> Void
    if arguments.has("modem-mqtt") {
        let device = try await openModemDevice(identity, way, arguments)
        run = { try await ReportingDevice(device: device, status: status).run() }
    } else {
        let network = try await openNetwork(modem: way, tls: tls)
        let device = HubDevice(identity, hub: endpoint, over: network)
        run = { try await ReportingDevice(device: device, status: status).run() }
    }
    var table = DemoTable([status], isLive: Console.isTerminal)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await run() }
        let start = ContinuousClock.now
        while !Interruption.hasCome, status.snapshot.login != "failed" {
            if let seconds, ContinuousClock.now - start >= .seconds(seconds) { break }
            table.draw(footer: [])
            try await Task.sleep(for: .milliseconds(250))
        }
        group.cancelAll()
        try await group.waitForAll()
        let counters = status.snapshot
        Console.print(finalLine(status, lost: counters.published - counters.acknowledged))
        return counters.acknowledged > 0 ? 0 : 1
    }
}

/// A device that the firmware of a modem logs in.
private func openModemDevice(
    _ identity: DeviceIdentity,
    _ line: ModemLine?,
    _ arguments: Arguments
) async throws -> HubModemDevice {
    guard let line else { throw UsageError("--modem-mqtt needs --modem DEVICE") }
    var configuration = ModemMQTTConfiguration()
    configuration.security = arguments.has("plain") ? .none : .key
    if let host = arguments["host"] { configuration.server = Array(host.utf8) }
    let loop = EventLoop.start()
    return try await HubModemDevice(identity, on: loop, configuration: configuration) { try line.open(on: loop).modem }
}

/// The line that scripts read.
func finalLine(_ device: DeviceStatus, lost: Int) -> String {
    let counters = device.snapshot
    return "device=\(device.name) way=\(device.way.isEmpty ? "-" : device.way) published=\(counters.published) "
        + "acknowledged=\(counters.acknowledged) received=\(counters.received) lost=\(lost)"
}
