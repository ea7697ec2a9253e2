import CoAPClient
import Kernel
import SAL
import Testing

/// A datagram between a client and its server, as the client's socket has seen it.
struct RecordedDatagram: Sendable {
    let isFromClient: Bool
    /// Whether the test has had the network lose it.
    let isLost: Bool
    /// When it was sent, or arrived, on the loop's clock.
    let time: Duration
    let bytes: [UInt8]
    let message: CoAPMessage

    /// Such as `> CON 0.01` from a client, and `< ACK 2.05` from a server.
    var summary: String {
        let type =
            switch message.type {
            case .confirmable: "CON"
            case .nonConfirmable: "NON"
            case .acknowledgement: "ACK"
            case .reset: "RST"
            }
        return "\(isFromClient ? ">" : "<") \(type) \(message.code)\(isLost ? " lost" : "")"
    }
}

/// The sockets of the system for a client, with a record of each datagram. It loses those that the test wants lost.
final class RecordingNetwork: DatagramNetwork {
    typealias Rule = @Sendable (RecordedDatagram) -> Bool

    private struct State {
        var records: [RecordedDatagram] = []
        var taken = 0
        var loses: Rule = { _ in false }
    }

    let loop: EventLoop
    let capabilities: NetworkCapabilities
    private let network: LinuxNetwork
    private let state = Guarded(State())
    /// The socket that lives on when its client is closed, for the next one.
    private let kept = Guarded<LoopConfined<RecordingSocket>?>(nil)
    private let isKeeping = Guarded(false)

    init(on loop: EventLoop) {
        self.loop = loop
        network = LinuxNetwork(loop: loop)
        capabilities = network.capabilities
    }

    func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        if let socket = kept.withLock({ $0 })?.value {
            socket.handler = handler
            let box = LoopConfined(socket)
            loop.execute { box.value.opened() }
            return socket
        }
        let socket = RecordingSocket(self)
        socket.handler = handler
        socket.socket = network.openDatagrams(to: endpoint, deadline: deadline, handler: socket)
        return socket
    }

    /// Whether a client's socket is open still when the client is closed, so that a next client has the same port.
    func keepSocket(_ isKept: Bool) { isKeeping.withLock { $0 = isKept } }

    fileprivate func keeps(_ socket: RecordingSocket) -> Bool {
        let isKept = isKeeping.withLock { $0 }
        let box = LoopConfined(socket)
        kept.withLock { $0 = isKept ? box : nil }
        return isKept
    }

    /// Records a datagram; `false` if it is lost.
    fileprivate func record(_ span: Span<UInt8>, isFromClient: Bool) -> Bool {
        let bytes = [UInt8](copying: span)
        guard let message = try? CoAPMessage(decoding: bytes.span) else {
            Issue.record("no CoAP message: \(bytes)")
            return true
        }
        let loses = state.withLock { $0.loses }
        func record(isLost: Bool) -> RecordedDatagram {
            RecordedDatagram(
                isFromClient: isFromClient,
                isLost: isLost,
                time: loop.now,
                bytes: bytes,
                message: message
            )
        }
        let isLost = loses(record(isLost: false))
        state.withLock { $0.records.append(record(isLost: isLost)) }
        return !isLost
    }

    // MARK: What the test sees

    /// Has the network lose what a rule wants lost, from now on.
    func lose(_ rule: @escaping Rule) { state.withLock { $0.loses = rule } }

    /// Has the network lose the first `count` datagrams that fit a description.
    func loseFirst(_ count: Int = 1, where rule: @escaping Rule) {
        let left = Guarded(count)
        lose { record in
            guard rule(record) else { return false }
            return left.withLock {
                $0 -= 1
                return $0 >= 0
            }
        }
    }

    /// All that was recorded.
    var records: [RecordedDatagram] { state.withLock { $0.records } }

    /// What was recorded since the last call.
    func take() -> [RecordedDatagram] {
        state.withLock { state in
            defer { state.taken = state.records.count }
            return Array(state.records[state.taken...])
        }
    }

    /// Whether so many datagrams that fit a description are recorded within ten seconds.
    func has(_ count: Int = 1, where rule: @escaping Rule) async -> Bool {
        await eventually { self.records.count { rule($0) } >= count }
    }
}

/// A socket whose datagrams are recorded. Used on its loop only.
private final class RecordingSocket: DatagramSocket, DatagramHandler {
    var handler: (any DatagramHandler)?
    var socket: (any DatagramSocket)?
    private let network: RecordingNetwork

    init(_ network: RecordingNetwork) { self.network = network }

    var maximumDatagramBytes: Int { socket?.maximumDatagramBytes ?? 0 }

    func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) {
        if network.record(datagram, isFromClient: true) { try socket?.send(datagram, to: peer) }
    }

    func close() { if !network.keeps(self) { socket?.close() } }

    func opened() { handler?.opened() }

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        if network.record(datagram, isFromClient: false) {
            handler?.received(datagram, from: peer, truncated: truncated)
        }
    }

    func closed(_ error: SocketError?) { handler?.closed(error) }
}
