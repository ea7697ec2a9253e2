import CLinux
import Kernel
import NetworkSimulator
import SAL
import Testing

@testable import SecureTransport

/// The certificates of Fixtures/certificates, made once per run.
enum TestPKI {
    static let directory: String = {
        var path = Array("/tmp/apus-tls-XXXXXX".utf8CString)
        precondition(mkdtemp(&path) != nil)
        let directory = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
        let status = system("\(root)/Fixtures/certificates/make-certificates.sh \(directory)")
        precondition(status == 0, "cannot make the certificates; is openssl installed?")
        atexit { system("rm -rf \(TestPKI.directory)") }
        return directory
    }()

    static func bytes(_ name: String) -> [UInt8] {
        let file = clinux_open("\(directory)/\(name)", O_RDONLY, 0)
        precondition(file >= 0, "there is no \(name)")
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(file, &buffer, buffer.count)
            guard count > 0 else { return bytes }
            bytes += buffer[..<count]
        }
    }

    static func certificate(_ name: String) -> TLSCertificate {
        TLSCertificate(chain: bytes("\(name).crt"), privateKey: SecretBytes(bytes("\(name).key")))
    }

    static var trust: TLSTrust { .anchors(bytes("root.crt")) }
}

/// A client and a server of TLS over a simulated network, and what they tell.
struct TLSPair: Sendable {
    /// What came of a handshake.
    struct Outcome: Sendable {
        var client: SecureTransportError?
        var server: SecureTransportError?
        var clientAgreement: TLSAgreement?
        var serverAgreement: TLSAgreement?
        /// What the server got, and what the client got back.
        var wasEchoed = false
    }

    static let port: UInt16 = 8883

    /// Runs `body` with two hosts in virtual time; the second has the names that the certificates are for.
    static func withHosts<Result: Sendable>(
        _ conditions: Conditions = Conditions(),
        _ body: @escaping @Sendable (SimulatedHost, SimulatedHost) async throws -> Result
    ) async throws -> Result {
        try await EventLoop.inVirtualTime { loop in
            let network = SimulatedNetwork(loop: loop, seed: 3, conditions: conditions)
            let names = [
                "localhost", "hub.example", "a.wild.example", "a.b.wild.example", "wild.example", "x.allowed.example",
            ]
            let server = network.addHost("127.0.0.1", names: names)
            return try await body(network.addHost("10.0.0.1"), server)
        }
    }

    /// One handshake, and an echo if it succeeds.
    static func meet(
        _ here: SimulatedHost,
        _ there: SimulatedHost,
        _ client: SecureNetwork,
        _ server: SecureServerNetwork,
        _ notes: Notes,
        host: String = "localhost"
    ) async throws -> Outcome {
        notes.clear()
        let acceptor = Acceptor()
        let listener = try server.listen(at: SocketAddress(address: there.address, port: port), handler: acceptor)
        let caller = Caller()
        let stream = client.connect(
            to: Endpoint(host: host, port: port),
            deadline: here.loop.now + .seconds(60),
            handler: caller
        )
        caller.stream = stream as? SecureStream
        while !caller.isDone { try await here.loop.sleep(for: .milliseconds(5)) }
        // The server may hear of it a little later.
        try await here.loop.sleep(for: .seconds(1))
        var outcome = notes.outcome
        outcome.clientAgreement = caller.agreement
        outcome.serverAgreement = acceptor.agreement
        outcome.wasEchoed = caller.received == [1, 2, 3]
        stream.close()
        listener.close()
        try await here.loop.sleep(for: .seconds(1))
        return outcome
    }

    /// What the two networks have told.
    final class Notes: @unchecked Sendable {
        // @unchecked: used on the loop only.
        var outcome = Outcome()
        func clear() { outcome = Outcome() }
    }

    static func client(_ here: SimulatedHost, _ configuration: TLSConfiguration, _ notes: Notes) throws -> SecureNetwork
    {
        try SecureNetwork(over: here, configuration) { error, _ in notes.outcome.client = error }
    }

    static func server(
        _ there: SimulatedHost,
        _ configuration: TLSServerConfiguration,
        _ notes: Notes
    ) throws -> SecureServerNetwork {
        try SecureServerNetwork(over: there, configuration) { error, _ in notes.outcome.server = error }
    }

    /// One handshake of two configurations.
    static func meet(
        _ clientConfiguration: TLSConfiguration,
        _ serverConfiguration: TLSServerConfiguration,
        host: String = "localhost"
    ) async throws -> Outcome {
        try await withHosts { here, there in
            let notes = Notes()
            return try await meet(
                here,
                there,
                client(here, clientConfiguration, notes),
                server(there, serverConfiguration, notes),
                notes,
                host: host
            )
        }
    }

    final class Acceptor: StreamListenerHandler {
        var agreement: TLSAgreement?
        private var echoes: [Echo] = []

        func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
            agreement = (stream as? SecureStream)?.agreement
            let echo = Echo(stream)
            echoes.append(echo)
            stream.handler = echo
        }
    }

    final class Echo: ByteStreamHandler {
        private var stream: (any ByteStream)?
        init(_ stream: any ByteStream) { self.stream = stream }
        func opened() {}
        func received(_ bytes: Span<UInt8>) -> Int { stream?.send(bytes) ?? bytes.count }
        func writable() { stream?.resumeReceiving() }
        func closed(_ error: SocketError?) { stream = nil }
    }

    final class Caller: ByteStreamHandler {
        var stream: SecureStream?
        var agreement: TLSAgreement?
        var received: [UInt8] = []
        var isDone = false

        func opened() {
            agreement = stream?.agreement
            _ = stream?.send([UInt8]([1, 2, 3]).span)
        }
        func received(_ bytes: Span<UInt8>) -> Int {
            for index in bytes.indices { received.append(bytes[index]) }
            if received.count >= 3 { isDone = true }
            return bytes.count
        }
        func writable() {}
        func closed(_ error: SocketError?) {
            isDone = true
            stream = nil
        }
    }
}
