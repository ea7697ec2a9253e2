import Glibc
import QCloudIoTHub
import SecureTransport
import Testing

func text(_ bytes: some Sequence<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }

func key(_ base64: String) throws -> DeviceSecret { try DeviceSecret(base64: Array(base64.utf8).span) }

/// The rows of Fixtures/hub-login-vectors.tsv.
func vectors() throws -> [[String]] {
    let path =
        #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/Fixtures/hub-login-vectors.tsv"
    let file = try #require(fopen(path, "r"))
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
    return text(bytes).split(separator: "\n").filter { !$0.hasPrefix("#") }
        .map { $0.split(separator: "\t").map(String.init) }
}

@Suite struct LoginTests {
    @Test func agreesWithTheKnownAnswers() throws {
        let rows = try vectors()
        #expect(rows.count == 6)
        for row in rows {
            let identity = try DeviceIdentity(productID: row[1], deviceName: row[2], secret: row[3])
            let fields = row[4].split(separator: ";").map(String.init)
            let expiry = HubLogin.Expiry.at(try #require(Int64(fields[3])))
            let appID: StaticString = fields[1] == "21010406" ? "21010406" : "12010126"
            for (algorithm, digest) in [(HubLogin.Algorithm.hmacSHA256, row[5]), (.hmacSHA1, row[6])] {
                let login = try HubLogin(
                    identity,
                    connectionID: Array(fields[2].utf8),
                    expiry: expiry,
                    algorithm: algorithm,
                    sdkAppID: appID
                )
                #expect(text(login.userName) == row[4])
                let name = algorithm == .hmacSHA256 ? "hmacsha256" : "hmacsha1"
                #expect(text(try #require(login.password)) == "\(digest);\(name)", "vector \(row[0])")
            }
        }
    }

    @Test func loginsWithoutAClockNeverExpire() throws {
        let identity = try DeviceIdentity(
            productID: Array("Q7K2M9X4ZP".utf8),
            deviceName: Array("pump-01".utf8),
            credential: .certificate
        )
        let login = try HubLogin(identity, connectionID: Array("aB3dE".utf8), expiry: .never)
        #expect(text(login.userName) == "Q7K2M9X4ZPpump-01;21010406;aB3dE;2147483647")
        #expect(login.password == nil)
    }

    @Test(arguments: [0, 1, 61, 62, .max] as [UInt32])
    func makesConnectionIDs(random: UInt32) throws {
        let id = HubLogin.connectionID(random: random)
        let isAllowed = id.allSatisfy {
            Character(Unicode.Scalar($0)).isLetter || Character(Unicode.Scalar($0)).isNumber
        }
        #expect(id.count == 5 && isAllowed)
    }

    @Test(arguments: [
        ("Q7K2M9X4Z", "a"), ("Q7K2M9X4ZPP", "a"), ("q7k2m9x4zp", "a"), ("Q7K2M9X4Z/", "a"), ("", "a"),
    ])
    func refusesProductIDs(product: String, device: String) {
        #expect(throws: HubIdentityError.invalidProductID) {
            _ = try DeviceIdentity(
                productID: Array(product.utf8),
                deviceName: Array(device.utf8),
                credential: .certificate
            )
        }
    }

    @Test(arguments: ["", "a/b", "a+b", "é", String(repeating: "x", count: 49), "a b"])
    func refusesDeviceNames(name: String) {
        #expect(throws: HubIdentityError.invalidDeviceName) {
            _ = try DeviceIdentity(
                productID: Array("Q7K2M9X4ZP".utf8),
                deviceName: Array(name.utf8),
                credential: .certificate
            )
        }
    }

    @Test(arguments: ["", "!", "AAEC AwQF", "AAE=C", String(repeating: "A", count: 68)])
    func refusesSecrets(secret: String) {
        #expect(throws: HubIdentityError.invalidDeviceSecret) { _ = try key(secret) }
    }

    @Test func namesTheTopics() throws {
        let identity = try DeviceIdentity(
            productID: Array("Q7K2M9X4ZP".utf8),
            deviceName: Array("pump-01".utf8),
            credential: .certificate
        )
        #expect(text(HubTopic.event(of: identity)) == "Q7K2M9X4ZP/pump-01/event")
        #expect(text(HubTopic.control(of: identity)) == "Q7K2M9X4ZP/pump-01/control")
        #expect(text(HubTopic.data(of: identity)) == "Q7K2M9X4ZP/pump-01/data")
    }
}
