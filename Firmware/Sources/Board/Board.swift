public import Kernel
internal import Startup

/// QEMU's mps2-an386, a Cortex-M4: its tick, its memory, its end.
public enum Board {
    /// A loop whose time is the board's millisecond tick.
    public static func makeLoop() -> EventLoop {
        EventLoop(milliseconds: { Int(truncatingIfNeeded: startup_ticks()) }, sleep: { startup_sleep() })
    }

    /// Milliseconds since the start.
    public static var ticks: Int { Int(truncatingIfNeeded: startup_ticks()) }

    /// A number that differs from call to call, from the clock of the processor.
    ///
    /// It is not random: two boards that do the same at the same time get the same. A real board must supply a hardware random
    /// number generator, or a secret of its own that is mixed in, before anything secret is made from this.
    public static var jitter: UInt32 { startup_cycles() }

    /// How many bytes of the heap are free.
    public static var freeHeapBytes: Int { startup_heap_free() }

    /// The least that ever were.
    public static var leastFreeHeapBytes: Int { startup_heap_least_free() }

    /// Ends the emulator; on a board with a debugger, stops there.
    public static func exit(failed: Bool) -> Never { startup_exit(failed ? 1 : 0) }
}
