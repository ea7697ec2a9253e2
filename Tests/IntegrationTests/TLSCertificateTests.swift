import CLinux
import Kernel
import MQTTClient
import QCloudIoTHub
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// Servers whose certificate must not be accepted, and what the client says about it.
@Suite(.timeLimit(.minutes(1))) struct TLSCertificateTests {
    @Test func rejectsACertificateOfAnUntrustedIssuer() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let other = try await TestCertificate(in: directory, name: "other")
        try await TestHub.with { test in
            try await test.withDevice(by: .certificate, trust: try readFile(other.path)) { device in
                let problem = try await problems { () throws(MQTTError) in try await device.device.connect() }
                #expect(problem?.problems == .unknownIssuer)
                #expect(problem?.wanted == "127.0.0.1")
            }
        }
    }

    @Test func rejectsACertificateForAnotherName() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .certificate, serverName: "another.example") { device in
                let problem = try await problems { () throws(MQTTError) in try await device.device.connect() }
                #expect(problem?.problems == .wrongName)
                #expect(problem?.wanted == "another.example")
                #expect(problem?.names.contains("localhost") ?? false)
            }
        }
    }

    @Test func acceptsTheNameThatIsConfigured() async throws {
        try await TestHub.with { test in
            try await test.withDevice(by: .certificate, serverName: "hub.apus.test") { device in
                try await device.device.connect()
            }
        }
    }

    @Test(arguments: [
        ("20200101000000Z", "20200102000000Z", CertificateProblems.expired),
        ("20990101000000Z", "20990102000000Z", CertificateProblems.notYetValid),
    ])
    func rejectsACertificateOutOfItsTime(start: String, end: String, problem: CertificateProblems) async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let certificate = try await TestCertificate(in: directory, name: "localhost", from: start, to: end)
        let port = try ReservedPort(address: "127.0.0.1", port: 0)
        // s_server binds without SO_REUSEPORT, but with SO_REUSEADDR, as the reservation has.
        let server = try TestProgram(
            "openssl",
            [
                "s_server", "-accept", "127.0.0.1:\(port.number)", "-tls1_2", "-quiet", "-cert", certificate.path,
                "-key", certificate.keyPath,
            ]
        )
        let number = port.number
        #expect(await eventually { ReservedPort.accepts(address: "127.0.0.1", port: number) }, "\(server.output)")
        let loop = EventLoop.start()
        defer { loop.stop() }
        let network = try SecureNetwork(
            over: LinuxNetwork(loop: loop),
            TLSConfiguration(trust: .anchors(try readFile(certificate.path)))
        )
        let client = MQTTClient(
            to: Endpoint(host: "127.0.0.1", port: number),
            over: network,
            configuration: MQTTConfiguration(clientID: [65]),
            reconnects: false
        )
        let found = try await problems { () throws(MQTTError) in try await client.connect() }
        #expect(found?.problems == problem)
    }

    private struct Rejection {
        let problems: CertificateProblems
        let names: [String]
        let wanted: String
    }

    /// What was wrong with the certificate, if that is what `body` fails with.
    private func problems(_ body: () async throws(MQTTError) -> Void) async throws -> Rejection? {
        let error = await #expect(throws: MQTTError.self) { try await body() }
        guard case .secure(.certificateRejected(let rejection)) = error else {
            Issue.record("\(String(describing: error))")
            return nil
        }
        return Rejection(problems: rejection.problems, names: rejection.names, wanted: rejection.wanted)
    }
}

/// A self-signed certificate for localhost, made by OpenSSL.
struct TestCertificate {
    let path: String
    let keyPath: String

    init(
        in directory: String,
        name: String,
        from start: String = "20200101000000Z",
        to end: String = "20990101000000Z"
    ) async throws {
        path = "\(directory)/\(name).crt"
        keyPath = "\(directory)/\(name).key"
        let configuration = """
            [ca]
            default_ca = d
            [d]
            database = \(directory)/index
            serial = \(directory)/serial
            new_certs_dir = \(directory)
            default_md = sha256
            policy = p
            copy_extensions = copy
            [p]
            commonName = supplied
            """
        try replaceFile("\(directory)/ca.cnf", with: Array(configuration.utf8))
        try replaceFile("\(directory)/index", with: [])
        try replaceFile("\(directory)/serial", with: Array("01\n".utf8))
        let request = await run(
            "openssl",
            [
                "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", keyPath,
                "-out", "\(directory)/csr", "-subj", "/CN=\(name)", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ]
        )
        try #require(request.status == 0, "\(request.output)")
        let signed = await run(
            "openssl",
            [
                "ca", "-batch", "-config", "\(directory)/ca.cnf", "-selfsign", "-keyfile", keyPath, "-in",
                "\(directory)/csr", "-out", path, "-startdate", start, "-enddate", end, "-notext",
            ]
        )
        try #require(signed.status == 0, "\(signed.output)")
    }
}
