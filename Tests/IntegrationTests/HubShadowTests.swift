import CLinux
import Testing

@testable import HubSimulator

/// The rules of the shadow, on values. Rows are request and outcome, in the order of the specification.
@Suite struct ShadowDocumentTests {
    private static let time = 1_700_000_000_000

    /// Applies updates one after the other, each a second later; all must be accepted.
    private func document(after updates: HubJSON...) throws -> ShadowDocument {
        var document = ShadowDocument()
        for (index, state) in updates.enumerated() {
            let outcome = document.update(["state": state], at: Self.time + 1000 * index, onlyDifferences: true)
            try #require(outcome.result == 0)
        }
        return document
    }

    @Test(
        arguments: [
            ([["reported": ["a": 1]], ["reported": ["b": 2]]], ["a": 1, "b": 2]),
            ([["reported": ["a": 1, "b": 2]], ["reported": ["a": .null]]], ["b": 2]),
            (
                [["reported": ["o": ["x": 1, "y": 2]]], ["reported": ["o": ["y": .null, "z": 3]]]],
                ["o": ["x": 1, "z": 3]]
            ),
            ([["reported": ["l": [1, 2, 3]]], ["reported": ["l": [4]]]], ["l": [4]]),
            ([["reported": ["a": 1]], ["reported": ["a": ["b": 2]]]], ["a": ["b": 2]]),
            ([["reported": ["a": ["b": 2]]], ["reported": ["a": 1]]], ["a": 1]),
            ([["reported": ["a": 1]], ["reported": .null]], [:]),
        ] as [([HubJSON], HubJSON)]
    )
    func mergesWhatIsReported(updates: [HubJSON], expected: HubJSON) throws {
        var document = ShadowDocument()
        for state in updates {
            #expect(document.update(["state": state], at: Self.time, onlyDifferences: true).result == 0)
        }
        #expect(document.reported == expected)
        #expect(document.version == updates.count)
    }

    @Test(
        arguments: [
            (["desired": ["t": 25]], ["t": 25], ["t": 25]),
            (["desired": ["t": 27]], ["t": 27], nil),
            (["desired": ["t": 27, "m": "cool"]], ["t": 27, "m": "cool"], ["m": "cool"]),
            (["desired": ["o": ["x": 1, "y": 3]]], ["o": ["x": 1, "y": 3]], ["o": ["y": 3]]),
            (["desired": .null], [:], nil),
        ] as [(HubJSON, HubJSON, HubJSON?)]
    )
    func tellsWhatIsDesiredAndNotSo(state: HubJSON, desired: HubJSON, delta: HubJSON?) throws {
        var document = try document(after: ["reported": ["t": 27, "o": ["x": 1, "y": 2]]])
        let outcome = document.update(["state": state], at: Self.time + 5000, onlyDifferences: true)
        #expect(outcome.result == 0)
        #expect(document.desired == desired)
        #expect(outcome.delta?["state"] == delta)
        #expect(outcome.payload["state"] == state)
    }

    @Test func stampsOnlyTheLeavesThatChange() throws {
        let document = try document(
            after: ["reported": ["a": 1, "o": ["x": 1, "y": 1]]],
            ["reported": ["a": 1, "o": ["y": 2]]]
        )
        let (first, second): (HubJSON, HubJSON) = (
            ["timestamp": HubJSON(Self.time)], ["timestamp": HubJSON(Self.time + 1000)]
        )
        #expect(document.reportedTimes == ["a": first, "o": ["x": first, "y": second]])
    }

    @Test func replacesWhatIsReportedOnRequest() throws {
        var document = try document(after: ["reported": ["a": 1, "b": 2]])
        let request: HubJSON = ["state": ["reported": ["b": 2, "c": 3]], "overwriteUpdate": true, "version": 1]
        #expect(document.update(request, at: Self.time + 1, onlyDifferences: true).result == 0)
        #expect(document.reported == ["b": 2, "c": 3])
        #expect(document.reportedTimes["b"] == ["timestamp": HubJSON(Self.time)])
    }

