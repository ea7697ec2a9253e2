import CLinux
import Testing

@testable import HubSimulator

/// A data template's rules for values. The model is of the form that the vendor's console exports.
@Suite struct ThingModelTests {
    static let document: HubJSON = [
        "version": "1.0",
        "properties": [
            ["id": "power_switch", "mode": "rw", "define": ["type": "bool", "mapping": ["0": "off", "1": "on"]]],
            ["id": "brightness", "mode": "rw", "define": ["type": "int", "min": "0", "max": "100", "step": "1"]],
            ["id": "temperature", "mode": "r", "define": ["type": "float", "min": "-40", "max": "85.5"]],
            ["id": "name", "mode": "rw", "define": ["type": "string", "min": "0", "max": "5"]],
            ["id": "color", "mode": "rw", "define": ["type": "enum", "mapping": ["0": "red", "1": "green"]]],
            ["id": "speed", "mode": "rw", "define": ["type": "stringenum", "mapping": ["slow": "s", "fast": "f"]]],
            ["id": "list", "mode": "rw", "define": ["type": "array", "arrayInfo": ["type": "int", "max": "9"]]],
            [
                "id": "place", "mode": "rw",
                "define": ["type": "struct", "specs": [["id": "x", "dataType": ["type": "int"]]]],
            ],
        ],
        "events": [
            ["id": "low_voltage", "type": "alert", "params": [["id": "voltage", "define": ["type": "float"]]]]
        ],
        "actions": [
            ["id": "open_valve", "input": [["id": "seconds", "define": ["type": "int", "max": "60"]]], "output": []]
        ],
    ]

    @Test(
        arguments: [
            (["power_switch": 1], nil), (["power_switch": true], nil),
            (["power_switch": 2], "power_switch: 0 or 1 is needed"),
            (["brightness": 100], nil), (["brightness": 101], "brightness: more than 100.0"),
            (["brightness": 1.5], "brightness: a whole number is needed"),
            (["brightness": "5"], "brightness: a whole number is needed"),
            (["temperature": 85.5], nil), (["temperature": -41], "temperature: less than -40.0"),
            (["name": "abcde"], nil), (["name": "abcdef"], "name: more than 5.0"),
            (["name": 1], "name: a text is needed"),
            (["color": 1], nil), (["color": 2], "color: 2 is none of the choices"),
            (["speed": "fast"], nil), (["speed": "faster"], "speed: faster is none of the choices"),
            (["list": [1, 2]], nil), (["list": [1, 10]], "list: more than 9.0"),
            (["list": 1], "list: a list is needed"),
            (["place": ["x": 1]], nil), (["place": ["y": 1]], "place: no member y"),
            (["place": ["x": "1"]], "place: x: a whole number is needed"),
            (["power_switch": 1, "other": 2], "no property other"), ([:], nil),
        ] as [(HubJSON, String?)]
    )
    func checksProperties(params: HubJSON, fault: String?) throws {
        let model = try #require(ThingModel(Self.document))
        #expect(model.fault(inProperties: params) == fault)
    }

    @Test func knowsWhatCanBeSet() throws {
        let model = try #require(ThingModel(Self.document))
        #expect(model.fault(inControl: ["temperature": 20]) == "the property temperature cannot be set")
        #expect(model.fault(inAction: "open_valve", ["seconds": 61]) == "seconds: more than 60.0")
        #expect(model.fault(inAction: "close_valve", [:]) == "no action close_valve")
        #expect(ThingModel(["a": 1]) == nil)
    }
}

