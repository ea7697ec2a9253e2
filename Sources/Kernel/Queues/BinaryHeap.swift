/// A binary heap: whatever comes before all others by the caller's order is first. It grows up to a limit; to push or pop takes O(log n)
/// comparisons.
public struct BinaryHeap<Element> {
    /// How many elements it takes at most.
    public let limit: Int
    private let precedes: (Element, Element) -> Bool
    private var elements: [Element] = []

    /// An empty heap that takes up to `limit` elements; `precedes` says whether its first argument goes before its second.
    public init(limit: Int, by precedes: @escaping (Element, Element) -> Bool) {
        self.limit = limit
        self.precedes = precedes
    }

    /// How many elements it holds.
    public var count: Int { elements.count }

    /// Whether it holds nothing.
    public var isEmpty: Bool { elements.isEmpty }

    /// Whether it holds as many elements as it takes.
    public var isFull: Bool { elements.count >= limit }

    /// The element that goes before all others.
    public var first: Element? { elements.isEmpty ? nil : elements[0] }

    /// Adds `element`; returns whether there was room for it.
    public mutating func push(_ element: Element) -> Bool {
        guard !isFull else { return false }
        elements.append(element)
        var child = elements.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(elements[child], elements[parent]) else { break }
            elements.swapAt(child, parent)
            child = parent
        }
        return true
    }

    /// Removes the first element and returns it; `nil` if there is none.
    public mutating func pop() -> Element? {
        guard let last = elements.popLast() else { return nil }
        if elements.isEmpty { return last }
        let first = elements[0]
        elements[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < elements.count else { break }
            if child + 1 < elements.count, precedes(elements[child + 1], elements[child]) { child += 1 }
            guard precedes(elements[child], elements[parent]) else { break }
            elements.swapAt(child, parent)
            parent = child
        }
        return first
    }

    /// Empties the heap, and gives its memory back.
    public mutating func removeAll() { elements = [] }
}
