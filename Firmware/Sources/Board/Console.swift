internal import _Volatile

/// The first UART, as a console. It is polled: what prints waits until the line has taken it, so that the last line before a
/// fault is seen.
public enum Console {
    /// Prints `text`.
    public static func print(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { unsafe put(text.utf8Start[index]) }
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
        let registers = UARTRegisters.console
        var line: [UInt8] = []
        while true {
            while registers.state.load() & UARTRegisters.receiveFull == 0 {}
            let byte = UInt8(truncatingIfNeeded: registers.data.load())
            if byte == 0x0A { return line }
            if byte != 0x0D, line.count < limit { line.append(byte) }
        }
    }

    private static func put(_ byte: UInt8) {
        let registers = UARTRegisters.console
        while registers.state.load() & UARTRegisters.transmitFull != 0 {}
        registers.data.store(UInt32(byte))
    }
}
