/// A first-in, first-out queue over a ring that grows up to a limit.
///
/// An element is moved, never copied, on its way through; the ring is reused, so that a queue in steady use allocates nothing.
public struct RingQueue<Element> {
    /// How many elements it takes at most.
    public let limit: Int
    private var ring: [Element?] = []
    private var head = 0
    /// How many elements it holds.
    public private(set) var count = 0

    /// An empty queue that takes up to `limit` elements.
    public init(limit: Int) { self.limit = limit }

    /// Whether it holds nothing.
    public var isEmpty: Bool { count == 0 }

    /// Whether it holds as many elements as it takes.
    public var isFull: Bool { count >= limit }

    /// Appends `element`; returns whether there was room for it.
    public mutating func enqueue(_ element: Element) -> Bool {
        guard !isFull else { return false }
        if count == ring.count { grow() }
        ring[slot(count)] = element
        count += 1
        return true
    }

    /// Removes the oldest element and returns it; `nil` if there is none.
    public mutating func dequeue() -> Element? {
        guard count > 0 else { return nil }
        let element = ring[head].take()
        head = head + 1 == ring.count ? 0 : head + 1
        count -= 1
        return element
    }

    /// The oldest element.
    public var first: Element? { count > 0 ? ring[head] : nil }

    /// The element at `index`, counted from the oldest.
    public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "index beyond the queue's count")
            guard let element = ring[slot(index)] else { preconditionFailure("a slot in use is empty") }
            return element
        }
        set {
            precondition(index >= 0 && index < count, "index beyond the queue's count")
            ring[slot(index)] = newValue
        }
    }

    /// Empties the queue and gives its memory back.
    public mutating func removeAll() { self = RingQueue(limit: limit) }

    private func slot(_ index: Int) -> Int {
        let slot = head + index
        return slot < ring.count ? slot : slot - ring.count
    }

    private mutating func grow() {
        var larger: [Element?] = []
        let capacity = min(max(ring.count * 2, 4), limit)
        larger.reserveCapacity(capacity)
        for index in 0..<count { larger.append(ring[slot(index)]) }
        for _ in count..<capacity { larger.append(nil) }
        ring = larger
        head = 0
    }
}

extension RingQueue: Sendable where Element: Sendable {}
