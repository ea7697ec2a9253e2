import ATAdapter
import Kernel
import MQTTClient
import ModemSimulator
import QCloudIoTHub
import SAL
import Testing

@testable import HubSimulator

/// A device that the firmware of a simulated modem logs in at a hub.
final class ModemMQTTDevice: Sendable {
    let device: HubModemDevice
    let simulator: ModemSimulator
    let registered: RegisteredDevice
    private let loop = EventLoop.start()

    init(
        _ registered: RegisteredDevice,
        at endpoints: HubEndpoints,
        dialect: ModemDialect,
        security: ModemMQTTConfiguration.Security,
        secret: String?,
        simulator configure: (inout ModemSimulatorConfiguration) -> Void,
        _ configureMQTT: (inout ModemMQTTConfiguration) -> Void
    ) async throws {
        self.registered = registered
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        configuration.generation = .v1
        configuration.hubHost = endpoints.host
        configuration.hubPort = Int(endpoints.mqttPort)
        configuration.hubKeyPort = Int(endpoints.pskPort)
        configure(&configuration)
        let simulator = try ModemSimulator(configuration)
        self.simulator = simulator
        var own = ModemMQTTConfiguration()
        own.security = security
        own.firstDelayMilliseconds = 100
        own.longestDelayMilliseconds = 500
        configureMQTT(&own)
        let identity = try DeviceIdentity(
            productID: registered.productID,
            deviceName: registered.deviceName,
            secret: secret ?? #require(registered.secret)
        )
        let loop = loop
        device = try await HubModemDevice(identity, on: loop, configuration: own) {
            let driver = ModemDriver(named: dialect.rawValue + "-tencent") ?? .espAT
            return try Modem.open(driver, path: simulator.path, loop: loop)
        }
    }

    /// The simulator's last lines, for the comment of a failure.
    var transcript: String { simulator.transcript.suffix(30).joined(separator: "\n") }

    func close() async {
        await device.disconnect()
        simulator.stop()
        loop.stop()
    }
}

extension TestHub {
    /// Runs `body` with a device behind a modem whose firmware has MQTT, and takes it down again.
    func withModemMQTT(
        _ dialect: ModemDialect,
        security: ModemMQTTConfiguration.Security = .key,
        secret: String? = nil,
        simulator: (inout ModemSimulatorConfiguration) -> Void = { _ in },
        _ configure: (inout ModemMQTTConfiguration) -> Void = { _ in },
        _ body: (ModemMQTTDevice) async throws -> Void
    ) async throws {
        let test = try await ModemMQTTDevice(
            device("modem-01"),
            at: endpoints,
            dialect: dialect,
            security: security,
            secret: secret,
            simulator: simulator,
            configure
        )
        do { try await body(test) } catch { Issue.record("\(error)\n\(test.transcript)") }
        await test.close()
    }

    /// Tells the device of the tests with modems something.
    func sendControl(_ payload: [UInt8]) throws {
        let registered = try device("modem-01")
        try hub.sendControl(to: registered.productID, deviceName: registered.deviceName, payload: payload)
    }
}
