/// A first-in, first-out queue over a ring that grows up to a limit.
///
/// An element is moved, never copied, on its way through; the ring is reused, so that a queue in steady use allocates nothing.
@frozen public struct RingQueue<Element> {
    /// How many elements it takes at most.
    public let limit: Int
    @usableFromInline var ring: [Element?] = []
    @usableFromInline var head = 0
    @usableFromInline var used = 0

    /// An empty queue that takes up to `limit` elements.
    @inlinable public init(limit: Int) { self.limit = limit }

    /// How many elements it holds.
    @inlinable public var count: Int { used }

    /// Whether it holds nothing.
    @inlinable public var isEmpty: Bool { used == 0 }

    /// Whether it holds as many elements as it takes.
    @inlinable public var isFull: Bool { used >= limit }

    /// Appends `element`; returns whether there was room for it.
    @inlinable public mutating func enqueue(_ element: consuming Element) -> Bool {
        guard !isFull else { return false }
        if used == ring.count { grow() }
        ring[slot(used)] = element
        used += 1
        return true
    }

    /// Removes the oldest element and returns it; `nil` if there is none.
    @inlinable public mutating func dequeue() -> Element? {
        guard used > 0 else { return nil }
        let element = ring[head].take()
        head = head + 1 == ring.count ? 0 : head + 1
        used -= 1
        return element
    }

    /// The oldest element.
    @inlinable public var first: Element? { used > 0 ? ring[head] : nil }

    /// The element at `index`, counted from the oldest.
    @inlinable public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < used, "index beyond the queue's count")
            guard let element = ring[slot(index)] else { preconditionFailure("a slot in use is empty") }
            return element
        }
        set {
            precondition(index >= 0 && index < used, "index beyond the queue's count")
            ring[slot(index)] = newValue
        }
    }

    /// Empties the queue and gives its memory back.
    @inlinable public mutating func removeAll() { self = RingQueue(limit: limit) }

    @inlinable func slot(_ index: Int) -> Int {
        let slot = head + index
        return slot < ring.count ? slot : slot - ring.count
    }

    @usableFromInline mutating func grow() {
        var larger: [Element?] = []
        let capacity = min(max(ring.count * 2, 4), limit)
        larger.reserveCapacity(capacity)
        for index in 0..<used { larger.append(ring[slot(index)]) }
        for _ in used..<capacity { larger.append(nil) }
        ring = larger
        head = 0
    }
}

extension RingQueue: Sendable where Element: Sendable {}
