import CLinux
import ModemSimulator
import Testing

@testable import HubSimulator

/// The firmware images on an emulated Cortex-M4.
@Suite(.timeLimit(.minutes(1))) struct BootTests {
    @Test func helloComputesAndEchoesWithoutLoss() async throws {
        let line = SerialLine()
        let machine = try await Machine("hello", serial: line.path)
        #expect(await machine.prints("ticks=ok\n"), "\(machine.output)")
        #expect(machine.output.contains("hmac=ok\n"))
        let bytes = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ $0 / 251) }
        // QEMU's line is as fast as this machine and the board has no flow control, so no more is under way than its FIFO holds.
        for start in stride(from: 0, to: bytes.count, by: 1_024) {
            await offPool { line.write(Array(bytes[start..<(start + 1_024)])) }
            // What the last interrupt was to send goes with the machine.
            let count = start + 1_024 == bytes.count ? start : start + 1_024
            try #require(await eventually { line.received.count >= count }, "\(line.received.count) bytes came back")
        }
        #expect(await machine.prints("echoed=65536 lost=0\n"), "\(machine.output)")
        let echo = line.received
        #expect(echo == Array(bytes.prefix(echo.count)))
    }

    @Test func theDeviceReportsAndIsTold() async throws {
        try await withDevice { hub, machine, modem in
            #expect(await machine.prints("state=connected\n"), "\(machine.output)")
            let hasReported = await eventually(within: .seconds(20)) { machine.counter("acknowledged") >= 3 }
            #expect(hasReported, "\(machine.output)\n\(modem.transcript.suffix(20))")
            try hub.sendControl(
                to: Self.productID,
                deviceName: Self.deviceName,
                payload: Array("{\"type\":\"control\",\"token\":\"t1\",\"interval\":200}".utf8)
            )
            #expect(await eventually(within: .seconds(20)) { machine.counter("received") >= 1 }, "\(machine.output)")
            let statistics = hub.statistics(productID: Self.productID, deviceName: Self.deviceName)
            #expect(statistics.messages >= 3)
            #expect(!machine.output.contains("fault="))
        }
    }

    @Test func theDeviceOutlivesAStopOfTheBroker() async throws {
        try await withDevice { hub, machine, modem in
            #expect(await eventually(within: .seconds(20)) { machine.counter("acknowledged") >= 2 })
            for _ in 1...2 {
                try await offPool { Result { try hub.stopBroker() } }.get()
                let before = machine.output.utf8.count
                let hasNoticed = await eventually(within: .seconds(20)) {
                    String(machine.output.utf8.dropFirst(before))?.contains("state=reconnecting") ?? false
                }
                #expect(hasNoticed, "\(machine.output)")
                try await offPool { Result { try hub.startBroker() } }.get()
                let acknowledged = machine.counter("acknowledged")
                let goesOn = await eventually(within: .seconds(20)) {
                    machine.counter("acknowledged") >= acknowledged + 2
                }
                #expect(goesOn, "\(machine.output)\n\(modem.transcript.suffix(20))")
            }
            #expect(!machine.output.contains("fault="))
        }
    }

    @Test func theDeviceSaysThatItWasRefused() async throws {
        try await withDevice(secret: "d3Jvbmcga2V5IHdyb25nIQ==") { hub, machine, modem in
            #expect(await machine.prints("error=refused-5\n"), "\(machine.output)\n\(modem.transcript.suffix(20))")
            #expect(hub.refusals.contains { $0.reason == .badSignature })
        }
    }

    @Test func theDeviceAsksForSettingsThatItCanUse() async throws {
        let modem = try ModemSimulator(listeningOn: 0)
        defer { modem.stop() }
        let machine = try await Machine("main-job", serial: modem.path)
        #expect(await machine.prints("ready\n"))
        for line in ["", "config", "config host=x port=99999 product=APUSDEMO01 device=d secret=AAAA interval=1"] {
            let before = machine.output.utf8.count
            machine.write(line)
            let isRefused = await eventually { machine.output.utf8.count >= before + "error=bad-config\n".utf8.count }
            #expect(isRefused && machine.output.hasSuffix("error=bad-config\n"), "\(line): \(machine.output)")
        }
    }

    private static let productID = "APUSDEMO01"
    private static let deviceName = "firmware-01"

    /// Runs `body` with a hub, and a board with a modem that is one of its devices.
    private func withDevice(
        secret: String? = nil,
        _ body: (HubSimulator, Machine, ModemSimulator) async throws -> Void
    ) async throws {
        var directory = Array("/tmp/apus-firmware-hub-XXXXXX".utf8CString)
        try #require(mkdtemp(&directory) != nil)
        let path = String(decoding: directory.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let hub = await offPool { Result { try HubSimulator(directory: path) } }
        do {
            let hub = try hub.get()
            try await offPool { Result { try hub.start() } }.get()
            let modem = try ModemSimulator(listeningOn: 0)
            defer { modem.stop() }
            let machine = try await Machine("main-job", serial: modem.path)
            let registered = try #require(hub.registry.device(productID: Self.productID, deviceName: Self.deviceName))
            let secret = try #require(secret ?? registered.secret)
            let endpoints = try hub.endpoints
            #expect(await machine.prints("ready\n"))
            machine.write(
                "config host=\(endpoints.host) port=\(endpoints.mqttPort) product=\(Self.productID) "
                    + "device=\(Self.deviceName) secret=\(secret) interval=300"
            )
            try await body(hub, machine, modem)
        } catch { Issue.record(error) }
        await offPool {
            try? hub.get().stop()
            _ = try? ChildProcess("/bin/rm", arguments: ["-rf", path], outputPath: "/dev/null").wait()
        }
    }
}
