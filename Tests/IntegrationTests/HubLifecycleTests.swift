import CLinux
import Glibc
import Kernel
import Testing

@testable import HubSimulator

/// Starting, stopping, the registry, and the program.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubLifecycleTests {
    @Test func runsSeveralHubsAtOnce() async throws {
        try await TestHub.with { first in
            try await TestHub.with { second in
                let hubs = [first, second]
                let ports = Set(try hubs.map { try $0.endpoints.mqttPort })
                #expect(ports.count == 2)
                for test in hubs {
                    let login = Login(device: try test.device("gateway-01"), way: .psk())
                    #expect(try await test.publish(login) == 0)
                }
                #expect(
                    await eventually {
                        hubs.allSatisfy {
                            $0.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").messages == 1
                        }
                    }
                )
            }
        }
    }

    @Test func keepsPortsAndSessionsWhileTheBrokerIsStopped() async throws {
        try await TestHub.with { test in
            let seen = Seen()
            test.hub.onMessage { seen.append($0) }
            let endpoints = try test.endpoints
            let device = try test.device("gateway-01")
            let listener = Login(device: try test.device("modem-01"), way: .psk())
            let control = "APUSDEMO01/modem-01/control"
            var subscriber: TestProgram? = try test.subscriber(listener, [control], more: ["-c"])
            #expect(await subscriber?.prints("Subscribed") ?? false)
            subscriber = nil

            try test.hub.sendControl(to: "APUSDEMO01", deviceName: "modem-01", payload: Array("before".utf8))
            #expect(try await test.publish(Login(device: device, way: .psk()), payload: "1") == 0)
            try await offPool { Result { try test.hub.stopBroker() } }.get()
            #expect(!test.hub.isBrokerRunning)
            #expect(try await test.publish(Login(device: device, way: .psk())) != 0)
            try test.hub.sendControl(to: "APUSDEMO01", deviceName: "modem-01", payload: Array("meanwhile".utf8))
            try await offPool { Result { try test.hub.startBroker() } }.get()
            #expect(test.hub.isBrokerRunning)
            #expect(try test.endpoints == endpoints)
            #expect(throws: HubSimulatorError.alreadyRunning) { try test.hub.startBroker() }

            #expect(try await test.publish(Login(device: device, way: .psk()), payload: "2") == 0)
            let again = try test.subscriber(listener, [control], more: ["-c"])
            #expect(await again.prints("\(control) meanwhile\n"))
            #expect(again.output.contains("\(control) before\n"))
            // What the cloud had not acknowledged comes again.
            #expect(await eventually { Set(seen.messages.map(\.payload)) == [[0x31], [0x32]] })
        }
    }

    @Test func losesNothingThatWasAcknowledgedWhenTheBrokerStops() async throws {
        try await TestHub.with { test in
            let seen = Seen()
            test.hub.onMessage { seen.append($0) }
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            let isOver = Guarded(false)
            async let acknowledged = {
                var acknowledged: Set<[UInt8]> = []
                while !isOver.withLock({ $0 }) {
                    let payload = "\(acknowledged.count)"
                    if try await test.publish(login, payload: payload) == 0 { acknowledged.insert(Array(payload.utf8)) }
                }
                return acknowledged
            }()
            for _ in 0..<3 {
                let count = seen.messages.count
                #expect(await eventually { seen.messages.count > count + 5 })
                try await offPool { Result { try test.hub.stopBroker() } }.get()
                try await offPool { Result { try test.hub.startBroker() } }.get()
            }
            isOver.withLock { $0 = true }
            let expected = try await acknowledged
            #expect(expected.count > 15)
            #expect(await eventually { expected.isSubset(of: seen.messages.map(\.payload)) })
        }
    }

    @Test func comesBackWhenTheBrokerIsKilled() async throws {
        try await TestHub.with { test in
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            for count in 1...3 {
                #expect(try await test.publish(login) == 0)
                #expect(
                    await eventually {
                        test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").messages == count
                    }
                )
                kill(try #require(test.hub.brokerProcessID), SIGKILL)
                #expect(await eventually { !test.hub.isBrokerRunning })
                try await offPool { Result { try test.hub.startBroker() } }.get()
            }
        }
    }

    @Test func seesAChangeOfTheRegistryAtOnce() async throws {
        try await TestHub.with { test in
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            let subscriber = try test.subscriber(login, ["APUSDEMO01/gateway-01/control"])
            #expect(await subscriber.prints("Subscribed"))
            #expect(
                await eventually {
                    test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").connections == 1
                }
            )

            try test.hub.setEnabled(false, productID: "APUSDEMO01", deviceName: "gateway-01")
            #expect(await eventually { test.lastRefusal?.reason == .deviceDisabled && test.lastRefusal?.address == "" })
            #expect(try await test.publish(Login.signed(test.device("gateway-01"))) == 5)
            #expect(await eventually { test.lastRefusal?.reason == .deviceDisabled && test.lastRefusal?.address != "" })
            #expect(try await test.publish(login) != 0)

            try test.hub.setEnabled(true, productID: "APUSDEMO01", deviceName: "gateway-01")
            #expect(try await test.publish(login) == 0)

            let added = try test.hub.addDevice(productID: "NEWPRODUCT", deviceName: "n-1")
            #expect(try await test.publish(Login(device: added, way: .psk())) == 0)
            #expect(throws: HubSimulatorError.duplicateDevice("NEWPRODUCT/n-1")) {
                try test.hub.addDevice(productID: "NEWPRODUCT", deviceName: "n-1")
            }
            try test.hub.removeDevice(productID: "NEWPRODUCT", deviceName: "n-1")
            #expect(try await test.publish(Login(device: added, way: .psk())) != 0)
            #expect(await eventually { test.lastRefusal?.reason == .unknownProduct })
        }
    }

    @Test func keepsItsDevicesWhileTheRegistryCannotBeRead() async throws {
        try await TestHub.with { test in
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            let text = try readFile(test.hub.registry.path)
            let faults = [
                "", "{", "[]", "{\"products\":7}", "{\"products\":[{\"productId\":\"APUSDEMO01\",\"devices\":[{}]}]}",
                "{\"products\":[{\"productId\":\"short\",\"devices\":[{\"deviceName\":\"a\",\"type\":\"key\",\"deviceSecret\":\"AAAA\"}]}]}",
                "{\"products\":[{\"productId\":\"APUSDEMO01\",\"devices\":[{\"deviceName\":\"a\",\"type\":\"key\",\"deviceSecret\":\"A\"}]}]}",
            ]
            for fault in faults {
                try replaceFile(test.hub.registry.path, with: Array(fault.utf8))
                #expect(test.hub.devices.count == 7, "\(fault)")
                #expect(try await test.publish(login) == 0, "\(fault)")
                #expect(throws: HubSimulatorError.self) {
                    try test.hub.setEnabled(false, productID: "APUSDEMO01", deviceName: "gateway-01")
                }
            }
            #expect(test.hub.brokerLog.contains("registry.json: device number 1: deviceSecret must be base64"))
            try replaceFile(test.hub.registry.path, with: text)
            try test.hub.setEnabled(false, productID: "APUSDEMO01", deviceName: "gateway-01")
            #expect(try await test.publish(login) != 0)
        }
    }

    @Test func refusesDevicesThatBreakTheRules() async throws {
        try await TestHub.with { test in
            let cases = [
                ("SHORT", "a", "AAAA"), ("apusdemo01", "a", "AAAA"), ("APUSDEMO01", "", "AAAA"),
                ("APUSDEMO01", "a/b", "AAAA"), ("APUSDEMO01", String(repeating: "x", count: 49), "AAAA"),
                ("APUSDEMO01", "a", ""), ("APUSDEMO01", "a", "A"), ("APUSDEMO01", "a", "AAA=="),
                ("APUSDEMO01", "a", "A*AA"),
                ("APUSDEMO01", "a", String(repeating: "A", count: 68)),
            ]
            for (productID, deviceName, secret) in cases {
                #expect(throws: HubSimulatorError.self, "\(productID) \(deviceName) \(secret)") {
                    try test.hub.addDevice(productID: productID, deviceName: deviceName, secret: secret)
                }
            }
            #expect(test.hub.devices.count == 7)
        }
    }

    @Test func neverShowsASecret() async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            let secret = try #require(device.secret)
            #expect(!"\(device) \(String(reflecting: device)) \(device.credential)".contains(secret))
            #expect(!test.hub.brokerLog.contains(secret))
        }
    }

    @Test func keepsItsFilesToItself() async throws {
        try await TestHub.with { test in
            let files = await run("find", [test.directory, "-type", "f", "-perm", "/077"])
            #expect(files.output == "")
        }
    }

    @Test func saysWhatIsMissing() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        var configuration = HubConfiguration()
        configuration.mosquittoPath = "/nowhere/mosquitto"
        var hub: HubSimulator? = try HubSimulator(directory: directory, configuration: configuration)
        let error = #expect(throws: HubSimulatorError.self) { try hub?.start() }
        #expect(error?.description.contains("apt-get install mosquitto") ?? false)
        #expect(throws: HubSimulatorError.directoryInUse(directory)) { try HubSimulator(directory: directory) }
        hub = nil

        configuration = HubConfiguration()
        configuration.pluginPath = "/nowhere/plugin.so"
        hub = try HubSimulator(directory: directory, configuration: configuration)
        #expect(throws: HubSimulatorError.pluginMissing(["/nowhere/plugin.so"])) { try hub?.start() }
        hub = nil

        let taken = try ReservedPort(address: "127.0.0.1", port: 0)
        configuration = HubConfiguration()
        configuration.mqttPort = taken.number
        hub = try HubSimulator(directory: directory, configuration: configuration)
        #expect(throws: Never.self) { try hub?.start() }  // nobody listens there
        var second: HubSimulator?
        let other = try temporaryDirectory()
        defer { removeDirectory(other) }
        second = try HubSimulator(directory: other, configuration: configuration)
        #expect(throws: HubSimulatorError.portInUse(taken.number)) { try second?.start() }
        second = nil

        configuration = HubConfiguration()
        configuration.pluginPath = "/etc/hostname"
        second = try HubSimulator(directory: other, configuration: configuration)
        guard
            case .brokerFailed(let words) = #expect(throws: HubSimulatorError.self, performing: { try second?.start() })
        else {
            Issue.record("another error")
            return
        }
        #expect(words.contains("/etc/hostname"))
        hub?.stop()
        #expect(throws: HubSimulatorError.notRunning) { try hub?.endpoints }
    }

    @Test func programRunsUntilASignal() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let program = try TestProgram(Self.program, Self.freePorts + ["--directory", directory, "--verbose"])
        #expect(await program.prints("Messages:"))
        let registry = try DeviceRegistry(directory: directory)
        let device = try #require(registry.device(productID: "APUSDEMO01", deviceName: "gateway-01"))
        // What it prints to be pasted works: the publish that comes after the words "Try one with its key".
        let example = program.output.split(separator: "\n").drop { !$0.contains("its key") }.dropFirst().prefix(4)
        #expect(await run("bash", ["-c", example.joined(separator: "\n")]).status == 0)
        #expect(await program.prints("login of \(device.clientID) from 127.0.0.1"))
        #expect(await program.prints("\(device)/event  {\"hello\":1}"))
        program.signal(SIGTERM)
        #expect(await program.wait() == 0)
    }

    @Test func brokerEndsWhenTheProgramIsKilled() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let program = try TestProgram(Self.program, Self.freePorts + ["--directory", directory])
        #expect(await program.prints("Messages:"))
        let children = "/proc/\(program.processID)/task/\(program.processID)/children"
        let broker = try #require(Int32(String(decoding: readFile(children), as: UTF8.self).filter(\.isNumber)))
        #expect(kill(broker, 0) == 0)
        program.signal(SIGKILL)
        #expect(await program.wait() == 137)
        #expect(await eventually { kill(broker, 0) != 0 })
    }

    @Test func aBrokerThatEndsByItselfIsStartedAgainIfWanted() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        var configuration = HubConfiguration()
        configuration.restartsBroker = true
        let hub = try HubSimulator(directory: directory, configuration: configuration)
        try hub.start()
        let endpoints = try hub.endpoints
        let broker = try #require(hub.brokerProcessID)
        kill(broker, SIGKILL)
        #expect(await eventually { hub.brokerProcessID.map { $0 != broker } ?? false })
        #expect(try hub.endpoints == endpoints)
        // What is stopped stays so.
        try hub.stopBroker()
        #expect(!(await eventually(within: .milliseconds(700)) { hub.isBrokerRunning }))
        hub.stop()
    }

    @Test func programFailsWhenItsBrokerDoes() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let program = try TestProgram(Self.program, Self.freePorts + ["--directory", directory])
        #expect(await program.prints("Messages:"))
        let children = "/proc/\(program.processID)/task/\(program.processID)/children"
        let broker = try #require(Int32(String(decoding: readFile(children), as: UTF8.self).filter(\.isNumber)))
        kill(broker, SIGKILL)
        #expect(await program.wait() == 1)
        #expect(program.output.contains("hub-simulator: mosquitto failed"))
    }

    @Test(arguments: [["--port", "1"], ["--mqtt-port"], ["--mqtt-port", "70000"], ["--psk-port", "x"], ["extra"]])
    func programRefusesWrongArguments(arguments: [String]) async throws {
        let (status, output) = await run(Self.program, arguments)
        #expect(status == 2)
        #expect(output.contains("hub-simulator: ") && output.contains("usage:"))
    }

    @Test func programHelps() async {
        let (status, output) = await run(Self.program, ["--help"])
        #expect(status == 0)
        #expect(
            output.contains("--directory D") && output.contains("--control-port N") && output.contains("--coap-port N")
                && output.contains("--coaps-port N")
        )
    }

    static let freePorts = [
        "--mqtt-port", "0", "--psk-port", "0", "--tls-port", "0", "--tls-key-port", "0", "--coap-port", "0",
        "--coaps-port", "0", "--http-port", "0", "--https-port", "0", "--control-port", "0",
    ]

    static let program = programBesideTests("hub-simulator")
}

/// Messages, collected from any thread.
final class Seen: Sendable {
    private let list = Guarded<[HubMessage]>([])
    var messages: [HubMessage] { list.withLock { $0 } }
    func append(_ message: HubMessage) { list.withLock { $0.append(message) } }
}
