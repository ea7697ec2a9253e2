import CLinux
import Kernel
import Testing

@testable import HubSimulator

/// Files by HTTP and HTTPS, whole and in parts, and what can go wrong with them. The client is curl.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubFileTests {
    static let content = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }

    private func url(_ test: TestHub, seconds: Int = 60) throws -> String {
        try test.hub.services.putFile("APUSDEMO01/1.1.0.bin", Self.content)
        return try test.hub.services.fileURL("APUSDEMO01/1.1.0.bin", lifetime: .seconds(seconds))
    }

    @Test func servesRanges() async throws {
        try await TestHub.with { test in
            let url = try url(test)
            let whole = try await curl(url)
            #expect(whole.status == 200 && whole.body == Self.content && whole.headers["content-length"] == "100000")
            for (range, expected) in [
                ("0-99", 0..<100), ("99990-", 99_990..<100_000), ("-10", 99_990..<100_000),
                // The vendor's C SDK asks for one too many.
                ("500-100000", 500..<100_000), ("99999-99999", 99_999..<100_000),
            ] as [(String, Range<Int>)] {
                let part = try await curl(url, more: ["-r", range])
                #expect(part.status == 206 && part.body == Array(Self.content[expected]), "\(range)")
                let header = "bytes \(expected.lowerBound)-\(expected.upperBound - 1)/100000"
                #expect(part.headers["content-range"] == header)
            }
            let beyond = try await curl(url, more: ["-r", "100000-"])
            #expect(beyond.status == 416 && beyond.headers["content-range"] == "bytes */100000")
            #expect(try test.hub.services.httpRecords.map(\.status) == [200, 206, 206, 206, 206, 206, 416])
            #expect(try test.hub.services.httpRecords[1].range == "bytes=0-99")
        }
    }

    @Test func refusesWhatIsNotSignedOrHasExpired() async throws {
        try await TestHub.with { test in
            let url = try url(test)
            #expect(try await curl(url.replacing("1.1.0", with: "1.1.1")).status == 403)
            #expect(try await curl(url, method: "PUT", body: [1]).status == 403)
            #expect(try await curl(String(url.prefix { $0 != "?" })).status == 403)
            try test.hub.services.setClockOffset(.seconds(61))
            #expect(try await curl(url).status == 403)
            try test.hub.services.setClockOffset(.zero)
            #expect(try await curl(url).status == 200)
            let missing = try test.hub.services.fileURL("APUSDEMO01/none", lifetime: .seconds(60))
            #expect(try await curl(missing).status == 404)
        }
    }

    @Test func servesByTLS() async throws {
        try await TestHub.with { test in
            var behavior = ServiceBehavior()
            behavior.sendsFilesByTLS = true
            try test.hub.services.setBehavior(behavior)
            let url = try url(test)
            #expect(url.hasPrefix("https://"))
            let answer = try await curl(url, more: ["--cacert", test.hub.authorityCertificatePath])
            #expect(answer.status == 200 && answer.body == Self.content)
            #expect(try await curl(url).exitStatus == 60)
            #expect(try test.hub.services.httpRecords.map(\.isSecure) == [true])
        }
    }

    @Test func takesFiles() async throws {
        try await TestHub.with { test in
            let url = try test.hub.services.fileURL("up/trace.bin", method: "PUT", lifetime: .seconds(60))
            let sum = "Content-MD5: kAFQmDzST7DWlj99KOF/cg=="
            #expect(try await curl(url, method: "PUT", headers: [sum], body: Array("abd".utf8)).status == 400)
            #expect(throws: HubSimulatorError.self) { try test.hub.services.file("up/trace.bin") }
            #expect(try await curl(url, method: "PUT", headers: [sum], body: Array("abc".utf8)).status == 200)
            #expect(try test.hub.services.file("up/trace.bin") == Array("abc".utf8))
            let tooLong = [UInt8](repeating: 1, count: GatewayHTTP.maximumBodyBytes + 1)
            #expect(try await curl(url, method: "PUT", body: tooLong).status == 413)
        }
    }

    @Test func breaksOnRequest() async throws {
        try await TestHub.with { test in
            let url = try url(test)
            let services = test.hub.services
            try services.add(HTTPFault(.cut(after: 30_000), path: "/files/"))
            let cut = try await curl(url)
            #expect(cut.exitStatus == 18 && cut.body == Array(Self.content[..<30_000]))
            try services.add(HTTPFault(.ignoresRange))
            #expect(try await curl(url, more: ["-r", "10-"]).status == 200)
            try services.add(HTTPFault(.chunked))
            let chunked = try await curl(url)
            #expect(chunked.headers["transfer-encoding"] == "chunked" && chunked.headers["content-length"] == nil)
            #expect(chunked.body == Self.content)
            try services.add(HTTPFault(.wrongBytes))
            let wrong = try await curl(url)
            #expect(wrong.body.count == Self.content.count && wrong.body != Self.content)
            for status in [403, 404, 416, 500] {
                try services.add(HTTPFault(.status(status), path: "/files/"))
                #expect(try await curl(url).status == status)
            }
            try services.add(HTTPFault(.slow(bytesPerSecond: 50_000)))
            let start = KernelClock.now
            #expect(try await curl(url, more: ["-r", "0-24999"]).body.count == 25_000)
            #expect(KernelClock.now - start >= .milliseconds(450))
            try services.add(HTTPFault(.late(.milliseconds(600)), path: "/elsewhere"))
            try services.add(HTTPFault(.late(.milliseconds(500)), path: "/files/"))
            let before = KernelClock.now
            #expect(try await curl(url).status == 200)
            #expect(KernelClock.now - before >= .milliseconds(500))
            try services.add(HTTPFault(.error("InternalError"), path: "/device/"))
            let answer = try await curl(test.http + "/device/register", method: "POST", body: [])
            #expect(answer.json["Response"]?["Error"]?["Code"] == "InternalError")
            #expect(try await curl(test.http + "/nothing").status == 404)
            // A hub that stops does not wait for a slow body.
            try services.add(HTTPFault(.slow(bytesPerSecond: 10)))
            async let slow = curl(url)
            #expect(await eventually { (try? services.httpRecords.last?.status) == 200 })
            await offPool { test.hub.stop() }
            #expect(try await slow.exitStatus != 0)
        }
    }

    @Test(
        arguments: [
            ("bytes=0-0", 10, .bytes(0..<1)), ("bytes=9-", 10, .bytes(9..<10)), ("bytes=10-", 10, .unsatisfiable),
            ("bytes=-3", 10, .bytes(7..<10)), ("bytes=-30", 10, .bytes(0..<10)), ("bytes=-0", 10, .unsatisfiable),
            ("bytes=5-4", 10, .invalid), ("bytes=", 10, .invalid), ("bytes=-", 10, .invalid),
            ("items=0-1", 10, .invalid),
            ("bytes=0-1,3-4", 10, .invalid), ("bytes=a-", 10, .invalid), ("bytes=0-99999999999999999999", 10, .invalid),
            ("bytes=0-", 0, .unsatisfiable), ("bytes=0-9223372036854775807", 10, .bytes(0..<10)),
        ] as [(String, Int, HTTPRange)]
    )
    func readsRanges(text: String, size: Int, expected: HTTPRange) { #expect(HTTPRange(text, size: size) == expected) }
}
