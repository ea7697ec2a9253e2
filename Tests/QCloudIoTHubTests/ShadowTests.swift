import MQTTClient
import QCloudIoTHub
import Testing

/// The shadow of the specification's device behind a router, with a connection by default.
struct ShadowBench {
    static let down = "$shadow/operation/result/Q7K2M9X4ZP/pump-01"
    let shadow: HubShadow
    let services = HubServices()

    init(connected: Bool = true, _ configure: (inout HubShadowConfiguration) -> Void = { $0.getsAfterConnect = false })
        throws
    {
        var configuration = HubShadowConfiguration()
        configure(&configuration)
        shadow = try HubShadow(pump(), configuration: configuration)
        services.add(shadow)
        services.granted(Array(Self.down.utf8), at: .zero)
        if connected { services.connected(at: .zero) }
    }

    /// What the device says next, as text; its topic is checked.
    func sent() -> String? {
        guard let publish = services.nextPublish() else { return nil }
        #expect(text(publish.topic) == "$shadow/operation/Q7K2M9X4ZP/pump-01")
        #expect(publish.qos == .atMostOnce)
        return text(publish.payload)
    }

    func hub(_ message: String, at now: Duration = .zero) {
        let topic = Array(Self.down.utf8)
        let payload = Array(message.utf8)
        let isTaken = services.receive(topic: topic.span, payload: payload.span, at: now)
        #expect(isTaken)
    }

    /// What the user is told, all of it.
    func told() -> [HubShadow.Event] {
        var all: [HubShadow.Event] = []
        while let event = shadow.nextEvent() { all.append(event) }
        return all
    }
}

func pump() throws -> DeviceIdentity {
    try DeviceIdentity(productID: "Q7K2M9X4ZP", deviceName: "pump-01", secret: "AAECAwQFBgcICQoLDA0ODw==")
}

@Suite struct ShadowTests {
    private let document =
        #""payload":{"state":{"reported":{"temp":27},"desired":{"temp":25},"delta":{"temp":25}},"version":7,"timestamp":1700000100456}"#

