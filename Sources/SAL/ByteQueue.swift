internal import Kernel

/// Bytes in the order of their arrival, appended at the end and removed at the front: what waits to be written.
package struct ByteQueue {
    private var storage: [UInt8] = []
    private var head = 0

    package init() {}

    package var count: Int { storage.count - head }
    package var isEmpty: Bool { head == storage.count }

    /// Calls `body` with the bytes, the oldest first.
    package func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        body(storage.span.extracting(droppingFirst: head))
    }

    package mutating func append(_ bytes: Span<UInt8>) {
        compactIfWorthIt()
        storage.append(bytes)
    }

    package mutating func removeFirst(_ count: Int) {
        head += count
        if head == storage.count { removeAll() }
    }

    /// Empties the queue; a buffer that a burst has made large is given back.
    package mutating func removeAll() {
        if storage.capacity > 16_384 { storage = [] } else { storage.clear() }
        head = 0
    }

    private mutating func compactIfWorthIt() {
        guard head > 0, head >= storage.count / 2 else { return }
        storage = [UInt8](copying: storage.span.extracting(droppingFirst: head))
        head = 0
    }
}
