import Kernel
import NetworkSimulator
import SAL

@testable import MQTTClient

/// A broker in a simulated network that does what its script says, right or wrong. Without a script it answers as it should: it accepts
/// connections, grants subscriptions, acknowledges messages.
final class ScriptedBroker: StreamListenerHandler, @unchecked Sendable {
    // @unchecked: lives on the loop of its network.

    /// A connection of a client.
    final class Link: ByteStreamHandler {
        let stream: any ByteStream
        /// Weak, since the broker has its links.
        private weak var broker: ScriptedBroker?
        private var bytes: [UInt8] = []
        private(set) var isOver = false

        init(_ stream: any ByteStream, _ broker: ScriptedBroker) {
            self.stream = stream
            self.broker = broker
        }

        func opened() {}
        func writable() {}
        func received(_ piece: Span<UInt8>) -> Int {
            for index in piece.indices { bytes.append(piece[index]) }
            while let header = try? FixedHeader.parse(bytes.span), bytes.count >= header.packetBytes {
                let packet = Array(bytes.prefix(header.packetBytes))
                bytes.removeFirst(header.packetBytes)
                broker?.packets.append(packet)
                broker?.script(self, packet)
            }
            return piece.count
        }
        func closed(_ error: SocketError?) { isOver = true }

        func send(_ bytes: [UInt8]) { _ = stream.send(bytes.span) }
        func abort() { stream.abort() }
        func close() { stream.close() }
    }

    static let port: UInt16 = 1_883
    private(set) var links: [Link] = []
    /// All packets that have come, of all connections.
    fileprivate(set) var packets: [[UInt8]] = []
    /// What it does with a packet.
    var script: (Link, [UInt8]) -> Void

    init(_ host: SimulatedHost, isVersion5: Bool) throws {
        script = { link, packet in link.send(ScriptedBroker.answer(to: packet, isVersion5)) }
        _ = try host.listen(at: SocketAddress(address: host.address, port: Self.port), handler: self)
    }

    func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        let link = Link(stream, self)
        stream.handler = link
        links.append(link)
    }

    /// The packets of a type.
    func packets(_ type: PacketType) -> [[UInt8]] { packets.filter { $0[0] >> 4 == type.rawValue } }

    /// What a broker says that follows the standard.
    static func answer(to packet: [UInt8], _ isVersion5: Bool) -> [UInt8] {
        let header = try? FixedHeader.parse(packet.span)
        guard let header, let type = PacketType(rawValue: packet[0] >> 4) else { return [] }
        let body = Array(packet.dropFirst(header.headerBytes))
        switch type {
        case .connect: return isVersion5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]
        case .publish:
            let topicEnd = 2 + Int(body[0]) << 8 + Int(body[1])
            switch packet[0] >> 1 & 3 {
            case 1: return [0x40, 2, body[topicEnd], body[topicEnd + 1]]
            case 2: return [0x50, 2, body[topicEnd], body[topicEnd + 1]]
            default: return []
            }
        case .pubrec: return [0x62, 2, body[0], body[1]]
        case .pubrel: return [0x70, 2, body[0], body[1]]
        case .subscribe:
            return [0x90, isVersion5 ? 4 : 3, body[0], body[1]] + (isVersion5 ? [0] : []) + [(body.last ?? 0) & 3]
        case .unsubscribe: return isVersion5 ? [0xB0, 4, body[0], body[1], 0, 0] : [0xB0, 2, body[0], body[1]]
        case .pingreq: return [0xD0, 0]
        default: return []
        }
    }
}

/// A handler that notes everything.
final class NotingHandler: MQTTConnectionHandler {
    enum Note: Equatable {
        case connected(MQTTConnectionInfo)
        case disconnected(MQTTError, retries: Bool)
        case message(topic: String, payload: String, QoS)
        case published(MQTTRequestID, MQTTReasonCode)
        case failed(MQTTRequestID, MQTTError)
        case subscribed(MQTTRequestID, codes: [UInt8])
        case unsubscribed(MQTTRequestID, codes: [UInt8])
        case subscriptionLost(filter: [UInt8], MQTTReasonCode)
        case reauthenticated
    }

