package import Kernel

/// A datagram socket that ends before it begins: for networks that offer none.
package final class RefusedDatagramSocket: DatagramSocket, EndOfTurnHandler {
    package var handler: (any DatagramHandler)?
    package let maximumDatagramBytes = 0

    package init(loop: EventLoop, handler: any DatagramHandler) {
        self.handler = handler
        loop.atEndOfTurn(self)
    }

    package func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) { throw .closed }
    package func close() {}
    package func endOfTurn() {
        let handler = self.handler
        self.handler = nil
        handler?.closed(.denied(code: 0))
    }
}
