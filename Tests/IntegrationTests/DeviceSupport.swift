import ATAdapter
import CLinux
import Kernel
import MQTTClient
import ModemSimulator
import QCloudIoTHub
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// How a device under test reaches the hub.
enum DeviceWay: CaseIterable, Sendable {
    /// TCP, with a signed password.
    case plain
    /// TLS with the device key.
    case preSharedKey
    /// TLS with certificates on both sides.
    case certificate
    /// TLS with the device key, through a modem.
    case modem
}

/// A device of the stack, with its loop and, if it has one, its modem.
final class TestDevice: Sendable {
    let device: HubDevice
    let loop: EventLoop
    let modem: ModemSimulator?
    let registered: RegisteredDevice

    /// A device of `hub`'s registry. `secret`, `trust` and `serverName` are for devices that get something wrong.
    init(
        _ registered: RegisteredDevice,
        at endpoints: HubEndpoints,
        authority: String,
        by way: DeviceWay,
        secret: String? = nil,
        trust: [UInt8]? = nil,
        serverName: String? = nil,
        loginLifetime: Duration? = .seconds(3_600),
        reconnects: Bool = false,
        modem configuration: ModemSimulatorConfiguration = ModemSimulatorConfiguration()
    ) async throws {
        let loop = EventLoop.start()
        self.loop = loop
        self.registered = registered
        modem = way == .modem ? try ModemSimulator(configuration) : nil
        var network: any Network = LinuxNetwork(loop: loop)
        if let modem {
            let driver = try #require(ModemDriver(named: configuration.dialect.rawValue))
            network = try await openModem(at: modem.path, as: driver, on: loop)
        }
        let identity: DeviceIdentity
        var port = endpoints.mqttPort
        if case .certificate(let certificatePath, let privateKeyPath) = registered.credential {
            identity = try DeviceIdentity(
                productID: Array(registered.productID.utf8),
                deviceName: Array(registered.deviceName.utf8),
                credential: .certificate
            )
            let configuration = TLSConfiguration(
                identity: .certificate(
                    TLSCertificate(
                        chain: try readFile(certificatePath),
                        privateKey: SecretBytes(try readFile(privateKeyPath))
                    )
                ),
                trust: .anchors(try trust ?? readFile(authority)),
                serverName: serverName.map { Array($0.utf8) }
            )
            network = try SecureNetwork(over: network, configuration)
            port = endpoints.tlsPort
        } else {
            identity = try DeviceIdentity(
                productID: Array(registered.productID.utf8),
                deviceName: Array(registered.deviceName.utf8),
                credential: .key(try DeviceSecret(base64: Array((secret ?? registered.secret ?? "").utf8).span))
            )
            if way != .plain {
                network = try SecureNetwork(over: network, try #require(identity.preSharedKeyConfiguration()))
                port = endpoints.pskPort
            }
        }
        device = HubDevice(
            identity,
            hub: Endpoint(host: endpoints.host, port: port),
            over: network,
            loginLifetime: loginLifetime,
            reconnects: reconnects
        ) { configuration in
            configuration.reconnect.firstDelayMilliseconds = 100
            configuration.reconnect.longestDelayMilliseconds = 500
            configuration.keepAliveSeconds = 5
            configuration.pingTimeout = .seconds(2)
            // Some modems attach for a while.
            configuration.connectTimeout = .seconds(way == .modem ? 30 : 5)
        }
    }

    /// Takes everything down.
    func close() async {
        await device.disconnect()
        modem?.stop()
        loop.stop()
    }
}

extension TestHub {
    /// Runs `body` with a device of the hub, and takes it down again.
    func withDevice(
        _ name: String? = nil,
        by way: DeviceWay,
        registered: RegisteredDevice? = nil,
        secret: String? = nil,
        trust: [UInt8]? = nil,
        serverName: String? = nil,
        loginLifetime: Duration? = .seconds(3_600),
        reconnects: Bool = false,
        modem: ModemSimulatorConfiguration = ModemSimulatorConfiguration(),
        _ body: (TestDevice) async throws -> Void
    ) async throws {
        let names: [DeviceWay: String] = [
            .plain: "gateway-01", .preSharedKey: "gateway-01", .certificate: "certificate-01", .modem: "modem-01",
        ]
        let test = try await TestDevice(
            registered ?? device(name ?? names[way] ?? ""),
            at: endpoints,
            authority: hub.authorityCertificatePath,
            by: way,
            secret: secret,
            trust: trust,
            serverName: serverName,
            loginLifetime: loginLifetime,
            reconnects: reconnects,
            modem: modem
        )
        do { try await body(test) } catch { Issue.record(error) }
        await test.close()
    }
}

/// The payloads that a hub has seen, and how often.
final class SeenPayloads: Sendable {
    private let counts = Guarded<[String: Int]>([:])

    init(_ hub: HubSimulator) {
        let counts = counts
        hub.onMessage { message in
            counts.withLock { $0[String(decoding: message.payload, as: UTF8.self), default: 0] += 1 }
        }
    }

    /// How often `payload` was seen.
    func count(_ payload: String) -> Int { counts.withLock { $0[payload] ?? 0 } }
}
