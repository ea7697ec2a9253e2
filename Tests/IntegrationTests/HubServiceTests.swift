import CLinux
import Kernel
import Testing

@testable import HubSimulator

/// Time, configuration, log level, calls and broadcasts, as a device sees them.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubServiceTests {
    static let own = "APUSDEMO01/gateway-01"
    static let name = HubDeviceName("APUSDEMO01", "gateway-01")

    private func device(_ test: TestHub, _ filters: String...) async throws -> PahoDevice {
        let device = try await PahoDevice(test, test.device("gateway-01"))
        for filter in filters { #expect(await device.subscribe(filter) == 1) }
        return device
    }

    @Test func tellsTheTime() async throws {
        try await TestHub.with { test in
            let (up, down) = ("$sys/operation/\(Self.own)", "$sys/operation/result/\(Self.own)")
            let device = try await device(test, down)
            let request: HubJSON = ["type": "get", "resource": ["time"]]
            let before = Int(time(nil))
            let answer = try await device.ask(up, request, answerOn: down)
            let seconds = try #require(answer["time"]?.integer)
            let arrival = try #require(answer["ntptime1"]?.integer)
            let departure = try #require(answer["ntptime2"]?.integer)
            #expect(answer["type"] == "get" && before...Int(time(nil)) + 1 ~= seconds)
            #expect(arrival <= departure && departure / 1000 == seconds && departure - arrival < 5000)

            var behavior = ServiceBehavior()
            behavior.timeSkew = .seconds(3600)
            behavior.omitsNTPTimes = true
            try test.hub.services.setBehavior(behavior)
            let skewed = try await device.ask(up, request, answerOn: down)
            #expect(3600...3610 ~= (skewed["time"]?.integer ?? 0) - before && skewed["ntptime1"] == nil)
            // The hub's whole clock is another matter.
            try test.hub.services.setBehavior(ServiceBehavior())
            try test.hub.services.setClockOffset(.seconds(-86_400))
            let moved = try await device.ask(up, request, answerOn: down)
            #expect(-86_400 ... -86_390 ~= (moved["time"]?.integer ?? 0) - before)
            #expect(abs((moved["ntptime1"]?.integer ?? 0) / 1000 - (moved["time"]?.integer ?? 0)) <= 1)

            device.publish(up, ["type": "get"])
            #expect(await device.next(within: .milliseconds(300)) == nil)
            #expect(try test.hub.services.statistics.malformed == 1)
            try test.hub.services.setRemoteLogin(Self.name, true)
            #expect(await device.next(on: down)?.json == ["type": "ssh", "switch": 1])
        }
    }

    @Test(arguments: [("operation", "operation/result"), ("report", "update")])
    func tellsTheConfiguration(up: String, down: String) async throws {
        try await TestHub.with { test in
            let services = test.hub.services
            let (up, down) = ("$config/\(up)/\(Self.own)", "$config/\(down)/\(Self.own)")
            let device = try await device(test, down)
            func result() async throws -> HubJSON { try await device.ask(up, ["type": "get"], answerOn: down) }
            #expect(try await result() == ["type": "reply", "result": 1002])
            try services.setConfiguration("APUSDEMO01", Array("{\"baud\":9600}".utf8))
            #expect(try await result() == ["type": "reply", "result": 0, "payload": ["baud": 9600]])
            try services.pushConfiguration("APUSDEMO01")
            #expect(await device.next(on: down)?.json == ["type": "push", "result": 0, "payload": ["baud": 9600]])
            try services.setConfigurationEnabled("APUSDEMO01", false)
            #expect(try await result() == ["type": "reply", "result": 1001])
            try services.setConfigurationEnabled("APUSDEMO01", true)
            try services.setConfiguration("APUSDEMO01", Array("[1]".utf8))
            #expect(try await result() == ["type": "reply", "result": 1003])

            var behavior = ServiceBehavior()
            behavior.sendsConfigurationAsText = true
            try services.setBehavior(behavior)
            try services.setConfiguration("APUSDEMO01", Array("{\"baud\": 1}".utf8))
            #expect(try await result()["payload"] == "{\"baud\": 1}")
            let long = Array("{\"x\":\"\(String(repeating: "y", count: 15_000))\"}".utf8)
            try services.setConfiguration("APUSDEMO01", long)
            #expect(try await result()["payload"]?.string?.utf8.count == long.count)
            // More than a message takes does not arrive.
            try services.setConfiguration(
                "APUSDEMO01",
                Array("{\"x\":\"\(String(repeating: "y", count: 17_000))\"}".utf8)
            )
            device.publish(up, ["type": "get"])
            #expect(await device.next(within: .milliseconds(300)) == nil)
            #expect(throws: HubSimulatorError.tooLong("the configuration", limit: 131_072)) {
                try services.setConfiguration("APUSDEMO01", [UInt8](repeating: 0x20, count: 131_073))
            }
        }
    }

    @Test func tellsTheLogLevel() async throws {
        try await TestHub.with { test in
            let (up, down) = ("$log/operation/\(Self.own)", "$log/operation/result/\(Self.own)")
            let device = try await device(test, down)
            let request: HubJSON = ["type": "get_log_level", "clientToken": "APUSDEMO01-1"]
            let first = try await device.ask(up, request, answerOn: down)
            #expect(first["log_level"] == 0 && first["result"] == 0 && first["clientToken"] == "APUSDEMO01-1")
            try test.hub.services.setLogLevel(Self.name, .debug)
            let pushed = try #require(await device.next(on: down)?.json)
            #expect(pushed["type"] == "get_log_level" && pushed["log_level"] == 4 && pushed["clientToken"] == nil)
            #expect(try await device.ask(up, request, answerOn: down)["log_level"] == 4)
        }
    }

    @Test func callsADevice() async throws {
        try await TestHub.with { test in
            let device = try await device(test, "$rrpc/rxd/\(Self.own)/+")
            let services = test.hub.services
            @Sendable func call(_ payload: [UInt8], _ processID: String? = nil, seconds: Int = 4) async -> Result<
                [UInt8], HubSimulatorError
            > {
                await offPool {
                    Result { () throws(HubSimulatorError) in
                        try services.callRRPC(Self.name, payload, processID: processID, timeout: .seconds(seconds))
                    }
                }
            }
            // Two calls at once, answered in the other order, with bytes that are no text.
            async let first = call([0xFF, 0x00], "first-\(String(repeating: "x", count: 58))")
            async let second = call(Array("2".utf8))
            var requests: [PahoDevice.Message] = []
            for _ in 0..<2 { requests.append(try #require(await device.next())) }
            #expect(Set(requests.map(\.payload)) == [[0xFF, 0x00], Array("2".utf8)])
            for request in requests.reversed() {
                let topic = "$rrpc/txd/" + request.topic.dropFirst("$rrpc/rxd/".count)
                device.publish(topic, [0x00, 0xFE] + request.payload)
            }
            #expect(await first == .success([0x00, 0xFE, 0xFF, 0x00]))
            #expect(await second == .success([0x00, 0xFE] + Array("2".utf8)))

            #expect(await call([1], "77", seconds: 1) == .failure(.noAnswer("a call of \(Self.own)")))
            device.publish("$rrpc/txd/\(Self.own)/77", [1])
            #expect(await eventually { (try? services.statistics.lateCallAnswers) == 1 })
            #expect(throws: HubSimulatorError.invalidRequest("a process ID is 1 to 64 bytes without /, + and #")) {
                try services.callRRPC(Self.name, [], processID: "a/b")
            }
            // Numbers are new for each call.
            async let third = call([3], seconds: 1)
            async let fourth = call([4], seconds: 1)
            _ = await device.next()
            let topics = [await device.next()?.topic, await device.next()?.topic]
            #expect(topics[0] != nil && topics[0] != topics[1])
            _ = await (third, fourth)
        }
    }

    @Test func endsCallsWhenTheHubStops() async throws {
        try await TestHub.with { test in
            let services = test.hub.services
            async let call = offPool {
                Result { () throws(HubSimulatorError) in try services.callRRPC(Self.name, [1], timeout: .seconds(50)) }
            }
            #expect(await eventually { (try? services.perform { $0.calls.count }) == 1 })
            await offPool { test.hub.stop() }
            #expect(await call == .failure(.notRunning))
        }
    }

    @Test func broadcastsToWhoIsOnline() async throws {
        try await TestHub.with { test in
            let filter = "$broadcast/rxd/\(Self.own)"
            let device = try await device(test, filter)
            #expect(try test.hub.services.broadcast("APUSDEMO01", Array("hello".utf8)) == 1)
            #expect(await device.next() == PahoDevice.Message(topic: filter, payload: Array("hello".utf8)))
            let longest = [UInt8](repeating: 7, count: 8192)
            try test.hub.services.broadcast("APUSDEMO01", longest)
            #expect(await device.next()?.payload == longest)
            #expect(throws: HubSimulatorError.tooLong("the broadcast", limit: 8192)) {
                try test.hub.services.broadcast("APUSDEMO01", longest + [7])
            }
            #expect(throws: HubSimulatorError.unknownDevice("APUSDEMO99/…")) {
                try test.hub.services.broadcast("APUSDEMO99", [])
            }
        }
    }
}

