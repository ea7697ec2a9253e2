import CLinux
import Kernel
import NetworkSimulator
import SAL
import SecureTransport
import Testing

/// DTLS with GnuTLS at the other end, which does some things otherwise than OpenSSL.
@Suite(.timeLimit(.minutes(1)), .serialized) struct GnuTLSTests {
    static let priority = "NORMAL:-VERS-ALL:+VERS-DTLS1.2"

    /// GnuTLS's `gnutls-serv`, which echoes.
    final class Server: Sendable {
        let port: UInt16
        private let processID: pid_t

        init(_ options: String) async throws {
            // A port that is free now.
            let loop = EventLoop.start()
            let channel = try await DatagramChannel.bind(
                at: SocketAddress(address: .loopbackIPv4, port: 0),
                over: LinuxNetwork(loop: loop)
            )
            let port = await channel.localAddress?.port ?? 0
            await channel.close()
            loop.stop()
            self.port = port
            let log = "\(TestPKI.directory)/gnutls-\(port)"
            let (_, number) = await Shell.run(
                "setsid gnutls-serv --udp --echo --port \(port) \(options) > \(log) 2>&1 < /dev/null & echo $!"
            )
            processID = pid_t(number.split(separator: "\n").first ?? "") ?? 0
            for _ in 0..<500 {
                if await Shell.run("grep -q 'done$' \(log)").status == 0 { return }
                try await Task.sleep(for: .milliseconds(10))
            }
            throw SocketError.timedOut
        }

        deinit { if processID > 0 { kill(-processID, SIGKILL) } }
    }

    private static func keyFile() -> String {
        let path = "\(TestPKI.directory)/psk.txt"
        _ = system("echo device:\(OpenSSLTests.keyText) > \(path)")
        return path
    }

    private func echo(_ server: Server, _ configuration: TLSConfiguration) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let network = try SecureDatagramNetwork(over: LinuxNetwork(loop: loop), configuration)
        for _ in 0..<2 {
            let channel = try await DatagramChannel.open(
                to: Endpoint(host: "127.0.0.1", port: server.port),
                over: network,
                within: .seconds(20)
            )
            try await channel.send(Array("hello\n".utf8))
            #expect(try await channel.receive(.seconds(20))?.bytes == Array("hello\n".utf8))
            await channel.close()
        }
    }

    @Test(arguments: ["AES-128-GCM", "AES-128-CCM", "CHACHA20-POLY1305", "AES-128-CCM-8"])
    func ourClientHasItsKey(cipher: String) async throws {
        let server = try await Server(
            "--pskpasswd \(Self.keyFile()) --priority \(Self.priority):-KX-ALL:+PSK:-CIPHER-ALL:+\(cipher)"
        )
        try await echo(server, SessionTests.key("device", OpenSSLTests.keyBytes))
    }

    /// A server that has a certificate too would choose it if a client with a key offered such suites.
    @Test func ourClientHasItsKeyWhereThereAreCertificatesToo() async throws {
        let directory = TestPKI.directory
        let server = try await Server(
            "--pskpasswd \(Self.keyFile()) --x509certfile \(directory)/good-ec.crt --x509keyfile \(directory)/good-ec.key --priority \(Self.priority):+PSK:+ECDHE-PSK"
        )
        try await echo(server, SessionTests.key("device", OpenSSLTests.keyBytes))
    }

    @Test(arguments: ["good-ec", "good-rsa2048"]) func ourClientTrustsItsCertificate(name: String) async throws {
        let directory = TestPKI.directory
        let server = try await Server(
            "--x509certfile \(directory)/\(name).crt --x509keyfile \(directory)/\(name).key --priority \(Self.priority)"
        )
        try await echo(server, TLSConfiguration(trust: TestPKI.trust))
    }

    @Test(arguments: [false, true]) func itsClientTalksToOurServer(withCertificates: Bool) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let configuration = withCertificates ? SessionTests.good : DTLSTests.keyServer
        let echo = OpenSSLTests.DatagramEcho()
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
        let options =
            withCertificates
            ? "--x509cafile \(TestPKI.directory)/root.crt --verify-hostname localhost --priority \(Self.priority)"
            : "--pskusername device --pskkey \(OpenSSLTests.keyText) --priority \(Self.priority):-KX-ALL:+PSK"
        let (_, output) = await Shell.run(
            "(echo hello; sleep 0.5) | timeout 10 gnutls-cli --udp -p \(port) 127.0.0.1 \(options) 2>&1"
        )
        #expect(output.contains("Handshake was completed") && output.contains("\nhello"), "\(output)")
        await loop.call { echo.socket?.close() }
    }
}
