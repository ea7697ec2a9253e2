import ATAdapter
import CLinux
import Kernel
import MQTTClient
import ModemSimulator
import QCloudIoTHub
import Testing

@testable import HubSimulator

/// Devices whose modem has MQTT inside, at a hub with a real broker; the simulated modem's MQTT is Paho's.
@Suite(.timeLimit(.minutes(2))) struct ModemMQTTHubTests {
    static let dialects = [ModemDialect.espat, .l610]
    static let ways = dialects.flatMap { dialect in
        [ModemMQTTConfiguration.Security.none, .key].map { (dialect, $0) }
    }

    /// What looks like lines, results, lengths and escapes of modems.
    static let payloads: [[UInt8]] = [
        Array("{\"action\":\"test\",\"path\":\"a\\\\b\",\"list\":[1,2]}".utf8), Array("\r\nOK\r\n".utf8),
        Array("say \"\\\"\", then \\, ok".utf8), Array("\",5,\"x\"\r\n+TCMQTTDISCON,-103\r\n".utf8), Array("grün".utf8),
        [UInt8](repeating: 0x2C, count: 200), [UInt8](1...255), [UInt8](repeating: 0x78, count: 2_048),
    ]

    @Test(arguments: ways)
    func logsInReportsAndIsTold(dialect: ModemDialect, security: ModemMQTTConfiguration.Security) async throws {
        try await TestHub.with { test in
            let seen = Guarded<[[UInt8]]>([])
            _ = test.hub.onMessage { message in seen.withLock { $0.append(message.payload) } }
            try await test.withModemMQTT(dialect, security: security, simulator: { $0.faults.pieces = .random }) {
                modem in
                try await modem.device.connect()
                var controls = try await modem.device.controls().makeAsyncIterator()
                for (index, payload) in Self.payloads.enumerated() {
                    try await modem.device.reportEvent(payload, qos: index % 2 == 0 ? .atLeastOnce : .atMostOnce)
                    #expect(await eventually { seen.withLock { $0.count } == index + 1 })
                    #expect(seen.withLock { $0.last } == payload, "\(modem.transcript)")
                    try test.sendControl(payload)
                    let message = await controls.next()
                    #expect(message.map { Array($0.payload) } == payload, "\(modem.transcript)")
                    #expect(message.map { Array($0.topic) } == HubTopic.control(of: modem.device.identity))
                }
                await #expect(throws: ModemMQTTError.qosNotSupported) {
                    try await modem.device.reportEvent([0x78], qos: .exactlyOnce)
                }
                #expect(!modem.simulator.transcript.joined().contains(modem.registered.secret ?? ""))
            }
        }
    }

    @Test(arguments: ways)
    func tellsWhyALoginIsRefused(dialect: ModemDialect, security: ModemMQTTConfiguration.Security) async throws {
        try await TestHub.with { test in
            try await test.withModemMQTT(dialect, security: security, secret: DeviceLoginTests.wrongKey) { modem in
                let code: ModemMQTTCode = security == .key ? .secureConnectFailed : .notAuthorized
                await #expect(throws: ModemMQTTError.failed(code)) { try await modem.device.connect() }
            }
        }
    }

    @Test(arguments: dialects, [false, true])
    func outlivesAStopOfTheBroker(dialect: ModemDialect, firmwareReconnects: Bool) async throws {
        try await TestHub.with { test in
            let seen = SeenPayloads(test.hub)
            try await test.withModemMQTT(dialect, { $0.firmwareReconnects = firmwareReconnects }) { modem in
                try await modem.device.connect()
                var controls = try await modem.device.controls().makeAsyncIterator()
                try await modem.device.reportEvent("before")
                try await offPool { Result { try test.hub.stopBroker() } }.get()
                async let report: Void = modem.device.reportEvent("meanwhile")
                try await offPool { Result { try test.hub.startBroker() } }.get()
                try await report
                #expect(await eventually { seen.count("meanwhile") > 0 })
                // It has subscribed again.
                #expect(await test.tells(&controls, "after"), "\(modem.transcript)")
            }
        }
    }

    @Test(arguments: dialects, [false, true])
    func outlivesAResetOfTheModem(dialect: ModemDialect, hasBanner: Bool) async throws {
        try await TestHub.with { test in
            let seen = SeenPayloads(test.hub)
            try await test.withModemMQTT(dialect, { $0.stateInterval = .seconds(1) }) { modem in
                try await modem.device.connect()
                var controls = try await modem.device.controls().makeAsyncIterator()
                try await modem.device.reportEvent("before")
                modem.simulator.restart(hasBanner: hasBanner)
                try await modem.device.reportEvent("after")
                #expect(await eventually { seen.count("after") > 0 })
                #expect(await test.tells(&controls, "go on"), "\(modem.transcript)")
            }
        }
    }

    @Test(arguments: dialects)
    func findsOutThatItsConnectionIsGone(dialect: ModemDialect) async throws {
        try await TestHub.with { test in
            try await test.withModemMQTT(dialect, { $0.stateInterval = .milliseconds(200) }) { modem in
                try await modem.device.connect()
                let states = modem.device.client.connectionStates
                modem.simulator.loseMQTT(hasNotice: false)
                var losses = 0
                var isBack = false
                for await state in states {
                    if case .waiting(after: .connectionLost) = state { losses += 1 }
                    guard losses > 0, case .connected = state else { continue }
                    isBack = true
                    break
                }
                #expect(losses == 1 && isBack)
            }
        }
    }

    struct Fault: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let set: @Sendable (inout Faults) -> Void
    }

    static let faults = [
        Fault(testDescription: "busy") { $0.busyEvery = 3 },
        Fault(testDescription: "errors") { ($0.failsCommandEvery, $0.errorCode) = (5, 202) },
        Fault(testDescription: "sends fail") { $0.failsSendEvery = 3 },
        Fault(testDescription: "results are lost") { $0.losesResultEvery = 6 },
        Fault(testDescription: "notices and garbage") { ($0.insertsNotices, $0.insertsGarbage) = (true, true) },
        Fault(testDescription: "stuck echo, byte by byte") { ($0.echoIsStuck, $0.pieces) = (true, .bytes) },
        Fault(testDescription: "late results") { ($0.resultDelayMilliseconds, $0.promptDelayMilliseconds) = (50, 50) },
    ]

    /// What was reported with QoS 1 is at the hub, and what the hub has told has arrived.
    @Test(arguments: dialects, faults)
    func losesNothing(dialect: ModemDialect, fault: Fault) async throws {
        try await TestHub.with { test in
            let seen = SeenPayloads(test.hub)
            try await test.withModemMQTT(dialect, { $0.attempts = 8 }) { modem in
                try await modem.device.connect()
                var controls = try await modem.device.controls().makeAsyncIterator()
                var faults = Faults()
                fault.set(&faults)
                modem.simulator.setFaults(faults)
                for number in 0..<6 {
                    let text = number % 2 == 0 ? "{\"number\":\(number)}" : "line\n\(number)"
                    // An error without a number is the modem's own word, and is not asked about again.
                    do { try await modem.device.reportEvent(text) } catch ModemMQTTError.modem(.refused) { continue }
                    #expect(await eventually { seen.count(text) > 0 }, "\(text)\n\(modem.transcript)")
                    guard await modem.device.client.isConnected else { continue }
                    try test.sendControl(Array(text.utf8))
                    let message = await controls.next()
                    #expect(message.map { Array($0.payload) } == Array(text.utf8), "\(modem.transcript)")
                }
                #expect(await modem.device.client.lostMessages == 0)
            }
        }
    }

    /// The firmware of ESP8266 cuts its lines at a zero; that of L610 does not.
    @Test func tellsOfAMessageThatTheFirmwareCuts() async throws {
        try await TestHub.with { test in
            for dialect in Self.dialects {
                try await test.withModemMQTT(dialect) { modem in
                    try await modem.device.connect()
                    let subscription = try await modem.device.controls()
                    var controls = subscription.makeAsyncIterator()
                    try test.sendControl([0x61, 0, 0x62])
                    if dialect == .espat {
                        let client = modem.device.client
                        for _ in 0..<100 where await client.lostMessages == 0 {
                            try await Task.sleep(for: .milliseconds(100))
                        }
                        #expect(await client.lostMessages == 1)
                    } else {
                        #expect((await controls.next()).map { Array($0.payload) } == [0x61, 0, 0x62])
                    }
                    try test.sendControl(Array("next".utf8))
                    #expect((await controls.next()).map { Array($0.payload) } == Array("next".utf8))
                    #expect(subscription.droppedCount == 0)
                }
            }
        }
    }

    @Test(arguments: dialects)
    func reportsFromTheCommandLine(dialect: ModemDialect) async throws {
        try await TestHub.with { test in
            var configuration = ModemSimulatorConfiguration()
            configuration.dialect = dialect
            configuration.hubHost = "127.0.0.1"
            configuration.hubKeyPort = Int(try test.endpoints.pskPort)
            let simulator = try ModemSimulator(configuration)
            defer { simulator.stop() }
            let registered = try test.device("modem-01")
            let program = try TestProgram(
                programBesideTests("apus"),
                [
                    "device", "--product", registered.productID, "--name", registered.deviceName, "--secret",
                    registered.secret ?? "", "--modem", simulator.path, "--modem-mqtt", "--dialect",
                    "\(dialect.rawValue)-tencent",
                    "--interval", "100",
                ]
            )
            let hub = test.hub
            // The second one goes out when the first is acknowledged.
            let hasReported = await eventually(within: .seconds(40)) {
                hub.statistics(productID: registered.productID, deviceName: registered.deviceName).messages > 1
            }
            #expect(hasReported, "\(program.output)")
            program.signal(SIGINT)
            #expect(await program.wait() == 0, "\(program.output)")
        }
    }

    @Test func saysWhatTheHubRefuses() async throws {
        try await TestHub.with { test in
            try await test.withModemMQTT(.l610, { $0.attempts = 1 }) { modem in
                try await modem.device.connect()
                let refused = ModemMQTTError.failed(.subscriptionRefused)
                await #expect(throws: refused) {
                    try await modem.device.client.subscribe(to: "APUSDEMO01/other/control")
                }
            }
        }
    }
}

extension TestHub {
    /// Whether the device is told something, for which it may have to subscribe again first.
    fileprivate func tells(_ controls: inout ModemMQTTSubscription.AsyncIterator, _ text: String) async -> Bool {
        let telling = Task {
            while !Task.isCancelled {
                try sendControl(Array(text.utf8))
                try await Task.sleep(for: .milliseconds(300))
            }
        }
        let message = await controls.next()
        telling.cancel()
        return message.map { Array($0.payload) } == Array(text.utf8)
    }
}
