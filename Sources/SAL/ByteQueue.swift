internal import Kernel

/// Bytes in the order of their arrival, appended at the end and removed at the front: what waits to be written.
package struct ByteQueue {
    private var storage: [UInt8] = []
    private var head = 0
    /// How large a buffer is kept when the queue is empty.
    private let keptBytes: Int

    /// An empty queue; it keeps a buffer of up to `keptBytes` for the next time.
    package init(keeping keptBytes: Int = 16_384) { self.keptBytes = keptBytes }

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
        if storage.capacity > keptBytes { storage = [] } else { storage.clear() }
        head = 0
    }

    /// Gives the buffer of an empty queue back.
    package mutating func trim() { if isEmpty { storage = [] } }

    /// Lets `body` append to the end of the queue.
    @inline(__always)
    package mutating func withStorage(_ body: (inout [UInt8]) -> Void) {
        compactIfWorthIt()
        body(&storage)
    }

    private mutating func compactIfWorthIt() {
        guard head > 0, head >= storage.count / 2 else { return }
        storage = [UInt8](copying: storage.span.extracting(droppingFirst: head))
        head = 0
    }
}
