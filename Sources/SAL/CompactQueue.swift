/// Small values, such as bytes, in the order of their arrival: appended at the end and removed at the front, in memory that is used again and again. For streams and protocols that
/// must keep what their transport does not take yet.
///
/// It is no array, because an array costs more to append to, and cannot give up its first elements without moving the others.
@safe
public struct CompactQueue<Element: BitwiseCopyable>: ~Copyable {
    /// Room for `capacity` elements, of which those from `head` to `end` are in use. Without room it points nowhere.
    @usableFromInline var memory: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int32 = 0
    @usableFromInline var head: Int32 = 0
    @usableFromInline var end: Int32 = 0
    @usableFromInline let kept: Int32

    /// An empty queue; it keeps memory for up to `kept` elements for the next time.
    @inlinable public init(keeping kept: Int = 16_384) {
        unsafe memory = Self.nowhere
        self.kept = Int32(kept)
    }

    @inlinable deinit { if capacity > 0 { unsafe memory.deallocate() } }

    @usableFromInline static var nowhere: UnsafeMutablePointer<Element> {
        @inlinable get { unsafe UnsafeMutablePointer(bitPattern: MemoryLayout<Element>.alignment).unsafelyUnwrapped }
    }

    /// How many elements there are.
    @inlinable public var count: Int { Int(end &- head) }
    /// Whether there are none.
    @inlinable public var isEmpty: Bool { head == end }

    /// The element at `index`, which counts from the oldest.
    @inlinable public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < count)
            return unsafe memory[Int(head) + index]
        }
        @inline(__always) _modify {
            precondition(index >= 0 && index < count)
            yield unsafe &memory[Int(head) + index]
        }
    }

    /// Calls `body` with the elements, the oldest first.
    @inlinable @inline(__always)
    public func withSpan<Result>(_ body: (Span<Element>) -> Result) -> Result {
        unsafe body(Span(_unsafeElements: UnsafeBufferPointer(start: memory + Int(head), count: count)))
    }

    /// Appends all of `elements`.
    @inlinable public mutating func append(_ elements: Span<Element>) {
        let count = elements.count
        guard count > 0 else { return }
        if Int(capacity &- end) < count { makeRoom(for: count) }
        unsafe elements.withUnsafeBufferPointer { source in
            unsafe (memory + Int(end)).update(from: source.baseAddress.unsafelyUnwrapped, count: count)
        }
        end &+= Int32(truncatingIfNeeded: count)
    }

    /// Appends one element.
    #if !hasFeature(Embedded)
    @inline(__always)
    #endif
    @inlinable public mutating func append(_ element: Element) {
        if end == capacity { makeRoom(for: 1) }
        unsafe memory[Int(end)] = element
        end &+= 1
    }

    /// Removes the oldest elements.
    @inlinable public mutating func removeFirst(_ count: Int = 1) {
        precondition(count >= 0 && count <= self.count)
        head &+= Int32(truncatingIfNeeded: count)
        if head == end { removeAll() }
    }

    /// Empties the queue; memory that a burst has made large is given back.
    @inlinable public mutating func removeAll() {
        head = 0
        end = 0
        if capacity > kept { trim() }
    }

    /// Gives the memory of an empty queue back.
    @inlinable public mutating func trim() {
        guard isEmpty, capacity > 0 else { return }
        unsafe memory.deallocate()
        unsafe memory = Self.nowhere
        capacity = 0
        head = 0
        end = 0
    }

    @inlinable mutating func makeRoom(for more: Int) {
        let stride = MemoryLayout<Element>.stride
        var bytes = Int(capacity) * stride
        let used = (Int(head) * stride)..<(Int(end) * stride)
        unsafe memory = makeRoomFor(more * stride, in: memory, &bytes, used).assumingMemoryBound(to: Element.self)
        capacity = Int32(bytes / stride)
        end -= head
        head = 0
    }
}

/// Moves the bytes in `used` to the start of `memory`, or of larger memory, so that `more` fit behind them.
@usableFromInline
func makeRoomFor(
    _ more: Int,
    in memory: UnsafeMutableRawPointer,
    _ capacity: inout Int,
    _ used: Range<Int>
) -> UnsafeMutableRawPointer {
    let count = used.count
    if used.lowerBound >= count, capacity - count >= more {
        unsafe memory.copyMemory(from: memory + used.lowerBound, byteCount: count)
        return unsafe memory
    }
    let old = capacity
    capacity = max(2 * old, count + more, 16)
    let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    unsafe larger.copyMemory(from: memory + used.lowerBound, byteCount: count)
    if old > 0 { unsafe memory.deallocate() }
    return unsafe larger
}

/// Bytes that wait to be written.
public typealias ByteQueue = CompactQueue<UInt8>