/// The data template as a device sees it.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubThingTests {
    static let own = "APUSDEMO01/gateway-01"
    static let name = HubDeviceName("APUSDEMO01", "gateway-01")

    private func withDevice(_ body: (TestHub, PahoDevice) async throws -> Void) async throws {
        try await TestHub.with { test in
            let device = try await PahoDevice(test, test.device("gateway-01"))
            for kind in ["property", "event", "action", "service", "raw"] {
                #expect(await device.subscribe("$thing/down/\(kind)/\(Self.own)") == 1)
            }
            try test.hub.services.setThingModel("APUSDEMO01", ThingModelTests.document)
            try await body(test, device)
        }
    }

    private func ask(_ device: PahoDevice, _ kind: String, _ request: HubJSON) async throws -> HubJSON {
        try await device.ask("$thing/up/\(kind)/\(Self.own)", request, answerOn: "$thing/down/\(kind)/\(Self.own)")
    }

    @Test func takesReports() async throws {
        try await withDevice { test, device in
            let report: HubJSON = [
                "method": "report", "clientToken": "P-0", "params": ["power_switch": 1, "brightness": 66],
            ]
            #expect(
                try await ask(device, "property", report) == [
                    "method": "report_reply", "clientToken": "P-0", "code": 0, "status": "",
                ]
            )
            let wrong: HubJSON = ["method": "report", "clientToken": 1, "params": ["brightness": 660]]
            let refused = try await ask(device, "property", wrong)
            #expect(
                refused["code"] == 406 && refused["clientToken"] == 1
                    && refused["status"] == "brightness: more than 100.0"
            )
            let more: HubJSON = ["method": "report", "clientToken": "P-1", "params": ["brightness": 5]]
            #expect(try await ask(device, "property", more)["code"] == 0)
            let status = try await ask(device, "property", ["method": "get_status", "clientToken": "P-2"])
            #expect(
                status["data"] == ["reported": ["power_switch": 1, "brightness": 5]] && status["status"] == "success"
            )
            let info: HubJSON = ["method": "report_info", "clientToken": "P-3", "params": ["fw_ver": "1.0.3"]]
            #expect(try await ask(device, "property", info)["method"] == "report_info_reply")
            #expect(try test.hub.services.thing(Self.name)["info"] == ["fw_ver": "1.0.3"])
            try test.hub.services.add(ServiceFault(.error(7), service: .property))
            #expect(try await ask(device, "property", report)["code"] == 7)
        }
    }

    @Test func keepsAControlForADeviceThatIsAway() async throws {
        try await withDevice { test, device in
            let services = test.hub.services
            func control(_ params: HubJSON, milliseconds: Int = 4000) async -> Result<HubJSON, HubSimulatorError> {
                await offPool {
                    Result { () throws(HubSimulatorError) in
                        try services.control(Self.name, params, timeout: .milliseconds(milliseconds))
                    }
                }
            }
            #expect(await control(["color": 1], milliseconds: 100) == .failure(.noAnswer("a call of \(Self.name)")))
            #expect(await device.next()?.json?["method"] == "control")
            async let answered = control(["power_switch": 0])
            let request = try #require(await device.next()?.json)
            #expect(request["method"] == "control" && request["params"] == ["power_switch": 0])
            let token = try #require(request["clientToken"])
            let reply: HubJSON = ["method": "control_reply", "clientToken": token, "code": 0, "status": "ok"]
            device.publish("$thing/up/property/\(Self.own)", reply)
            #expect(await answered == .success(reply))

            let status = try await ask(device, "property", ["method": "get_status", "clientToken": "g"])
            #expect(status["data"] == ["control": ["color": 1]])
            let reported = try await ask(
                device,
                "property",
                ["method": "get_status", "clientToken": "g", "type": "report"]
            )
            #expect(reported["data"] == [:] && reported["type"] == "report")
            let cleared = try await ask(device, "property", ["method": "clear_control", "clientToken": "g"])
            #expect(cleared["method"] == "clear_control_reply" && cleared["code"] == 0)
            #expect(try await ask(device, "property", ["method": "get_status", "clientToken": "g"])["data"] == [:])
            #expect(
                await control(["temperature": 1]) == .failure(.invalidRequest("the property temperature cannot be set"))
            )
        }
    }

    @Test func takesEventsAndCallsActions() async throws {
        try await withDevice { test, device in
            let services = test.hub.services
            let event: HubJSON = [
                "method": "event_post", "clientToken": "E-0", "version": "1.0", "eventId": "low_voltage",
                "type": "alert", "timestamp": 1_700_000_000_000, "params": ["voltage": 2.8],
            ]
            #expect(
                try await ask(device, "event", event) == [
                    "method": "event_reply", "clientToken": "E-0", "version": "1.0", "code": 0, "status": "",
                    "data": [:],
                ]
            )
            let entry: HubJSON = ["eventId": "low_voltage", "type": "alert", "params": ["voltage": 1]]
            let unknown: HubJSON = ["eventId": "high_voltage", "type": "info"]
            let several: HubJSON = ["method": "events_post", "clientToken": "E-1", "events": [entry, entry]]
            #expect(try await ask(device, "event", several)["code"] == 0)
            let wrong: HubJSON = ["method": "events_post", "clientToken": "E-2", "events": [entry, unknown]]
            let refused = try await ask(device, "event", wrong)
            #expect(refused["code"] == 406 && refused["status"] == "no event high_voltage")

            async let outcome = offPool {
                Result { () throws(HubSimulatorError) in
                    try services.callAction(Self.name, "open_valve", ["seconds": 5])
                }
            }
            let call = try #require(await device.next()?.json)
            #expect(call["method"] == "action" && call["actionId"] == "open_valve" && call["params"] == ["seconds": 5])
            #expect(call["timestamp"]?.integer != nil)
            let token = try #require(call["clientToken"])
            let reply: HubJSON = [
                "method": "action_reply", "clientToken": token, "code": 0, "status": "done", "response": ["result": 1],
            ]
            device.publish("$thing/up/action/\(Self.own)", reply, qos: 1)
            #expect(await outcome == .success(reply))
            #expect(throws: HubSimulatorError.invalidRequest("no action close")) {
                try services.callAction(Self.name, "close", [:])
            }
        }
    }

    @Test func servesTheServiceTopicAndRawBytes() async throws {
        try await withDevice { test, device in
            let services = test.hub.services
            let bind: HubJSON = ["method": "app_bind_token", "clientToken": "b", "params": ["token": "phone"]]
            #expect(try await ask(device, "service", bind)["method"] == "app_bind_token_reply")
            #expect(try services.thing(Self.name)["bindToken"] == "phone")
            let unbind: HubJSON = ["method": "unbind_device_request", "clientToken": "u"]
            #expect(try await ask(device, "service", unbind)["method"] == "unbind_device_reply")
            try services.notifyBinding(Self.name, isBound: false)
            #expect(await device.next()?.json?["method"] == "unbind_device")

            let data: HubJSON = ["data": ["alert_type": "Out", "fence_name": "yard"]]
            async let fence = offPool {
                Result { () throws(HubSimulatorError) in
                    try services.callService(Self.name, "alert_fence_event", data)
                }
            }
            let alert = try #require(await device.next()?.json)
            #expect(alert["method"] == "alert_fence_event" && alert["data"] == data["data"])
            let token = try #require(alert["clientToken"])
            let reply: HubJSON = ["method": "alert_fence_event_reply", "clientToken": token, "code": "0"]
            device.publish("$thing/up/service/\(Self.own)", reply)
            #expect(await fence == .success(reply))

            device.publish("$thing/up/raw/\(Self.own)", [0xFF, 0x00, 0x7B])
            #expect(await device.next()?.payload == [0xFF, 0x00, 0x7B])
            try services.sendRaw(Self.name, [0x00])
            #expect(await device.next()?.payload == [0x00])
            #expect(try services.statistics.malformed == 0)
        }
    }
}
