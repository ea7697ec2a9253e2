internal import Kernel
internal import SAL

/// A UDP socket of a modem, for one peer. In ``ModemSocket/outgoing`` each datagram has its length before it, in two bytes.
final class ModemDatagramSocket: ModemSocket, DatagramSocket {
    var handler: (any DatagramHandler)?

    var maximumDatagramBytes: Int { modem.datagramBytes }

    override var needsAddress: Bool { address == nil }

    private var peer: SocketAddress {
        SocketAddress(address: address ?? .v4(0), port: port)
    }

    func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) {
        guard isReceiving else { throw .closed }
        if let peer, peer != self.peer { throw .unreachable(code: 0) }
        let count = datagram.count
        // The modem has no way to send an empty one.
        guard count > 0, count <= maximumDatagramBytes else { throw .messageTooLong }
        guard outgoing.count + headBytes + count <= modem.configuration.sendBufferBytes else { throw .overflow }
        let head = [UInt8(count >> 8), UInt8(count & 255)]
        outgoing.append(head.span)
        outgoing.append(datagram)
        modem.askForEndOfTurn()
    }

    override var headBytes: Int { 2 }

    override var chunkBytes: Int {
        outgoing.withSpan { $0.isEmpty ? 0 : Int($0[0]) << 8 | Int($0[1]) }
    }

    override func tellOpened() { handler?.opened() }

    override func tellClosed() {
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }

    /// Hands a datagram on when it is complete; without a copy when it came in one piece.
    override func deliver(_ bytes: Span<UInt8>, isLast: Bool) {
        if isLast && untaken.isEmpty { return receive(bytes) }
        // One byte beyond the limit tells that it was cut.
        for index in bytes.indices where untaken.count <= modem.receiveLimit { untaken.append(bytes[index]) }
        guard isLast else { return }
        let datagram = untaken
        untaken = []
        receive(datagram.span)
    }

    private func receive(_ datagram: Span<UInt8>) {
        let count = min(datagram.count, modem.receiveLimit)
        handler?.received(datagram.extracting(first: count), from: peer, truncated: count < datagram.count)
    }
}
