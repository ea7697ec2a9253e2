#if !hasFeature(Embedded)
public import Kernel
public import SAL

/// What a member of a group has answered.
public struct CoAPGroupResponse: Equatable, Sendable {
    /// Who: the address for further requests, such as for the rest of a body of which this is the first block.
    public let peer: SocketAddress
    /// What.
    public let response: CoAPResponse
}

/// Requests to a group: by IP multicast, to all servers that listen there (RFC 7252, 8).
public enum CoAPGroup {
    /// All CoAP nodes: 224.0.1.187 at port 5683 (RFC 7252, 12.8).
    public static let allNodesIPv4 = SocketAddress(address: .v4(0xE000_01BB), port: 5683)
    /// All CoAP nodes of this link: ff02::fd at port 5683.
    public static let allNodesIPv6 = SocketAddress(
        address: .v6(high: 0xFF02_0000_0000_0000, low: 0xFD, scope: 0),
        port: 5683
    )

    /// Sends a request to `group` once, not to be confirmed, and tells who answers until `duration` is over: servers take their time (DEFAULT_LEISURE is 5 s), and those that have nothing to
    /// say are silent. No two responses are told of one peer's one message, and `limit` of all.
    ///
    /// Which interface it leaves by, and how far it goes, is in the network's `SocketOptions`. Throws ``CoAPError``.
    public static func send(
        _ request: CoAPRequest,
        to group: SocketAddress,
        over network: any ServerNetwork,
        for duration: Duration = .seconds(10),
        limit: Int = 1_000
    ) -> AsyncThrowingStream<CoAPGroupResponse, any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: CoAPGroupResponse.self)
        let loop = network.loop
        let call = LoopConfined(GroupCall(on: loop, limit, continuation))
        // It runs behind what comes next, however soon nobody reads any more.
        continuation.onTermination = { _ in loop.execute { call.value.end(nil) } }
        loop.execute {
            do throws(CoAPError) { try call.value.start(request, group, network, duration) } catch {
                call.value.end(error)
            }
        }
        return stream
    }
}

/// A request to a group, from its start to its end. Confined to the loop.
private final class GroupCall: DatagramHandler, TimerHandler {
    private struct Seen: Hashable {
        let peer: SocketAddress
        let messageID: UInt16
    }

    private let loop: EventLoop
    private let continuation: AsyncThrowingStream<CoAPGroupResponse, any Error>.Continuation
    private let timer: Timer
    private var socket: (any DatagramSocket)?
    private var token = CoAPToken.empty
    private var seen: Set<Seen> = []
    private var left: Int
    private var isOver = false

    init(
        on loop: EventLoop,
        _ limit: Int,
        _ continuation: AsyncThrowingStream<CoAPGroupResponse, any Error>.Continuation
    ) {
        self.loop = loop
        self.continuation = continuation
        timer = Timer(on: loop)
        left = limit
    }

    func start(
        _ request: CoAPRequest,
        _ group: SocketAddress,
        _ network: any ServerNetwork,
        _ duration: Duration
    ) throws(CoAPError) {
        if isOver { return }
        try request.check()
        var random = CoAPRandom(.systemRandom())
        token = CoAPToken(bits: random.next(), count: 8)
        let message = CoAPMessage(
            type: .nonConfirmable,
            code: request.method,
            messageID: UInt16(truncatingIfNeeded: random.next()),
            token: token,
            options: request.options,
            payload: request.payload
        )
        let datagram = message.encoded
        do throws(SocketError) {
            let any: IPAddress = if case .v4 = group.address { .anyIPv4 } else { .anyIPv6 }
            let socket = try network.bindDatagrams(at: SocketAddress(address: any, port: 0), handler: self)
            self.socket = socket
            try socket.send(datagram.span, to: group)
        } catch { throw .transport(error) }
        timer.start(at: loop.now + duration, handler: self)
    }

    func end(_ error: CoAPError?) {
        if isOver { return }
        isOver = true
        timer.stop()
        socket?.close()
        socket = nil
        continuation.finish(throwing: error)
    }

    func timerFired(_ timer: Timer) { end(nil) }

    func opened() {}

    func closed(_ error: SocketError?) { end(error.map { .transport($0) }) }

    /// Responses are matched by token only: each member has message IDs of its own (RFC 7252, 8.2).
    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        guard !isOver, !truncated, let message = try? CoAPMessage(decoding: datagram), message.token == token,
            message.code.isResponse, message.options.firstUnacceptable(understood: []) == nil,
            message.type == .confirmable || message.type == .nonConfirmable
        else { return }
        if message.type == .confirmable {
            let acknowledgement = CoAPMessage.empty(.acknowledgement, message.messageID).encoded
            try? socket?.send(acknowledgement.span, to: peer)
        }
        guard seen.insert(Seen(peer: peer, messageID: message.messageID)).inserted else { return }
        let response = CoAPResponse(message.code, options: message.options, payload: message.payload)
        continuation.yield(CoAPGroupResponse(peer: peer, response: response))
        left -= 1
        if left <= 0 { end(nil) }
    }
}
#endif
