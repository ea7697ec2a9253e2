public import Kernel
internal import Startup

/// QEMU's mps2-an386, a Cortex-M4: its tick, its console and its second UART.
public enum Board {
    /// A loop whose time is the board's millisecond tick.
    public static func makeLoop() -> EventLoop {
        EventLoop(milliseconds: { Int(truncatingIfNeeded: startup_ticks()) }, sleep: { startup_sleep() })
    }

    /// Milliseconds since the start.
    public static var ticks: Int { Int(truncatingIfNeeded: startup_ticks()) }

    /// How many bytes of the heap are free.
    public static var freeHeapBytes: Int { startup_heap_free() }

    /// The least that ever were.
    public static var leastFreeHeapBytes: Int { startup_heap_least_free() }

    /// Ends the emulator; on a board with a debugger, stops there.
    public static func exit(failed: Bool) -> Never { startup_exit(failed ? 1 : 0) }
}

/// The first UART, as a console.
public enum Console {
    /// Prints `text`.
    public static func print(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { put(text.utf8Start[index]) }
    }

    /// Prints `bytes`.
    public static func print(_ bytes: [UInt8]) { for byte in bytes { put(byte) } }

    /// Prints `number` in decimal.
    public static func print(_ number: Int) {
        if number < 0 { put(UInt8(ascii: "-")) }
        if number.magnitude >= 10 { print(Int(number.magnitude / 10)) }
        put(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number.magnitude % 10))
    }

    /// Waits for a line, and returns it without its end; what is over `limit` bytes is dropped.
    public static func readLine(limit: Int = 256) -> [UInt8] {
        var line: [UInt8] = []
        while true {
            let byte = startup_uart_receive(0)
            if byte < 0 {
                startup_sleep()
            } else if byte == 0x0A {
                return line
            } else if byte != 0x0D, line.count < limit {
                line.append(UInt8(truncatingIfNeeded: byte))
            }
        }
    }

    private static func put(_ byte: UInt8) { while startup_uart_send(0, byte) == 0 {} }
}
