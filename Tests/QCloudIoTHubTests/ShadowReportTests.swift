import QCloudIoTHub
import Testing

@Suite struct ShadowReportTests {
    @Test func asksForTheDocumentAfterEachConnect() throws {
        let bench = try ShadowBench(connected: false) { _ in }
        #expect(throws: HubServiceError.notConnected) { try bench.shadow.get(at: .zero) }
        bench.services.connected(at: .zero)
        #expect(bench.sent() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-0"}"#)
        bench.hub(answer("get", 0, #""state":{"reported":{},"desired":{"a":1},"delta":{"a":1}},"version":3"#))
        #expect(bench.told() == [.delta(HubShadowDelta(state: try json(#"{"a":1}"#), version: 3))])
        #expect(bench.services.deadline == nil)
        bench.services.disconnected(at: .seconds(1))
        bench.services.connected(at: .seconds(2))
        #expect(bench.sent() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-1"}"#)
    }

    @Test func waitsLongerBeforeEachFurtherAttempt() throws {
        let bench = try ShadowBench { _ in }
        var now = Duration.zero
        for delay in [5, 10, 20, 40, 60, 60] {
            #expect(bench.sent()?.contains(#""type":"get""#) == true)
            now += .seconds(4)
            bench.services.handleTimeout(at: now)
            #expect(bench.sent() == nil)
            now += .seconds(delay)
            #expect(bench.services.deadline == now)
            bench.services.handleTimeout(at: now)
        }
        #expect(bench.told() == [])
    }

    @Test func sendsTogetherWhatWasReportedWithoutConnection() throws {
        let bench = try ShadowBench(connected: false) { _ in }
        try bench.shadow.report(json(#"{"temp":20,"mode":"cool","old":1}"#), at: .zero)
        try bench.shadow.report(json(#"{"temp":21,"old":null,"fan":{"speed":2}}"#), at: .seconds(1))
        #expect(bench.sent() == nil)
        bench.services.connected(at: .seconds(2))
        #expect(bench.sent()?.contains(#""type":"get""#) == true)
        #expect(bench.sent() == nil)
        // One of it the hub has already, and what is to be deleted is not there.
        bench.hub(answer("get", 0, #""state":{"reported":{"mode":"cool","fan":{"speed":1,"on":true}}},"version":3"#))
        #expect(
            bench.sent()
                == #"{"type":"update","state":{"reported":{"temp":21,"fan":{"speed":2}}},"clientToken":"Q7K2M9X4ZP-1"}"#
        )
        #expect(bench.shadow.unsent == nil)
        bench.hub(answer("update", 1, #""state":{"reported":{"temp":21}},"version":4"#))
        #expect(bench.told() == [.reported(version: 4)])
    }

    @Test func saysNothingThatTheHubHasAlready() throws {
        let bench = try ShadowBench(connected: false) { _ in }
        try bench.shadow.report(json(#"{"temp":20}"#), at: .zero)
        bench.services.connected(at: .zero)
        _ = bench.sent()
        bench.hub(answer("get", 0, #""state":{"reported":{"temp":20}},"version":3"#))
        #expect(bench.sent() == nil)
        #expect(bench.shadow.unsent == nil)
    }

    @Test func reportsOneAfterTheOther() throws {
        let bench = try ShadowBench()
        try bench.shadow.report(json(#"{"a":1}"#), at: .zero)
        try bench.shadow.report(json(#"{"a":2}"#), at: .zero)
        try bench.shadow.report(json(#"{"b":3}"#), at: .zero)
        #expect(bench.sent() == #"{"type":"update","state":{"reported":{"a":1}},"clientToken":"Q7K2M9X4ZP-0"}"#)
        #expect(bench.sent() == nil)
        bench.hub(answer("update", 0, #""state":{},"version":4"#))
        #expect(bench.sent() == #"{"type":"update","state":{"reported":{"a":2,"b":3}},"clientToken":"Q7K2M9X4ZP-1"}"#)
    }

    @Test func keepsAReportWhoseAnswerIsLost() throws {
        let bench = try ShadowBench { _ in }
        _ = bench.sent()
        bench.hub(answer("get", 0, #""state":{},"version":0"#))
        try bench.shadow.report(json(#"{"a":1,"b":1}"#), at: .seconds(1))
        _ = bench.sent()
        try bench.shadow.report(json(#"{"b":2}"#), at: .seconds(2))
        bench.services.handleTimeout(at: .seconds(5))
        // Nothing is sent until the hub is asked again.
        #expect(bench.sent() == nil)
        #expect(bench.shadow.unsent == (try json(#"{"a":1,"b":2}"#)))
        bench.services.handleTimeout(at: .seconds(10))
        #expect(bench.sent() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-2"}"#)
        // The first had arrived.
        bench.hub(answer("get", 2, #""state":{"reported":{"a":1,"b":1}},"version":1"#), at: .seconds(10))
        #expect(bench.sent() == #"{"type":"update","state":{"reported":{"b":2}},"clientToken":"Q7K2M9X4ZP-3"}"#)
        bench.services.disconnected(at: .seconds(11))
        #expect(bench.shadow.unsent == (try json(#"{"b":2}"#)))
        #expect(bench.told() == [])
    }

    @Test func forgetsAReportThatTheHubRefuses() throws {
        let bench = try ShadowBench()
        try bench.shadow.report(json(#"{"a":1}"#), at: .zero)
        try bench.shadow.report(json(#"{"b":1}"#), at: .zero)
        _ = bench.sent()
        bench.hub(#"{"type":"update","result":5001,"clientToken":"Q7K2M9X4ZP-0"}"#)
        #expect(bench.told() == [.reportFailed(.rejected(HubResult(rawValue: 5001)))])
        #expect(bench.sent()?.contains(#"{"b":1}"#) == true)
    }

    @Test func reportsWhenTheHubHasNoDocument() throws {
        let bench = try ShadowBench(connected: false) { _ in }
        try bench.shadow.report(json(#"{"a":1}"#), at: .zero)
        bench.services.connected(at: .zero)
        _ = bench.sent()
        bench.hub(#"{"type":"get","result":5000,"clientToken":"Q7K2M9X4ZP-0"}"#)
        #expect(bench.sent()?.contains(#"{"a":1}"#) == true)
    }

    @Test func refusesMoreThanFitsIntoAMessage() throws {
        let bench = try ShadowBench(connected: false) { $0.maximumBytes = 120 }
        let text = String(repeating: "x", count: 40)
        try bench.shadow.report(json(#"{"a":"\#(text)"}"#), at: .zero)
        #expect(throws: HubServiceError.self) { try bench.shadow.report(json(#"{"b":"\#(text)"}"#), at: .zero) }
        #expect(throws: HubServiceError.notAnObject) { try bench.shadow.report(.null, at: .zero) }
        #expect(bench.shadow.unsent == (try json(#"{"a":"\#(text)"}"#)))
    }

    @Test func failsWhatWaitsWhenTheConnectionIsLost() throws {
        let bench = try ShadowBench()
        let id = try bench.shadow.get(at: .zero)
        bench.services.disconnected(at: .seconds(1))
        #expect(bench.told() == [.failed(id, .disconnected)])
        #expect(bench.sent() == nil)
        #expect(bench.services.deadline == nil)
    }

    @Test func failsWhatCouldNotBeSent() throws {
        let bench = try ShadowBench()
        let id = try bench.shadow.get(at: .zero)
        let publish = try #require(bench.services.nextPublish())
        bench.services.notSent(publish, at: .zero)
        #expect(bench.told() == [.failed(id, .notSent)])
    }

    @Test func loseTheirServiceWithTheSubscription() throws {
        let bench = try ShadowBench()
        bench.services.refused(Array(ShadowBench.down.utf8), at: .zero)
        #expect(throws: HubServiceError.notConnected) { try bench.shadow.get(at: .zero) }
        bench.services.granted(Array(ShadowBench.down.utf8), at: .zero)
        _ = try bench.shadow.get(at: .zero)
    }

    private func answer(_ type: String, _ token: Int, _ payload: String) -> String {
        #"{"type":"\#(type)","result":0,"clientToken":"Q7K2M9X4ZP-\#(token)","payload":{\#(payload)}}"#
    }
}

/// A device and its hub, with a line between them that loses, delays and repeats: in the end the hub has what the device has reported.
@Suite struct ShadowLossTests {
    @Test(arguments: 1...50)
    func reachesTheSameStateInTheEnd(seed: Int) throws {
        var random = Seeded(seed: UInt64(seed))
        let bench = try ShadowBench(connected: false) { _ in }
        var (own, hub, version) = (JSONValue.emptyObject, JSONValue.emptyObject, 0)
        var line: [(at: Duration, message: String)] = []
        var now = Duration.zero
        for step in 0..<600 {
            now += .milliseconds(250)
            let isRough = step < 300
            if isRough, random.next(10) == 0 {
                bench.services.isConnected ? bench.services.disconnected(at: now) : bench.services.connected(at: now)
            } else if !bench.services.isConnected, !isRough {
                bench.services.connected(at: now)
            }
            if isRough, random.next(4) == 0 {
                let change = random.object(depth: 0)
                own.apply(change)
                try bench.shadow.report(change, at: now)
            }
            for message in line where message.at <= now && bench.services.isConnected {
                bench.hub(message.message, at: now)
            }
            line.removeAll { $0.at <= now }
            bench.services.handleTimeout(at: now)
            while let request = bench.sent() {
                if isRough, random.next(3) == 0 { continue }
                let answer = try Self.answer(request, &hub, &version)
                if isRough, random.next(3) == 0 { continue }
                for _ in 0...random.next(2) { line.append((now + .milliseconds(random.next(5_000)), answer)) }
            }
            _ = bench.told()
        }
        #expect(hub == own)
        #expect(bench.shadow.unsent == nil)
    }

    /// What a hub does with a request.
    private static func answer(_ request: String, _ hub: inout JSONValue, _ version: inout Int) throws -> String {
        let message = try json(request)
        let token = text(try #require(message["clientToken"]?.text))
        var payload = JSONValue.emptyObject
        if let change = message["state"]?["reported"] {
            hub.apply(change)
            version += 1
            payload.set("state", .emptyObject)
        } else {
            payload.set("state", .object([JSONMember(name: Array("reported".utf8), value: hub)]))
        }
        payload.set("version", .integer(Int64(version)))
        let type = text(try #require(message["type"]?.text))
        return #"{"type":"\#(type)","result":0,"clientToken":"\#(token)","payload":\#(text(try payload.serialized()))}"#
    }
}
