public import Kernel
public import SAL

/// A network that notes what goes over another: who opened what, what was sent and received, and how it ended.
public final class Recorder: Network, DatagramNetwork, @unchecked Sendable {
    // @unchecked: what changes is used on the loop only.

    /// Something that happened.
    public struct Record: Equatable, Sendable, CustomStringConvertible {
        /// What happened.
        public enum Event: Equatable, Sendable {
            case connecting(Endpoint)
            case attemptFailed(SocketAddress, SocketError)
            case opened
            case sent([UInt8])
            /// As many as the handler took.
            case received([UInt8])
            case finishedSending
            case peerEnded
            case sentDatagram([UInt8], to: SocketAddress?)
            case receivedDatagram([UInt8], from: SocketAddress, truncated: Bool)
            case closing
            case aborting
            case closed(SocketError?)
        }

        /// When, in the loop's time.
        public let time: Duration
        /// The number of the stream or socket, from 1 in the order of opening.
        public let socket: Int
        /// What.
        public let event: Event

        /// A line of text: time in seconds, socket, event; bytes in hexadecimal.
        public var description: String {
            let (seconds, attoseconds) = time.components
            let micro = String(attoseconds / 1_000_000_000_000)
            let stamp = "\(seconds)." + String(repeating: "0", count: 6 - micro.count) + micro
            return "\(stamp) #\(socket) \(event.text)"
        }
    }

    /// The loop of the network that is recorded.
    public var loop: EventLoop { network.loop }
    /// What the network that is recorded can do.
    public var capabilities: NetworkCapabilities { network.capabilities }
    /// What happened so far. Read it on the loop.
    public private(set) var records: [Record] = []
    /// How many records were not kept, since there was no room for more.
    public private(set) var dropped = 0

    private let network: any Network & DatagramNetwork
    private let limit: Int
    private var sockets = 0

    /// Records what goes over `network`, up to `limit` events.
    public init(_ network: any Network & DatagramNetwork, limit: Int = 100_000) {
        self.network = network
        self.limit = limit
    }

    /// What happened, a line each.
    public var text: String { records.map { "\($0)\n" }.joined() }

    fileprivate func note(_ socket: Int, _ event: Record.Event) {
        guard records.count < limit else {
            dropped += 1
            return
        }
        records.append(Record(time: loop.now, socket: socket, event: event))
    }

    /// Opens a stream over the network that is recorded.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        sockets += 1
        let stream = RecordedStream(self, sockets, handler)
        note(sockets, .connecting(endpoint))
        stream.below = network.connect(to: endpoint, deadline: deadline, handler: stream)
        return stream
    }

    /// Opens a datagram socket over the network that is recorded.
    public func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        sockets += 1
        let socket = RecordedSocket(self, sockets, handler)
        note(sockets, .connecting(endpoint))
        socket.below = network.openDatagrams(to: endpoint, deadline: deadline, handler: socket)
        return socket
    }
}

extension Recorder.Record.Event {
    fileprivate var text: String {
        switch self {
        case .connecting(let endpoint): "connecting to \(endpoint)"
        case .attemptFailed(let address, let error): "\(address) failed: \(error)"
        case .opened: "open"
        case .sent(let bytes): "sent \(bytes.count): \(hexadecimal(bytes))"
        case .received(let bytes): "received \(bytes.count): \(hexadecimal(bytes))"
        case .finishedSending: "finished sending"
        case .peerEnded: "the peer has ended"
        case .sentDatagram(let bytes, let peer):
            "sent \(bytes.count)\(peer.map { " to \($0)" } ?? ""): \(hexadecimal(bytes))"
        case .receivedDatagram(let bytes, let peer, let truncated):
            "received \(bytes.count) from \(peer)\(truncated ? ", truncated" : ""): \(hexadecimal(bytes))"
        case .closing: "closing"
        case .aborting: "aborting"
        case .closed(let error): "closed\(error.map { ": \($0)" } ?? "")"
        }
    }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    }
}

