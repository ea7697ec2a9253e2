import CLinux
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
}
