import MQTTClient
import Testing

@testable import QCloudIoTHub

/// A device whose hub is a script, in virtual time.
struct DeviceBench {
    let messaging = ScriptedMessaging()
    let time = ManualTime()
    let device: HubMQTTDevice<ScriptedMessaging>

    init(connected: Bool = true, _ configure: (inout HubShadowConfiguration) -> Void = { $0.getsAfterConnect = false })
        async throws
    {
        var configuration = HubShadowConfiguration()
        configure(&configuration)
        device = HubMQTTDevice(try pump(), by: messaging, shadow: configuration, clock: time.clock)
        if connected { try await device.connect() }
    }

    static let shadow = "$shadow/operation/result/Q7K2M9X4ZP/pump-01"

    /// What the device says next; its topic is checked.
    func next(_ topic: String = "$shadow/operation/Q7K2M9X4ZP/pump-01") async -> String? {
        let sent = await messaging.next()
        #expect(sent?.topic == topic)
        return sent?.payload
    }

    func answer(_ token: Int, _ payload: String) async {
        await messaging.say(
            Self.shadow,
            #"{"type":"get","result":0,"clientToken":"Q7K2M9X4ZP-\#(token)","payload":\#(payload)}"#
        )
    }
}

@Suite(.timeLimit(.minutes(1))) struct DeviceServiceTests {
    struct State: Codable, Equatable, Sendable {
        var temp: Int?
        var mode: String?
    }

    @Test func getsWhatWasReported() async throws {
        let bench = try await DeviceBench()
        async let state = bench.device.shadow.reported(as: State.self)
        #expect(await bench.next() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-0"}"#)
        await bench.answer(0, #"{"state":{"reported":{"temp":27}},"version":7}"#)
        #expect(try await state == State(temp: 27, mode: nil))
        #expect(await bench.messaging.filters == [DeviceBench.shadow])
        // Once is enough.
        async let document = bench.device.shadow.get()
        #expect(await bench.next() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-1"}"#)
        await bench.answer(1, #"{"state":{},"version":8}"#)
        #expect(try await document.version == 8)
        #expect(await bench.messaging.filters.count == 1)
    }

    @Test func answersEachOfManyRequests() async throws {
        let bench = try await DeviceBench()
        let shadow = bench.device.shadow
        try await withThrowingTaskGroup(of: Int64.self) { group in
            for _ in 0..<10 { group.addTask { try await shadow.get().version } }
            for _ in 0..<10 { #expect(await bench.next() != nil) }
            await expect(.tooManyRequests(limit: 10)) { () async throws(HubServiceFailure<ScriptedMessaging.Failed>) in
                _ = try await shadow.get()
            }
            for token in (0..<10).reversed() { await bench.answer(token, #"{"state":{},"version":\#(token)}"#) }
            var versions: Set<Int64> = []
            for try await version in group { versions.insert(version) }
            #expect(versions == Set(0..<10))
        }
    }

    @Test func hearsOfWhatIsWantedAndAcknowledgesIt() async throws {
        let bench = try await DeviceBench()
        let deltas = try await bench.device.shadow.deltas
        await bench.messaging.say(DeviceBench.shadow, #"{"type":"delta","payload":{"state":{"temp":25},"version":7}}"#)
        var iterator = deltas.makeAsyncIterator()
        let delta = try #require(await iterator.next())
        #expect(try delta.decoded(as: State.self) == State(temp: 25, mode: nil))
        async let document = bench.device.shadow.acknowledge(delta)
        #expect(
            await bench.next()
                == #"{"type":"update","state":{"reported":{"temp":25},"desired":null},"version":7,"clientToken":"Q7K2M9X4ZP-0"}"#
        )
        await bench.messaging.say(
            DeviceBench.shadow,
            #"{"type":"update","result":5005,"clientToken":"Q7K2M9X4ZP-0","payload":{"state":{"desired":{"temp":26},"delta":{"temp":26}},"version":8}}"#
        )
        do {
            _ = try await document
            Issue.record("there is something newer")
        } catch let error as HubServiceFailure<ScriptedMessaging.Failed> {
            guard case .service(.conflict(let document)) = error else { return #expect(Bool(false)) }
            #expect(document.version == 8)
        }
        #expect(await iterator.next() == HubShadowDelta(state: ["temp": 26], version: 8))
        await bench.device.disconnect()
        #expect(await iterator.next() == nil)
        #expect(deltas.droppedCount == 0)
    }

    @Test func reportsWhatHappenedWithoutConnection() async throws {
        let bench = try await DeviceBench(connected: false) { _ in }
        try await bench.device.shadow.report(["temp": 20, "mode": "cool"])
        try await bench.device.shadow.report(encoding: State(temp: 21, mode: nil))
        #expect(await bench.device.shadow.unsent == ["temp": 21, "mode": "cool"])
        try await bench.device.connect()
        #expect(await bench.next() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-0"}"#)
        await bench.answer(0, #"{"state":{"reported":{"mode":"cool"}},"version":1}"#)
        #expect(
            await bench.next() == #"{"type":"update","state":{"reported":{"temp":21}},"clientToken":"Q7K2M9X4ZP-1"}"#
        )
        // The answer is lost with the connection; on the next one it is reported again.
        await bench.messaging.goDown()
        await bench.messaging.goUp()
        #expect(await bench.next() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-2"}"#)
        await bench.answer(2, #"{"state":{"reported":{"mode":"cool","temp":20}},"version":1}"#)
        #expect(
            await bench.next() == #"{"type":"update","state":{"reported":{"temp":21}},"clientToken":"Q7K2M9X4ZP-3"}"#
        )
        let failures = await bench.device.shadow.reportFailures
        await bench.messaging.say(
            DeviceBench.shadow,
            #"{"type":"update","result":5001,"clientToken":"Q7K2M9X4ZP-3"}"#
        )
        var iterator = failures.makeAsyncIterator()
        #expect(await iterator.next() == .rejected(HubResult(rawValue: 5001)))
    }

    @Test func failsInTime() async throws {
        let bench = try await DeviceBench()
        let shadow = bench.device.shadow
        async let answer: Void = expect(.timedOut) { () async throws(HubServiceFailure<ScriptedMessaging.Failed>) in
            _ = try await shadow.get()
        }
        #expect(await bench.next() != nil)
        await bench.time.pass(to: .seconds(4))
        await answer
    }

    @Test func waitsForAConnectionForAWhile() async throws {
        let bench = try await DeviceBench(connected: false)
        let device = bench.device
        async let failure: Void = expect(.notConnected) {
            () async throws(HubServiceFailure<ScriptedMessaging.Failed>) in
            _ = try await device.time()
        }
        await bench.time.pass(to: .seconds(5))
        await failure
        async let time = device.time()
        try await device.connect()
        #expect(await bench.next("$sys/operation/Q7K2M9X4ZP/pump-01") == #"{"type":"get","resource":["time"]}"#)
        bench.time.set(.milliseconds(5_300))
        await bench.messaging.say(
            "$sys/operation/result/Q7K2M9X4ZP/pump-01",
            #"{"type":"get","time":1700000000,"ntptime1":1700000000500,"ntptime2":1700000000502}"#
        )
        #expect(try await time.milliseconds == 1_700_000_000_651)
        #expect(try await time.roundTrip == .milliseconds(300))
    }

    @Test func saysWhyThereIsNoSubscription() async throws {
        let bench = try await DeviceBench()
        await bench.messaging.refuse("$broadcast/rxd/Q7K2M9X4ZP/pump-01")
        do {
            _ = try await bench.device.broadcasts
            Issue.record("the subscription was refused")
        } catch {
            guard case .messaging(let failure) = error else { return #expect(Bool(false)) }
            #expect(failure == ScriptedMessaging.Failed("refused"))
        }
    }

    @Test func failsWhatCannotBePublished() async throws {
        let bench = try await DeviceBench()
        await bench.messaging.failPublishes(ScriptedMessaging.Failed("full"))
        let shadow = bench.device.shadow
        await expect(.notSent) { () async throws(HubServiceFailure<ScriptedMessaging.Failed>) in
            _ = try await shadow.get()
        }
    }

    @Test func failsAtOnceWhatFindsNoRoom() async throws {
        let bench = try await DeviceBench { ($0.getsAfterConnect, $0.maximumRequests) = (false, 100) }
        await bench.messaging.getStuck(true)
        let shadow = bench.device.shadow
        await withTaskGroup { group in
            for _ in 0..<80 {
                group.addTask { () -> HubServiceError? in
                    do throws(HubServiceFailure<ScriptedMessaging.Failed>) {
                        _ = try await shadow.get()
                        return nil
                    } catch {
                        guard case .service(let error) = error else { return nil }
                        return error
                    }
                }
            }
            // 64 wait for the MQTT, and perhaps one more is with it.
            for _ in 0..<15 { #expect(await group.next() == .notSent) }
            await bench.messaging.getStuck(false)
            group.cancelAll()
            for await error in group { #expect(error == .cancelled || error == .notSent) }
        }
    }

    @Test func isCancelledWithItsTask() async throws {
        let bench = try await DeviceBench()
        let shadow = bench.device.shadow
        let task = Task {
            await expect(.cancelled) { () async throws(HubServiceFailure<ScriptedMessaging.Failed>) in
                _ = try await shadow.get()
            }
        }
        #expect(await bench.next() != nil)
        task.cancel()
        await task.value
        // Also while it waits for a connection.
        let offline = try await DeviceBench(connected: false)
        let waiting = Task {
            await expect(.cancelled) { () async throws(HubServiceFailure<ScriptedMessaging.Failed>) in
                _ = try await offline.device.remoteConfiguration()
            }
        }
        waiting.cancel()
        await waiting.value
    }

    @Test func answersCallsSeveralAtOnce() async throws {
        let bench = try await DeviceBench()
        let filter = "$rrpc/rxd/Q7K2M9X4ZP/pump-01/+"
        let device = bench.device
        let (gate, opener) = AsyncStream.makeStream(of: Void.self)
        let serving = Task {
            try await device.serveRRPC { call in
                if text(call.payload) == "slow" { for await _ in gate { break } }
                return text(call.payload) == "no" ? nil : Array("re: ".utf8) + call.payload
            }
        }
        while await !bench.messaging.filters.contains(filter) { await Task.yield() }
        for (number, payload) in ["slow", "no", "fast"].enumerated() {
            await bench.messaging.say("$rrpc/rxd/Q7K2M9X4ZP/pump-01/\(number)", payload, on: filter)
        }
        #expect(await bench.next("$rrpc/txd/Q7K2M9X4ZP/pump-01/2") == "re: fast")
        opener.yield()
        #expect(await bench.next("$rrpc/txd/Q7K2M9X4ZP/pump-01/0") == "re: slow")
        await bench.time.pass(to: .seconds(4))
        while await device.unansweredCalls == 0 { await Task.yield() }
        #expect(await device.unansweredCalls == 1)
        await device.disconnect()
        try await serving.value
    }

    @Test func hearsBroadcastsConfigurationsAndLevels() async throws {
        let bench = try await DeviceBench()
        let device = bench.device
        var broadcasts = try await device.broadcasts.makeAsyncIterator()
        await bench.messaging.say("$broadcast/rxd/Q7K2M9X4ZP/pump-01", "all")
        #expect(await broadcasts.next() == Array("all".utf8))

        let config = "$config/operation/result/Q7K2M9X4ZP/pump-01"
        var changes = try await device.remoteConfigurations.makeAsyncIterator()
        await bench.messaging.say(config, #"{"type":"push","payload":{"baud":1}}"#)
        #expect(await changes.next() == ["baud": 1])
        async let configuration = device.remoteConfiguration()
        #expect(await bench.next("$config/operation/Q7K2M9X4ZP/pump-01") == #"{"type":"get"}"#)
        await bench.messaging.say(config, #"{"type":"reply","result":0,"payload":{"baud":2}}"#)
        #expect(try await configuration == ["baud": 2])

        var levels = try await device.logLevels.makeAsyncIterator()
        #expect(await bench.next("$log/operation/Q7K2M9X4ZP/pump-01") != nil)
        await bench.messaging.say(
            "$log/operation/result/Q7K2M9X4ZP/pump-01",
            #"{"type":"get_log_level","clientToken":"Q7K2M9X4ZP-1","log_level":2,"result":0}"#
        )
        #expect(await levels.next() == .warning)
        var later = try await device.logLevels.makeAsyncIterator()
        #expect(await later.next() == .warning)
    }

    @Test func isAGatewayForOthers() async throws {
        let bench = try await DeviceBench()
        let (up, down) = ("$gateway/operation/Q7K2M9X4ZP/pump-01", "$gateway/operation/result/Q7K2M9X4ZP/pump-01")
        let gateway = bench.device.gateway
        let sub = HubSubDevice(productID: Array("A1B2C3D4E5".utf8), deviceName: Array("sub-0001".utf8))
        var events = try await gateway.events.makeAsyncIterator()
        func answer(_ result: Int) async {
            #expect(await bench.next(up)?.contains(#""type":"online""#) == true)
            await bench.messaging.say(
                down,
                #"{"type":"online","payload":{"devices":[{"product_id":"A1B2C3D4E5","device_name":"sub-0001","result":\#(result)}]}}"#
            )
        }
        async let refused: Void = expect(.rejected(.notBound)) {
            () async throws(HubServiceFailure<ScriptedMessaging.Failed>) in try await gateway.setOnline(sub)
        }
        await answer(-1)
        await refused
        async let done: Void = gateway.setOnline(sub)
        await answer(0)
        try await done
        #expect(await gateway.online == [sub])
        await bench.messaging.goDown()
        await bench.messaging.goUp()
        await answer(0)
        #expect(await events.next() == .restored(sub))
    }

    @Test func subscribesAgainAfterADisconnect() async throws {
        let bench = try await DeviceBench { _ in }
        _ = try await bench.device.shadow.deltas
        #expect(await bench.next() != nil)
        await bench.device.disconnect()
        try await bench.device.connect()
        #expect(await bench.next() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-1"}"#)
        // Nothing is said before there is a subscription that hears the answer.
        #expect(await bench.messaging.filters.count >= 2)
    }

    @Test func isLetGoOf() async throws {
        weak var runner: HubServiceRunner<ScriptedMessaging>?
        do {
            let bench = try await DeviceBench()
            runner = bench.device.runner
            _ = try await bench.device.shadow.deltas
            async let time = bench.device.time()
            _ = await bench.next("$sys/operation/Q7K2M9X4ZP/pump-01")
            await bench.messaging.say(
                "$sys/operation/result/Q7K2M9X4ZP/pump-01",
                #"{"type":"get","time":1700000000}"#
            )
            _ = try await time
            #expect(runner != nil)
        }
        while runner != nil { await Task.yield() }
    }
}

/// Expects that `body` fails with `expected`.
func expect(
    _ expected: HubServiceError,
    _ body: () async throws(HubServiceFailure<ScriptedMessaging.Failed>) -> Void,
    sourceLocation: SourceLocation = #_sourceLocation
) async {
    do {
        try await body()
        Issue.record("it did not fail", sourceLocation: sourceLocation)
    } catch {
        guard case .service(let failure) = error else {
            Issue.record("\(error)", sourceLocation: sourceLocation)
            return
        }
        #expect(failure == expected, sourceLocation: sourceLocation)
    }
}
