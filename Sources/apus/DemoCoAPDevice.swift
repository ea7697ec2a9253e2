internal import HubSimulator
internal import Kernel
internal import ModemSimulator
internal import QCloudIoTHub
internal import SAL
internal import SecureTransport

/// CoAP over UDP, or DTLS with the device key; over Linux sockets, or through a modem on a pseudo terminal.
struct CoAPDevice: DemoDevice {
    let status: DeviceStatus
    private let isSecure: Bool
    private let hasModem: Bool

    init(name: String, way: String, isSecure: Bool = false, hasModem: Bool = false) {
        status = DeviceStatus(name: name, way: way)
        self.isSecure = isSecure
        self.hasModem = hasModem
    }

    func run(on hub: HubSimulator) async throws {
        let identity = try keyIdentity(at: hub)
        let modem = hasModem ? try startModem(hub) : nil
        defer { modem?.stop() }
        let network = try await openDatagramNetwork(
            modem: modem.map { ModemLine(path: $0.path) },
            dtls: isSecure ? identity.preSharedKeyConfiguration() : nil
        )
        defer { network.loop.stop() }
        let endpoint = try endpoint(hub, isSecure ? \.coapsPort : \.coapPort)
        let device = HubCoAPDevice(identity, hub: endpoint, over: network)
        status.update { $0.login = "connecting" }
        try await device.authenticate()
        status.update {
            $0.login = "ok"
            $0.hasLoggedIn = true
        }
        var sequence = 0
        while !Task.isCancelled {
            sequence += 1
            await report(Telemetry(sequence: sequence).json(), sequence, device)
            try? await Task.sleep(for: status.snapshot.interval)
        }
        await device.close()
    }

    private func startModem(_ hub: HubSimulator) throws -> ModemSimulator {
        var configuration = ModemSimulatorConfiguration()
        configuration.link = "\(hub.directory)/\(status.name).tty"
        return try ModemSimulator(configuration)
    }

    private func report(_ payload: [UInt8], _ sequence: Int, _ device: HubCoAPDevice) async {
        let start = ContinuousClock.now
        status.update { $0.published += 1 }
        do {
            let answer = try await device.reportEvent(payload)
            status.acknowledged(sequence, after: ContinuousClock.now - start)
            status.update { $0.login = "ok" }
            guard !answer.isEmpty else { return }
            guard let control = Control(answer) else {
                return status.update { $0.lastError = "the hub sent what is no control message" }
            }
            status.update { $0.apply(control) }
            _ = try await device.reportEvent(control.reply)
        } catch {
            status.update {
                $0.login = Task.isCancelled ? $0.login : "retrying"
                $0.lastError = sentence(for: error)
            }
        }
    }
}
