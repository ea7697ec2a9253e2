// Checks the board: the tick, the heap, the crypto, and then echoes the second UART until it has heard 64 KiB.
import Board
import Kernel
import SAL
import SecureTransport

/// Sends back what it receives; what the line has no room for stays untaken until it has.
final class Echo: ByteStreamHandler {
    let stream: UARTStream
    let loop: EventLoop
    var count = 0

    init(_ stream: UARTStream, _ loop: EventLoop) {
        self.stream = stream
        self.loop = loop
    }

    func opened() {}
    func writable() { stream.resumeReceiving() }
    func closed(_ error: SocketError?) { loop.stop() }

    func received(_ bytes: Span<UInt8>) -> Int {
        let sent = stream.send(bytes)
        count += sent
        if count >= 65_536 { stream.close() }
        return sent
    }
}

@main enum Main {
    static func main() {
        // RFC 4231, test case 2.
        let message = bytes("what do ya want for nothing?")
        let code = HMAC.sha256(key: SecretBytes(bytes("Jefe")), message: message.span)
        let isRight =
            code == [
                0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
                0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
            ]
        Console.print(isRight ? "hmac=ok\n" : "hmac=wrong\n")
        Console.print("heap=")
        Console.print(Board.freeHeapBytes)
        Console.print("\n")

        let loop = Board.makeLoop()
        let before = Board.ticks
        while Board.ticks < before + 10 {}
        Console.print("tick=")
        Console.print(Board.ticks)
        Console.print("\n")

        let uart = UARTStream(loop: loop)
        let echo = Echo(uart, loop)
        uart.handler = echo
        loop.run()
        uart.drain()
        Console.print("echoed=")
        Console.print(echo.count)
        Console.print(uart.hasOverrun ? " overrun=yes\n" : " overrun=no\n")
        Board.exit(failed: !isRight || uart.hasOverrun)
    }

    private static func bytes(_ text: StaticString) -> [UInt8] {
        var bytes: [UInt8] = []
        for index in 0..<text.utf8CodeUnitCount { bytes.append(text.utf8Start[index]) }
        return bytes
    }
}
