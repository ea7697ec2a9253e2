internal import CLinux
internal import HubSimulator
internal import ModemSimulator

let demoCommand = Command(
    "demo",
    "Run seven devices against a local hub, each another way.",
    usage: "[OPTIONS]",
    notes: "The status is not 0 if a device could not log in, publish with an acknowledgement, or receive control.",
    options: [
        Option(nil, "seconds", value: "N", "End after so long; until Ctrl-C unless given."),
        Option(nil, "directory", value: "DIR", "Where the hub keeps its devices; made at the first start."),
        Option(nil, "firmware", value: "FILE", "The firmware image; that of 'make firmware' unless given."),
        Option(nil, "only", value: "NAME", "Run only this device; may be given again."),
    ]
) { arguments in
    let seconds = try arguments.number("seconds", in: 1...1_000_000)
    let directory = arguments["directory"] ?? "/tmp/apus-demo-\(getuid())"
    let demo = try Demo(directory: directory, only: arguments.all("only"), firmware: arguments["firmware"])
    return try await demo.run(seconds: seconds)
}

/// The demo: a hub, three modems, seven devices and a table.
final class Demo: Sendable {
    private let hub: HubSimulator
    private let devices: [any DemoDevice]
    private let arrivals = Arrivals()

    init(directory: String, only: [String], firmware: String?) throws {
        var configuration = HubConfiguration()
        configuration.restartsBroker = true
        hub = try HubSimulator(directory: directory, configuration: configuration)
        let all: [any DemoDevice] = [
            GatewayDevice(name: "gateway-01", way: "mqtt/tls-psk/linux"),
            CertificateDevice(name: "certificate-01", way: "mqtt/tls-cert/linux"),
            ModemDevice(name: "modem-01", way: "mqtt/tls-psk/esp-at"),
            FirmwareDevice(name: "firmware-01", way: "mqtt/tls-psk/esp-at/cortex-m4", image: firmware),
            CoAPDevice(name: "coap-01", way: "coap/udp/linux"),
            CoAPDevice(name: "coap-dtls-01", way: "coap/dtls-psk/linux", isSecure: true),
            CoAPDevice(name: "coap-modem-01", way: "coap/udp/esp-at", hasModem: true),
        ]
        for name in only where !all.contains(where: { $0.status.name == name }) {
            throw UsageError(
                "there is no device '\(name)'; there are \(all.map(\.status.name).joined(separator: ", "))"
            )
        }
        devices = only.isEmpty ? all : all.filter { only.contains($0.status.name) }
    }

    func run(seconds: Int?) async throws -> Int32 {
        Interruption.watch()
        try hub.start()
        defer { hub.stop() }
        hub.onMessage { [arrivals] in arrivals.note($0) }
        let endpoints = try hub.endpoints
        Console.print(
            "The hub listens on \(endpoints.host): MQTT \(endpoints.mqttPort), TLS-PSK \(endpoints.pskPort), "
                + "TLS \(endpoints.tlsPort), CoAP \(endpoints.coapPort), CoAP over DTLS \(endpoints.coapsPort); its devices are in \(hub.directory)."
        )
        Console.print("")
        await withTaskGroup(of: Void.self) { group in
            for device in devices {
                group.addTask { [hub] in
                    do { try await device.run(on: hub) } catch { device.fail(error) }
                }
            }
            group.addTask { await self.sendControl() }
            await draw(seconds: seconds)
            group.cancelAll()
        }
        return await finish()
    }

    private func draw(seconds: Int?) async {
        var table = DemoTable(devices.map(\.status), isLive: Console.isTerminal)
        let start = ContinuousClock.now
        let footer = [seconds.map { "Ends after \($0) seconds." } ?? "Ends with Ctrl-C."]
        while !Interruption.hasCome {
            if let seconds, ContinuousClock.now - start >= .seconds(seconds) { break }
            table.draw(footer: footer)
            try? await Task.sleep(for: .milliseconds(250))
        }
        table.draw(footer: footer)
    }

    /// Sets each device's reporting interval every two seconds, to one second and to a half in turn.
    private func sendControl() async {
        var token = 0
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(2))
            token += 1
            let interval = token % 2 == 0 ? 1_000 : 500
            let payload = Array("{\"token\":\"\(token)\",\"interval\":\(interval)}".utf8)
            for device in devices where device.status.snapshot.hasLoggedIn {
                try? hub.sendControl(to: demoProductID, deviceName: device.status.name, payload: payload)
            }
        }
    }

    /// The last lines, and what is wrong.
    private func finish() async -> Int32 {
        // The hub tells us in its own time what has arrived.
        for _ in 0..<40 where devices.contains(where: { arrivals.missing(of: $0.status) > 0 }) {
            try? await Task.sleep(for: .milliseconds(50))
        }
        var complaints: [String] = []
        Console.print("")
        for device in devices {
            let (name, counters) = (device.status.name, device.status.snapshot)
            let lost = arrivals.missing(of: device.status)
            Console.print(finalLine(device.status, lost: lost))
            let reason = counters.lastError.map { ": \($0)" } ?? ""
            if !counters.hasLoggedIn {
                complaints.append("\(name) could not log in\(reason)")
            } else if counters.acknowledged == 0 {
                complaints.append("\(name) published nothing that was acknowledged\(reason)")
            } else if counters.received == 0 {
                complaints.append("\(name) received no control message\(reason)")
            }
            if lost > 0 { complaints.append("\(name): \(lost) acknowledged messages did not reach the hub") }
        }
        for complaint in complaints { Console.error(complaint) }
        return complaints.isEmpty ? 0 : 1
    }
}
