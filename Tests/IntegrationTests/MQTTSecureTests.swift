import Kernel
import MQTTClient
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// MQTT 5.0 over TLS at Mosquitto: with certificates, with a pre-shared key, over WebSockets.
@Suite(.timeLimit(.minutes(1))) struct MQTTSecureTests {
    /// A certificate authority, a server's certificate for localhost and a client's, made by OpenSSL: `ca.crt`, `server.crt`, `client.crt`, their keys.
    private static func makeCertificates(in directory: String) async throws {
        let (status, output) = await run(
            "sh",
            [
                "-c",
                """
                set -e; cd \(directory)
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.crt
                for name in server client; do
                    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
                    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > $name.ext
                    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile $name.ext -out $name.crt
                done
                chmod a+r *.key
                """,
            ]
        )
        try #require(status == 0, "\(output)")
    }

    /// Says hello to itself, with a property.
    private func greet(_ client: MQTTClient) async throws {
        try await client.connect()
        let messages = try await client.subscribe(to: "hello", qos: .exactlyOnce)
        var properties = MQTTProperties()
        properties.contentType = "text/plain"
        try await client.publish("over TLS", to: "hello", qos: .exactlyOnce, properties: properties)
        var iterator = messages.makeAsyncIterator()
        let message = await iterator.next()
        #expect(message?.text == "over TLS" && message?.properties.contentType == "text/plain")
        await client.disconnect()
    }

    private func configuration(_ name: String) -> MQTTConfiguration {
        var configuration = MQTTConfiguration(clientID: Array(name.utf8))
        configuration.version = .v5_0
        return configuration
    }

    @Test(arguments: ["mqtts", "wss"]) func withCertificates(scheme: String) async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        try await Self.makeCertificates(in: directory)
        let files = "cafile \(directory)/ca.crt\ncertfile \(directory)/server.crt\nkeyfile \(directory)/server.key"
        try await TestBroker.with(
            webSockets: true,
            more: "\(files)\nrequire_certificate true",
            forWebSockets: files
        ) { broker in
            var tls = TLSConfiguration(trust: .anchors(try readFile("\(directory)/ca.crt")))
            if scheme == "mqtts" {
                tls.identity = .certificate(
                    TLSCertificate(
                        chain: try readFile("\(directory)/client.crt"),
                        privateKey: SecretBytes(try readFile("\(directory)/client.key"))
                    )
                )
            }
            let port = scheme == "wss" ? broker.webSocketPort : broker.port
            let url = try #require(MQTTURL("\(scheme)://localhost:\(port)"))
            func client(_ tls: TLSConfiguration) throws -> MQTTClient {
                try MQTTClient(
                    url: url,
                    loop: broker.loopForClients,
                    configuration: configuration("secure"),
                    tls: tls,
                    reconnects: false
                )
            }
            try await greet(try client(tls))
            // By what the system trusts it is not known, and without one's own certificate one is not let in.
            let unknown = await #expect(throws: MQTTError.self) {
                try await client(TLSConfiguration(trust: .system)).connect()
            }
            guard case .secure(.certificateRejected) = unknown else {
                Issue.record("\(String(describing: unknown))")
                return
            }
            guard scheme == "mqtts" else { return }
            tls.identity = .anonymous
            let refused = await #expect(throws: MQTTError.self) { try await client(tls).connect() }
            guard case .secure = refused else {
                Issue.record("\(String(describing: refused))")
                return
            }
        }
    }

    @Test func withAPreSharedKey() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        try replaceFile("\(directory)/keys", with: Array("device-1:\(hex(TLSServer.key))\n".utf8))
        try await TestBroker.with(more: "psk_hint hint\npsk_file \(directory)/keys\nuse_identity_as_username true") {
            broker in
            func client(_ key: [UInt8]) throws -> MQTTClient {
                let tls = TLSConfiguration(
                    identity: .preSharedKey(identity: TLSServer.identity, key: SecretBytes(key))
                )
                return MQTTClient(
                    to: Endpoint(host: "127.0.0.1", port: broker.port),
                    over: try SecureNetwork(over: LinuxNetwork(loop: broker.loopForClients), tls),
                    configuration: configuration("key"),
                    reconnects: false
                )
            }
            try await greet(try client(TLSServer.key))
            let error = await #expect(throws: MQTTError.self) { try await client([1, 2, 3, 4]).connect() }
            guard case .secure(.alertReceived) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }
}