    @Test func getsTheDocument() throws {
        let bench = try ShadowBench()
        let id = try bench.shadow.get(at: .zero)
        #expect(bench.sent() == #"{"type":"get","clientToken":"Q7K2M9X4ZP-0"}"#)
        #expect(bench.sent() == nil)
        bench.hub(#"{"type":"get","result":0,"timestamp":1700000101,"clientToken":"Q7K2M9X4ZP-0",\#(document)}"#)
        let told = bench.told()
        #expect(told.count == 2)
        #expect(told.first == (try delta(#"{"temp":25}"#, 7)))
        guard case .completed(id, let document) = told.last else { return #expect(Bool(false)) }
        #expect(document.reported == (try json(#"{"temp":27}"#)))
        #expect(document.desired == (try json(#"{"temp":25}"#)))
        #expect(document.version == 7)
        #expect(document.timestamp == 1_700_000_100_456)
        #expect(bench.shadow.version == 7)
        #expect(bench.shadow.deadline == nil)
    }

    @Test(arguments: [
        (#"{"state":{},"metadata":{},"version":0}"#, false),
        (#"{"state":{"reported":{}},"timestamp":1700000000,"version":"0"}"#, true),
    ])
    func takesBothFormsOfAnUntouchedShadow(payload: String, hasReported: Bool) throws {
        let bench = try ShadowBench()
        let id = try bench.shadow.get(metadata: true, at: .zero)
        #expect(bench.sent() == #"{"type":"get","metadata":true,"clientToken":"Q7K2M9X4ZP-0"}"#)
        bench.hub(#"{"type":"get","result":"0","clientToken":"Q7K2M9X4ZP-0","new":[1],"payload":\#(payload)}"#)
        guard case .completed(id, let document) = bench.told().first else { return #expect(Bool(false)) }
        #expect(document.version == 0)
        #expect(document.reported == (hasReported ? .emptyObject : nil))
        #expect(document.desired == nil)
    }

    @Test func updatesAsTheSpecificationShows() throws {
        let bench = try ShadowBench()
        var update = HubShadowUpdate(reported: try json(#"{"temp":25,"mode":null}"#), desired: .null)
        update.version = .exactly(7)
        let id = try bench.shadow.update(update, at: .zero)
        #expect(
            bench.sent()
                == #"{"type":"update","state":{"reported":{"temp":25,"mode":null},"desired":null},"version":7,"clientToken":"Q7K2M9X4ZP-0"}"#
        )
        bench.hub(
            #"{"type":"update","result":0,"clientToken":"Q7K2M9X4ZP-0","payload":{"state":{"reported":{"temp":25},"desired":null},"version":8}}"#
        )
        guard case .completed(id, let document) = bench.told().first else { return #expect(Bool(false)) }
        #expect(document.desired == .null)
        #expect(bench.shadow.version == 8)

        update = HubShadowUpdate(reported: .emptyObject)
        (update.version, update.overwrites, update.wantsMetadata) = (.lastSeen, true, true)
        _ = try bench.shadow.update(update, at: .zero)
        #expect(
            bench.sent()
                == #"{"type":"update","state":{"reported":{}},"version":8,"overwriteUpdate":true,"metadata":true,"clientToken":"Q7K2M9X4ZP-1"}"#
        )
    }

    @Test func tellsWhatIsWantedOnce() throws {
        let bench = try ShadowBench()
        let push =
            #"{"type":"delta","timestamp":1700000100,"payload":{"state":{"temp":25,"gone":null},"metadata":{"temp":{"timestamp":1700000100456}},"version":7,"timestamp":1700000100456}}"#
        bench.hub(push)
        #expect(bench.told() == [try delta(#"{"temp":25}"#, 7)])
        // Again, or late.
        bench.hub(push)
        bench.hub(#"{"type":"delta","payload":{"state":{"temp":24},"version":6}}"#)
        #expect(bench.told() == [])
        #expect(bench.services.unusedMessages == 2)
        bench.hub(#"{"type":"delta","payload":{"state":{"temp":26},"version":"9"}}"#)
        #expect(bench.told() == [try delta(#"{"temp":26}"#, 9)])
        // Only nulls: nothing to do.
        bench.hub(#"{"type":"delta","payload":{"state":{"temp":null},"version":10}}"#)
        #expect(bench.told() == [])
        #expect(bench.shadow.version == 10)
        // On the next connection it is told again: the device may have been asleep.
        bench.services.connected(at: .seconds(1))
        bench.hub(#"{"type":"delta","payload":{"state":{"temp":26},"version":10}}"#)
        #expect(bench.told() == [try delta(#"{"temp":26}"#, 10)])
    }

    @Test func acknowledgesADelta() throws {
        let bench = try ShadowBench()
        let wanted = try HubShadowDelta(state: json(#"{"temp":25}"#), version: 7)
        let update = HubShadowUpdate(acknowledging: wanted, reported: wanted.state)
        _ = try bench.shadow.update(update, at: .zero)
        #expect(
            bench.sent()
                == #"{"type":"update","state":{"reported":{"temp":25},"desired":null},"version":7,"clientToken":"Q7K2M9X4ZP-0"}"#
        )
    }

    @Test func handsOutTheDocumentOfAConflict() throws {
        let bench = try ShadowBench()
        var update = HubShadowUpdate(reported: try json(#"{"temp":20}"#))
        update.version = .exactly(5)
        let id = try bench.shadow.update(update, at: .zero)
        _ = bench.sent()
        bench.hub(#"{"type":"update","result":5005,"clientToken":"Q7K2M9X4ZP-0",\#(document)}"#)
        let told = bench.told()
        #expect(told.first == (try delta(#"{"temp":25}"#, 7)))
        guard case .failed(id, .conflict(let document)) = told.last else { return #expect(Bool(false)) }
        #expect(document.version == 7)
        #expect(bench.shadow.version == 7)
        #expect(bench.sent() == nil)
    }

    @Test func retriesAfterAConflictIfAsked() throws {
        let bench = try ShadowBench { ($0.getsAfterConnect, $0.conflictRetries) = (false, 1) }
        var update = HubShadowUpdate(reported: try json(#"{"temp":20}"#))
        update.version = .exactly(5)
        let id = try bench.shadow.update(update, at: .zero)
        _ = bench.sent()
        bench.hub(#"{"type":"update","result":5005,"clientToken":"Q7K2M9X4ZP-0",\#(document)}"#, at: .seconds(3))
        #expect(
            bench.sent()
                == #"{"type":"update","state":{"reported":{"temp":20}},"version":7,"clientToken":"Q7K2M9X4ZP-1"}"#
        )
        #expect(bench.shadow.deadline == .seconds(7))
        bench.hub(#"{"type":"update","result":5005,"clientToken":"Q7K2M9X4ZP-1",\#(document)}"#, at: .seconds(4))
        guard case .failed(id, .conflict) = bench.told().last else { return #expect(Bool(false)) }
    }

    @Test func saysWhatTheHubRefuses() throws {
        let bench = try ShadowBench()
        let (first, second) = (try bench.shadow.get(at: .zero), try bench.shadow.get(at: .zero))
        // The simulator's own number, and no payload.
        bench.hub(#"{"type":"get","result":5000,"clientToken":"Q7K2M9X4ZP-0"}"#)
        bench.hub(#"{"type":"get","result":0,"clientToken":"Q7K2M9X4ZP-1","payload":{"state":{}}}"#)
        #expect(
            bench.told() == [
                .failed(first, .rejected(HubResult(rawValue: 5000))), .failed(second, .json(.malformed(at: 0))),
            ]
        )
    }

    @Test func givesUpInTimeAndIgnoresWhatComesLater() throws {
        let bench = try ShadowBench()
        let first = try bench.shadow.get(at: .zero)
        let second = try bench.shadow.get(at: .seconds(1))
        #expect(bench.services.deadline == .seconds(4))
        bench.services.handleTimeout(at: .milliseconds(3_999))
        #expect(bench.told() == [])
        bench.services.handleTimeout(at: .seconds(4))
        #expect(bench.told() == [.failed(first, .timedOut)])
        #expect(bench.services.deadline == .seconds(5))
        let answer = #"{"type":"get","result":0,"clientToken":"Q7K2M9X4ZP-0","payload":{"state":{},"version":3}}"#
        bench.hub(answer, at: .seconds(4))
        #expect(bench.told() == [])
        #expect(bench.shadow.version == nil)
        // The other one has its own; twice it counts once.
        for _ in 0..<2 { bench.hub(answer.replacing("ZP-0", with: "ZP-1"), at: .seconds(4)) }
        #expect(bench.told().count == 1)
        #expect(bench.services.unusedMessages == 2)
        #expect(second != first)
    }

    @Test(arguments: [
        "", "{", "[]", "7", #"{"type":"delta"}"#, #"{"type":"delta","payload":{"state":7,"version":1}}"#,
        #"{"result":0,"clientToken":"Q7K2M9X4ZP-0","payload":{"state":{},"version":3}}"#,
        #"{"type":"get","clientToken":"Q7K2M9X4ZP-0","payload":{"state":{},"version":3}}"#,
        #"{"type":"get","result":"x","clientToken":"Q7K2M9X4ZP-0","payload":{"state":{},"version":3}}"#,
        #"{"type":"get","result":0,"clientToken":"A1B2C3D4E5-0","payload":{"state":{},"version":3}}"#,
        #"{"type":"get","result":0,"clientToken":"Q7K2M9X4ZP-00","payload":{"state":{},"version":3}}"#,
        #"{"type":"update","result":0,"clientToken":"Q7K2M9X4ZP-0","payload":{"state":{},"version":3}}"#,
        #"{"type":"get","result":0,"payload":{"state":{},"version":3}}"#,
    ])
    func ignoresWhatIsNoAnswer(message: String) throws {
        let bench = try ShadowBench()
        _ = try bench.shadow.get(at: .zero)
        bench.hub(message)
        #expect(bench.told() == [])
        #expect(bench.services.unusedMessages == 1)
        #expect(bench.shadow.deadline == .seconds(4))
    }

    @Test func keepsItsLimits() throws {
        let bench = try ShadowBench { ($0.getsAfterConnect, $0.maximumRequests, $0.maximumBytes) = (false, 2, 100) }
        let first = try bench.shadow.get(at: .zero)
        _ = try bench.shadow.get(at: .zero)
        #expect(throws: HubServiceError.tooManyRequests(limit: 2)) { try bench.shadow.get(at: .zero) }
        bench.shadow.cancel(first)
        let long = JSONValue.object([
            JSONMember(name: Array("a".utf8), value: .string([UInt8](repeating: 65, count: 50)))
        ])
        #expect(throws: HubServiceError.tooLarge(bytes: 126, limit: 100)) {
            try bench.shadow.update(HubShadowUpdate(reported: long), at: .zero)
        }
        #expect(throws: HubServiceError.notAnObject) {
            try bench.shadow.update(HubShadowUpdate(reported: .number(1)), at: .zero)
        }
        #expect(throws: HubServiceError.json(.numberOutOfRange)) {
            try bench.shadow.update(
                HubShadowUpdate(desired: .object([JSONMember(name: [65], value: .number(.infinity))])),
                at: .zero
            )
        }
        _ = try bench.shadow.get(at: .zero)
    }

    private func delta(_ state: String, _ version: Int64) throws -> HubShadow.Event {
        .delta(HubShadowDelta(state: try json(state), version: version))
    }
}
