/// A queue whose most urgent element goes first, and of equally urgent ones the oldest. Nobody waits for it: see ``PriorityMessageQueue``.
public struct PriorityQueue<Element> {
    private struct Entry {
        let element: Element
        let priority: Priority
        let arrival: UInt64
    }

    private var entries: BinaryHeap<Entry>
    private var arrivals: UInt64 = 0

    /// An empty queue that takes up to `limit` elements.
    public init(limit: Int) {
        entries = BinaryHeap(limit: limit) {
            $0.priority == $1.priority ? $0.arrival < $1.arrival : $0.priority > $1.priority
        }
    }

    /// How many elements it holds.
    public var count: Int { entries.count }

    /// Whether it holds nothing.
    public var isEmpty: Bool { entries.isEmpty }

    /// Whether it holds as many elements as it takes.
    public var isFull: Bool { entries.isFull }

    /// The element that is next to go, and its priority.
    public var first: (element: Element, priority: Priority)? { entries.first.map { ($0.element, $0.priority) } }

    /// Adds `element`; returns whether there was room for it.
    public mutating func insert(_ element: Element, priority: Priority) -> Bool {
        arrivals += 1
        return entries.push(Entry(element: element, priority: priority, arrival: arrivals))
    }

    /// Removes the first element and returns it with its priority; `nil` if there is none.
    public mutating func popFirst() -> (element: Element, priority: Priority)? {
        entries.pop().map { ($0.element, $0.priority) }
    }

    /// Empties the queue, and gives its memory back.
    public mutating func removeAll() { entries.removeAll() }
}
