import CLinux
import Testing

@testable import HubSimulator

/// Who may log in. Clients are mosquitto_pub; passwords are computed by openssl or come from the specification of the login.
@Suite(.serialized, .timeLimit(.minutes(1))) struct HubLoginTests {
    @Test(arguments: ["sha256", "sha1"])
    func takesAKeyDevice(algorithm: String) async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            let login = try await Login.signed(device, algorithm: algorithm)
            #expect(try await test.publish(login) == 0)
            #expect(
                await eventually {
                    test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01")
                        == DeviceStatistics(logins: 1, refusals: 0, messages: 1, connections: 0)
                }
            )
        }
    }

    /// The rows of Fixtures/hub-login-vectors.tsv. Some expiries have passed; a signature is checked before its expiry, so that "expired" proves that it was right.
    @Test func computesTheSignaturesOfTheSpecification() async throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let table = String(decoding: try readFile("/\(root)/Fixtures/hub-login-vectors.tsv"), as: UTF8.self)
        let rows = table.split(separator: "\n").filter { !$0.hasPrefix("#") }.map {
            $0.split(separator: "\t").map(String.init)
        }
        #expect(rows.count == 6)
        try await TestHub.with { test in
            for row in rows {
                try? test.hub.removeDevice(productID: row[1], deviceName: row[2])
                let device = try test.hub.addDevice(productID: row[1], deviceName: row[2], secret: row[3])
                let expiry = Int(row[4].split(separator: ";").last ?? "") ?? 0
                let isExpired = expiry < time(nil)
                for password in [row[5] + ";hmacsha256", row[6] + ";hmacsha1"] {
                    let login = Login(device: device, username: row[4], password: password)
                    #expect(try await test.publish(login) == (isExpired ? 5 : 0), "\(row[0])")
                    #expect(await eventually { !isExpired || test.lastRefusal?.reason == .expired })
                    let digit = password.hasPrefix("0") ? "1" : "0"
                    let wrong = Login(device: device, username: row[4], password: digit + password.dropFirst())
                    #expect(try await test.publish(wrong) == 5)
                    #expect(await eventually { test.lastRefusal?.reason == .badSignature })
                }
            }
        }
    }

    @Test func refusesASecretThatWasNotDecoded() async throws {
        try await TestHub.with { test in
            let device = try test.hub.addDevice(
                productID: "Q7K2M9X4ZP",
                deviceName: "pump-01",
                secret: "AAECAwQFBgcICQoLDA0ODw=="
            )
            let login = Login(
                device: device,
                username: "Q7K2M9X4ZPpump-01;21010406;aB3dE;1893456000",
                password: "7804e9e41d7671c1b40df3ff35d7dfc92d3823a5b06ead6f8f944c79a4265328;hmacsha256"
            )
            #expect(try await test.publish(login) == 5)
            #expect(await eventually { test.lastRefusal?.reason == .badSignature })
        }
    }

    @Test func refusesWhatIsNotALogin() async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            let other = try test.device("modem-01")
            let id = device.clientID
            let good = try await Login.signed(device)
            let unknownDevice = RegisteredDevice(
                productID: "APUSDEMO01",
                deviceName: "nobody",
                credential: device.credential,
                isEnabled: true
            )
            let unknownProduct = RegisteredDevice(
                productID: "APUSDEMO99",
                deviceName: "gateway-01",
                credential: device.credential,
                isEnabled: true
            )
            func with(username: String? = nil, password: String? = nil, more: [String] = []) -> Login {
                var login = good
                login.username = username ?? good.username
                login.password = password ?? good.password
                login.more = more
                return login
            }
            var withoutPassword = good
            withoutPassword.password = nil
            var otherClient = good
            otherClient.clientID = other.clientID
            let token = good.password?.split(separator: ";").first ?? ""
            let past = try await Login.signed(device, expiry: "1700000000")
            let wrongKey = try await Login.signed(device, key: "00112233445566778899aabbccddeeff")
            let cases: [(Login, HubRefusal.Reason)] = [
                (wrongKey, .badSignature),
                (past, .expired),
                (try await Login.signed(unknownDevice), .unknownDevice),
                (try await Login.signed(unknownProduct), .unknownProduct),
                (otherClient, .wrongClientID),
                (withoutPassword, .missingPassword),
                (with(username: id), .malformedUsername),
                (with(username: "\(id);12010126;aB3dE"), .malformedUsername),
                (with(username: "\(id);12010126;aB3dE;1;2"), .malformedUsername),
                (with(username: "\(id);x;aB3dE;\(Login.never)"), .malformedUsername),
                (with(username: "\(id);12010126;aB3d;\(Login.never)"), .malformedUsername),
                (with(username: "\(id);12010126;aB3-E;\(Login.never)"), .malformedUsername),
                (with(username: "\(id);12010126;aB3dE;never"), .malformedUsername),
                (with(username: "\(id);12010126;aB3dE;-1"), .malformedUsername),
                (with(username: "\(id);12010126;aB3dE;99999999999999999999"), .malformedUsername),
                (with(username: "\(other.clientID);12010126;aB3dE;\(Login.never)"), .wrongClientID),
                (with(username: "\(id);12010126;aB3dF;\(Login.never)"), .badSignature),
                (with(password: "\(token)"), .malformedPassword),
                (with(password: "\(token);hmacmd5"), .malformedPassword),
                (with(password: "\(token);hmacsha1"), .badSignature),
                (with(password: "\(token.uppercased());hmacsha256"), .badSignature),
                (with(password: ";hmacsha256"), .badSignature),
                (with(more: ["-V", "mqttv5"]), .wrongProtocolLevel),
                (with(more: ["-k", "901"]), .keepAliveTooLong),
            ]
            for (index, (login, reason)) in cases.enumerated() {
                let status = try await test.publish(login)
                // MQTT 5.0 says 0x87 for the same.
                #expect(status == (reason == .wrongProtocolLevel ? 135 : 5), "\(login)")
                #expect(await eventually { test.hub.refusals.count == index + 1 })
                #expect(test.lastRefusal?.reason == reason, "\(login)")
            }
            #expect(try await test.publish(with(more: ["-k", "900"])) == 0)
            #expect(
                await eventually {
                    test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").messages == 1
                }
            )
        }
    }

    @Test func takesAPreSharedKeyWithAndWithoutPassword() async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            var login = Login(device: device, way: .psk())
            #expect(try await test.publish(login) == 0)
            login.password = try await Login.signed(device).password
            #expect(try await test.publish(login) == 0)
            #expect(
                await eventually { test.hub.statistics(productID: "APUSDEMO01", deviceName: "gateway-01").logins == 2 }
            )
        }
    }

    @Test func refusesAPreSharedKeyThatIsNotTheDevices() async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            let other = try test.device("modem-01")
            let certified = try test.device("certificate-01")
            let otherKey = hex(try #require(Base64.decode(other.secret ?? "")))
            let expired = "\(device.clientID);12010126;aB3dE;1700000000"
            // The status is 5, CONNACK's, only where the handshake succeeds.
            let cases: [(Login, inHandshake: Bool, HubRefusal.Reason)] = [
                (Login(device: device, way: .psk(key: otherKey)), true, .pskHandshakeFailed),
                (Login(device: device, way: .psk(identity: "APUSDEMO01nobody")), true, .unknownDevice),
                (Login(device: certified, way: .psk(key: otherKey)), true, .certificateNeeded),
                (Login(device: device, way: .psk(identity: other.clientID, key: otherKey)), false, .wrongPSKIdentity),
                (Login(device: device, way: .psk(), password: "00;hmacsha256"), false, .badSignature),
                (Login(device: device, way: .psk(), username: expired), false, .expired),
                (Login(device: device, way: .psk(), username: other.clientID + ";1;aB3dE;9"), false, .wrongClientID),
            ]
            for (index, (login, inHandshake, reason)) in cases.enumerated() {
                let status = try await test.publish(login)
                #expect(inHandshake ? ![0, 5].contains(status) : status == 5, "\(login)")
                #expect(await eventually { test.hub.refusals.count == index + 1 })
                #expect(test.lastRefusal?.reason == reason, "\(login)")
            }
        }
    }

    /// The broker frees a connection whose handshake fails without telling the plugin; its memory goes to the next connection.
    @Test func doesNotLeaveAnIdentityToTheNextConnection() async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            for version in ["tlsv1.2", "tlsv1.3"] {
                let wrong = Login(device: device, way: .psk(key: "00112233"), more: ["--tls-version", version])
                #expect(try await test.publish(wrong) != 0)
                #expect(try await test.publish(Login(device: device)) == 5)
            }
            #expect(await eventually { test.hub.refusals.count == 4 })
            #expect(test.hub.refusals.map(\.reason).filter { $0 == .missingPassword }.count == 2)
        }
    }

    @Test func takesAKeyDeviceOverTLS() async throws {
        try await TestHub.with { test in
            let device = try test.device("gateway-01")
            var login = try await Login.signed(device)
            login.way = .tls(authority: test.hub.authorityCertificatePath)
            #expect(try await test.publish(login) == 0)
            login.password = nil
            #expect(try await test.publish(login) == 5)
            let certified = try test.device("certificate-01")
            #expect(try await test.publish(Login(device: certified, way: login.way)) == 5)
            #expect(await eventually { test.hub.refusals.map(\.reason) == [.missingPassword, .certificateNeeded] })
        }
    }

    @Test func takesACertificate() async throws {
        try await TestHub.with { test in
            let device = try test.device("certificate-01")
            var login = Login(device: device, way: .certificate())
            #expect(try await test.publish(login) == 0)
            login.username = "\(device.clientID);12010126;aB3dE"
            #expect(try await test.publish(login) == 0)
            login.password = "anything"
            #expect(try await test.publish(login) == 0)
        }
    }

    @Test func takesRSACertificates() async throws {
        var configuration = HubConfiguration()
        configuration.certificateKeys = .rsa
        try await TestHub.with(configuration) { test in
            let login = Login(device: try test.device("certificate-01"), way: .certificate())
            #expect(try await test.publish(login) == 0)
        }
    }

    @Test func refusesACertificateThatIsNotTheDevices() async throws {
        try await TestHub.with { test in
            let key = try test.device("gateway-01")
            let certified = try test.device("certificate-01")
            let another = try test.hub.addDeviceWithCertificate(productID: "APUSDEMO01", deviceName: "certificate-02")
            var signed = try await Login.signed(key)
            signed.way = .certificate(of: certified)
            let cases: [(Login, HubRefusal.Reason)] = [
                (signed, .certificateNotAllowed),
                (Login(device: another, way: .certificate(of: certified)), .wrongCertificate),
                (Login(device: certified), .certificateNeeded),
                (
                    Login(device: certified, way: .certificate(), username: certified.clientID + ";1;aB3dE;1700000000"),
                    .expired
                ),
            ]
            for (index, (login, reason)) in cases.enumerated() {
                #expect(try await test.publish(login) == 5, "\(login)")
                #expect(await eventually { test.hub.refusals.count == index + 1 })
                #expect(test.lastRefusal?.reason == reason, "\(login)")
            }
            #expect(try await test.publish(Login(device: another, way: .certificate())) == 0)
        }
    }

    @Test func refusesACertificateOfAnotherAuthority() async throws {
        try await TestHub.with { test in
            try await TestHub.with { stranger in
                let certified = try test.device("certificate-01")
                var login = Login(device: certified, way: .certificate(of: try stranger.device("certificate-01")))
                login.more = ["--cafile", test.hub.authorityCertificatePath]
                #expect(![0, 5].contains(try await test.publish(login)))
                #expect(test.hub.statistics(productID: "APUSDEMO01", deviceName: "certificate-01").logins == 0)
            }
        }
    }
}
