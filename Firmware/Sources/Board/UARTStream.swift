public import Kernel
public import SAL
internal import Startup

/// The second UART as a byte stream: received by interrupt into a FIFO, which the loop empties.
///
/// The line has no flow control: what the handler leaves stays in the FIFO, and what the FIFO cannot hold is lost and
/// counted.
public final class UARTStream: ByteStream, EndOfTurnHandler {
    /// Who is told what happens.
    public var handler: (any ByteStreamHandler)?
    private let index: Int32 = 1
    private var untaken: [UInt8] = []
    private static let chunkBytes = 256

    /// The UART, polled by `loop`.
    public init(loop: EventLoop) { loop.register(self) }

    /// How many received bytes were lost.
    public var lostBytes: Int { Int(startup_uart_lost(index)) }

    /// Sends `bytes`, as fast as the line takes them.
    public func send(_ bytes: Span<UInt8>) -> Int {
        for position in bytes.indices { while startup_uart_send(index, bytes[position]) == 0 {} }
        return bytes.count
    }

    /// Does nothing: what was left is offered in every turn.
    public func resumeReceiving() {}

    /// A UART does not close: it only loses its handler.
    public func close() { handler = nil }

    /// As ``close()``.
    public func abort() { handler = nil }

    /// Gives the handler what has arrived; called by the loop in every turn.
    public func endOfTurn() {
        while handler != nil {
            while untaken.count < Self.chunkBytes {
                let byte = startup_uart_receive(index)
                guard byte >= 0 else { break }
                untaken.append(UInt8(truncatingIfNeeded: byte))
            }
            guard !untaken.isEmpty, let handler else { return }
            let offered = untaken
            let taken = handler.received(offered.span)
            guard taken < untaken.count else {
                untaken.removeAll(keepingCapacity: true)
                continue
            }
            untaken.removeFirst(taken)
            return
        }
    }
}
