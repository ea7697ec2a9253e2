import CoAPClient
import Kernel
import QCloudIoTHub
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// Devices that come to the hub's CoAP endpoint over DTLS, which is libcoap on GnuTLS.
@Suite(.timeLimit(.minutes(1))) struct CoAPHubSecureTests {
    private static let identities = ["dev_0001", "dev_0002"]
    /// What the cloud has for each.
    private static let control = Array("{\"interval\":5}".utf8)

    /// Two devices of one product; the key of each is its name, twice.
    private func endpoint(_ cloud: CoAPCloud = CoAPCloud()) throws -> CoAPEndpoint {
        try CoAPEndpoint(
            keyOf: { identity in
                Self.identities.first { "A1B2C3D4E5" + $0 == identity }.map { Array(($0 + $0).utf8) }
            },
            isKnown: { $0 == "A1B2C3D4E5" && Self.identities.contains($1) },
            onMessage: { _, _, topic, payload, _ in
                cloud.posted.withLock { $0.append(PostedMessage(topic: topic, payload: payload)) }
                return cloud.control.withLock { $0 }
            }
        )
    }

    private func identity(_ name: String, key: String? = nil) throws -> DeviceIdentity {
        let secret = HubSimulator::Base64.encode(Array((key ?? name + name).utf8))
        return try DeviceIdentity(productID: "A1B2C3D4E5", deviceName: name, secret: secret)
    }

    /// Runs `body` with a device over DTLS, and returns the suites that were agreed on.
    private func withDevice(
        _ identity: DeviceIdentity,
        at endpoint: CoAPEndpoint,
        _ body: (HubCoAPDevice) async throws -> Void
    ) async throws -> [String] {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let suites = Guarded<[String]>([])
        let network = try SecureDatagramNetwork(
            over: LinuxNetwork(loop: loop),
            try #require(identity.preSharedKeyConfiguration()),
            agreed: { agreement, _ in suites.withLock { $0.append(agreement.suite) } }
        )
        let port = try #require(endpoint.securePort)
        let device = HubCoAPDevice(identity, hub: Endpoint(host: "127.0.0.1", port: port), over: network)
        try await body(device)
        await device.close()
        return suites.withLock { $0 }
    }

    @Test func aDeviceLogsInWithItsKeyAndReports() async throws {
        let cloud = CoAPCloud()
        let endpoint = try endpoint(cloud)
        let suites = try await withDevice(try identity("dev_0001"), at: endpoint) { device in
            let first = try await device.reportEvent([1])
            // The token runs out, the session does not.
            endpoint.expireTokens()
            let second = try await device.reportEvent([2])
            #expect(first == Self.control && second == Self.control)
        }
        #expect(suites.count == 1)
        #expect(cloud.posted.withLock { $0.map(\.payload) } == [[1], [2]])
        endpoint.stop()
    }

    @Test(arguments: [CoAPBehavior.AnswerStyle.separateAfterEmpty, .separateAfterValid])
    func anAnswerMayComeSeparately(style: CoAPBehavior.AnswerStyle) async throws {
        let endpoint = try endpoint()
        endpoint.behavior.answerStyle = style
        endpoint.behavior.responseDelay = .milliseconds(50)
        _ = try await withDevice(try identity("dev_0001"), at: endpoint) { device in
            let answer = try await device.reportEvent([1])
            #expect(answer == Self.control)
        }
        endpoint.stop()
    }

    @Test func whomTheHubDoesNotKnowIsToldSo() async throws {
        let endpoint = try endpoint()
        let suites = try await withDevice(try identity("nobody"), at: endpoint) { device in
            let error = await #expect(throws: HubCoAPError.self) { try await device.authenticate() }
            if case .transport(.transport(.security)) = error { return }
            Issue.record("it got \(String(describing: error))")
        }
        #expect(suites == [] && endpoint.statistics.requests == 0)
        endpoint.stop()
    }

    /// The hub cannot read what was encrypted with another key, and drops it without a word (RFC 6347, 4.1.2.7).
    @Test func whoHasAnotherKeyIsNotHeard() async throws {
        let endpoint = try endpoint()
        let identity = try identity("dev_0001", key: "another key of it")
        let suites = try await withDevice(identity, at: endpoint) { device in
            await #expect(throws: HubCoAPError.transport(.transport(.timedOut))) { try await device.authenticate() }
        }
        #expect(suites == [] && endpoint.statistics.requests == 0)
        endpoint.stop()
    }

    /// A token is worth nothing in another device's session, nor does a session log in for another device.
    @Test func aSessionIsOneDevicesOwn() async throws {
        let cloud = CoAPCloud()
        let endpoint = try endpoint(cloud)
        let first = CoAPDevice(port: endpoint.port)
        let token = try await first.authenticate()
        let (topic, login) = (CoAPDevice.prefix + "data", CoAPDevice.prefix + "txauth9w0BAQsFA")
        _ = try await withDevice(try identity("dev_0002"), at: endpoint) { second in
            let answer = try await second.reportEvent([2])
            #expect(answer == Self.control)
            var request = CoAPRequest(.post, payload: [1])
            request.options.add(.uriPath, topic.utf8.span)
            request.options.add(CoAPOptionNumber(rawValue: 61), token.span)
            let posted = try await second.client.send(request)
            var authentication = CoAPRequest(.post, payload: Array("21010406;aB3dE".utf8))
            authentication.options.add(.uriPath, login.utf8.span)
            let loggedIn = try await second.client.send(authentication)
            #expect(posted.code == .forbidden && loggedIn.code == .forbidden)
        }
        // The first one's token is as good as before.
        let response = try await first.post(topic, [1], token: token)
        #expect(response.code == .content)
        #expect(cloud.posted.withLock { $0.map(\.payload) } == [[2], [1]])
        await first.close()
        endpoint.stop()
    }

    /// The hub's own suites, and nothing of ours (hub specification, 1.7).
    @Test(arguments: ["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA"])
    func speaksTheHubsSuitesWithOpenSSL(suite: String) async throws {
        let endpoint = try endpoint()
        let port = try #require(endpoint.securePort)
        let key = Array("dev_0001dev_0001".utf8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let (_, output) = await run(
            "openssl",
            [
                "s_client", "-dtls1_2", "-connect", "127.0.0.1:\(port)", "-cipher", suite, "-psk", key,
                "-psk_identity", "A1B2C3D4E5dev_0001",
            ]
        )
        #expect(output.contains("Cipher is \(suite)"), "\(output)")
        endpoint.stop()
    }

    @Test func withoutKeysThereIsNoDTLS() throws {
        let endpoint = try CoAPCloud().endpoint()
        #expect(endpoint.securePort == nil)
        endpoint.stop()
    }
}
