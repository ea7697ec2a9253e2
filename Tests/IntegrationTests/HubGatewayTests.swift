import CLinux
import Testing

@testable import HubSimulator

/// Gateways: binding, sub-devices that come and go, and what they may use then.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubGatewayTests {
    static let own = "APUSDEMO01/gateway-01"
    static let name = HubDeviceName("APUSDEMO01", "gateway-01")
    static let sub = HubDeviceName("A1B2C3D4E5", "sub-0001")
    static let up = "$gateway/operation/\(own)"
    static let down = "$gateway/operation/result/\(own)"
    static let entry: HubJSON = ["product_id": "A1B2C3D4E5", "device_name": "sub-0001"]

    /// A hub with the sub-device of the specification's vectors, whose time has come.
    private func withGateway(_ body: (TestHub, PahoDevice) async throws -> Void) async throws {
        try await TestHub.with { test in
            try test.hub.addDevice(productID: "A1B2C3D4E5", deviceName: "sub-0001", secret: "AAECAwQFBgcICQoLDA0ODw==")
            try test.hub.services.setClockOffset(.seconds(1_700_000_100 - Int(time(nil))))
            let gateway = try await PahoDevice(test, test.device("gateway-01"))
            #expect(await gateway.subscribe(Self.down) == 1)
            try await body(test, gateway)
        }
    }

    private func ask(_ gateway: PahoDevice, _ type: String, _ entries: HubJSON...) async throws -> [Int] {
        let request: HubJSON = ["type": .string(type), "payload": ["devices": .array(entries)]]
        let reply = try await gateway.ask(Self.up, request, answerOn: Self.down)
        #expect(reply["type"] == .string(type))
        return try #require(reply["payload"]?["devices"]?.elements).compactMap { $0["result"]?.integer }
    }

    private func binding(
        _ signature: String,
        _ method: String = "hmacsha1",
        _ change: (inout HubJSON) -> Void = { _ in }
    )
        -> HubJSON
    {
        var entry = Self.entry
        entry["signature"] = .string(signature)
        entry["random"] = 121_213
        entry["timestamp"] = 1_700_000_100
        entry["signmethod"] = .string(method)
        entry["authtype"] = "psk"
        change(&entry)
        return entry
    }

    static let sha1 = "jBN2t4w5BsLWlOoOcs18MjK2tqA="
    static let sha256 = "G9QbVqSDcBKUOy1EFxhrs5uLXz9m9LsvcFLYGVxGgBI="

    @Test func checksBindSignatures() async throws {
        try await withGateway { test, gateway in
            let cases: [(HubJSON, Int)] = [
                (binding("/hFFiOdBVAgSwBWDw9iqIV7bBqU="), 803), (binding(Self.sha1, "hmacsha256"), 803),
                (binding(Self.sha1, "md5"), 804), (binding(Self.sha1) { $0["random"] = nil }, 801),
                (binding(Self.sha1) { $0["authtype"] = "certificate" }, 801),
                (binding(Self.sha1) { $0["timestamp"] = 1_699_999_000 }, 805),
                (binding(Self.sha1) { $0["device_name"] = "nobody" }, 802),
                (
                    binding(Self.sha1) {
                        $0["product_id"] = "APUSDEMO01"; $0["device_name"] = "gateway-01"
                    }, 808
                ),
                (binding(Self.sha256, "hmacsha256"), 0), (binding(Self.sha1), 809),
            ]
            for (entry, result) in cases { #expect(try await ask(gateway, "bind", entry) == [result], "\(entry)") }
            #expect(try test.hub.services.gateway(of: Self.sub) == Self.name)
            #expect(try await ask(gateway, "unbind", Self.entry) == [0])
            #expect(try await ask(gateway, "unbind", Self.entry) == [-1])
            #expect(try await ask(gateway, "bind", binding(Self.sha1)) == [0])
            try test.hub.services.setGateway(true, productID: "A1B2C3D4E5")
            #expect(try await ask(gateway, "bind", binding(Self.sha1)) == [807])
            try test.hub.services.setGateway(false, productID: "A1B2C3D4E5")
            // Another gateway may not have it.
            let other = try await PahoDevice(test, test.device("modem-01"))
            await other.subscribe("$gateway/operation/result/APUSDEMO01/modem-01")
            let request: HubJSON = ["type": "bind", "payload": ["devices": [binding(Self.sha1)]]]
            let reply = try await other.ask(
                "$gateway/operation/APUSDEMO01/modem-01",
                request,
                answerOn: "$gateway/operation/result/APUSDEMO01/modem-01"
            )
            #expect(reply["payload"]?["devices"]?.elements?.first?["result"] == 806)
            gateway.publish(Self.up, ["type": "describe_sub_devices"])
            #expect(await gateway.next()?.json?["payload"]?["devices"] == [Self.entry])
        }
    }

    @Test func lendsTheTopicsOfASubDeviceThatIsOnline() async throws {
        try await withGateway { test, gateway in
            let services = test.hub.services
            let seen = Seen()
            test.hub.onMessage { seen.append($0) }
            let shadow = "$shadow/operation/result/\(Self.sub)"
            #expect(try await ask(gateway, "online", Self.entry) == [-1])
            #expect(await gateway.subscribe(shadow) == 128)
            #expect(try await ask(gateway, "bind", binding(Self.sha1)) == [0])
            #expect(await gateway.subscribe(shadow) == 128)
            #expect(try await ask(gateway, "online", Self.entry) == [0])
            #expect(await gateway.subscribe(shadow) == 1)
            #expect(await gateway.subscribe("\(Self.sub)/control") == 1)
            #expect(await gateway.subscribe("A1B2C3D4E5/+/control") == 128)
            #expect(try services.subDevices(of: Self.name, onlineOnly: true) == [Self.sub])

            let update: HubJSON = ["type": "update", "state": ["reported": ["t": 1]], "clientToken": "s"]
            let reply = try await gateway.ask("$shadow/operation/\(Self.sub)", update, answerOn: shadow)
            #expect(reply["result"] == 0 && reply["clientToken"] == "s")
            gateway.publish("\(Self.sub)/event", Array("hello".utf8), qos: 1)
            #expect(await eventually { seen.messages.last?.deviceName == "sub-0001" })
            try test.hub.sendControl(to: "A1B2C3D4E5", deviceName: "sub-0001", payload: [1])
            #expect(await gateway.next(on: "\(Self.sub)/control")?.payload == [1])

            // Someone who only says that it is the gateway ends nothing.
            let wrong = try await Login.signed(test.device("gateway-01"), key: "00112233445566778899aabbccddeeff")
            #expect(try await test.publish(wrong) == 5)
            #expect(try await gateway.ask("$shadow/operation/\(Self.sub)", update, answerOn: shadow)["result"] == 0)

            #expect(try await ask(gateway, "offline", Self.entry) == [0])
            gateway.publish("\(Self.sub)/event", Array("late".utf8), qos: 1)
            #expect(await eventually { test.lastRefusal?.reason == .publishNotAllowed })
            try services.updateDesired(Self.sub, ["t": 2])
            #expect(await gateway.next(within: .milliseconds(300)) == nil)
        }
    }

    @Test func endsSubDevicesWithTheirGateway() async throws {
        try await withGateway { test, gateway in
            let services = test.hub.services
            #expect(try await ask(gateway, "bind", binding(Self.sha1)) == [0])
            #expect(try await ask(gateway, "online", Self.entry) == [0])
            // A second login ends the first connection, and all that was online by it.
            let second = try await PahoDevice(test, test.device("gateway-01"))
            #expect(await eventually { gateway.isLost })
            await second.subscribe(Self.down)
            #expect(await eventually { (try? services.subDevices(of: Self.name, onlineOnly: true)) == [] })
            #expect(await second.subscribe("\(Self.sub)/control") == 128)
            #expect(try await ask(second, "online", Self.entry) == [0])
            #expect(await second.subscribe("\(Self.sub)/control") == 1)
            #expect(try services.broadcast("A1B2C3D4E5", [1]) == 1)
        }
    }

    @Test func pushesWhatAnOperatorChanges() async throws {
        try await withGateway { test, gateway in
            let services = test.hub.services
            async let bound = offPool {
                Result { () throws(HubSimulatorError) in try services.bind(Self.sub, to: Self.name) }
            }
            let change = try #require(await gateway.next()?.json)
            #expect(change == ["type": "change", "payload": ["status": 1, "devices": [Self.entry]]])
            let answer: HubJSON = ["type": "change", "result": 0]
            gateway.publish(Self.up, answer)
            #expect(await bound == .success(answer))
            #expect(try await ask(gateway, "online", Self.entry) == [0])

            async let searching = offPool {
                Result { () throws(HubSimulatorError) in try services.searchDevices(Self.name, isOn: true) }
            }
            #expect(await gateway.next()?.json == ["type": "search_devices", "payload": ["status": 1]])
            gateway.publish(Self.up, ["type": "search_devices", "payload": ["status": 1, "result": 0]])
            #expect(try await searching.get()["payload"]?["result"] == 0)

            async let asked = offPool {
                Result { () throws(HubSimulatorError) in try services.describeSubDevices(Self.name) }
            }
            #expect(await gateway.next()?.json == ["type": "describe_sub_devices"])
            gateway.publish(Self.up, ["type": "change", "payload": ["devices": [Self.entry]]])
            #expect(try await asked.get()["payload"]?["devices"] == [Self.entry])

            async let ended = offPool {
                Result { () throws(HubSimulatorError) in try services.unbindAll(Self.name, timeout: .seconds(1)) }
            }
            #expect(await gateway.next()?.json == ["type": "unbind_all"])
            // Without an answer, it holds all the same.
            #expect(await ended == .failure(.noAnswer("a push to the gateway \(Self.name)")))
            #expect(try services.subDevices(of: Self.name) == [])
            #expect(await gateway.subscribe("\(Self.sub)/control") == 128)
        }
    }

    @Test func answersSeveralEntriesOrJustTheFirst() async throws {
        try await withGateway { test, gateway in
            let nobody: HubJSON = ["product_id": "A1B2C3D4E5", "device_name": "nobody"]
            #expect(try await ask(gateway, "online", Self.entry, nobody, [:]) == [-1, 802, 801])
            var behavior = ServiceBehavior()
            behavior.gatewayAnswersOnlyFirst = true
            behavior.answersUnbindAsBind = true
            try test.hub.services.setBehavior(behavior)
            #expect(try await ask(gateway, "online", Self.entry, nobody) == [-1])
            let request: HubJSON = ["type": "unbind", "payload": ["devices": [Self.entry]]]
            #expect(try await gateway.ask(Self.up, request, answerOn: Self.down)["type"] == "bind")
            try test.hub.services.add(ServiceFault(.error(-2), service: .gateway))
            #expect(try await ask(gateway, "online", Self.entry) == [-2])
        }
    }
}
