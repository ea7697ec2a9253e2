/// A ``BlockingQueue`` whose most urgent item goes first, and of equally urgent ones the oldest.
@safe
public class PriorityBlockingQueue: BlockingQueue, @unchecked Sendable {
    /// The items as a binary heap of their keys: priority, order of arrival, place. Behind them the numbers of the places that are free.
    private final let keys: UnsafeMutablePointer<UInt64>
    private final var arrivals: UInt64 = 0

    // The parts of a key: 8 bits of priority, 40 of arrival, 16 of the place.
    private static var placeBits: UInt64 { 0xFFFF }
    private static var arrivalBits: UInt64 { 0xFF_FFFF_FFFF }

    @usableFromInline override init(capacity: Int, itemBytes: Int, alignment: Int, itemsDiffer: Bool) {
        precondition(capacity <= 65_536, "a priority queue for 65,536 items at most")
        unsafe keys = .allocate(capacity: capacity)
        for place in 0..<capacity { unsafe keys[place] = UInt64(place) }
        super.init(capacity: capacity, itemBytes: itemBytes, alignment: alignment, itemsDiffer: itemsDiffer)
    }

    deinit { unsafe keys.deallocate() }

    override final func placeForNext(priority: UInt8) -> Int {
        let place = unsafe keys[held] & Self.placeBits
        // 2^40 arrivals at a million a second take twelve days; the count starts anew whenever the queue has been empty.
        arrivals = held == 0 ? 0 : (arrivals + 1) & Self.arrivalBits
        let key = UInt64(priority) << 56 | arrivals << 16 | place
        var child = held
        while child > 0 {
            let parent = (child - 1) / 2
            if unsafe keys[parent] < key { break }
            unsafe keys[child] = keys[parent]
            child = parent
        }
        unsafe keys[child] = key
        return Int(truncatingIfNeeded: place)
    }

    override final func placeOfFirst() -> Int {
        let first = unsafe keys[0] & Self.placeBits
        let rest = held - 1
        let key = unsafe keys[rest]
        var parent = 0
        while true {
            var child = 2 * parent + 1
            if child >= rest { break }
            if child + 1 < rest, unsafe keys[child + 1] < keys[child] { child += 1 }
            if unsafe keys[child] > key { break }
            unsafe keys[parent] = keys[child]
            parent = child
        }
        unsafe keys[parent] = key
        unsafe keys[rest] = first
        return Int(truncatingIfNeeded: first)
    }
}