    private(set) var notes: [Note] = []
    var onConnected: (() -> Void)?

    func connected(_ info: MQTTConnectionInfo) {
        notes.append(.connected(info))
        onConnected?()
    }
    func disconnected(_ error: MQTTError, retryAt: Duration?) {
        notes.append(.disconnected(error, retries: retryAt != nil))
    }
    func received(_ message: MQTTMessage) -> MQTTDisposition {
        notes.append(
            .message(
                topic: String(decoding: message.topic, as: UTF8.self),
                payload: String(decoding: message.payload, as: UTF8.self),
                message.qos
            )
        )
        return .taken
    }
    func published(_ request: MQTTRequestID, code: MQTTReasonCode) { notes.append(.published(request, code)) }
    func failed(_ request: MQTTRequestID, _ error: MQTTError) { notes.append(.failed(request, error)) }
    func subscribed(_ request: MQTTRequestID, codes: [UInt8]) { notes.append(.subscribed(request, codes: codes)) }
    func unsubscribed(_ request: MQTTRequestID, codes: [UInt8]) { notes.append(.unsubscribed(request, codes: codes)) }
    func subscriptionLost(filter: [UInt8], code: MQTTReasonCode) {
        notes.append(.subscriptionLost(filter: filter, code))
    }
    func reauthenticated() { notes.append(.reauthenticated) }

    /// The first error that ended a connection.
    var error: MQTTError? {
        for case .disconnected(let error, _) in notes { return error }
        return nil
    }
}

/// A client and a scripted broker, a millisecond apart, in virtual time.
struct ScriptedPair {
    let loop: EventLoop
    let network: SimulatedNetwork
    let broker: ScriptedBroker
    let connection: MQTTConnection
    let handler = NotingHandler()

    /// Calls `body` with a client that is not connected yet.
    static func run<Result: Sendable>(
        isVersion5: Bool,
        conditions: Conditions = Conditions(),
        reconnects: Bool = false,
        _ change: @escaping @Sendable (inout MQTTConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (ScriptedPair) async throws -> Result
    ) async throws -> Result {
        try await EventLoop.inVirtualTime { loop in
            let network = SimulatedNetwork(loop: loop, seed: 1, conditions: conditions)
            let (here, there) = (network.addHost("10.0.0.1"), network.addHost("10.0.0.2"))
            var configuration = MQTTConfiguration(clientID: Array("c".utf8))
            configuration.version = isVersion5 ? .v5_0 : .v3_1_1
            change(&configuration)
            let connection = MQTTConnection(
                to: Endpoint(host: "10.0.0.2", port: ScriptedBroker.port),
                over: here,
                configuration: configuration,
                reconnects: reconnects
            )
            let pair = ScriptedPair(
                loop: loop,
                network: network,
                broker: try ScriptedBroker(there, isVersion5: isVersion5),
                connection: connection
            )
            defer { connection.disconnect() }
            return try await body(pair)
        }
    }

    func connect() async throws {
        connection.connect(handler: handler)
        try await settle()
    }

    /// Waits until all that is under way has arrived.
    func settle() async throws { try await loop.sleep(for: .milliseconds(100)) }

    /// Has the broker send bytes, and waits for what comes of it.
    func send(_ bytes: [UInt8]) async throws {
        broker.links.last?.send(bytes)
        try await settle()
    }

    @discardableResult func publish(_ payload: String, qos: QoS = .atLeastOnce) throws -> MQTTRequestID? {
        try connection.publish(topic: Array("a".utf8).span, payload: Array(payload.utf8).span, qos: qos)
    }

    @discardableResult func subscribe(_ filter: String, _ qos: QoS = .exactlyOnce) throws -> MQTTRequestID {
        try connection.subscribe(to: Array(filter.utf8).span, options: MQTTSubscriptionOptions(qos))
    }
}
