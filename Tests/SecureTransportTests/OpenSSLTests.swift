import CLinux
import Kernel
import NetworkSimulator
import SAL
import SecureTransport
import Testing

/// Every suite that we agree to, with OpenSSL at the other end, both ways round.
@Suite(.timeLimit(.minutes(2)), .serialized) struct OpenSSLTests {
    struct Suite: Sendable, CustomStringConvertible {
        let name: String
        var key = ""
        var isLegacy = false
        var isDatagramOnly = false
        var description: String { name }
    }

    static let suites: [Suite] =
        ["AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES256-GCM-SHA384"].flatMap {
            [Suite(name: "ECDHE-ECDSA-\($0)", key: "good-ec"), Suite(name: "ECDHE-RSA-\($0)", key: "good-rsa2048")]
        }
        + [
            "ECDHE-PSK-CHACHA20-POLY1305", "PSK-AES128-GCM-SHA256", "PSK-AES256-GCM-SHA384", "PSK-CHACHA20-POLY1305",
            "PSK-AES128-CCM",
        ]
        .map { Suite(name: $0) }
        + ["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA"].map { Suite(name: $0, isLegacy: true) }
        + [
            Suite(name: "ECDHE-ECDSA-AES128-CCM8", key: "good-ec", isDatagramOnly: true),
            Suite(name: "PSK-AES128-CCM8", isDatagramOnly: true),
        ]

    static let keyBytes = Array(UInt8(1)...16)
    static let keyText = "0102030405060708090a0b0c0d0e0f10"

    private func serverConfiguration(_ suite: Suite) -> TLSServerConfiguration {
        guard suite.key.isEmpty else { return TLSServerConfiguration(certificates: [TestPKI.certificate(suite.key)]) }
        var configuration = TLSServerConfiguration { _ in SecretBytes(Self.keyBytes) }
        if suite.isLegacy { configuration.suites = .legacyPreSharedKey }
        return configuration
    }

    private func clientConfiguration(_ suite: Suite) -> TLSConfiguration {
        suite.key.isEmpty
            ? SessionTests.key("device", Self.keyBytes, suite.isLegacy ? .legacyPreSharedKey : .secure)
            : TLSConfiguration(trust: TestPKI.trust)
    }

    /// What OpenSSL's client is told.
    private func clientOptions(_ suite: Suite) -> String {
        // At the usual level of security OpenSSL takes neither short tags nor SHA-1.
        let cipher = "-cipher \(suite.name):@SECLEVEL=0"
        return suite.key.isEmpty
            ? "\(cipher) -psk \(Self.keyText) -psk_identity device"
            : "\(cipher) -CAfile \(TestPKI.directory)/root.crt -verify_return_error -servername localhost"
    }

    private func serverOptions(_ suite: Suite) -> String {
        let cipher = "-cipher \(suite.name):@SECLEVEL=0"
        let directory = TestPKI.directory
        return suite.key.isEmpty
            ? "\(cipher) -psk \(Self.keyText) -nocert"
            : "\(cipher) -cert \(directory)/\(suite.key).crt -key \(directory)/\(suite.key).key"
    }

    // MARK: OpenSSL is the client

    @Test(arguments: suites.filter { !$0.isDatagramOnly })
    func openSSLTalksToOurServer(suite: Suite) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureServerNetwork(over: LinuxNetwork(loop: loop), serverConfiguration(suite))
        let listener = try await Listener.open(at: SocketAddress(address: .loopbackIPv4, port: 0), over: network)
        let port = try #require(listener.localAddress?.port)
        let serving = Task {
            guard let connection = try await listener.accept(.seconds(20)) else { return }
            try await connection.write(try await connection.read(exactly: 6, .seconds(20)))
            await connection.close()
        }
        let (status, output) = await Shell.run(
            "echo hello | openssl s_client -connect 127.0.0.1:\(port) -tls1_2 -quiet \(clientOptions(suite)) 2>&1"
        )
        #expect(status == 0 && output.contains("hello"), "\(output)")
        try await serving.value
        await listener.close()
    }

    @Test func openSSLResumesByTicketAndByIdentifier() async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureServerNetwork(
            over: LinuxNetwork(loop: loop),
            TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        )
        let listener = try await Listener.open(at: SocketAddress(address: .loopbackIPv4, port: 0), over: network)
        let port = try #require(listener.localAddress?.port)
        let serving = Task {
            for try await connection in listener.connections { await connection.close() }
        }
        for option in ["", "-no_ticket"] {
            let session = "\(TestPKI.directory)/session\(option)"
            let command = "openssl s_client -connect 127.0.0.1:\(port) -tls1_2 \(option) < /dev/null 2>&1"
            let first = await Shell.run("\(command.replacing(" <", with: " -sess_out \(session) <"))")
            #expect(first.output.contains("New, TLSv1.2"), "\(first.output)")
            let second = await Shell.run("\(command.replacing(" <", with: " -sess_in \(session) <"))")
            #expect(second.output.contains("Reused, TLSv1.2"), "\(second.output)")
        }
        await listener.close()
        try await serving.value
    }

    @Test(arguments: ["-tls1_1", "-tls1_3", "-tls1_2 -cipher AES128-SHA:@SECLEVEL=0"])
    func otherVersionsAndSuitesAreRefused(options: String) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let failures = Guarded<[SecureTransportError]>([])
        let network = try SecureServerNetwork(
            over: LinuxNetwork(loop: loop),
            TLSServerConfiguration(certificates: [TestPKI.certificate("good-rsa2048")])
        ) { error, _ in failures.withLock { $0.append(error) } }
        let listener = try await Listener.open(at: SocketAddress(address: .loopbackIPv4, port: 0), over: network)
        let port = try #require(listener.localAddress?.port)
        let (status, output) = await Shell.run(
            "openssl s_client -connect 127.0.0.1:\(port) \(options) < /dev/null 2>&1"
        )
        #expect(status != 0 && output.contains("alert"), "\(output)")
        // The peer may know before we do.
        for _ in 0..<500 where failures.withLock({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(10)) }
        #expect(failures.withLock { $0.count } == 1)
        await listener.close()
    }

    /// A renegotiation is refused (RFC 5246, 7.2.2: no_renegotiation), and does not end the session.
    @Test func aRenegotiationIsRefused() async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureServerNetwork(
            over: LinuxNetwork(loop: loop),
            TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        )
        let listener = try await Listener.open(at: SocketAddress(address: .loopbackIPv4, port: 0), over: network)
        let port = try #require(listener.localAddress?.port)
        let serving = Task {
            for try await connection in listener.connections {
                while let bytes = try? await connection.read(.seconds(20)), !bytes.isEmpty {
                    try? await connection.write(bytes)
                }
                await connection.close()
            }
        }
        // s_client takes a line that is "R" as the command to renegotiate.
        let (_, output) = await Shell.run(
            "(sleep 0.3; echo R; sleep 0.5; echo hello; sleep 0.3) | openssl s_client -connect 127.0.0.1:\(port) -tls1_2 2>&1"
        )
        #expect(output.contains("RENEGOTIATING"), "\(output)")
        #expect(output.contains("no renegotiation") || output.contains("handshake failure"), "\(output)")
        await listener.close()
        try await serving.value
    }

    @Test(arguments: ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"])
    func openSSLExportsTheSameKeys(suite: String) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureServerNetwork(
            over: LinuxNetwork(loop: loop),
            TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
        )
        let exporter = Exporter()
        let port = try await loop.call {
            Result { () throws(SocketError) in
                let listener = try network.listen(at: SocketAddress(address: .loopbackIPv4, port: 0), handler: exporter)
                exporter.listener = listener
                return listener.localAddress?.port ?? 0
            }
        }
        .get()
        let (_, output) = await Shell.run(
            "(sleep 0.3) | openssl s_client -connect 127.0.0.1:\(port) -tls1_2 -cipher \(suite) -keymatexport EXPERIMENTAL-apus -keymatexportlen 40 2>&1"
        )
        let key = output.split(separator: "Keying material: ").last.map { String($0.prefix(80)) }
        let ours = await loop.call { exporter.key }
        #expect(ours.map { hex($0) } == key?.lowercased(), "\(output)")
        let other = await loop.call { exporter.keyWithContext }
        #expect(other?.count == 40 && other != ours)
        await loop.call { exporter.listener?.close() }
    }

    final class Exporter: StreamListenerHandler, ByteStreamHandler, @unchecked Sendable {
        // @unchecked: used on its loop only.
        var listener: (any StreamListener)?
        var key: [UInt8]?
        var keyWithContext: [UInt8]?

        func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
            stream.handler = self
            guard let stream = stream as? SecureStream else { return }
            func export(_ context: [UInt8]?) -> [UInt8]? {
                stream.exportKeyingMaterial(label: "EXPERIMENTAL-apus", context: context, count: 40)?
                    .withBytes { bytes in bytes.indices.map { bytes[$0] } }
            }
            key = export(nil)
            keyWithContext = export([])
        }
        func opened() {}
        func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
        func writable() {}
        func closed(_ error: SocketError?) {}
    }

    // MARK: OpenSSL is the server

    @Test(arguments: suites.filter { !$0.isDatagramOnly })
    func ourClientTalksToOpenSSL(suite: Suite) async throws {
        let server = try await OpenSSLServer("-tls1_2 -rev \(serverOptions(suite))")
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureNetwork(over: LinuxNetwork(loop: loop), clientConfiguration(suite))
        for _ in 0..<2 {
            let connection = try await Connection.open(
                to: Endpoint(host: "localhost", port: server.port),
                over: network,
                within: .seconds(20)
            )
            try await connection.write("hello\n")
            #expect(try await connection.read(exactly: 6, .seconds(20)) == Array("olleh\n".utf8))
            await connection.close()
        }
    }

    // MARK: DTLS

    @Test(arguments: suites)
    func openSSLTalksToOurDatagramServer(suite: Suite) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let configuration = serverConfiguration(suite)
        let echo = DatagramEcho()
        let port = try await loop.call {
            Result { () throws(SecureTransportError) in
                let server = try SecureDatagramServer(
                    at: SocketAddress(address: .loopbackIPv4, port: 0),
                    over: LinuxNetwork(loop: loop),
                    configuration,
                    handler: echo
                )
                echo.socket = server
                return server.localAddress?.port ?? 0
            }
        }
        .get()
        let (_, output) = await Shell.run(
            "(echo hello; sleep 0.5) | openssl s_client -connect 127.0.0.1:\(port) -dtls1_2 -quiet -no_ign_eof \(clientOptions(suite)) 2>&1"
        )
        #expect(output.contains("hello"), "\(output)")
        await loop.call { echo.socket?.close() }
    }

    @Test(arguments: suites)
    func ourClientTalksToOpenSSLOverDatagrams(suite: Suite) async throws {
        // It says what comes on its input, and prints what it hears.
        let server = try await OpenSSLServer(
            "-dtls1_2 \(serverOptions(suite))",
            input: "while sleep 0.1; do echo welcome; done"
        )
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureDatagramNetwork(over: LinuxNetwork(loop: loop), clientConfiguration(suite))
        let channel = try await DatagramChannel.open(
            to: Endpoint(host: "127.0.0.1", port: server.port),
            over: network,
            within: .seconds(20)
        )
        try await channel.send(Array("hello\n".utf8))
        // On a busy machine it is said several times at once.
        let welcome = try #require(try await channel.receive(.seconds(20)))
        #expect(welcome.bytes.starts(with: "welcome\n".utf8))
        #expect(await server.prints("hello"))
        await channel.close()
    }

    final class DatagramEcho: DatagramHandler, @unchecked Sendable {
        // @unchecked: used on its loop only.
        var socket: SecureDatagramServer?
        func opened() {}
        func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
            try? socket?.send(datagram, to: peer)
        }
        func closed(_ error: SocketError?) { socket = nil }
    }
}

