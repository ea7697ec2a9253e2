import CLinux
import Testing

@testable import HubSimulator

/// The order of an update's reports, on values.
@Suite struct UpgradeRecordTests {
    private static func progress(_ state: String, _ percent: HubJSON? = nil, version: String = "2.0") -> HubJSON {
        var progress: HubJSON = ["state": .string(state), "result_code": "0", "result_msg": ""]
        progress["percent"] = percent
        return ["progress": progress, "version": .string(version)]
    }

    @Test(
        arguments: [
            (
                [("downloading", "0"), ("downloading", "50"), ("downloading", "100"), ("burning", nil), ("done", nil)],
                []
            ),
            ([("downloading", "0"), ("fail", nil), ("downloading", "0")], []),
            ([("burning", nil), ("done", nil), ("done", nil)], []),
            ([("downloading", "50"), ("downloading", "40")], ["40 percent after 50"]),
            ([("downloading", 50)], ["percent is no text in downloading"]),
            ([("downloading", "101")], ["101 percent"]), ([("done", nil)], ["done after pending"]),
            ([("burning", nil), ("downloading", "1")], ["downloading after burning"]),
            ([("sleeping", nil)], ["progress without one of the states"]),
            ([("burning", nil), ("done", nil), ("burning", nil)], ["burning without an update"]),
        ] as [([(String, HubJSON?)], [String])]
    )
    func noticesWhatBreaksTheOrder(steps: [(String, HubJSON?)], violations: [String]) {
        var record = UpgradeRecord(nil)
        record.begin("2.0", .emptyObject)
        for (state, percent) in steps { record.reportProgress(Self.progress(state, percent)) }
        #expect(record.status.violations == violations)
    }

    @Test func noticesAnotherVersion() {
        var record = UpgradeRecord(nil)
        record.begin("2.0", .emptyObject)
        record.reportProgress(Self.progress("downloading", "1", version: "1.0"))
        #expect(record.status.violations == ["downloading of another version"])
    }
}

