// Ends in the way that it is told on the first UART: each must end the image with a failure and a line that says so.
import Board

@main enum Main {
    static func main() {
        Console.print("ready\n")
        let order = Console.readLine()
        switch order.first {
        case UInt8(ascii: "t"): Console.print(Int(order[order.count]))  // A trap of Swift: beyond the end.
        case UInt8(ascii: "a"): Console.print(load(0x6000_0000))  // Nothing is at this address.
        case UInt8(ascii: "s"): Console.print(depth(Int(order[0])))
        case UInt8(ascii: "m"): Console.print(exhaust())
        default: Board.exit(failed: false)
        }
    }

    private static func load(_ address: UInt) -> Int {
        guard let pointer = unsafe UnsafePointer<UInt32>(bitPattern: address) else { return 0 }
        return Int(unsafe pointer.pointee)
    }

    /// Outgrows the stack: no level is that high. The clock is read behind the call, so that it cannot become a loop.
    @inline(never) private static func depth(_ level: Int) -> Int {
        guard level != Int.max else { return 0 }
        let below = depth(level + 1)
        return below ^ Board.ticks
    }

    /// Outgrows the heap.
    private static func exhaust() -> Int {
        var blocks: [[UInt8]] = []
        while true { blocks.append([UInt8](repeating: 1, count: 1_000)) }
    }
}
