public import Kernel
public import SAL
internal import Startup
internal import _Volatile

/// The second UART as a byte stream, with an interrupt and a FIFO for each direction.
///
/// There is one such UART: make one stream. What the handler leaves stays in the FIFO; when that is full, the UART is not read.
public final class UARTStream: ByteStream, EndOfTurnHandler {
    /// Who is told what happens.
    public var handler: (any ByteStreamHandler)?
    private let uart = SecondUART()
    private var isPaused = false
    private var owesWritable = false
    private var isClosed = false

    /// The UART, looked after by `loop` in every turn.
    public init(loop: EventLoop) {
        uart.start()
        loop.register(self)
    }

    /// Whether the line has brought a byte while the one before was still unread: at least one is lost.
    public var hasOverrun: Bool { UARTRegisters.second.state.load() & UARTRegisters.receiveOverrun != 0 }

    /// Takes as many of `bytes` as the FIFO has room for; they are sent by interrupt.
    public func send(_ bytes: Span<UInt8>) -> Int {
        guard !isClosed else { return 0 }
        let taken = uart.outgoing.push(bytes)
        if taken < bytes.count { owesWritable = true }
        startup_mask_interrupts()
        uart.transmit()
        startup_unmask_interrupts()
        return taken
    }

    /// Waits until the line has taken everything that was sent: for a program about to end.
    public func drain() {
        while !uart.outgoing.isEmpty { startup_sleep() }
        while UARTRegisters.second.state.load() & UARTRegisters.transmitFull != 0 {}
    }

    /// Offers what was left untaken again, in the next turn.
    public func resumeReceiving() {
        isPaused = false
        startup_wake()
    }

    /// Ends the stream for its handler; what was taken is still sent.
    public func close() {
        isClosed = true
        startup_wake()
    }

    /// Ends the stream for its handler. The FIFO may still send what it was given.
    public func abort() { close() }

    /// Tells the handler what has happened; called by the loop in every turn.
    public func endOfTurn() {
        guard let handler else { return }
        if isClosed {
            self.handler = nil
            return handler.closed(nil)
        }
        if owesWritable, uart.outgoing.count <= uart.outgoing.capacity / 2 {
            owesWritable = false
            handler.writable()
        }
        while !isPaused, !isClosed, !uart.received.isEmpty {
            let taken = uart.received.withOldest { bytes in
                let taken = handler.received(bytes)
                if taken < bytes.count { isPaused = true }
                return taken
            }
            uart.received.removeFirst(taken)
            startup_mask_interrupts()
            uart.receive()
            startup_unmask_interrupts()
        }
    }
}
