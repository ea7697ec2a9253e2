import Testing

@testable import HubSimulator

/// Files between a device and the cloud: Paho for the messages, curl for the bytes.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubResourceTests {
    static let own = "APUSDEMO01/gateway-01"
    static let name = HubDeviceName("APUSDEMO01", "gateway-01")
    static let up = "$resource/up/service/\(own)"
    static let down = "$resource/down/service/\(own)"
    static let sum = "900150983cd24fb0d6963f7d28e17f72"

    private func report(_ device: PahoDevice, _ way: String, _ name: String, _ state: String) async throws -> HubJSON {
        let request: HubJSON = [
            "type": .string("report_\(way)_progress"), "name": .string(name),
            "progress": ["state": .string(state), "percent": 37, "result_code": 0, "result_msg": ""],
        ]
        return try await device.ask(Self.up, request, answerOn: Self.down)
    }

    @Test func takesUploads() async throws {
        try await TestHub.with { test in
            let device = try await PahoDevice(test, test.device("gateway-01"))
            #expect(await device.subscribe(Self.down) == 1)
            let task: HubJSON = [
                "type": "create_upload_task", "size": 3, "name": "a trace?.bin", "md5sum": .string(Self.sum),
            ]
            let reply = try await device.ask(Self.up, task, answerOn: Self.down)
            #expect(reply["type"] == "create_upload_task_rsp" && reply["size"] == 3 && reply["name"] == "a trace?.bin")
            #expect(try await report(device, "upload", "a trace?.bin", "uploading")["result_code"] == 0)
            // Nothing has come yet.
            #expect(try await report(device, "upload", "a trace?.bin", "done")["result_code"] == -4)
            let url = try #require(reply["url"]?.string)
            let header = "Content-MD5: kAFQmDzST7DWlj99KOF/cg=="
            #expect(try await curl(url, method: "PUT", headers: [header], body: Array("abc".utf8)).status == 200)
            let done = try await report(device, "upload", "a trace?.bin", "done")
            #expect(done == ["type": "report_upload_progress_rsp", "result_code": 0, "result_msg": "ok"])
            #expect(try test.hub.services.upload(of: Self.name, name: "a trace?.bin") == Array("abc".utf8))
            let known = try test.hub.services.resources(of: Self.name)["uploads"]?.elements
            #expect(known?.count == 1 && known?[0]["state"] == "done" && known?[0]["md5sum"] == .string(Self.sum))
            try test.hub.services.add(ServiceFault(.error(-3), service: .resource))
            #expect(try await report(device, "upload", "a trace?.bin", "done")["result_code"] == -3)
        }
    }

    @Test func offersDownloads() async throws {
        try await TestHub.with { test in
            let services = test.hub.services
            let device = try await PahoDevice(test, test.device("gateway-01"))
            await device.subscribe(Self.down)
            device.publish(Self.up, ["type": "get_download_task"], qos: 1)
            #expect(await device.next(within: .milliseconds(300)) == nil)
            try services.offerFile(Self.name, name: "tables", Array("abc".utf8))
            let pushed = try #require(await device.next()?.json)
            #expect(pushed["type"] == "download" && pushed["md5sum"] == .string(Self.sum) && pushed["size"] == 3)
            let reply = try await device.ask(Self.up, ["type": "get_download_task"], answerOn: Self.down)
            #expect(reply["type"] == "get_download_task_rsp" && reply["name"] == "tables")
            let url = try #require(reply["url"]?.string)
            #expect(try await curl(url, more: ["-r", "1-"]).text == "bc")
            #expect(try await report(device, "download", "tables", "done")["result_msg"] == "ok")
            #expect(try services.resources(of: Self.name)["download"]?["state"] == "done")
            device.publish(Self.up, ["type": "get_download_task"], qos: 1)
            #expect(await device.next(within: .milliseconds(300)) == nil)
            try services.offerFile(Self.name, name: "tables", [1], md5: "00")
            #expect(await device.next()?.json?["md5sum"] == "00")
        }
    }
}