    @Test(
        arguments: [
            ([:], 5000), (["state": [:]], 5000), (["state": 1], 5000), (["state": ["reported": 1]], 5000),
            (["state": ["reported": ["l": [1, .null]]]], 5000), (["state": ["reported": [:]], "version": "x"], 5000),
            (["state": ["reported": [:]], "version": 2], 5005), (["state": ["reported": [:]], "version": 1], 0),
            (["state": ["reported": [:]], "version": 0], 0), (["state": ["reported": [:]], "version": "1"], 0),
            (["state": ["reported": ["1": ["2": ["3": ["4": ["5": 1]]]]]]], 0),
            (["state": ["reported": ["1": ["2": ["3": ["4": ["5": ["6": 1]]]]]]]], 5001),
            (["state": ["reported": ["a": .string(String(repeating: "x", count: 16_384))]]], 5001),
        ] as [(HubJSON, Int)]
    )
    func refuses(request: HubJSON, result: Int) throws {
        var document = try document(after: ["reported": ["a": 1], "desired": ["b": 2]])
        let before = document.stored
        let outcome = document.update(request, at: Self.time + 1, onlyDifferences: true)
        #expect(outcome.result == result)
        #expect((document.stored == before) == (result != 0))
        // With a conflict comes the whole document.
        if result == 5005 {
            #expect(outcome.payload["state"] == ["reported": ["a": 1], "desired": ["b": 2], "delta": ["b": 2]])
            #expect(outcome.payload["version"] == 1)
        }
    }

    @Test(arguments: [
        ("{\"a\":[1,2.5,\"x\",null,true]}", true), (" {} \r\n", true), ("{} x", false), ("{", false), ("", false),
        ("{\"a\":1}{\"b\":2}", false), (String(repeating: "[", count: 5000), false),
    ])
    func readsJSON(text: String, isJSON: Bool) {
        let value = HubJSON(parsing: text.utf8)
        #expect((value != nil) == isJSON)
        #expect(value.flatMap { HubJSON(parsing: $0.text) } == value)
    }
}

