internal import Synchronization

/// A byte queue of fixed capacity between one producer and one consumer that may interrupt each other, such as the receive
/// interrupt of a UART and the loop, or two threads. It has no lock, and allocates nothing once it is made.
///
/// Only the producer calls ``push(_:)-(UInt8)`` and ``push(_:)-(Span<UInt8>)``; only the consumer calls ``pop()``,
/// ``withOldest(_:)`` and ``removeFirst(_:)``. The rest is for both, and for the caller's own side is exact.
@safe public final class ByteFIFO: @unchecked Sendable {
    // @unchecked: the bytes from `tail` up to `head` are the consumer's, the others the producer's. Each side hands bytes over
    // by storing its own position (releasing), which the other side loads (acquiring).

    /// How many bytes it holds at most.
    public let capacity: Int
    private let storage: UnsafeMutablePointer<UInt8>
    /// Positions run to twice the capacity, so that full and empty differ without a slot that stays unused.
    private let head = Atomic(0)
    private let tail = Atomic(0)
    private let lost = Atomic(0)

    /// An empty queue of `capacity` bytes, at least one.
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity <= Int.max / 2, "a capacity out of range")
        self.capacity = capacity
        unsafe storage = .allocate(capacity: capacity)
    }

    deinit { unsafe storage.deallocate() }

    /// How many bytes it holds.
    public var count: Int { distance(from: tail.load(ordering: .acquiring), to: head.load(ordering: .acquiring)) }

    /// Whether it holds nothing.
    public var isEmpty: Bool { tail.load(ordering: .acquiring) == head.load(ordering: .acquiring) }

    /// Whether it holds as much as it can.
    public var isFull: Bool { count == capacity }

    /// How many single bytes were refused, and so lost, since the queue was made; it wraps.
    public var dropped: Int { lost.load(ordering: .relaxed) }

    // MARK: The producer's side

    /// Appends `byte`; `false` if the queue is full. That counts as ``dropped``: an interrupt has nowhere to keep a byte.
    public func push(_ byte: UInt8) -> Bool {
        let start = head.load(ordering: .relaxed)
        guard distance(from: tail.load(ordering: .acquiring), to: start) < capacity else {
            // A load and a store: only the producer writes it.
            lost.store(lost.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
            return false
        }
        unsafe storage[slot(start)] = byte
        head.store(advance(start, by: 1), ordering: .releasing)
        return true
    }

    /// Appends the first bytes of `bytes`, as many as there is room for, and returns how many. The rest is still the caller's,
    /// and does not count as ``dropped``.
    public func push(_ bytes: Span<UInt8>) -> Int {
        let start = head.load(ordering: .relaxed)
        let room = capacity - distance(from: tail.load(ordering: .acquiring), to: start)
        let taken = min(room, bytes.count)
        for index in 0..<taken { unsafe storage[slot(advance(start, by: index))] = bytes[index] }
        head.store(advance(start, by: taken), ordering: .releasing)
        return taken
    }

    // MARK: The consumer's side

    /// Removes the oldest byte and returns it; `nil` if there is none.
    public func pop() -> UInt8? {
        let start = tail.load(ordering: .relaxed)
        guard start != head.load(ordering: .acquiring) else { return nil }
        let byte = unsafe storage[slot(start)]
        tail.store(advance(start, by: 1), ordering: .releasing)
        return byte
    }

    /// Calls `body` with the oldest bytes that lie side by side: none only if the queue is empty, but fewer than ``count`` where
    /// they wrap around. They stay in the queue until ``removeFirst(_:)``.
    public func withOldest<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        let start = tail.load(ordering: .relaxed)
        let first = slot(start)
        let available = distance(from: start, to: head.load(ordering: .acquiring))
        let bytes = unsafe UnsafeBufferPointer(start: storage + first, count: min(available, capacity - first))
        return body(unsafe bytes.span)
    }

    /// Removes the `count` oldest bytes, at most as many as there are.
    public func removeFirst(_ count: Int) {
        let start = tail.load(ordering: .relaxed)
        let available = distance(from: start, to: head.load(ordering: .acquiring))
        precondition(count >= 0 && count <= available, "more bytes than the queue holds")
        tail.store(advance(start, by: count), ordering: .releasing)
    }

    // MARK: Positions

    private func slot(_ position: Int) -> Int { position < capacity ? position : position - capacity }

    private func advance(_ position: Int, by count: Int) -> Int {
        let next = position + count
        return next < 2 * capacity ? next : next - 2 * capacity
    }

    private func distance(from start: Int, to end: Int) -> Int {
        end >= start ? end - start : end - start + 2 * capacity
    }
}
