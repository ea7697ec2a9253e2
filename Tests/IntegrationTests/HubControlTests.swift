import Testing

@testable import HubSimulator

/// The control API, with curl.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubControlTests {
    @Test func makesAndChangesDevices() async throws {
        try await TestHub.with { test in
            let new: HubJSON = [
                "productId": "A1B2C3D4E5", "deviceName": "dev_0001", "deviceSecret": "AAECAwQFBgcICQoLDA0ODw==",
            ]
            #expect(try await test.control("POST", "/devices", new)["online"] == false)
            _ = try await test.control("POST", "/devices", new, status: 409)
            let device = try #require(test.hub.registry.device(productID: "A1B2C3D4E5", deviceName: "dev_0001"))
            let paho = try await PahoDevice(test, device)
            #expect(
                await eventually {
                    test.hub.statistics(productID: "A1B2C3D4E5", deviceName: "dev_0001").connections == 1
                }
            )
            let listed = try await test.control("GET", "/devices")["devices"]?.elements?.last
            #expect(listed?["deviceName"] == "dev_0001" && listed?["online"] == true && listed?["logins"] == 1)
            _ = try await test.control("PUT", "/devices/A1B2C3D4E5/dev_0001", ["enabled": false])
            #expect(await eventually { paho.isLost })
            let refusals = try await test.control("GET", "/refusals")["refusals"]?.elements
            #expect(refusals?.last?["reason"] == "device-disabled")
            _ = try await test.control("DELETE", "/devices/A1B2C3D4E5/dev_0001")
            _ = try await test.control("DELETE", "/devices/A1B2C3D4E5/dev_0001", status: 404)
            let certificate: HubJSON = ["productId": "A1B2C3D4E5", "deviceName": "c", "type": "certificate"]
            #expect(try await test.control("POST", "/devices", certificate)["type"] == "certificate")
        }
    }

    @Test func reachesTheServices() async throws {
        try await TestHub.with { test in
            let own = "APUSDEMO01/gateway-01"
            let device = try await PahoDevice(test, test.device("gateway-01"))
            for filter in [HubShadowTests.down, "$rrpc/rxd/\(own)/+", "$log/operation/result/\(own)", "\(own)/control"]
            {
                await device.subscribe(filter)
            }
            let reply = try await test.control("POST", "/shadow/\(own)", ["desired": ["t": 1]])
            #expect(reply["result"] == 0)
            #expect(await device.next()?.json?["type"] == "delta")
            #expect(try await test.control("GET", "/shadow/\(own)")["state"]?["desired"] == ["t": 1])

            async let call = test.control("POST", "/rrpc/\(own)", ["payload": "stop", "processId": "9"])
            #expect(await device.next()?.text == "stop")
            device.publish("$rrpc/txd/\(own)/9", Array("done".utf8))
            #expect(try await call["payload"] == "done")
            _ = try await test.control("POST", "/rrpc/\(own)", ["payload": "stop", "timeoutMs": 200], status: 504)
            _ = await device.next()

            _ = try await test.control("PUT", "/log-level/\(own)", ["level": 3])
            #expect(await device.next()?.json?["log_level"] == 3)
            _ = try await test.control(
                "POST",
                "/publish",
                ["topic": .string("\(own)/control"), "payloadBase64": "/wA="]
            )
            #expect(await device.next()?.payload == [0xFF, 0x00])
            _ = try await test.control("PUT", "/configuration/APUSDEMO01", ["text": "{\"a\":1}"])
            #expect(try await test.control("GET", "/configuration/APUSDEMO01")["text"] == "{\"a\":1}")

            async let wait = test.control("POST", "/wait", ["topic": .string("\(own)/event"), "contains": "ready"])
            device.publish("\(own)/event", Array("not yet".utf8), qos: 1)
            device.publish("\(own)/event", Array("ready".utf8), qos: 1)
            let found = try await wait
            #expect(found["payload"] == "ready" && found["up"] == true)
            let since = try #require(found["number"]?.integer)
            let again: HubJSON = ["contains": "ready", "since": HubJSON(since), "timeoutMs": 100]
            _ = try await test.control("POST", "/wait", again, status: 504)
            let records = try await test.control("GET", "/records?since=\(since - 1)")["records"]?.elements
            #expect(records?.count == 1 && records?.first?["topic"] == .string("\(own)/event"))
        }
    }

    @Test func setsFaultsAndBehavior() async throws {
        try await TestHub.with { test in
            let device = try await PahoDevice(test, test.device("gateway-01"))
            await device.subscribe(HubShadowTests.down)
            let fault: HubJSON = [
                "effect": "error", "code": 5009, "device": "APUSDEMO01/gateway-01", "service": "shadow",
            ]
            _ = try await test.control("POST", "/faults", fault)
            let get: HubJSON = ["type": "get", "clientToken": "t"]
            #expect(try await device.ask(HubShadowTests.up, get, answerOn: HubShadowTests.down)["result"] == 5009)
            #expect(try await device.ask(HubShadowTests.up, get, answerOn: HubShadowTests.down)["result"] == 0)
            _ = try await test.control("PUT", "/behavior", ["timeSkewMs": 5000, "isStrict": true])
            let behavior = try test.hub.services.behavior
            #expect(behavior.timeSkew == .seconds(5) && behavior.isStrict && !behavior.omitsNTPTimes)
            _ = try await test.control("PUT", "/clock", ["offsetMs": 1000])
            _ = try await test.control("POST", "/http-faults", ["effect": "status", "status": 503, "path": "/device"])
            #expect(try await curl(test.http + "/device/x").status == 503)
            _ = try await test.control("PUT", "/files/a/b.bin", ["any": "bytes"])
            let link = try await test.control("POST", "/file-urls", ["name": "a/b.bin"])
            let url = try #require(link["url"]?.string)
            #expect(try await curl(url).text == "{\"any\":\"bytes\"}")
            #expect(try await test.control("GET", "/http-records")["records"]?.elements?.count == 2)
            #expect(try await test.control("GET", "/statistics")["faults"] == 2)
        }
    }

    @Test func updatesAndBinds() async throws {
        try await TestHub.with { test in
            let (own, sub) = ("APUSDEMO01/gateway-01", "APUSDEMO01/modem-01")
            let device = try await PahoDevice(test, test.device("gateway-01"))
            await device.subscribe("$gateway/operation/result/\(own)")
            await device.subscribe(HubFirmwareTests.down)
            let firmware = "http://127.0.0.1:\(try test.endpoints.controlPort)/firmware/APUSDEMO01/2.0"
            #expect(try await curl(firmware, method: "PUT", body: [0xFF, 0x00, 0x01]).status == 200)
            _ = try await test.control("POST", "/upgrades/\(own)", ["version": "3.0"], status: 409)
            _ = try await test.control("POST", "/upgrades/\(own)", ["version": "2.0", "fileSize": 9])
            device.publish(HubFirmwareTests.up, ["type": "report_version", "report": ["version": "1.0"]], qos: 1)
            _ = await device.next(on: HubFirmwareTests.down)
            let update = try #require(await device.next(on: HubFirmwareTests.down)?.json)
            #expect(update["version"] == "2.0" && update["file_size"] == 9)
            let url = try #require(update["url"]?.string)
            #expect(try await curl(url).body == [0xFF, 0x00, 0x01])
            let status = try await test.control("GET", "/upgrades/\(own)")
            #expect(status["state"] == "pending" && status["reportedVersion"] == "1.0")
            _ = try await test.control("DELETE", "/upgrades/\(own)")

            async let bound = test.control("PUT", "/gateway-of/\(sub)", ["gateway": .string(own)])
            #expect(await device.next()?.json?["type"] == "change")
            device.publish("$gateway/operation/\(own)", ["type": "change", "result": 0])
            #expect(try await bound["result"] == 0)
            let listed = try await test.control("GET", "/sub-devices/\(own)")["devices"]
            #expect(listed == [["device": .string(sub), "online": false]])
            _ = try await test.control("POST", "/unbind-all/\(own)", ["timeoutMs": 100], status: 504)
            #expect(try await test.control("GET", "/sub-devices/\(own)")["devices"] == [])
        }
    }

    @Test func refusesWhatItDoesNotKnow() async throws {
        try await TestHub.with { test in
            for (method, path, body, status) in [
                ("GET", "/", nil, 404), ("GET", "/nothing", nil, 404), ("POST", "/devices", [:], 400),
                ("GET", "/shadow/APUSDEMO01", nil, 400), ("POST", "/shadow/APUSDEMO01/gateway-01", [:], 400),
                ("POST", "/shadow/APUSDEMO01/nobody", ["desired": ["a": 1]], 404),
                ("POST", "/faults", ["effect": "boom"], 400), ("PUT", "/behavior", ["x": 1], 400),
                ("PUT", "/log-level/APUSDEMO01/gateway-01", ["level": 5], 400), ("POST", "/devices", 1, 400),
                ("POST", "/devices", ["productId": "short", "deviceName": "x"], 409),
            ] as [(String, String, HubJSON?, Int)] {
                let answer = try await test.control(method, path, body, status: status)
                #expect(answer["error"]?.string != nil, "\(path)")
            }
            let port = try test.endpoints.controlPort
            let other = try await curl("http://127.0.0.1:\(port)/devices", headers: ["Host: hub.example:\(port)"])
            #expect(other.status == 403)
        }
    }
}