/// Commands of the shell, run to their end on a thread of their own.
enum Shell {
    static func run(_ command: String) async -> (status: Int32, output: String) {
        await withCheckedContinuation { continuation in
            _ = try? KernelTask {
                guard let pipe = popen(command, "r") else { return continuation.resume(returning: (-1, "")) }
                var output: [UInt8] = []
                var buffer = [UInt8](repeating: 0, count: 4_096)
                while true {
                    let count = fread(&buffer, 1, buffer.count, pipe)
                    guard count > 0 else { break }
                    output += buffer[..<count]
                }
                let status = pclose(pipe)
                continuation.resume(returning: (status >> 8 & 255, String(decoding: output, as: UTF8.self)))
            }
        }
    }
}

/// OpenSSL's `s_server` on a free port.
final class OpenSSLServer: Sendable {
    let port: UInt16
    private let processID: Int

    init(_ options: String, input: String? = nil) async throws {
        // A port that was free just now.
        let loop = EventLoop.start()
        let listener = try await Listener.open(
            at: SocketAddress(address: .loopbackIPv4, port: 0),
            over: LinuxNetwork(loop: loop)
        )
        port = listener.localAddress?.port ?? 0
        await listener.close()
        loop.stop()
        log = "\(TestPKI.directory)/server-\(port)"
        let command = "openssl s_server -accept 127.0.0.1:\(port) \(options)"
        let fed = input.map { "(\($0)) 2> /dev/null | \(command)" } ?? "\(command) < /dev/null"
        let (_, number) = await Shell.run("setsid sh -c '\(fed)' > \(log) 2>&1 & echo $!")
        processID = Int(number.split(separator: "\n").first ?? "") ?? 0
        guard await prints("ACCEPT") else { throw SocketError.timedOut }
    }

    private let log: String

    /// Whether it prints a text within ten seconds.
    func prints(_ text: String) async -> Bool {
        for _ in 0..<500 {
            if await Shell.run("grep -q \(text) \(log)").status == 0 { return true }
            try? await Task.sleep(for: .milliseconds(20))
        }
        return false
    }

    deinit { if processID > 0 { kill(-pid_t(processID), SIGKILL) } }
}

extension String {
    fileprivate func replacing(_ part: String, with other: String) -> String {
        split(separator: part, omittingEmptySubsequences: false).joined(separator: other)
    }
}