/// Updates as a device sees them: Paho for the messages, curl for the file.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubFirmwareTests {
    static let own = "APUSDEMO01/gateway-01"
    static let name = HubDeviceName("APUSDEMO01", "gateway-01")
    static let up = "$ota/report/\(own)"
    static let down = "$ota/update/\(own)"

    private func report(_ device: PahoDevice, _ version: String) async throws -> HubJSON {
        let body: HubJSON = ["type": "report_version", "report": ["version": .string(version)]]
        return try await device.ask(Self.up, body, answerOn: Self.down)
    }

    private func progress(_ device: PahoDevice, _ progress: HubJSON) {
        let report: HubJSON = ["progress": progress, "version": "1.1.0"]
        device.publish(Self.up, ["type": "report_progress", "report": report], qos: 1)
    }

    @Test func updatesADevice() async throws {
        try await TestHub.with { test in
            let services = test.hub.services
            let device = try await PahoDevice(test, test.device("gateway-01"))
            await device.subscribe(Self.down)
            let reply = try await report(device, "1.0.3")
            #expect(
                reply == [
                    "type": "report_version_rsp", "result_code": 0, "result_msg": "success", "version": "1.0.3",
                ]
            )
            try services.addFirmware("APUSDEMO01", version: "1.1.0", HubFileTests.content)
            var options = UpgradeOptions()
            options.userDefined = "{\"note\":\"pilot\"}"
            options.taskID = 7
            try services.beginUpgrade(Self.name, to: "1.1.0", options: options)
            let update = try #require(await device.next(on: Self.down)?.json)
            #expect(
                update["type"] == "update_firmware" && update["version"] == "1.1.0" && update["file_size"] == 100_000
            )
            #expect(update["user_defined"] == "{\"note\":\"pilot\"}" && update["task_id"] == 7)

            let url = try #require(update["url"]?.string)
            let file = try await curl(url, more: ["-r", "0-100000"])
            #expect(file.status == 206 && file.body == HubFileTests.content)
            let directory = try temporaryDirectory()
            defer { removeDirectory(directory) }
            try replaceFile("\(directory)/firmware", with: file.body)
            let sum = await run("md5sum", ["\(directory)/firmware"]).output.prefix(32)
            #expect(update["md5sum"] == .string(String(sum)))

            for percent in ["0", "37", "100"] {
                progress(
                    device,
                    ["state": "downloading", "percent": .string(percent), "result_code": "0", "result_msg": ""]
                )
            }
            progress(device, ["state": "burning", "result_code": "0", "result_msg": ""])
            #expect(await eventually { (try? services.upgradeStatus(of: Self.name).state) == .burning })
            #expect(try services.upgradeStatus(of: Self.name).percent == 100)
            // The device starts anew and has the version: that ends it, and it may say so.
            #expect(try await report(device, "1.1.0")["result_code"] == 0)
            progress(device, ["state": "done", "result_code": "0", "result_msg": ""])
            #expect(try await report(device, "1.1.0")["result_code"] == 0)
            let status = try services.upgradeStatus(of: Self.name)
            #expect(status.state == .done && status.reportedVersion == "1.1.0" && status.violations.isEmpty)
            #expect(await device.next(within: .milliseconds(300)) == nil)
        }
    }

    /// Whoever was away or failed reports its version and is told again, with a fresh URL, also by a hub that was restarted.
    @Test func tellsADeviceAgain() async throws {
        try await TestHub.with { test in
            let services = test.hub.services
            try services.addFirmware("APUSDEMO01", version: "1.1.0", HubFileTests.content)
            var options = UpgradeOptions()
            options.urlLifetime = .seconds(60)
            try services.beginUpgrade(Self.name, to: "1.1.0", options: options)
            var urls: Set<String> = []
            for round in 0..<2 {
                let device = try await PahoDevice(test, test.device("gateway-01"))
                await device.subscribe(Self.down)
                #expect(try await report(device, "1.0")["result_code"] == 0)
                let url = try #require(await device.next(on: Self.down)?.json?["url"]?.string)
                urls.insert(url.split(separator: "?").last.map(String.init) ?? "")
                #expect(try await curl(url).status == 200)
                if round == 0 {
                    progress(device, ["state": "downloading", "percent": "0", "result_code": "0", "result_msg": ""])
                    progress(device, ["state": "fail", "result_code": "-4", "result_msg": "md5 mismatch"])
                    #expect(await eventually { (try? services.upgradeStatus(of: Self.name).resultCode) == -4 })
                    #expect(try services.upgradeStatus(of: Self.name).resultMessage == "md5 mismatch")
                    try services.repeatUpgrade(Self.name)
                    #expect(await device.next(on: Self.down)?.json?["type"] == "update_firmware")
                    await offPool { test.hub.stop() }
                    try await offPool { Result { () throws(HubSimulatorError) in try test.hub.start() } }.get()
                    try services.setClockOffset(.seconds(30))
                }
            }
            #expect(urls.count == 2)
            #expect(try services.upgradeStatus(of: Self.name).violations.isEmpty)
            try services.cancelUpgrade(Self.name)
            #expect(throws: HubSimulatorError.invalidRequest("the device \(Self.name) has no update")) {
                try services.repeatUpgrade(Self.name)
            }
        }
    }

    /// By CoAP, the update itself is the answer. The packets are those of a device, byte by byte.
    @Test func answersByCoAP() async throws {
        try await TestHub.with { test in
            try test.hub.addDevice(productID: "A1B2C3D4E5", deviceName: "dev_0001")
            let socket = RawDatagrams(to: try test.endpoints.coapPort)
            func exchange(_ number: UInt8, _ options: [UInt8], _ payload: String) async -> [UInt8] {
                socket.send([0x44, 2, 0x12, number, number, 0, 0, 0] + options + [0xFF] + Array(payload.utf8))
                return Array((await socket.receive()).dropFirst(9))
            }
            let path = Array("A1B2C3D4E5/dev_0001/txauth9w0BAQsFA".utf8)
            let token = await exchange(0, [0xBD, 0x16] + path + [0xD1, 0x26, 0x30], "21010406;aB3dE\0\0")
            #expect(token.count == 10)
            let topic = [0xBD, 0x12] + Array("$ota/report/A1B2C3D4E5/dev_0001".utf8)
            let options = topic + [0xDA, 0x25] + token + [0x11]
            let report = "{\"type\":\"report_version\",\"report\":{\"version\":\"1.0.0\"}}"
            let reply = HubJSON(parsing: await exchange(1, options + [0x31], report))
            #expect(reply?["type"] == "report_version_rsp" && reply?["version"] == "1.0.0")
            let name = HubDeviceName("A1B2C3D4E5", "dev_0001")
            try test.hub.services.addFirmware("A1B2C3D4E5", version: "2", [1])
            try test.hub.services.beginUpgrade(name, to: "2")
            let update = HubJSON(parsing: await exchange(2, options + [0x31], report))
            #expect(update?["type"] == "update_firmware" && update?["version"] == "2")
            let progress = """
                {"type":"report_progress","report":{"progress":{"state":"downloading","percent":"5","result_code":"0",\
                "result_msg":""},"version":"2"}}
                """
            #expect(await exchange(3, options + [0x30], progress) == [])
            let status = try test.hub.services.upgradeStatus(of: name)
            #expect(status.state == .downloading && status.percent == 5 && status.violations == [])
        }
    }

    @Test func toldOfWrongFilesOnRequest() async throws {
        try await TestHub.with { test in
            let services = test.hub.services
            let device = try await PahoDevice(test, test.device("gateway-01"))
            await device.subscribe(Self.down)
            try services.addFirmware("APUSDEMO01", version: "1.1.0", module: "mcu", [1, 2, 3])
            var options = UpgradeOptions()
            options.md5 = "00000000000000000000000000000000"
            options.fileSize = 5
            try services.beginUpgrade(Self.name, to: "1.1.0", module: "mcu", options: options)
            // A module has versions of its own.
            #expect(try await report(device, "1.0")["fw_type"] == nil)
            let body: HubJSON = ["type": "report_version", "report": ["version": "0.9", "fw_type": "mcu"]]
            #expect(try await device.ask(Self.up, body, answerOn: Self.down)["fw_type"] == "mcu")
            let update = try #require(await device.next()?.json)
            #expect(update["fw_type"] == "mcu" && update["file_size"] == 5)
            #expect(update["md5sum"] == "00000000000000000000000000000000")
            for version in ["", "with space", String(repeating: "1", count: 33)] {
                #expect(try await report(device, version)["result_code"] == -1)
            }
            try services.add(ServiceFault(.error(-5), service: .firmware))
            #expect(try await report(device, "1.0")["result_code"] == -5)
            #expect(throws: HubSimulatorError.invalidRequest("the product APUSDEMO01 has no firmware 9")) {
                try services.beginUpgrade(Self.name, to: "9")
            }
        }
    }
}
