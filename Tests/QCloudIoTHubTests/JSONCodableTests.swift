import QCloudIoTHub
import Testing

@Suite struct JSONCodableTests {
    struct Fan: Codable, Equatable {
        var speed: Int8
        var steps: [Float]?
    }

    struct State: Codable, Equatable {
        var temp: Double
        var mode: String?
        var isOn: Bool
        var fan: Fan
        var more: [String: Int64]
        var raw: JSONValue
        var pair: [[UInt16]]
    }

    enum Mode: String, Codable { case cool, heat }

    @Test func goesBothWays() throws {
        let state = State(
            temp: 21.5,
            mode: nil,
            isOn: true,
            fan: Fan(speed: -3, steps: [0.1, 2]),
            more: ["a": 1_700_000_100_456],
            raw: ["x": .null, "y": [1, "é", 2.5, true]],
            pair: [[1], []]
        )
        let value = try JSONValue(encoding: state)
        let expected: JSONValue = [
            "temp": 21.5, "isOn": true, "fan": ["speed": -3, "steps": [0.1, 2]], "more": ["a": 1_700_000_100_456],
            "raw": ["x": .null, "y": [1, "é", 2.5, true]], "pair": [[1], []],
        ]
        #expect(value == expected)
        #expect(try value.decoded(as: State.self) == state)
        #expect(try JSONValue(encoding: 7) == 7)
        #expect(try JSONValue(encoding: [Mode.heat]) == ["heat"])
        #expect(try JSONValue(encoding: Mode?.none) == .null)
        #expect(try JSONValue(parsing: #"{"a":"cool"}"#).decoded(as: [String: Mode].self) == ["a": .cool])
    }

    @Test func toleratesWhatTheHubMixesUp() throws {
        let value: JSONValue = [
            "temp": 21, "mode": 7, "isOn": 1, "fan": ["speed": "5"], "more": [:], "raw": 1, "pair": [], "unknown": [],
        ]
        let state = try value.decoded(as: State.self)
        #expect(state.mode == "7")
        #expect(state.isOn)
        #expect(state.fan == Fan(speed: 5, steps: nil))
        #expect(state.raw == 1)
    }

    @Test(arguments: [
        (#"{"speed":300}"#, ["speed"]), (#"{"speed":1.5}"#, ["speed"]), (#"{"speed":null}"#, ["speed"]), ("{}", []),
        ("[]", []), (#"{"speed":1,"steps":[1,"x"]}"#, ["steps", "1"]), (#"{"speed":1,"steps":{}}"#, ["steps"]),
        (#"{"speed":1,"steps":[1e300]}"#, ["steps", "0"]),
    ])
    func saysWhereItDoesNotFit(text: String, path: [String]) throws {
        let value = try JSONValue(parsing: text)
        do {
            _ = try value.decoded(as: Fan.self)
            Issue.record("\(text) was taken")
        } catch let error as DecodingError {
            switch error {
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
                .dataCorrupted(let context):
                #expect(context.codingPath.map(\.stringValue) == path)
            @unknown default: Issue.record("\(error)")
            }
        }
    }

    @Test func refusesWhatJSONCannotKeep() {
        #expect(throws: EncodingError.self) { try JSONValue(encoding: 1 << 54) }
        #expect(throws: EncodingError.self) { try JSONValue(encoding: UInt64.max) }
        #expect(throws: EncodingError.self) { try JSONValue(encoding: ["a": Double.nan]) }
        #expect(throws: EncodingError.self) { try JSONValue(encoding: [-Float.infinity]) }
    }

    @Test func hasMembersByName() {
        var value: JSONValue = ["a": 1]
        value["b"] = "x"
        value["a"] = JSONValue?.none
        #expect(value == ["b": "x"])
        #expect(value["b"]?.stringValue == "x")
        value["b"] = .some(.null)
        #expect(value == ["b": .null])
    }
}
