internal import Kernel

/// Bytes in the order of their arrival, appended at the end and removed at the front, in memory that is used again and again: what waits to be written.
///
/// For streams and protocols that must keep what their transport does not take yet. It is no array, because an array costs more to append to, and cannot give up its first bytes without moving the others.
@safe
public struct ByteQueue: ~Copyable {
    /// Room for `capacity` bytes, of which those from `head` to `end` are in use. Without room it points nowhere.
    @usableFromInline var memory: UnsafeMutablePointer<UInt8>
    @usableFromInline var capacity = 0
    @usableFromInline var head = 0
    @usableFromInline var end = 0
    /// How large a buffer is kept when the queue is empty.
    private let keptBytes: Int

    /// An empty queue; it keeps a buffer of up to `keptBytes` for the next time.
    public init(keeping keptBytes: Int = 16_384) {
        unsafe memory = Self.nowhere
        self.keptBytes = keptBytes
    }

    @inlinable deinit { if capacity > 0 { unsafe memory.deallocate() } }

    private static var nowhere: UnsafeMutablePointer<UInt8> {
        unsafe UnsafeMutablePointer(bitPattern: 1).unsafelyUnwrapped
    }

    @inlinable public var count: Int { end - head }
    @inlinable public var isEmpty: Bool { head == end }

    /// The byte at `index`, which counts from the oldest.
    @inlinable public subscript(index: Int) -> UInt8 {
        get {
            precondition(index >= 0 && index < count)
            return unsafe memory[head + index]
        }
        set {
            precondition(index >= 0 && index < count)
            unsafe memory[head + index] = newValue
        }
    }

    /// Calls `body` with the bytes, the oldest first.
    @inlinable @inline(__always)
    public func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        unsafe body(Span(_unsafeElements: UnsafeBufferPointer(start: memory + head, count: count)))
    }

    @inlinable public mutating func append(_ bytes: Span<UInt8>) {
        let count = bytes.count
        guard count > 0 else { return }
        if capacity - end < count { makeRoom(for: count) }
        unsafe bytes.withUnsafeBufferPointer { source in
            unsafe (memory + end).update(from: source.baseAddress.unsafelyUnwrapped, count: count)
        }
        end += count
    }

    @inlinable public mutating func append(_ byte: UInt8) {
        if end == capacity { makeRoom(for: 1) }
        unsafe memory[end] = byte
        end += 1
    }

    public mutating func removeFirst(_ count: Int) {
        precondition(count >= 0 && count <= self.count)
        head += count
        if head == end { removeAll() }
    }

    /// Empties the queue; a buffer that a burst has made large is given back.
    public mutating func removeAll() {
        head = 0
        end = 0
        if capacity > keptBytes { trim() }
    }

    /// Gives the buffer of an empty queue back.
    public mutating func trim() {
        guard isEmpty, capacity > 0 else { return }
        unsafe memory.deallocate()
        unsafe memory = Self.nowhere
        capacity = 0
        head = 0
        end = 0
    }

    @usableFromInline mutating func makeRoom(for bytes: Int) {
        let (old, start, count) = unsafe (memory, memory + head, self.count)
        let hasRoom = head >= count && capacity - count >= bytes
        let oldCapacity = capacity
        if !hasRoom {
            capacity = max(2 * capacity, count + bytes, 16)
            unsafe memory = .allocate(capacity: capacity)
        }
        unsafe memory.update(from: start, count: count)
        if !hasRoom, oldCapacity > 0 { unsafe old.deallocate() }
        head = 0
        end = count
    }
}
