import CLinux
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// Connections that are up: their data, their ends, and what can go wrong in between. The peer is OpenSSL.
@Suite(.timeLimit(.minutes(1))) struct TLSRecordTests {
    private static let megabyte = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    @Test func carriesAMegabyteBothWaysAtOnce() async throws {
        let server = try await TLSPipeServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        async let sent: Void = server.send(Self.megabyte)
        await client.send(Self.megabyte)
        await client.wait { $0.received.count >= Self.megabyte.count }
        await sent
        #expect(client.received == Self.megabyte)
        #expect(await server.received(Self.megabyte.count) == Self.megabyte)
        await client.close()
        #expect(await client.end() == nil)
    }

    @Test func worksOverAStreamThatCarriesOneByteAtATime() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port, faults: WireFaults(isNarrow: true))
        try await client.handshake()
        #expect(await client.echoes(String(repeating: "a narrow wire ", count: 100)))
        #expect(await client.echoes("again"))
        await client.send("CLOSE\n")
        #expect(await client.end() == nil)
        #expect(client.error == nil)
    }

    @Test func worksWithCertificatesOverAStreamThatCarriesOneByteAtATime() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let certificate = try await TestCertificate(in: directory, name: "localhost")
        let server = try await TLSServer(["-cert", certificate.path, "-key", certificate.keyPath])
        let configuration = TLSConfiguration(trust: .anchors(try readFile(certificate.path)))
        let client = try await TLSClient(server.port, configuration, faults: WireFaults(isNarrow: true))
        try await client.handshake()
        #expect(await client.echoes("hello"))
        await client.close()
        #expect(await client.end() == nil)
    }

    @Test func holdsBackThePeerWhileNothingIsTaken() async throws {
        let server = try await TLSPipeServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        await client.onLoop { $0.window = 0 }
        try await client.handshake()
        let before = await client.onLoop { $0.wire?.stream?.takenCount ?? 0 }
        async let sent: Void = server.send(Self.megabyte)
        // The secure stream leaves bytes to the stream below, which then reads no more.
        await client.poll { $0.wire?.stream?.hasRefused ?? false }
        let held = await client.onLoop { ($0.wire?.stream?.takenCount ?? 0) - before }
        #expect(held <= 16_384 + 64, "one record, and not more, is decrypted ahead")
        #expect(await client.onLoop { $0.received.isEmpty && !$0.isClosed })
        // Nothing is lost when it resumes, in pieces that are no multiple of a record.
        while await client.onLoop({ $0.received.count < Self.megabyte.count && !$0.isClosed }) {
            await client.take(100_003)
        }
        await sent
        #expect(client.received == Self.megabyte)
        await client.close()
        #expect(await client.end() == nil)
    }

    @Test func deliversWhatCameBeforeTheEndToALateHandler() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        await client.onLoop { $0.window = 0 }
        try await client.handshake()
        await client.send("first\nsecond\nCLOSE\n")
        #expect(await server.prints("CONNECTION CLOSED"))
        #expect(await client.onLoop { !$0.isClosed })
        while await client.onLoop({ !$0.isClosed }) { await client.take(1) }
        #expect(client.received == Array("tsrif\ndnoces\n".utf8))
        #expect(client.failure == nil && client.error == nil)
    }

    @Test func answersCloseNotifyWithItsOwn() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        await client.send("CLOSE\n")
        #expect(await client.end() == nil)
        #expect(client.error == nil)
        // The last record is an alert (21); the line before it is application data (23).
        #expect(recordTypes(client).suffix(2) == [23, 21])
    }

    @Test func saysGoodbyeBeforeItCloses() async throws {
        let server = try await TLSPipeServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        await client.close()
        #expect(await client.end() == nil)
        #expect(client.error == nil)
        // It serves one after another: with the second it is through with the first.
        let second = try await TLSClient(server.port)
        try await second.handshake()
        #expect(server.output == "")
        await second.abort()
        #expect(await second.end() == nil)
    }

    @Test func abortSaysNothing() async throws {
        let server = try await TLSPipeServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        await client.abort()
        #expect(await client.end() == nil)
        #expect(client.error == nil)
        #expect(recordTypes(client).last == 22, "the last record is that of the handshake")
    }

    @Test func sendsWhatWasTakenBeforeItCloses() async throws {
        let server = try await TLSPipeServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        let bytes = Array(Self.megabyte[..<65_536])
        await client.send(bytes)
        await client.close()
        #expect(await client.end() == nil)
        #expect(await server.received(bytes.count) == bytes)
    }

    @Test func tellsTruncationFromAnEnd() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        #expect(await client.echoes("hello"))
        // The system closes its socket, without a word of TLS.
        server.signal(SIGKILL)
        #expect(await client.end() == .truncated)
        #expect(client.error == .security(code: 0))
    }

    @Test func reportsAnEndInTheMiddleOfARecord() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        await client.onLoop { client in
            guard let wire = client.wire?.stream else { return }
            wire.faults.endsAfter = wire.takenCount + 20
        }
        await client.send("hello\n")
        #expect(await client.end() == .truncated)
        #expect(client.received.isEmpty)
    }

    @Test func refusesARecordThatWasTamperedWith() async throws {
        let server = try await TLSPipeServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        await client.onLoop { $0.wire?.stream?.faults.receivedMask = 0x40 }
        await server.send([1, 2, 3])
        // MBEDTLS_ERR_SSL_INVALID_MAC
        #expect(await client.end() == .protocolFailure(code: -0x7180))
        #expect(client.error == .security(code: -0x7180))
        #expect(client.received.isEmpty)
        #expect(await server.prints("alert bad record mac"), "\(server.output)")
    }

    @Test func namesTheAlertAboutARecordThatWasTamperedWith() async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        try await client.handshake()
        await client.onLoop { $0.wire?.stream?.faults.sentMask = 0x40 }
        await client.send("hello\n")
        #expect(await client.end() == .alertReceived(.badRecordMAC))
    }

    /// A handler that gives up in the middle of what it is offered again, with bytes left: the end is told all the same.
    @Test(arguments: [false, true], [false, true])
    func endsWhenTheHandlerClosesWhileItTakes(aborts: Bool, peerHasEnded: Bool) async throws {
        let server = try await TLSServer(TLSServer.preSharedKey)
        let client = try await TLSClient(server.port)
        await client.onLoop { $0.window = 0 }
        try await client.handshake()
        await client.send(peerHasEnded ? "first\nCLOSE\n" : "first\n")
        if peerHasEnded { #expect(await server.prints("CONNECTION CLOSED")) }
        await client.wait { $0.offers > 0 }
        await client.onLoop { $0.endsOnReceive = aborts ? .abort : .close }
        await client.take(2)
        #expect(await client.end() == nil)
        #expect(client.received == Array("ts".utf8))
    }

    /// The content types of the records that a client has sent.
    private func recordTypes(_ client: TLSClient) -> [UInt8] {
        let bytes = client.wire?.stream?.sent ?? []
        var types: [UInt8] = []
        var index = 0
        while index + 5 <= bytes.count {
            types.append(bytes[index])
            index += 5 + Int(bytes[index + 3]) << 8 + Int(bytes[index + 4])
        }
        return types
    }
}
