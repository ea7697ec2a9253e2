public import Kernel
public import SAL

/// The second UART as a network that leads to one peer only: whatever is at the other end of the line.
public final class UARTNetwork: Network, EndOfTurnHandler, @unchecked Sendable {
    // @unchecked: a board has one loop.
    /// The loop that the UART lives on.
    public let loop: EventLoop
    private let stream: UARTStream
    private var opens = false

    /// A network of `loop`; there is one such UART.
    public init(loop: EventLoop) {
        self.loop = loop
        stream = UARTStream(loop: loop)
        loop.register(self)
    }

    /// One stream, and what a line can do.
    public var capabilities: NetworkCapabilities {
        NetworkCapabilities(maximumSockets: 1, sendChunkBytes: 256, datagramBytes: 0, hasReceiveFlowControl: false)
    }

    /// The line, whichever the endpoint.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        stream.handler = handler
        opens = true
        return stream
    }

    /// Tells that the line is there; called by the loop.
    public func endOfTurn() {
        guard opens else { return }
        opens = false
        stream.handler?.opened()
    }
}
