import CoAPClient
import HubSimulator
import Kernel
import SAL

struct PostedMessage: Equatable {
    let topic: String
    let payload: [UInt8]
}

/// What the endpoint handed on, and whether the device is enabled.
final class CoAPCloud: Sendable {
    let posted = Guarded<[PostedMessage]>([])
    let isEnabled = Guarded(true)
    let control = Guarded<[UInt8]?>(Array("{\"interval\":5}".utf8))

    func endpoint() throws -> CoAPEndpoint {
        try CoAPEndpoint(
            isKnown: { productID, deviceName in
                productID == "A1B2C3D4E5" && deviceName == "dev_0001" && self.isEnabled.withLock { $0 }
            },
            onMessage: { _, _, topic, payload, _ in
                self.posted.withLock { $0.append(PostedMessage(topic: topic, payload: payload)) }
                return self.control.withLock { $0 }
            }
        )
    }
}

/// A device as the hub specification, section 8, has it.
struct CoAPDevice {
    let client: CoAPClient
    let loop: EventLoop
    static let prefix = "A1B2C3D4E5/dev_0001/"

    /// A device over `network`, or over Linux sockets on a loop of its own, which ends with ``close()``.
    init(
        port: UInt16,
        over network: (any DatagramNetwork)? = nil,
        change: (inout CoAPConfiguration) -> Void = { _ in }
    ) {
        let network = network ?? LinuxNetwork(loop: EventLoop.start())
        loop = network.loop
        var configuration = CoAPConfiguration()
        configuration.treatsEmptyValidAsAcknowledgement = true
        change(&configuration)
        client = CoAPClient(
            to: Endpoint(host: "127.0.0.1", port: port),
            over: network,
            configuration: configuration
        )
    }

    func post(
        _ topic: String,
        _ payload: [UInt8],
        token: [UInt8]? = nil,
        wantsAnswer: Bool = false,
        isConfirmable: Bool = true
    ) async throws(CoAPError) -> CoAPResponse {
        var request = CoAPRequest(.post, payload: payload, isConfirmable: isConfirmable)
        request.options.add(.uriPath, topic.utf8.span)
        if let token { request.options.add(CoAPOptionNumber(rawValue: 61), token.span) }
        request.options.add(CoAPOptionNumber(rawValue: 62), (wantsAnswer ? "1" : "0").utf8.span)
        return try await client.send(request, timeout: .seconds(20))
    }

    func authenticate() async throws(CoAPError) -> [UInt8] {
        try await post(Self.prefix + "txauth9w0BAQsFA", Array("21010406;aB3dE".utf8) + [0, 0]).payload
    }

    func close() async {
        await client.close()
        loop.stop()
    }
}

/// Runs `body` with an authenticated device, and closes what is open.
func withCoAPDevice(
    _ cloud: CoAPCloud = CoAPCloud(),
    behavior: CoAPBehavior = CoAPBehavior(),
    change: (inout CoAPConfiguration) -> Void = { _ in },
    _ body: (CoAPDevice, CoAPEndpoint, [UInt8]) async throws -> Void
) async throws {
    let endpoint = try cloud.endpoint()
    let device = CoAPDevice(port: endpoint.port, change: change)
    let token = try await device.authenticate()
    endpoint.behavior = behavior
    try await body(device, endpoint, token)
    await device.close()
    endpoint.stop()
}
