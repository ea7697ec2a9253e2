import CLinux
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// Handshakes with OpenSSL and with mosquitto that succeed, and those that cannot.
@Suite(.timeLimit(.minutes(1))) struct TLSHandshakeTests {
    @Test func agreesWithAServerThatHasTheKey() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        #expect(await client.echoes("hello"))
        await client.close()
        #expect(await client.end() == nil)
    }

    @Test func namesTheAlertAboutAWrongKey() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port, TLSClient.preSharedKey(key: [1, 2, 3, 4]))
        #expect(await client.end() == .alertReceived(.badRecordMAC))
        #expect(client.error == .security(code: 0))
        #expect(!client.isOpen)
        // The server is none the worse for it.
        let other = try await TLSClient(server.port)
        try await other.handshake()
        await other.close()
        #expect(await other.end() == nil)
    }

    /// OpenSSL's own server takes any identity; mosquitto knows those of a file.
    @Test func namesTheAlertAboutAnUnknownIdentity() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let port = try ReservedPort(address: "127.0.0.1", port: 0)
        let number = port.number
        try replaceFile("\(directory)/keys", with: Array("device-1:\(hex(TLSServer.key))\n".utf8))
        let settings = """
            user root
            listener \(number) 127.0.0.1
            allow_anonymous true
            psk_hint hub
            psk_file \(directory)/keys

            """
        try replaceFile("\(directory)/conf", with: Array(settings.utf8))
        let broker = try TestProgram("mosquitto", ["-c", "\(directory)/conf"])
        #expect(await eventually { ReservedPort.accepts(address: "127.0.0.1", port: number) }, "\(broker.output)")
        let known = try await TLSClient(number)
        try await known.handshake()
        await known.close()
        #expect(await known.end() == nil)
        let unknown = try await TLSClient(number, TLSClient.preSharedKey(identity: Array("device-2".utf8)))
        #expect(await unknown.end() == .alertReceived(.unknownPSKIdentity))
        #expect("\(TLSAlert.unknownPSKIdentity)" == "unknown_psk_identity")
    }

    /// What Tencent's hub speaks is offered only where it is asked for.
    @Test func offersLegacySuitesOnlyWhenConfigured() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey + ["-cipher", "PSK-AES128-CBC-SHA:@SECLEVEL=0"])
        let secure = try await TLSClient(server.port)
        #expect(await secure.end() == .alertReceived(.handshakeFailure))
        let legacy = try await TLSClient(server.port, TLSClient.preSharedKey(suites: .legacyPreSharedKey))
        try await legacy.handshake()
        #expect(await legacy.echoes("CBC"))
        await legacy.close()
        #expect(await legacy.end() == nil)
    }

    @Test func reportsThatNoCipherSuiteIsInCommon() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let certificate = try await TestCertificate(in: directory, name: "localhost")
        let server = try await TLSServer(["-cert", certificate.path, "-key", certificate.keyPath])
        let client = try await TLSClient(server.port)
        #expect(await client.end() == .alertReceived(.handshakeFailure))
    }

    @Test func reportsThatNoVersionIsInCommon() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey, version: "-tls1_3")
        let client = try await TLSClient(server.port)
        #expect(await client.end() == .alertReceived(.protocolVersion))
    }

    @Test func givesUpAtTheDeadline() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        // The system still accepts connections for it.
        server.signal(SIGSTOP)
        defer { server.signal(SIGKILL) }
        let client = try await TLSClient(server.port, timeout: .milliseconds(100))
        #expect(await client.end() == .timedOut)
        #expect(client.error == .timedOut)
        #expect(client.wire?.stream?.wasAborted == true)
    }

    @Test func reportsAServerThatClosesAfterTheFirstMessage() async throws {
        let listener = try RawListener()
        async let served: Void = listener.serve([])
        let client = try await TLSClient(listener.port)
        #expect(await client.end() == .closedInHandshake)
        await served
    }

    /// The end comes within a record header, at its end, within the ServerHello, and in what follows it.
    @Test(arguments: [0, 1, 5, 6, 40, 90, 110, 140])
    func reportsAServerThatClosesInTheMiddleOfItsMessages(count: Int) async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port, faults: WireFaults(endsAfter: count))
        #expect(await client.end() == .closedInHandshake)
        #expect(!client.isOpen)
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        "220 mail.example ESMTP\r\n",
    ])
    func reportsAServerThatDoesNotSpeakTLS(answer: String) async throws {
        let listener = try RawListener()
        async let served: Void = listener.serve(Array(answer.utf8))
        let client = try await TLSClient(listener.port)
        let failure = await client.end()
        guard case .protocolFailure(let code) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(client.error == .security(code: code) && code < 0)
        await served
    }

    /// Whatever comes, the connection ends with an error, and nothing traps.
    @Test func survivesRandomRecords() async throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<30 {
            var bytes = (0..<Int.random(in: 1...2_000)).map { _ in UInt8.random(in: 0...255, using: &random) }
            // Most begin as a handshake record of TLS 1.2 does, so that more of the parser is reached.
            if Bool.random() { bytes.replaceSubrange(0..<min(5, bytes.count), with: [22, 3, 3, 1, 0]) }
            if Bool.random() { bytes.insert(contentsOf: [22, 3, 3, 0, 80, 2, 0, 0, 76, 3, 3], at: 0) }
            let answer = bytes
            let listener = try RawListener()
            async let served: Void = listener.serve(answer)
            let client = try await TLSClient(listener.port)
            let failure = await client.end()
            // A close with unread bytes in the system is a reset.
            #expect(failure != nil || client.error != nil, "\(answer)")
            #expect(!client.isOpen, "\(answer)")
            await served
        }
    }

    /// What arrives first is changed by one bit.
    @Test func refusesAServerHelloThatWasTamperedWith() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port, faults: WireFaults(receivedMask: 1))
        #expect(await client.end() != nil)
        #expect(!client.isOpen)
    }
}
