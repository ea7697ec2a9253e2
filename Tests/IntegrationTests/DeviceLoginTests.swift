import CLinux
import Kernel
import MQTTClient
import ModemSimulator
import QCloudIoTHub
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// Devices of the stack at a hub with a real broker: who gets in, and what the others are told.
@Suite(.timeLimit(.minutes(1))) struct DeviceLoginTests {
    @Test(arguments: DeviceWay.allCases)
    func logsInReportsAndIsTold(way: DeviceWay) async throws {
        try await TestHub.with { test in
            let seen = SeenPayloads(test.hub)
            try await test.withDevice(by: way) { device in
                try await logsInReportsAndIsTold(device, test, seen)
            }
        }
    }

    /// TLS with the device key, an event, and a control message, through a modem of each family.
    @Test(arguments: ModemDialect.allCases)
    func logsInThroughEveryModem(dialect: ModemDialect) async throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        try await TestHub.with { test in
            let seen = SeenPayloads(test.hub)
            try await test.withDevice(by: .modem, modem: configuration) { device in
                try await logsInReportsAndIsTold(device, test, seen)
            }
        }
    }

    private func logsInReportsAndIsTold(_ device: TestDevice, _ test: TestHub, _ seen: SeenPayloads) async throws {
        try await device.device.connect()
        let controls = try await device.device.controls()
        #expect(controls.granted == .atLeastOnce)
        try await device.device.reportEvent("{\"t\":21}")
        #expect(await eventually { seen.count("{\"t\":21}") == 1 })
        try test.hub.sendControl(
            to: device.registered.productID,
            deviceName: device.registered.deviceName,
            payload: Array("led on".utf8)
        )
        var messages = controls.makeAsyncIterator()
        let message = await messages.next()
        #expect(message.map { Array($0.payload) } == Array("led on".utf8))
        #expect(message.map { Array($0.topic) } == HubTopic.control(of: device.device.identity))
    }

    static let wrongKey = "d3Jvbmcga2V5IHdyb25nIQ=="

    @Test func refusesAWrongKeyInThePassword() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .plain, secret: Self.wrongKey) { device in
                await #expect(throws: MQTTError.connectionRefused(MQTTReason(.notAuthorized))) {
                    try await device.device.connect()
                }
                #expect(await eventually { test.lastRefusal?.reason == .badSignature })
            }
        }
    }

    @Test(arguments: [DeviceWay.preSharedKey, .modem])
    func refusesAWrongPreSharedKey(way: DeviceWay) async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: way, secret: Self.wrongKey) { device in
                // OpenSSL finds out when it cannot read the client's Finished (RFC 4279, 2: "decrypt_error" is for hints).
                await #expect(throws: MQTTError.secure(.alertReceived(.badRecordMAC))) {
                    try await device.device.connect()
                }
            }
        }
    }

    @Test func refusesALoginWhoseTimeIsOver() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .plain, loginLifetime: .seconds(-60)) { device in
                await #expect(throws: MQTTError.connectionRefused(MQTTReason(.notAuthorized))) {
                    try await device.device.connect()
                }
                #expect(await eventually { test.lastRefusal?.reason == .expired })
            }
        }
    }

    @Test(arguments: [DeviceWay.plain, .preSharedKey, .certificate])
    func refusesADisabledDevice(way: DeviceWay) async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: way) { device in
                let registered = device.registered
                try test.hub.setEnabled(false, productID: registered.productID, deviceName: registered.deviceName)
                // With a pre-shared key the hub already refuses the identity; with a certificate or a password, the login.
                let error: MQTTError =
                    way == .preSharedKey
                    ? .secure(.alertReceived(.unknownPSKIdentity)) : .connectionRefused(MQTTReason(.notAuthorized))
                await #expect(throws: error) { try await device.device.connect() }
                try test.hub.setEnabled(true, productID: registered.productID, deviceName: registered.deviceName)
                try await device.device.connect()
            }
        }
    }

    @Test(arguments: ["NOSUCHPROD", "APUSDEMO01"])
    func refusesAnUnknownDevice(product: String) async throws {
        let stranger = RegisteredDevice(
            productID: product,
            deviceName: "stranger",
            credential: .key(secret: Self.wrongKey),
            isEnabled: true
        )
        try await TestHub.with { test in
            try await test.withDevice(by: .plain, registered: stranger) { device in
                await #expect(throws: MQTTError.connectionRefused(MQTTReason(.notAuthorized))) {
                    try await device.device.connect()
                }
                let reason: HubRefusal.Reason = product == "APUSDEMO01" ? .unknownDevice : .unknownProduct
                #expect(await eventually { test.lastRefusal?.reason == reason })
            }
        }
    }

    @Test func refusesToSubscribeToTheTopicOfAnother() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .preSharedKey) { device in
                try await device.device.connect()
                await #expect(throws: MQTTError.subscriptionRefused(MQTTReason(.unspecifiedError))) {
                    _ = try await device.device.client.subscribe(to: "APUSDEMO01/modem-01/control")
                }
                #expect(await eventually { test.lastRefusal?.reason == .subscribeNotAllowed })
                // The connection is none the worse.
                try await device.device.reportEvent([1])
            }
        }
    }
}
