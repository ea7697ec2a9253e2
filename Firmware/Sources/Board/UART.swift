internal import Kernel
internal import Startup
internal import _Volatile

/// The registers of a CMSDK APB UART (Arm Cortex-M System Design Kit, APB UART).
struct UARTRegisters {
    static let console = UARTRegisters(base: 0x4000_4000)
    static let second = UARTRegisters(base: 0x4000_5000)
    static let transmitFull: UInt32 = 1
    static let receiveFull: UInt32 = 2
    static let receiveOverrun: UInt32 = 8
    static let transmitPending: UInt32 = 1
    static let receivePending: UInt32 = 2
    /// Both directions, with the interrupts of both.
    static let enableAll: UInt32 = 0b1111

    let base: UInt

    var data: VolatileMappedRegister<UInt32> { unsafe VolatileMappedRegister(unsafeBitPattern: base) }
    var state: VolatileMappedRegister<UInt32> { unsafe VolatileMappedRegister(unsafeBitPattern: base + 0x04) }
    var control: VolatileMappedRegister<UInt32> { unsafe VolatileMappedRegister(unsafeBitPattern: base + 0x08) }
    /// The pending interrupts; writing a one clears one.
    var pending: VolatileMappedRegister<UInt32> { unsafe VolatileMappedRegister(unsafeBitPattern: base + 0x0C) }
    var divider: VolatileMappedRegister<UInt32> { unsafe VolatileMappedRegister(unsafeBitPattern: base + 0x10) }
}

/// The second UART: its interrupts, with a FIFO for each direction.
///
/// Each FIFO has the interrupts at one end. What the loop does at that end too, it does with interrupts masked.
final class SecondUART {
    /// The one that the interrupts work on.
    nonisolated(unsafe) static var current: SecondUART?

    let received = ByteFIFO(capacity: 1_024)
    let outgoing = ByteFIFO(capacity: 512)

    func start() {
        Self.current = self
        UARTRegisters.second.divider.store(16)
        UARTRegisters.second.control.store(UARTRegisters.enableAll)
        // UART 1 receives with interrupt 2 and transmits with 3.
        startup_enable_interrupts(1 << 2 | 1 << 3)
    }

    /// Moves what has arrived into the FIFO. When that is full the byte stays in the register, where it holds a line with flow
    /// control back; without, the next one overruns it.
    func receive() {
        let registers = UARTRegisters.second
        // Cleared first: a byte that comes during the loop below raises it again.
        registers.pending.store(UARTRegisters.receivePending)
        while registers.state.load() & UARTRegisters.receiveFull != 0, !received.isFull {
            _ = received.push(UInt8(truncatingIfNeeded: registers.data.load()))
        }
    }

    /// Moves what waits in the FIFO to the line, as far as that has room.
    func transmit() {
        let registers = UARTRegisters.second
        registers.pending.store(UARTRegisters.transmitPending)
        while registers.state.load() & UARTRegisters.transmitFull == 0, let byte = outgoing.pop() {
            registers.data.store(UInt32(byte))
        }
    }
}

@c(UART1_Receive_Handler)
func handleUART1Receive() {
    SecondUART.current?.receive()
    startup_wake()
}

@c(UART1_Transmit_Handler)
func handleUART1Transmit() {
    SecondUART.current?.transmit()
    startup_wake()
}
