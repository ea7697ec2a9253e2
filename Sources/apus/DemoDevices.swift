internal import CLinux
internal import HubSimulator
internal import Kernel
internal import ModemSimulator
internal import QCloudIoTHub
internal import SAL
internal import SecureTransport

/// The product that the demo's devices are of: that of the identities which the hub makes at its first start.
let demoProductID = "APUSDEMO01"

/// A device of the demo.
protocol DemoDevice: Sendable {
    var status: DeviceStatus { get }
    /// Runs against `hub` until the task is cancelled.
    func run(on hub: HubSimulator) async throws
}

extension DemoDevice {
    func fail(_ error: any Error) {
        guard !(error is CancellationError) else { return }
        status.update {
            $0.login = "failed"
            $0.lastError = sentence(for: error)
        }
    }

    /// The device's entry in the hub's registry.
    func registered(at hub: HubSimulator) throws -> RegisteredDevice {
        guard let device = hub.registry.device(productID: demoProductID, deviceName: status.name) else {
            throw Failure(
                "\(status.name) is not in \(hub.registry.path); remove that file, and the next start makes it anew"
            )
        }
        return device
    }

    /// The identity of a device with a key. A directory from before there was such a device gets it now.
    func keyIdentity(at hub: HubSimulator) throws -> DeviceIdentity {
        let device =
            try hub.registry.device(productID: demoProductID, deviceName: status.name)
            ?? hub.addDevice(productID: demoProductID, deviceName: status.name)
        guard let secret = device.secret else { throw Failure("\(status.name) has no key") }
        return try DeviceIdentity(
            productID: Array(demoProductID.utf8),
            deviceName: Array(status.name.utf8),
            credential: .key(try DeviceSecret(base64: Array(secret.utf8).span))
        )
    }

    func endpoint(_ hub: HubSimulator, _ port: KeyPath<HubEndpoints, UInt16>) throws -> Endpoint {
        let endpoints = try hub.endpoints
        return Endpoint(host: endpoints.host, port: endpoints[keyPath: port])
    }
}

/// TLS with the device key, over Linux sockets.
struct GatewayDevice: DemoDevice {
    let status: DeviceStatus
    init(name: String, way: String) { status = DeviceStatus(name: name, way: way) }

    func run(on hub: HubSimulator) async throws {
        let identity = try keyIdentity(at: hub)
        let network = try await openNetwork(modem: nil, tls: identity.preSharedKeyConfiguration())
        defer { network.loop.stop() }
        let device = HubDevice(identity, hub: try endpoint(hub, \.pskPort), over: network)
        try await ReportingDevice(device: device, status: status).run()
    }
}

/// Mutual TLS with certificates, over Linux sockets.
struct CertificateDevice: DemoDevice {
    let status: DeviceStatus
    init(name: String, way: String) { status = DeviceStatus(name: name, way: way) }

    func run(on hub: HubSimulator) async throws {
        guard case .certificate(let certificatePath, let privateKeyPath) = try registered(at: hub).credential else {
            throw Failure("\(status.name) has no certificate")
        }
        let identity = try DeviceIdentity(
            productID: Array(demoProductID.utf8),
            deviceName: Array(status.name.utf8),
            credential: .certificate
        )
        let configuration = TLSConfiguration(
            identity: .certificate(
                TLSCertificate(
                    chain: try readFile(certificatePath),
                    privateKey: SecretBytes(try readFile(privateKeyPath))
                )
            ),
            trust: .anchors(try readFile(hub.authorityCertificatePath))
        )
        let network = try await openNetwork(modem: nil, tls: configuration)
        defer { network.loop.stop() }
        let device = HubDevice(identity, hub: try endpoint(hub, \.tlsPort), over: network)
        try await ReportingDevice(device: device, status: status).run()
    }
}

/// TLS with the device key, through a modem on a pseudo terminal.
struct ModemDevice: DemoDevice {
    let status: DeviceStatus
    init(name: String, way: String) { status = DeviceStatus(name: name, way: way) }

    func run(on hub: HubSimulator) async throws {
        let identity = try keyIdentity(at: hub)
        var configuration = ModemSimulatorConfiguration()
        configuration.link = "\(hub.directory)/modem-01.tty"
        let modem = try ModemSimulator(configuration)
        defer { modem.stop() }
        let network = try await openNetwork(
            modem: ModemLine(path: modem.path),
            tls: identity.preSharedKeyConfiguration()
        )
        defer { network.loop.stop() }
        let device = HubDevice(identity, hub: try endpoint(hub, \.pskPort), over: network)
        try await ReportingDevice(device: device, status: status).run()
    }
}
