import Testing

@testable import ModemSimulator

/// Tencent's commands of ESP-AT and L610, without a hub.
@Suite(.timeLimit(.minutes(1))) struct TencentTests {
    private static let identity = "AT+TCDEVINFOSET=1,\"CTQS08Y5LG\",\"Dev01\",\"ZHNkIGRzZCA=\""

    private func l610(_ configure: (inout ModemSimulatorConfiguration) -> Void = { _ in }) throws -> RawHost {
        let host = try RawHost(.l610) {
            // Nobody is there.
            ($0.hubHost, $0.hubPort, $0.hubKeyPort) = ("127.0.0.1", 1, 1)
            configure(&$0)
        }
        try host.expect("AT+MIPCALL=1,\"CMNET\"", "\r\nOK\r\n\r\n+MIPCALL: 10.64.12.7\r\n")
        return host
    }

    @Test func refusesWhatNeedsAConnection() throws {
        let host = try l610()
        for line in [
            "AT+TCMQTTPUB=\"t\",1,\"x\"", "AT+TCMQTTPUBL=\"t\",1,1", "AT+TCMQTTSUB=\"t\",1", "AT+TCMQTTUNSUB=\"t\"",
            "AT+TCMQTTDISCONN", "AT+TCFWINFO?",
        ] {
            try host.expect(line, "\r\n+CME ERROR: 208\r\n")
        }
        try host.expect("AT+TCMQTTSTATE?", "\r\n+TCMQTTSTATE: 0\r\n\r\nOK\r\n")
        try host.expect("AT+TCMQTTSUB?", "\r\nOK\r\n")
        try host.expect("AT+TCMQTTCONN=1,5000,240,1,0", "\r\n+CME ERROR: 203\r\n")
        try host.expect("AT+TCMQTTCONN=1,5000,59,1,0", "\r\n+CME ERROR: 204\r\n")
        try host.expect("AT+TCDEVINFOSET=1,\"SHORT\",\"Dev01\",\"ZHNk\"", "\r\n+CME ERROR: 204\r\n")
        try host.expect("AT+TCMQTTWHAT", "\r\nERROR\r\n")
    }

    @Test func saysThatNobodyAnswers() throws {
        let host = try l610()
        try host.expect(Self.identity, "\r\nOK\r\n\r\n+TCDEVINFOSET: OK\r\n")
        try host.expect("AT+TCMQTTCONN=0,5000,240,1,0", "\r\nOK\r\n\r\n+TCMQTTCONN: FAIL,-603\r\n")
        try host.expect("AT+TCMQTTSTATE?", "\r\n+TCMQTTSTATE: 0\r\n\r\nOK\r\n")
    }

    @Test func hasNoSuchCommandsWithoutIt() throws {
        let host = try l610 { $0.hasMQTT = false }
        try host.expect("AT+TCMQTTSTATE?", "\r\nERROR\r\n")
    }

    /// What the published firmware makes of payloads behind its prompt.
    @Test(arguments: [
        (#"{\"a\":1\,\"b\":2}"#, #"{ "a" :1 , "b" :2}"#), (#"a\b"#, #"a\b"#), (#"\""#, #" ""#), ("\\", "\\"), ("", ""),
    ])
    func changesWhatLooksLikeAnEscape(payload: String, changed: String) {
        #expect(String(decoding: TencentFirmware.changed(Array(payload.utf8)), as: UTF8.self) == changed)
    }

    @Test func masksTheSecret() {
        #expect(
            TencentFirmware.masked("> " + Self.identity + ",\"ap-guangzhou\"")
                == "> AT+TCDEVINFOSET=1,\"CTQS08Y5LG\",\"Dev01\",\"***\",\"ap-guangzhou\""
        )
        #expect(TencentFirmware.masked("AT+TCMQTTSTATE?") == "AT+TCMQTTSTATE?")
    }

    /// Whether the signature is right, the hub decides: `ModemMQTTHubTests`.
    @Test func makesLogins() throws {
        let login = try #require(DeviceLogin(productID: "CTQS08Y5LG", deviceName: "Dev01", secret: "ZHNkIGRzZCA="))
        #expect(login.key == Array("dsd dsd ".utf8))
        #expect(login.clientID == "CTQS08Y5LGDev01")
        let parts = login.userName.split(separator: ";")
        #expect(parts.count == 4 && parts[0] == "CTQS08Y5LGDev01" && parts[2].count == 5)
        #expect(login.password.count == 49 && login.password.hasSuffix(";hmacsha1"))
        #expect(DeviceLogin(productID: "P", deviceName: "D", secret: "#") == nil)
        // RFC 1321, A.5.
        #expect(DeviceLogin.md5(Array("abc".utf8)) == "900150983cd24fb0d6963f7d28e17f72")
    }
}