/// What goes wrong on request.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubFaultTests {
    static let own = HubShadowTests.own

    private func ask(_ device: PahoDevice, _ token: String) {
        let request: HubJSON = ["type": "update", "state": ["reported": ["n": 1]], "clientToken": .string(token)]
        device.publish(HubShadowTests.up, request)
    }

    @Test func spoilsJustTheRequestsItIsAbout() async throws {
        try await TestHub.with { test in
            let services = test.hub.services
            let device = try await PahoDevice(test, test.device("gateway-01"))
            await device.subscribe(HubShadowTests.down)
            let name = HubShadowTests.name
            @Sendable func version() -> Int? { try? services.shadow(of: name)["version"]?.integer }
            // Faults of other devices and services stay.
            try services.add(ServiceFault(.answerLost, device: HubDeviceName("APUSDEMO01", "modem-01")))
            try services.add(ServiceFault(.answerLost, device: name, service: .log))

            try services.add(ServiceFault(.requestLost, device: name, service: .shadow))
            try services.add(ServiceFault(.answerLost, service: .shadow))
            ask(device, "lost")
            ask(device, "unanswered")
            ask(device, "third")
            #expect(await device.next()?.json?["clientToken"] == "third")
            #expect(version() == 2)

            try services.add(ServiceFault(.duplicated, service: .shadow))
            ask(device, "twice")
            let copies = [await device.next()?.json?["clientToken"], await device.next()?.json?["clientToken"]]
            #expect(copies == ["twice", "twice"] && version() == 3)

            try services.add(ServiceFault(.malformed))
            ask(device, "cut")
            let cut = try #require(await device.next())
            #expect(cut.json == nil && cut.text.hasPrefix("{"))

            try services.add(ServiceFault(.wrongToken))
            ask(device, "token")
            let wrong = try #require(await device.next()?.json)
            #expect(wrong["result"] == 0 && wrong["clientToken"]?.string?.hasPrefix("not-") == true && version() == 5)

            try services.add(ServiceFault(.error(5005), count: 2))
            for _ in 0..<2 {
                ask(device, "refused")
                let refused = try #require(await device.next()?.json)
                #expect(refused["result"] == 5005 && refused["clientToken"] == "refused")
                #expect(refused["payload"]?["state"] == ["reported": ["n": 1]])
            }
            #expect(version() == 5)

            try services.add(ServiceFault(.late(.milliseconds(700))))
            let start = KernelClock.now
            ask(device, "late")
            #expect(await device.next()?.json?["clientToken"] == "late")
            #expect(KernelClock.now - start >= .milliseconds(700))

            try services.add(ServiceFault(.answerLost, isForPushes: true))
            try services.updateDesired(name, ["n": 2])
            #expect(await device.next(within: .milliseconds(300)) == nil)
            #expect(try services.faults.count == 2 && services.statistics.faults == 9)
            try services.removeFaults()
            #expect(try services.faults.isEmpty)
        }
    }

    @Test func hasALimit() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let hub = try await offPool { Result { try HubSimulator(directory: directory) } }.get()
        for _ in 0..<1000 { try hub.services.add(ServiceFault(.answerLost)) }
        #expect(throws: HubSimulatorError.tooMany("faults", limit: 1000)) {
            try hub.services.add(ServiceFault(.answerLost))
        }
    }

    /// The same seed disguises answers alike, and another one otherwise; what they say stays.
    @Test func disguisesAnswersBySeed() async throws {
        var answers: [String] = []
        for seed in [7, 7, 8] as [UInt64] {
            var configuration = HubConfiguration()
            configuration.seed = seed
            try await TestHub.with(configuration) { test in
                var behavior = ServiceBehavior()
                behavior.isStrict = true
                try test.hub.services.setBehavior(behavior)
                let device = try await PahoDevice(test, test.device("gateway-01"))
                await device.subscribe(HubShadowTests.down)
                ask(device, "t")
                let message = try #require(await device.next())
                let json = try #require(message.json)
                #expect(json["clientToken"] == "t" && json["payload"]?["state"] == ["reported": ["n": 1]])
                #expect(json.members?.contains { $0.name.hasPrefix("x_") } == true)
                answers.append(json.members?.map(\.name).joined(separator: " ") ?? "")
            }
        }
        #expect(answers[0] == answers[1] && answers[0] != answers[2])
    }
}