/// The shadow as a device sees it.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubShadowTests {
    static let own = "APUSDEMO01/gateway-01"
    static let up = "$shadow/operation/\(own)"
    static let down = "$shadow/operation/result/\(own)"
    static let name = HubDeviceName("APUSDEMO01", "gateway-01")

    private func device(_ test: TestHub) async throws -> PahoDevice {
        let device = try await PahoDevice(test, test.device("gateway-01"))
        #expect(await device.subscribe(Self.down, qos: 0) == 0)
        return device
    }

    @Test func answersGetAndUpdate() async throws {
        try await TestHub.with { test in
            let device = try await device(test)
            let first = try await device.ask(Self.up, ["type": "get", "clientToken": "t-0"], answerOn: Self.down)
            #expect(first["type"] == "get" && first["result"] == 0 && first["clientToken"] == "t-0")
            #expect(first["payload"]?["state"] == ["reported": [:]] && first["payload"]?["version"] == 0)

            let update: HubJSON = ["type": "update", "state": ["reported": ["temp": 27]], "clientToken": 17]
            let second = try await device.ask(Self.up, update, answerOn: Self.down)
            #expect(second["type"] == "update" && second["result"] == 0 && second["clientToken"] == 17)
            #expect(second["payload"]?["state"] == ["reported": ["temp": 27]] && second["payload"]?["version"] == 1)
            let stamp = try #require(second["payload"]?["timestamp"]?.integer)
            #expect(abs(stamp - Int(time(nil)) * 1000) < 5000)
            let seconds = try #require(second["timestamp"]?.integer)
            #expect(abs(seconds - Int(time(nil))) < 5)

            let get: HubJSON = ["type": "get", "clientToken": "t-2", "metadata": true]
            let third = try await device.ask(Self.up, get, answerOn: Self.down)
            #expect(third["payload"]?["metadata"] == ["reported": ["temp": ["timestamp": HubJSON(stamp)]]])
        }
    }

    @Test func pushesADeltaAndKeepsItForTheNextGet() async throws {
        try await TestHub.with { test in
            let device = try await device(test)
            let reply = try test.hub.services.updateDesired(Self.name, ["temp": 25])
            #expect(reply["result"] == 0 && reply["payload"]?["version"] == 1)
            let delta = try #require(await device.next(on: Self.down)?.json)
            #expect(delta["type"] == "delta" && delta["clientToken"] == nil && delta["result"] == nil)
            #expect(delta["payload"]?["state"] == ["temp": 25] && delta["payload"]?["version"] == 1)
            #expect(delta["payload"]?["metadata"]?["temp"]?["timestamp"] != nil)

            let get = try await device.ask(Self.up, ["type": "get", "clientToken": "a"], answerOn: Self.down)
            let both: HubJSON = ["reported": [:], "desired": ["temp": 25], "delta": ["temp": 25]]
            #expect(get["payload"]?["state"] == both)

            let stale: HubJSON = [
                "type": "update", "state": ["reported": ["temp": 25]], "version": 9, "clientToken": "b",
            ]
            let conflict = try await device.ask(Self.up, stale, answerOn: Self.down)
            #expect(conflict["result"] == 5005 && conflict["payload"]?["state"] == both)

            let clear: HubJSON = [
                "type": "update", "state": ["reported": ["temp": 25], "desired": .null], "version": 1,
                "clientToken": "c",
            ]
            let cleared = try await device.ask(Self.up, clear, answerOn: Self.down)
            #expect(cleared["payload"]?["state"] == ["reported": ["temp": 25], "desired": .null])
            #expect(cleared["payload"]?["version"] == 2)
            // The application's stale version is refused alike, and a device hears nothing of it.
            #expect(try test.hub.services.updateDesired(Self.name, ["temp": 1], version: 1)["result"] == 5005)
            #expect(await device.next(within: .milliseconds(300)) == nil)
            #expect(throws: HubSimulatorError.unknownDevice("APUSDEMO01/nobody")) {
                try test.hub.services.updateDesired(HubDeviceName("APUSDEMO01", "nobody"), ["temp": 1])
            }
        }
    }

    @Test func refusesWhatIsNoRequest() async throws {
        try await TestHub.with { test in
            let device = try await device(test)
            for payload in ["", "no JSON", "[]", "{\"type\":\"put\"}", "{\"type\":\"update\",\"clientToken\":\"x\"}"] {
                device.publish(Self.up, Array(payload.utf8))
                let reply = try #require(await device.next(on: Self.down)?.json)
                #expect(reply["result"] == 5000, "\(payload)")
                #expect((reply["clientToken"] == "x") == payload.contains("clientToken"))
            }
        }
    }

    @Test func servesTheOldNameOfTheTopic() async throws {
        try await TestHub.with { test in
            let device = try await device(test)
            let down = "$template/operation/result/\(Self.own)"
            await device.subscribe(down)
            let get: HubJSON = ["type": "get", "clientToken": "t"]
            #expect(try await device.ask("$template/operation/\(Self.own)", get, answerOn: down)["clientToken"] == "t")
            try test.hub.services.updateDesired(Self.name, ["x": 1])
            #expect(await device.next(on: down)?.json?["payload"]?["state"] == ["x": 1])
        }
    }

    /// A hub that ends in any way has what it answered: the second one opens the same directory.
    @Test func survivesARestart() throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        // Not on a thread of its own, which might let go of the hub later.
        func withHub(_ body: (HubSimulator) throws -> Void) throws { try body(try HubSimulator(directory: directory)) }
        // As soon as one hub is gone, another can have the directory.
        for _ in 0..<20 { try withHub { _ in } }
        var services: CloudServices?
        try withHub { services = $0.services }
        #expect(throws: HubSimulatorError.notRunning) { try services?.shadow(of: Self.name) }
        try withHub { hub in
            try hub.services.updateDesired(Self.name, ["temp": 25])
            try hub.services.setConfiguration("APUSDEMO01", Array("{\"a\":1}".utf8))
            try hub.services.setLogLevel(Self.name, .debug)
        }
        try withHub { hub in
            let shadow = try hub.services.shadow(of: Self.name)
            #expect(shadow["state"]?["desired"] == ["temp": 25] && shadow["version"] == 1)
            #expect(try hub.services.logLevel(of: Self.name) == .debug)
            #expect(try hub.services.configuration(of: "APUSDEMO01") == Array("{\"a\":1}".utf8))
        }
    }
}
