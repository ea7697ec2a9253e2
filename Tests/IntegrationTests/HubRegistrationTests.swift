import CLinux
import Testing

@testable import HubSimulator

/// Dynamic registration, messages and log lines by HTTP. Requests are curl's; signatures are those of the specification or openssl's.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubRegistrationTests {
    static let body = "{\"ProductId\":\"A1B2C3D4E5\",\"DeviceName\":\"dev_0001\"}"
    /// `{"encryptionType":2,"psk":"AAECAwQFBgcICQoLDA0ODw=="}` for the product's secret.
    static let payload = HubJSON.string(
        "lB0jf1GKRb7zRIm6OzZcLyVEpfkOKDpH77p3bu+KGXu4+1cmVH3xBu7Xdp5kec3QZRWJRFaZEwr/WTF9drKvXw=="
    )

    @Test func answersAsTheSpecificationHasIt() async throws {
        try await TestHub.with { test in
            try test.addVectorDevice()
            for (algorithm, timestamp, nonce, signature) in [
                ("hmacsha256", 1_700_000_000, 5456, "O7pYmfXKNCzq+qcsuCaWWfK7G1NrV01zCgbjLPRMFpA="),
                ("hmacsha1", 1_700_000_000, 5456, "YSu0g7ZeL1ZQ7Hrbt3L8BEbam6g="),
                ("hmacsha1", 1_609_430_400, 48271, "08OCBeyPaWtiaIiH8NOuHr+wkH0="),
            ] {
                let response = try await test.post(
                    "/device/register",
                    Self.body,
                    algorithm: algorithm,
                    signature: signature,
                    timestamp: timestamp,
                    nonce: nonce
                )
                #expect(response["Len"] == 53 && response["Payload"] == Self.payload && response["State"] == 1)
                #expect(response["Error"] == nil && response["RequestId"]?.string?.utf8.count == 36)
            }
            let signedHosts = try test.hub.services.httpRecords.map(\.signedHost)
            #expect(signedHosts == [String](repeating: "ap-guangzhou.gateway.tencentdevices.com", count: 3))
            let legacy = """
                {"deviceName":"dev_0001","nonce":123456789,"productId":"A1B2C3D4E5","timestamp":1700000000,\
                "signature":"YzU2MDI2NGVmZmZhZmM5Mjg5YzJiZGM1NjI1ZTEzZTczYWUxZjIzOA=="}
                """
            let answer = try await curl(test.http + "/register/dev", method: "POST", body: Array(legacy.utf8))
            #expect(answer.json == ["code": 0, "message": "", "len": 53, "payload": Self.payload])
            let raw = legacy.replacing(/YzU2[^"]*/, with: "xWAmTv/6/JKJwr3FYl4T5zrh8jg=")
            let refused = try await curl(test.http + "/register/dev", method: "POST", body: Array(raw.utf8))
            #expect(refused.json == ["code": 1, "message": "AuthFailure.SignatureFailure"])
        }
    }

    /// The vendor's signature sample project, and its documents' example with no vector of the whole request.
    @Test func checksTheVendorsSignature() throws {
        let body = Array("{\"ProductId\":\"PRODUCT_ID1\",\"DeviceName\":\"DEVICENAME1\"}".utf8)
        let headers = [
            "host": "ap-guangzhou.gateway.tencentdevices.com:80", "x-tc-algorithm": "hmacsha1",
            "x-tc-timestamp": "1629362589", "x-tc-nonce": "333464802", "x-tc-signature": "7u3+tAPlt8O4mPpBm3lambv23sw=",
        ]
        func host(_ path: String, secret: String) throws -> String? {
            let request = HTTPRequest(
                method: "POST",
                path: path,
                query: [:],
                headers: headers,
                body: body,
                isSecure: false
            )
            return try #require(CloudSignature(request)).host(of: request, key: .secret(secret))
        }
        #expect(try host("/device/register", secret: "PRODUCT_SECRETKEY") == "ap-guangzhou.gateway.tencentdevices.com")
        #expect(try host("/device/publish", secret: "PRODUCT_SECRETKEY") == nil)
        #expect(try host("/device/register", secret: "PRODUCT_SECRETKEX") == nil)
    }

    @Test(arguments: [
        (
            "hzvf5LF9S0isvBhD", "{\"encryptionType\":2,\"psk\":\"lDZ6Uqt+I9E0wW7rvDUs7Q==\"}",
            "s6FB3a1BA/YYbcmSE12XpeDVmQNDcf1QgVD141RRbmmAnFwQfp1ECAu5O016mCOvYlJJ6V59yM4OqQSiWphfTg=="
        ),
        (
            "8XzjN8rfgFVGDTNT", "{\"encryptionType\":2,\"psk\":\"7WmFA/MEs+Fy+32QwJWtYw==\"}",
            "eHGRUBar9LBPI+mcaHnVEZsj05mSdoZLPhd54hDJXv/2va2rXSpfddgRy5XE/FIS835NjUr5Mhw1AJSg4yGC/w=="
        ),
    ])
    func encryptsAsTheVendorDoes(key: String, text: String, expected: String) {
        let iv = [UInt8](repeating: UInt8(ascii: "0"), count: 16)
        let encrypted = Cryptography.encryptWithZeros(Array(text.utf8), key: Array(key.utf8), iv: iv)
        #expect(Base64.encode(encrypted) == expected)
    }

    @Test func registersWhatTheProductAllows() async throws {
        try await TestHub.with { test in
            try test.addVectorDevice(withDevice: false)
            func register(_ signature: String = "O7pYmfXKNCzq+qcsuCaWWfK7G1NrV01zCgbjLPRMFpA=") async throws -> HubJSON
            {
                try await test.post("/device/register", Self.body, algorithm: "hmacsha256", signature: signature)
            }
            func code(_ response: HubJSON) -> String? { response["Error"]?["Code"]?.string }
            #expect(code(try await register()) == "ResourceNotFound.DeviceNotExist")
            #expect(
                code(try await register("P7pYmfXKNCzq+qcsuCaWWfK7G1NrV01zCgbjLPRMFpA="))
                    == "AuthFailure.SignatureFailure"
            )
            #expect(code(try await register("!")) == "InvalidParameterValue")
            var settings = RegistrationSettings()
            settings.createsDevices = true
            try test.hub.services.setRegistration(settings, of: "A1B2C3D4E5")
            #expect(try await register()["State"] == 0)
            #expect(try await register()["State"] == 1)

            // With what it was told, the device can log in; then it is activated.
            let device = try #require(test.hub.registry.device(productID: "A1B2C3D4E5", deviceName: "dev_0001"))
            let login = try await Login.signed(device)
            #expect(try await test.publish(login) == 0)
            #expect(code(try await register()) == "FailedOperation.DeviceAlreadyActivated")
            settings.allowsActivatedDevices = true
            try test.hub.services.setRegistration(settings, of: "A1B2C3D4E5")
            #expect(code(try await register()) == nil)
            try test.hub.setEnabled(false, productID: "A1B2C3D4E5", deviceName: "dev_0001")
            #expect(code(try await register()) == "FailedOperation.DeviceDisabled")
            settings.isAllowed = false
            try test.hub.services.setRegistration(settings, of: "A1B2C3D4E5")
            #expect(code(try await register()) == "FailedOperation.DynamicRegistrationDisabled")
        }
    }

    @Test func takesMessagesAndLogLines() async throws {
        try await TestHub.with { test in
            try test.addVectorDevice()
            let seen = Seen()
            test.hub.onMessage { seen.append($0) }
            let message = """
                {"ProductId":"A1B2C3D4E5","DeviceName":"dev_0001","TopicName":"A1B2C3D4E5/dev_0001/data",\
                "Payload":"{\\"t\\":21}","Qos":1}
                """
            let signature = "VVSweAnH0QUO850BbgDZlW6sWOdl5GdRgi4Z5MhWmmI="
            func publish() async throws -> HubJSON {
                try await test.post("/device/publish", message, algorithm: "hmacsha256", signature: signature)
            }
            #expect(try await publish()["Error"] == nil)
            let expected = HubMessage(
                productID: "A1B2C3D4E5",
                deviceName: "dev_0001",
                topic: "A1B2C3D4E5/dev_0001/data",
                payload: Array("{\"t\":21}".utf8),
                qos: 1,
                way: .http
            )
            #expect(await eventually { seen.messages == [expected] })
            // The time of the vector is long ago.
            var behavior = ServiceBehavior()
            behavior.httpSignatureAge = .seconds(300)
            try test.hub.services.setBehavior(behavior)
            #expect(try await publish()["Error"]?["Code"] == "AuthFailure.SignatureExpire")
            try test.hub.services.setBehavior(ServiceBehavior())

            let log =
                "{\"ProductId\":\"A1B2C3D4E5\",\"DeviceName\":\"dev_0001\",\"Message\":[\"INFmqtt connect success.\"]}"
            for (algorithm, signature) in [
                ("hmacsha256", "MFywgwAf8ZBbfd2+tAe0w4pnbiadnRwDjBTe8bQ6+h8="),
                ("hmacsha1", "alY+yjzZfHf+qV8ap8iW0a2b+MY="),
            ] {
                let response = try await test.post("/device/reportlog", log, algorithm: algorithm, signature: signature)
                #expect(response["Error"] == nil && response["RequestId"] != nil)
            }
            // The other algorithm's signature is none.
            let wrong = try await test.post(
                "/device/reportlog",
                log,
                algorithm: "hmacsha1",
                signature: "MFywgwAf8ZBbfd2+tAe0w4pnbiadnRwDjBTe8bQ6+h8="
            )
            #expect(wrong["Error"]?["Code"] == "AuthFailure.SignatureFailure")

            let head =
                "af6849f14deda782014d531cd42f9c08f39511f9P###A1B2C3D4E5dev_0001" + String(repeating: "#", count: 40)
            let lines = "1700000000ERR|2024-01-01 00:00:00|main.c|main(10): boom\n\u{0C}"
            let legacy = Array((head + lines).utf8)
            #expect(legacy.count == 159)
            let url = try test.http + "/cgi-bin/report-log"
            #expect(try await curl(url, method: "POST", body: legacy).json == ["Retcode": 0])
            #expect(try await curl(url, method: "POST", body: legacy + [0x20]).json["Retcode"] == 1)
            #expect(
                try test.hub.services.logLines(of: HubDeviceName("A1B2C3D4E5", "dev_0001")) == [
                    "INFmqtt connect success.", "INFmqtt connect success.",
                    "ERR|2024-01-01 00:00:00|main.c|main(10): boom",
                ]
            )
        }
    }

    @Test func takesTheSignatureOfACertificatesKey() async throws {
        var configuration = HubConfiguration()
        configuration.certificateKeys = .rsa
        try await TestHub.with(configuration) { test in
            let device = try test.device("certificate-01")
            guard case .certificate(_, let privateKeyPath) = device.credential else { return }
            let body = "{\"ProductId\":\"APUSDEMO01\",\"DeviceName\":\"certificate-01\",\"Message\":[\"ERRx\"]}"
            let directory = try temporaryDirectory()
            defer { removeDirectory(directory) }
            try replaceFile("\(directory)/body", with: Array(body.utf8))
            let hash = try #require(
                await run("openssl", ["dgst", "-sha256", "\(directory)/body"]).output.split(
                    whereSeparator: \.isWhitespace
                ).last
            )
            let lines = [
                "POST", "127.0.0.1", "/device/reportlog", "", "rsa-sha256", "1700000000", "5456", String(hash),
            ]
            try replaceFile("\(directory)/text", with: Array(lines.joined(separator: "\n").utf8))
            let arguments = [
                "dgst", "-sha256", "-sign", privateKeyPath, "-out", "\(directory)/sign", "\(directory)/text",
            ]
            #expect(await run("openssl", arguments).status == 0)
            let sign = try readFile("\(directory)/sign")
            let right = try await test.post(
                "/device/reportlog",
                body,
                algorithm: "rsa-sha256",
                signature: Base64.encode(sign)
            )
            #expect(right["Error"] == nil)
            #expect(try test.hub.services.httpRecords.last?.signedHost == "127.0.0.1")
            let wrong = try await test.post(
                "/device/reportlog",
                body,
                algorithm: "rsa-sha256",
                signature: Base64.encode([sign[0] ^ 1] + sign[1...])
            )
            #expect(wrong["Error"]?["Code"] == "AuthFailure.SignatureFailure")
        }
    }
}
