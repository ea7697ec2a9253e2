import Testing

@testable import HubSimulator

/// Which topics a device may use, and what reaches whom. Clients are those of mosquitto-clients.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubTopicTests {
    static let own = "APUSDEMO01/gateway-01"
    static let other = "APUSDEMO01/modem-01"

    @Test func answersEachFilterOfASubscribe() async throws {
        try await TestHub.with { test in
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            let allowed = [
                "\(Self.own)/control", "\(Self.own)/data", "\(Self.own)/custom/deep", "\(Self.own)/#", "\(Self.own)/+",
                "\(Self.own)/+/x", "$shadow/operation/result/\(Self.own)", "$ota/update/\(Self.own)",
                "$rrpc/rxd/\(Self.own)/+", "$rrpc/rxd/\(Self.own)/42", "$sys/operation/result/\(Self.own)",
                "$thing/down/property/\(Self.own)", "$broadcast/rxd/\(Self.own)", "$config/update/\(Self.own)",
                "$gateway/operation/result/\(Self.own)", "$resource/down/service/\(Self.own)",
                "$template/operation/result/\(Self.own)", "$log/operation/result/\(Self.own)",
            ]
            #expect(try await test.subscribe(login, allowed) == allowed.map { _ in 1 })
            let refused = [
                "#", "+/+/control", "+/gateway-01/control", "APUSDEMO01/+/control", "APUSDEMO01/#", Self.own,
                "\(Self.own)/event", "\(Self.own)2/control", "APUSDEMO01/gateway-0/control", "\(Self.other)/control",
                "\(Self.other)/#", "$hub/event", "$hub/#", "$SYS/#", "$SYS/broker/version",
                "$share/group/\(Self.own)/control", "$shadow/operation/\(Self.own)",
                "$shadow/operation/result/\(Self.other)", "$shadow/operation/result/+/+", "$shadow/#",
                "$rrpc/rxd/\(Self.own)/#", "$rrpc/rxd/\(Self.own)", "$rrpc/rxd/\(Self.own)/1/2", "$rrpc/rxd/+/+/+",
                "$ota/update/\(Self.own)/x", "$thing/down/+/\(Self.own)", "$thing/down/property/\(Self.own)2",
            ]
            #expect(try await test.subscribe(login, refused) == refused.map { _ in 128 })
            #expect(
                await eventually {
                    test.hub.refusals.map(\.detail) == refused
                        && test.hub.refusals.allSatisfy { $0.reason == .subscribeNotAllowed }
                }
            )
        }
    }

    @Test func takesOnlyWhatIsTheDevicesOwn() async throws {
        try await TestHub.with { test in
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            let allowed = [
                "\(Self.own)/event", "\(Self.own)/data", "\(Self.own)/custom/deep", "$shadow/operation/\(Self.own)",
                "$ota/report/\(Self.own)", "$rrpc/txd/\(Self.own)/42", "$thing/up/property/\(Self.own)",
                "$config/report/\(Self.own)", "$resource/up/service/\(Self.own)", "$gateway/operation/\(Self.own)",
                "$sys/operation/\(Self.own)", "$log/operation/\(Self.own)", "$template/operation/\(Self.own)",
            ]
            let refused = [
                "\(Self.own)/control", "\(Self.other)/event", "\(Self.other)/data", "\(Self.own)2/event", Self.own,
                "\(Self.own)/", "elsewhere", "$hub/event", "$shadow/operation/result/\(Self.own)",
                "$shadow/operation/\(Self.other)", "$rrpc/txd/\(Self.own)", "$rrpc/rxd/\(Self.own)/1",
            ]
            for topic in allowed + refused {
                // A refused QoS 1 publish is acknowledged and dropped.
                #expect(try await test.publish(login, topic: topic, payload: topic) == 0, "\(topic)")
            }
            #expect(await eventually { test.hub.refusals.map(\.detail) == refused })
            #expect(test.hub.refusals.allSatisfy { $0.reason == .publishNotAllowed })
            let count = allowed.count
            #expect(
                await eventually {
                    test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").messages == count
                }
            )
        }
    }

    @Test func saysWhichDeviceAMessageIsFrom() async throws {
        try await TestHub.with { test in
            let seen = Seen()
            test.hub.onMessage { seen.append($0) }
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            let topics = ["\(Self.own)/data", "$shadow/operation/\(Self.own)", "$rrpc/txd/\(Self.own)/42"]
            for topic in topics { #expect(try await test.publish(login, topic: topic, payload: "1") == 0) }
            let expected = topics.map {
                HubMessage(
                    productID: "APUSDEMO01",
                    deviceName: "gateway-01",
                    topic: $0,
                    payload: [0x31],
                    qos: 1,
                    way: .mqtt
                )
            }
            #expect(await eventually { seen.messages == expected })
        }
    }

    @Test func deliversControl() async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            let subscriber = try test.subscriber(Login(device: device, way: .psk()), ["\(Self.own)/control"])
            #expect(await subscriber.prints("Subscribed"))
            try test.hub.sendControl(
                to: "APUSDEMO01",
                deviceName: "gateway-01",
                payload: Array("{\"interval\":5}".utf8)
            )
            #expect(await subscriber.prints("\(Self.own)/control {\"interval\":5}\n"))
            // The hub's own message is none of the device's.
            #expect(test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").messages == 0)
            #expect(throws: HubSimulatorError.unknownDevice("APUSDEMO01/nobody")) {
                try test.hub.sendControl(to: "APUSDEMO01", deviceName: "nobody", payload: [])
            }
        }
    }

    @Test func sendsADevicesOwnDataBackAndNobodyElses() async throws {
        try await TestHub.with { test in
            let listener = Login(device: try test.device("gateway-01"), way: .psk())
            let subscriber = try test.subscriber(listener, ["\(Self.own)/#"])
            #expect(await subscriber.prints("Subscribed"))
            try test.hub.publish(topic: "\(Self.own)/event", payload: Array("not for devices".utf8))
            try test.hub.publish(topic: "\(Self.other)/data", payload: Array("for another".utf8))
            try test.hub.publish(topic: "\(Self.own)/data", payload: Array("for this one".utf8))
            #expect(await subscriber.prints("\(Self.own)/data for this one\n"))
            #expect(!subscriber.output.contains("not for") && !subscriber.output.contains("for another"))
        }
    }

    /// The packets are those of a device, byte by byte: authentication, then a publish with and without an answer wanted.
    @Test func answersCoAPWithTheOldestControlMessage() async throws {
        try await TestHub.with { test in
            let seen = Seen()
            test.hub.onMessage { seen.append($0) }
            try test.hub.addDevice(productID: "A1B2C3D4E5", deviceName: "dev_0001")
            for payload in ["first", "second"] {
                try test.hub.sendControl(to: "A1B2C3D4E5", deviceName: "dev_0001", payload: Array(payload.utf8))
            }
            let socket = RawDatagrams(to: try test.endpoints.coapPort)
            func exchange(_ header: [UInt8], _ options: [UInt8], _ payload: String) async -> String {
                socket.send(header + options + [0xFF] + Array(payload.utf8))
                let answer = await socket.receive()
                return String(decoding: answer.dropFirst(header.count + 1), as: UTF8.self)
            }
            let path = Array("A1B2C3D4E5/dev_0001/txauth9w0BAQsFA".utf8)
            // Option 11 with 35 bytes, then 62 with one.
            let token = await exchange(
                [0x44, 2, 0x12, 0x34, 0, 0, 0, 0],
                [0xBD, 0x16] + path + [0xD1, 0x26, 0x30],
                "21010406;aB3dE\0\0"
            )
            #expect(token.utf8.count == 10)
            // Option 11 with 24 bytes, 61 with 10, 62 with one.
            let topic = "A1B2C3D4E5/dev_0001/data"
            let options = [0xBD, 0x0B] + Array(topic.utf8) + [0xDA, 0x25] + Array(token.utf8) + [0x11]
            #expect(await exchange([0x44, 2, 0x12, 0x35, 1, 0, 0, 0], options + [0x30], "1") == "")
            #expect(await exchange([0x44, 2, 0x12, 0x36, 2, 0, 0, 0], options + [0x31], "2") == "first")
            #expect(await exchange([0x44, 2, 0x12, 0x37, 3, 0, 0, 0], options + [0x31], "3") == "second")
            #expect(await exchange([0x44, 2, 0x12, 0x38, 4, 0, 0, 0], options + [0x31], "4") == "")
            let expected = ["1", "2", "3", "4"].map {
                HubMessage(
                    productID: "A1B2C3D4E5",
                    deviceName: "dev_0001",
                    topic: topic,
                    payload: Array($0.utf8),
                    qos: 1,
                    way: .coap
                )
            }
            #expect(seen.messages == expected)
        }
    }

    @Test func dropsAPayloadThatIsTooLong() async throws {
        var configuration = HubConfiguration()
        configuration.maxPayloadBytes = 10
        try await TestHub.with(configuration) { test in
            let login = Login(device: try test.device("gateway-01"), way: .psk())
            #expect(try await test.publish(login, payload: "0123456789") == 0)
            #expect(try await test.publish(login, payload: "0123456789a") == 0)
            #expect(await eventually { test.lastRefusal?.reason == .payloadTooLarge })
            #expect(test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").messages == 1)
        }
    }

    @Test func closesOnQoS2AndRetain() async throws {
        try await TestHub.with { test in
            var login = Login(device: try test.device("gateway-01"), way: .psk())
            login.more = ["-t", "\(Self.own)/event", "-m", "x"]
            let arguments = try login.arguments(test.endpoints)
            #expect(await run("mosquitto_pub", arguments + ["-q", "2"]).status != 0)
            #expect(await run("mosquitto_pub", arguments + ["-q", "1", "-r"]).status != 0)
            #expect(await run("mosquitto_pub", arguments + ["-q", "1"]).status == 0)
            #expect(
                await eventually {
                    test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").messages == 1
                }
            )
        }
    }

    @Test func losesNothingOfAFastDevice() async throws {
        try await TestHub.with { test in
            let seen = Seen()
            test.hub.onMessage { seen.append($0) }
            var login = Login(device: try test.device("gateway-01"), way: .psk())
            login.more = ["-t", "\(Self.own)/event", "-q", "1", "-l"]
            let directory = try temporaryDirectory()
            defer { removeDirectory(directory) }
            let numbers = (0..<5000).map(String.init)
            try replaceFile("\(directory)/lines", with: Array(numbers.joined(separator: "\n").utf8))
            let command = "exec mosquitto_pub \"$@\" <\(directory)/lines"
            let status = try await run("sh", ["-c", command, "sh"] + login.arguments(test.endpoints)).status
            #expect(status == 0)
            #expect(await eventually { seen.messages.count >= 5000 })
            #expect(seen.messages.map { String(decoding: $0.payload, as: UTF8.self) } == numbers)
        }
    }
}
