/// Small values, such as bytes, in the order of their arrival: appended at the end and removed at the front, in memory that is used again and again. For streams and protocols that
/// must keep what their transport does not take yet.
///
/// It is no array, because an array costs more to append to, and cannot give up its first elements without moving the others.
@safe
public struct CompactQueue<Element: BitwiseCopyable>: ~Copyable {
    /// Room for `capacity` elements, of which those from `head` to `end` are in use. Without room it points nowhere.
    @usableFromInline var memory: UnsafeMutablePointer<Element>
    @usableFromInline var capacity = 0
    @usableFromInline var head = 0
    @usableFromInline var end = 0
    @usableFromInline let kept: Int

    /// An empty queue; it keeps memory for up to `kept` elements for the next time.
    @inlinable public init(keeping kept: Int = 16_384) {
        unsafe memory = Self.nowhere
        self.kept = kept
    }

    @inlinable deinit { if capacity > 0 { unsafe memory.deallocate() } }

    @usableFromInline static var nowhere: UnsafeMutablePointer<Element> {
        @inlinable get { unsafe UnsafeMutablePointer(bitPattern: MemoryLayout<Element>.alignment).unsafelyUnwrapped }
    }

    /// How many elements there are.
    @inlinable public var count: Int { end - head }
    /// Whether there are none.
    @inlinable public var isEmpty: Bool { head == end }

    /// The element at `index`, which counts from the oldest.
    @inlinable public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < count)
            return unsafe memory[head + index]
        }
        @inline(__always) _modify {
            precondition(index >= 0 && index < count)
            yield unsafe &memory[head + index]
        }
    }

    /// Calls `body` with the elements, the oldest first.
    @inlinable @inline(__always)
    public func withSpan<Result>(_ body: (Span<Element>) -> Result) -> Result {
        unsafe body(Span(_unsafeElements: UnsafeBufferPointer(start: memory + head, count: count)))
    }

    /// Appends all of `elements`.
    @inlinable public mutating func append(_ elements: Span<Element>) {
        let count = elements.count
        guard count > 0 else { return }
        if capacity - end < count { makeRoom(for: count) }
        unsafe elements.withUnsafeBufferPointer { source in
            unsafe (memory + end).update(from: source.baseAddress.unsafelyUnwrapped, count: count)
        }
        end += count
    }

    /// Appends one element.
    #if !hasFeature(Embedded)
    @inline(__always)
    #endif
    @inlinable public mutating func append(_ element: Element) {
        if end == capacity { makeRoom(for: 1) }
        unsafe memory[end] = element
        end += 1
    }

    /// Removes the oldest elements.
    @inlinable public mutating func removeFirst(_ count: Int = 1) {
        precondition(count >= 0 && count <= self.count)
        head += count
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
        var bytes = capacity * stride
        let room = unsafe makeRoomFor(more * stride, in: memory, &bytes, used: (head * stride)..<(end * stride))
        unsafe memory = room.assumingMemoryBound(to: Element.self)
        capacity = bytes / stride
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
    used: Range<Int>
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
