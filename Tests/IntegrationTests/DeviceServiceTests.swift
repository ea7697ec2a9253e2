import CLinux
import Kernel
import MQTTClient
import ModemSimulator
import QCloudIoTHub
import Testing

@testable import HubSimulator

/// The hub's services, each from a device of the stack to the local hub's cloud side: the two share no code.
@Suite(.serialized, .timeLimit(.minutes(2))) struct DeviceServiceTests {
    /// Calls and answers in both directions, whoever speaks MQTT for the device.
    private func useAll<Client>(_ device: HubMQTTDevice<Client>, _ name: HubDeviceName, _ test: TestHub) async throws {
        try await useShadow(device, name, test)
        try await useTime(device, test)
        try await useCalls(device, name, test)
        try await useConfiguration(device, name, test)
        try await useBroadcasts(device, name, test)
        try await useLogLevels(device, name, test)
    }

    private func useShadow<Client>(_ device: HubMQTTDevice<Client>, _ name: HubDeviceName, _ test: TestHub) async throws
    {
        let services = test.hub.services
        #expect(try await device.shadow.get().version == 0)
        let update = try await device.shadow.update(HubShadowUpdate(reported: ["temp": 27, "mode": "cool"]))
        #expect(update.version == 1)
        #expect(try services.shadow(of: name)["state"]?["reported"]?["temp"]?.integer == 27)
        // What is wanted is told, done, and wanted no longer.
        var deltas = try await device.shadow.deltas.makeAsyncIterator()
        try services.updateDesired(name, ["temp": 25])
        let delta = try #require(await deltas.next())
        #expect(delta.state["temp"]?.integer == 25 && delta.version == 2)
        try await device.shadow.acknowledge(delta)
        let shadow = try services.shadow(of: name)
        #expect(shadow["state"]?["reported"]?["temp"]?.integer == 25)
        #expect(shadow["state"]?["desired"]?.members?.isEmpty ?? true)
        // A change that counts on an old version is refused, with the document.
        var stale = HubShadowUpdate(reported: ["mode": "heat"])
        stale.version = .exactly(1)
        do {
            try await device.shadow.update(stale)
            Issue.record("the hub takes an old version")
        } catch {
            guard case .service(.conflict(let document)) = error else { throw error }
            #expect(document.version == 3 && document.reported?["mode"]?.text == Array("cool".utf8))
        }
    }

    private func useTime<Client>(_ device: HubMQTTDevice<Client>, _ test: TestHub) async throws {
        try test.hub.services.setClockOffset(.seconds(7_200))
        let sample = try await device.time()
        let difference = sample.milliseconds / 1_000 - Int64(CLinux.time(nil)) - 7_200
        #expect(abs(difference) < 5, "\(difference) s")
        try test.hub.services.setClockOffset(.zero)
    }

    private func useCalls<Client>(_ device: HubMQTTDevice<Client>, _ name: HubDeviceName, _ test: TestHub) async throws
    {
        let serving = Task { try await device.serveRRPC { request in request.payload.reversed() } }
        let services = test.hub.services
        #expect(await eventually { (try? services.callRRPC(name, [1, 2, 3], timeout: .seconds(2))) == [3, 2, 1] })
        serving.cancel()
        _ = await serving.result
    }

    private func useConfiguration<Client>(
        _ device: HubMQTTDevice<Client>,
        _ name: HubDeviceName,
        _ test: TestHub
    ) async throws {
        do {
            _ = try await device.remoteConfiguration()
            Issue.record("there is a configuration")
        } catch {
            guard case .service(.rejected(.configurationMissing)) = error else { throw error }
        }
        var changes = try await device.remoteConfigurations.makeAsyncIterator()
        try test.hub.services.setConfiguration(name.productID, Array("{\"interval\":5}".utf8))
        #expect(try await device.remoteConfiguration()["interval"]?.integer == 5)
        try test.hub.services.setConfiguration(name.productID, Array("{\"interval\":6}".utf8))
        try test.hub.services.pushConfiguration(name.productID)
        var last: Int64?
        while last != 6, let change = await changes.next() { last = change["interval"]?.integer }
        #expect(last == 6)
    }

    private func useBroadcasts<Client>(
        _ device: HubMQTTDevice<Client>,
        _ name: HubDeviceName,
        _ test: TestHub
    ) async throws {
        var messages = try await device.broadcasts.makeAsyncIterator()
        #expect(try test.hub.services.broadcast(name.productID, Array("to all".utf8)) == 1)
        #expect(await messages.next() == Array("to all".utf8))
    }

    private func useLogLevels<Client>(
        _ device: HubMQTTDevice<Client>,
        _ name: HubDeviceName,
        _ test: TestHub
    ) async throws {
        var levels = try await device.logLevels.makeAsyncIterator()
        try test.hub.services.setLogLevel(name, .debug)
        var level: HubLogLevel?
        while level != .debug, let next = await levels.next() { level = next }
        #expect(level == .debug)
    }

    @Test(arguments: DeviceWay.allCases) func allServicesAnswer(way: DeviceWay) async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: way) { device in
                try await device.device.connect()
                let name = HubDeviceName(device.registered.productID, device.registered.deviceName)
                try await useAll(device.device, name, test)
            }
        }
    }

    @Test(arguments: [ModemDialect.espat, .l610])
    func allServicesAnswerThroughTheMQTTOfAModem(dialect: ModemDialect) async throws {
        try await TestHub.with { test in
            try await test.withModemMQTT(dialect) { device in
                try await device.device.connect()
                try await useAll(device.device, HubDeviceName("APUSDEMO01", "modem-01"), test)
            }
        }
    }

    // MARK: Faults

    /// Why a service refuses what `body` asks; `nil` if it does not.
    private func failure(
        _ body: () async throws(HubDevice.ServiceFailure) -> Void
    ) async throws -> HubServiceError? {
        do throws(HubDevice.ServiceFailure) {
            try await body()
            return nil
        } catch {
            guard case .service(let error) = error else { throw error }
            return error
        }
    }

    /// What the hub does not say in time, or not so that it is an answer, is an error; the next request is as good as ever.
    @Test func anAnswerThatIsNoneIsAnError() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .plain) { device in
                try await device.device.connect()
                try await checkFaults(device.device.shadow, test.hub.services)
            }
        }
    }

    private func checkFaults(_ shadow: HubDeviceShadow<MQTTClient>, _ services: CloudServices) async throws {
        _ = try await shadow.get()
        for effect in [ServiceFault.Effect.answerLost, .malformed, .wrongToken] {
            try services.add(ServiceFault(effect, service: .shadow))
            let error = try await failure { () async throws(HubDevice.ServiceFailure) in _ = try await shadow.get() }
            #expect(error == .timedOut, "\(effect)")
        }
        let update = HubShadowUpdate(reported: ["a": 1])
        try services.add(ServiceFault(.error(5_001), service: .shadow))
        let error = try await failure { () async throws(HubDevice.ServiceFailure) in try await shadow.update(update) }
        #expect(error == .rejected(HubResult(rawValue: 5_001)))
        try services.add(ServiceFault(.duplicated, service: .shadow))
        #expect(try await shadow.update(update).version == 1)
        #expect(try await shadow.get().version == 1)
    }

    /// A hub that shuffles members and adds some is understood.
    @Test func aHubThatAddsMembersIsUnderstood() async throws {
        try await TestHub.with { test in
            var behavior = ServiceBehavior()
            (behavior.isStrict, behavior.hasShadowTimesInSeconds, behavior.sendsConfigurationAsText) = (
                true, true, true
            )
            try test.hub.services.setBehavior(behavior)
            try await test.withDevice(by: .plain) { device in
                try await device.device.connect()
                let name = HubDeviceName(device.registered.productID, device.registered.deviceName)
                try await useAll(device.device, name, test)
            }
        }
    }

    /// What is reported while there is no connection gets to the hub, each member once in its last state.
    @Test func reportsSurviveTheLossOfTheConnection() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .preSharedKey, reconnects: true) { device in
                let hub = test.hub
                let name = HubDeviceName(device.registered.productID, device.registered.deviceName)
                try await device.device.connect()
                try await device.device.shadow.report(["a": 1])
                #expect(await eventually { (try? hub.services.shadow(of: name))?["version"]?.integer == 1 })
                try await offPool { Result { try hub.stopBroker() } }.get()
                for value in 1...20 { try await device.device.shadow.report(["b": 2, "c": .integer(Int64(value))]) }
                try await offPool { Result { try hub.startBroker() } }.get()
                #expect(
                    await eventually(within: .seconds(30)) {
                        let reported = (try? hub.services.shadow(of: name))?["state"]?["reported"]
                        return ["a", "b", "c"].map { reported?[$0]?.integer } == [1, 2, 20]
                    }
                )
                #expect(try hub.services.shadow(of: name)["version"]?.integer == 2)
            }
        }
    }

    /// What was wanted while the device was away, it learns when it is back.
    @Test func aDeltaThatWasMissedIsTold() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .plain, reconnects: true) { device in
                let hub = test.hub
                let name = HubDeviceName(device.registered.productID, device.registered.deviceName)
                try await device.device.connect()
                var deltas = try await device.device.shadow.deltas.makeAsyncIterator()
                try await offPool { Result { try hub.stopBroker() } }.get()
                try hub.services.updateDesired(name, ["valve": "open"])
                try await offPool { Result { try hub.startBroker() } }.get()
                let delta = try #require(await deltas.next())
                #expect(delta.state["valve"]?.text == Array("open".utf8))
            }
        }
    }

    // MARK: Gateways

    private static let sub = HubSubDevice(productID: Array("A1B2C3D4E5".utf8), deviceName: Array("sub-0001".utf8))
    private static let secret = "AAECAwQFBgcICQoLDA0ODw=="

    @Test func aGatewayBringsItsSubDeviceOnlineAndBackAfterAReconnect() async throws {
        try await TestHub.with { test in
            _ = try test.hub.addDevice(productID: "A1B2C3D4E5", deviceName: "sub-0001", secret: Self.secret)
            try await test.withDevice(by: .preSharedKey, reconnects: true) { device in
                try await device.device.connect()
                let seen = SeenPayloads(test.hub)
                var events = try await device.device.gateway.events.makeAsyncIterator()
                try await bindSub(device.device.gateway)
                try await useSub(device.device.client, test.hub, seen, payload: "of the sub")
                // The hub forgets who was online with the connection; the gateway does not.
                let hub = test.hub
                try await offPool { Result { try hub.stopBroker() } }.get()
                try await offPool { Result { try hub.startBroker() } }.get()
                var isRestored = false
                while !isRestored, let event = await events.next() { isRestored = event == .restored(Self.sub) }
                #expect(isRestored)
                try await useSub(device.device.client, test.hub, seen, payload: "again")
                try await device.device.gateway.setOffline(Self.sub)
                try await device.device.gateway.unbind(Self.sub)
                #expect(try await device.device.gateway.subDevices().isEmpty)
            }
        }
    }

    private func bindSub(_ gateway: HubDeviceGateway<MQTTClient>) async throws {
        let early = try await failure { () async throws(HubDevice.ServiceFailure) in
            try await gateway.setOnline(Self.sub)
        }
        #expect(early == .rejected(.notBound))
        let now = Int64(CLinux.time(nil))
        let wrong = HubBinding(Self.sub, secret: Array("d3Jvbmc=".utf8).span, random: 7, seconds: now)
        let refusal = try await failure { () async throws(HubDevice.ServiceFailure) in try await gateway.bind(wrong) }
        #expect(refusal == .rejected(.wrongSignature))
        try await gateway.bind(HubBinding(Self.sub, secret: Array(Self.secret.utf8).span, random: 7, seconds: now))
        #expect(try await gateway.subDevices() == [Self.sub])
        try await gateway.setOnline(Self.sub)
    }

    /// The gateway speaks and hears for the sub-device.
    private func useSub(
        _ client: MQTTClient,
        _ hub: HubSimulator,
        _ seen: SeenPayloads,
        payload: String
    ) async throws {
        try await client.publish(Array(payload.utf8), topic: "A1B2C3D4E5/sub-0001/event", qos: .atLeastOnce)
        #expect(await eventually { seen.count(payload) == 1 })
        let controls = try await client.messages(of: "A1B2C3D4E5/sub-0001/control", qos: .atLeastOnce)
        try hub.sendControl(to: "A1B2C3D4E5", deviceName: "sub-0001", payload: Array(payload.utf8))
        var messages = controls.makeAsyncIterator()
        #expect(await messages.next().map { Array($0.payload) } == Array(payload.utf8))
    }
}
