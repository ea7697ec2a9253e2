import CLinux
import CoAPClient
import Kernel
import MQTTClient
import QCloudIoTHub
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// Clients that come back resume their TLS session without being asked to.
@Suite(.timeLimit(.minutes(1))) struct SessionResumptionTests {
    @Test(arguments: [true, false]) func anMQTTClientResumesWhenItComesBack(withKey: Bool) async throws {
        try await TestHub.with { test in
            let loop = EventLoop.start()
            defer { loop.shutDown(within: .seconds(1)) }
            let registered = try test.device(withKey ? "gateway-01" : "certificate-01")
            let configuration: TLSConfiguration
            let identity: DeviceIdentity
            if case .certificate(let certificatePath, let keyPath) = registered.credential {
                identity = try DeviceIdentity(
                    productID: Array(registered.productID.utf8),
                    deviceName: Array(registered.deviceName.utf8),
                    credential: .certificate
                )
                configuration = TLSConfiguration(
                    identity: .certificate(
                        TLSCertificate(
                            chain: try readFile(certificatePath),
                            privateKey: SecretBytes(try readFile(keyPath))
                        )
                    ),
                    trust: .anchors(try readFile(test.hub.authorityCertificatePath))
                )
            } else {
                identity = try DeviceIdentity(
                    productID: registered.productID,
                    deviceName: registered.deviceName,
                    secret: registered.secret ?? ""
                )
                configuration = try #require(identity.preSharedKeyConfiguration())
            }
            let agreements = Guarded<[Bool]>([])
            let network = try SecureNetwork(
                over: LinuxNetwork(loop: loop),
                configuration,
                agreed: { agreement, _ in agreements.withLock { $0.append(agreement.isResumed) } }
            )
            let port = withKey ? try test.endpoints.pskPort : try test.endpoints.tlsPort
            for _ in 0..<3 {
                let device = HubDevice(
                    identity,
                    hub: Endpoint(host: try test.endpoints.host, port: port),
                    over: network
                )
                try await device.connect()
                try await device.reportEvent("{}")
                await device.disconnect()
            }
            #expect(agreements.withLock { $0 } == [false, true, true])
        }
    }

    @Test func aCoAPClientResumesWhenTheServerHasEndedItsSession() async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        let server = Responder()
        let port = try await loop.call {
            Result { () throws(SecureTransportError) in
                let socket = try SecureDatagramServer(
                    at: SocketAddress(address: .loopbackIPv4, port: 0),
                    over: LinuxNetwork(loop: loop),
                    TLSServerConfiguration { _ in SecretBytes(Array(1...16)) },
                    handler: server
                )
                server.socket = socket
                return socket.localAddress?.port ?? 0
            }
        }
        .get()
        let agreements = Guarded<[Bool]>([])
        let key = SecretBytes(Array(1...16))
        let network = try SecureDatagramNetwork(
            over: LinuxNetwork(loop: loop),
            TLSConfiguration(identity: .preSharedKey(identity: Array("device".utf8), key: key)),
            agreed: { agreement, _ in agreements.withLock { $0.append(agreement.isResumed) } }
        )
        let client = CoAPClient(to: Endpoint(host: "127.0.0.1", port: port), over: network)
        for _ in 0..<3 {
            let response = try await client.get("x")
            #expect(response.payload == Array("ok".utf8))
            await loop.call { server.endSessions() }
            // Until the client has heard of it.
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(agreements.withLock { $0 } == [false, true, true])
        await loop.call { server.socket?.close() }
    }

    /// Answers each request of CoAP with 2.05, in its acknowledgement.
    final class Responder: DatagramHandler, @unchecked Sendable {
        // @unchecked: used on its loop only.
        var socket: SecureDatagramServer?
        private var peers: Set<SocketAddress> = []

        func endSessions() {
            for peer in peers { socket?.disconnect(peer) }
            peers = []
        }
        func opened() {}
        func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
            peers.insert(peer)
            let tokenCount = Int(datagram[0] & 15)
            var answer: [UInt8] = [0x60 | datagram[0] & 15, 0x45, datagram[2], datagram[3]]
            for index in 4..<4 + tokenCount { answer.append(datagram[index]) }
            answer += [0xFF] + Array("ok".utf8)
            try? socket?.send(answer.span, to: peer)
        }
        func closed(_ error: SocketError?) { socket = nil }
    }
}