private final class RecordedStream: ByteStream, ByteStreamHandler {
    var handler: (any ByteStreamHandler)?
    var below: (any ByteStream)?
    private let recorder: Recorder
    private let number: Int

    init(_ recorder: Recorder, _ number: Int, _ handler: any ByteStreamHandler) {
        self.recorder = recorder
        self.number = number
        self.handler = handler
    }

    var allowsHalfOpen: Bool {
        get { below?.allowsHalfOpen ?? false }
        set { below?.allowsHalfOpen = newValue }
    }
    var localAddress: SocketAddress? { below?.localAddress }
    var peerAddress: SocketAddress? { below?.peerAddress }

    func send(_ bytes: Span<UInt8>) -> Int {
        let count = below?.send(bytes) ?? 0
        if count > 0 { recorder.note(number, .sent(array(bytes, count))) }
        return count
    }

    func resumeReceiving() { below?.resumeReceiving() }

    func finishSending() {
        recorder.note(number, .finishedSending)
        below?.finishSending()
    }

    func close() {
        recorder.note(number, .closing)
        below?.close()
    }

    func abort() {
        recorder.note(number, .aborting)
        below?.abort()
    }

    func attemptFailed(_ address: SocketAddress, _ error: SocketError) {
        recorder.note(number, .attemptFailed(address, error))
        handler?.attemptFailed(address, error)
    }

    func opened() {
        recorder.note(number, .opened)
        handler?.opened()
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        // Noted before what the handler does about it.
        let place = recorder.records.count
        recorder.note(number, .received(array(bytes, bytes.count)))
        let count = handler?.received(bytes) ?? 0
        if count < bytes.count { recorder.correct(place, number, array(bytes, count)) }
        return count
    }

    func writable() { handler?.writable() }

    func peerEnded() {
        recorder.note(number, .peerEnded)
        handler?.peerEnded()
    }

    func closed(_ error: SocketError?) {
        recorder.note(number, .closed(error))
        below = nil
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }
}

extension Recorder {
    /// Less was taken than was offered.
    fileprivate func correct(_ place: Int, _ socket: Int, _ taken: [UInt8]) {
        guard records.indices.contains(place) else { return }
        if taken.isEmpty {
            records.remove(at: place)
        } else {
            records[place] = Record(time: records[place].time, socket: socket, event: .received(taken))
        }
    }
}

private func array(_ bytes: Span<UInt8>, _ count: Int) -> [UInt8] {
    bytes.extracting(first: count).withUnsafeBufferPointer { Array($0) }
}

private final class RecordedSocket: DatagramSocket, DatagramHandler {
    var handler: (any DatagramHandler)?
    var below: (any DatagramSocket)?
    private let recorder: Recorder
    private let number: Int

    init(_ recorder: Recorder, _ number: Int, _ handler: any DatagramHandler) {
        self.recorder = recorder
        self.number = number
        self.handler = handler
    }

    var maximumDatagramBytes: Int { below?.maximumDatagramBytes ?? 0 }
    var localAddress: SocketAddress? { below?.localAddress }

    func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) {
        guard let below else { throw .closed }
        try below.send(datagram, to: peer)
        recorder.note(number, .sentDatagram(array(datagram, datagram.count), to: peer))
    }

    func join(_ group: IPAddress, interface: UInt32) throws(SocketError) {
        guard let below else { throw .closed }
        try below.join(group, interface: interface)
    }

    func leave(_ group: IPAddress, interface: UInt32) throws(SocketError) {
        guard let below else { throw .closed }
        try below.leave(group, interface: interface)
    }

    func close() {
        recorder.note(number, .closing)
        below?.close()
    }

    func opened() {
        recorder.note(number, .opened)
        handler?.opened()
    }

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        recorder.note(number, .receivedDatagram(array(datagram, datagram.count), from: peer, truncated: truncated))
        handler?.received(datagram, from: peer, truncated: truncated)
    }

    func closed(_ error: SocketError?) {
        recorder.note(number, .closed(error))
        below = nil
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }
}
