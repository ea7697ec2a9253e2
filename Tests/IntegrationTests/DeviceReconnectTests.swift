import CLinux
import Kernel
import MQTTClient
import ModemSimulator
import QCloudIoTHub
import Testing

@testable import HubSimulator

/// Connections that break while a device reports all the time: nothing that was acknowledged is lost, and the device comes back by itself.
@Suite(.timeLimit(.minutes(1))) struct DeviceReconnectTests {
    @Test(arguments: DeviceWay.allCases)
    func outlivesAStopOfTheBroker(way: DeviceWay) async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: way, reconnects: true) { device in
                let traffic = try await Traffic(device, at: test.hub)
                try await offPool { Result { try test.hub.stopBroker() } }.get()
                #expect(await traffic.sees(.waiting))
                try await offPool { Result { try test.hub.startBroker() } }.get()
                try await traffic.checkThatNothingWasLost()
            }
        }
    }

    @Test func outlivesAKilledBroker() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .preSharedKey, reconnects: true) { device in
                let traffic = try await Traffic(device, at: test.hub)
                for _ in 1...3 {
                    kill(try #require(test.hub.brokerProcessID), SIGKILL)
                    #expect(await eventually { !test.hub.isBrokerRunning })
                    try await offPool { Result { try test.hub.startBroker() } }.get()
                    #expect(await traffic.goesOn())
                }
                // What the broker had acknowledged and not passed on is gone with it, so only the device is looked at.
                await traffic.end()
            }
        }
    }

    @Test func outlivesANewHubOnTheSamePorts() async throws {
        var configuration = HubConfiguration()
        let ports = try (0..<3).map { _ in try ReservedPort(address: "127.0.0.1", port: 0) }
        (configuration.mqttPort, configuration.pskPort, configuration.tlsPort) =
            (ports[0].number, ports[1].number, ports[2].number)
        try await TestHub.with(configuration) { test in
            try await test.withDevice(by: .preSharedKey, reconnects: true) { device in
                let traffic = try await Traffic(device, at: test.hub)
                try await offPool {
                    Result {
                        test.hub.stop(); try test.hub.start()
                    }
                }.get()
                #expect(await traffic.goesOn())
                try await traffic.checkThatNothingWasLost()
            }
        }
    }

    @Test func outlivesADisconnectionByTheHub() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .preSharedKey, reconnects: true) { device in
                let registered = device.registered
                let traffic = try await Traffic(device, at: test.hub)
                for _ in 1...2 {
                    try test.hub.setEnabled(false, productID: registered.productID, deviceName: registered.deviceName)
                    #expect(await traffic.sees(.waiting))
                    try test.hub.setEnabled(true, productID: registered.productID, deviceName: registered.deviceName)
                    #expect(await traffic.goesOn())
                }
                try await traffic.checkThatNothingWasLost()
            }
        }
    }

    @Test func outlivesAModemThatIsUnplugged() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        var configuration = ModemSimulatorConfiguration()
        configuration.link = "\(directory)/modem.tty"
        try await TestHub.with { test in
            try await test.withDevice(by: .modem, reconnects: true, modem: configuration) { device in
                let traffic = try await Traffic(device, at: test.hub)
                device.modem?.unplug()
                #expect(await traffic.sees(.waiting))
                device.modem?.plugIn()
                #expect(await traffic.goesOn())
                try await traffic.checkThatNothingWasLost()
            }
        }
    }

    @Test(arguments: [true, false])
    func outlivesAModemThatRestarts(hasBanner: Bool) async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .modem, reconnects: true) { device in
                let traffic = try await Traffic(device, at: test.hub)
                device.modem?.restart(hasBanner: hasBanner)
                #expect(await traffic.sees(.waiting))
                #expect(await traffic.goesOn())
                try await traffic.checkThatNothingWasLost()
            }
        }
    }

    @Test(arguments: [true, false])
    func outlivesAModemWhoseLinksBreak(hasNotice: Bool) async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .modem, reconnects: true) { device in
                let traffic = try await Traffic(device, at: test.hub)
                device.modem?.breakLinks(hasNotice: hasNotice)
                #expect(await traffic.sees(.waiting))
                #expect(await traffic.goesOn())
                try await traffic.checkThatNothingWasLost()
            }
        }
    }
}

/// A device that reports all the time, and what became of it.
private final class Traffic: Sendable {
    enum Phase { case connected, waiting, over }

    private struct State {
        var acknowledged: [String] = []
        var errors: [MQTTError] = []
        var history: [Phase] = []
        var mustStop = false
    }

    private let state = Guarded(State())
    private let device: HubDevice
    private let seen: SeenPayloads
    private let work: Task<Void, Never>
    private let watch: Task<Void, Never>

    /// Connects, and starts to report: 8 reports at a time, each as soon as the one before it was acknowledged.
    init(_ test: TestDevice, at hub: HubSimulator) async throws {
        let (device, state) = (test.device, state)
        self.device = device
        seen = SeenPayloads(hub)
        watch = Task {
            for await change in device.client.states {
                let phase: Phase
                switch change {
                case .connected: phase = .connected
                case .waiting: phase = .waiting
                case .disconnected: phase = .over
                default: continue
                }
                state.withLock { $0.history.append(phase) }
            }
        }
        try await device.connect()
        work = Task {
            await withTaskGroup { group in
                for lane in 0..<8 { group.addTask { await Self.report(lane, device, state) } }
            }
        }
        let isUnderWay = await eventually { state.withLock { $0.acknowledged.count >= 50 } }
        #expect(isUnderWay)
    }

    private static func report(_ lane: Int, _ device: HubDevice, _ state: Guarded<State>) async {
        var number = 0
        while !state.withLock({ $0.mustStop }) {
            number += 1
            let payload = "\(lane)/\(number)"
            do throws(MQTTError) {
                try await device.reportEvent(Array(payload.utf8))
                state.withLock { $0.acknowledged.append(payload) }
            } catch { return state.withLock { $0.errors.append(error) } }
        }
    }

    /// Whether the connection comes to `phase`, or was there since this was last asked for.
    func sees(_ phase: Phase) async -> Bool {
        await eventually { [state] in
            state.withLock { state in
                guard let index = state.history.lastIndex(of: phase) else { return false }
                state.history.removeSubrange(...index)
                return true
            }
        }
    }

    /// Whether reports are acknowledged again.
    func goesOn() async -> Bool {
        let before = state.withLock { $0.acknowledged.count }
        return await eventually { [state] in state.withLock { $0.acknowledged.count >= before + 50 } }
    }

    /// Ends it, when it has come back and reported more.
    func end() async {
        let hasComeBack = await goesOn()
        #expect(hasComeBack)
        state.withLock { $0.mustStop = true }
        // Reports that wait for a connection would wait for ever.
        if !hasComeBack { await device.disconnect() }
        await work.value
        #expect(state.withLock { $0.errors } == [])
        #expect(await device.client.isConnected)
        watch.cancel()
    }

    /// Ends it, and compares what was acknowledged with what the hub has seen.
    func checkThatNothingWasLost() async throws {
        await end()
        let seen = seen
        let acknowledged = state.withLock { $0.acknowledged }
        let isComplete = await eventually { acknowledged.allSatisfy { seen.count($0) > 0 } }
        #expect(isComplete, "lost: \(acknowledged.filter { seen.count($0) == 0 })")
    }
}
