internal import CKernel

/// What is on its way into or out of a ``BlockingQueue``, where its sender or receiver has it.
@usableFromInline @safe struct Parcel {
    let bytes: UnsafeMutableRawPointer
    /// How many bytes are sent, or have been received.
    @usableFromInline var count: Int
    let priority: UInt8

    @usableFromInline init(_ bytes: UnsafeMutableRawPointer, count: Int, priority: UInt8 = 0) {
        unsafe self.bytes = bytes
        self.count = count
        self.priority = priority
    }
}

/// What the message and mail queues have in common: a place of bytes for each item, those who wait for items, and those who wait for places.
///
/// An item goes straight to the receiver who has waited longest of the most urgent ones; only where none waits it takes a place. When all are
/// taken, senders wait; the first of them gets the place that falls free.
@safe
public class BlockingQueue: KernelObject, @unchecked Sendable {
    // Either receivers or senders wait, never both: receivers while the queue is empty, senders while it is full. What a waiter's slot
    // points to is a Parcel. Places are counted without checks for overflow: `capacity * itemBytes` was found to be a number.

    /// How many items it holds at most.
    public final let capacity: Int
    /// How many bytes an item has at most.
    final let itemBytes: Int
    final var held = 0
    /// The place of the oldest item.
    final var head = 0
    private final let places: UnsafeMutableRawPointer
    /// How many bytes each item has, where they differ.
    private final let counts: UnsafeMutablePointer<Int>?

    @usableFromInline init(capacity: Int, itemBytes: Int, alignment: Int, itemsDiffer: Bool) {
        precondition(capacity > 0 && itemBytes >= 0, "a queue for one item at least")
        self.capacity = capacity
        self.itemBytes = itemBytes
        unsafe places = .allocate(byteCount: max(1, capacity * itemBytes), alignment: alignment)
        unsafe counts = itemsDiffer ? .allocate(capacity: capacity) : nil
        super.init()
    }

    deinit {
        unsafe places.deallocate()
        unsafe counts?.deallocate()
    }

    /// How many items it holds.
    public final var count: Int { lock.withLock { held } }

    /// The place that the next item goes to.
    func placeForNext(priority: UInt8) -> Int {
        let place = head &+ held
        return place < capacity ? place : place &- capacity
    }

    /// The place of the item that is next to go, which is free from now on.
    func placeOfFirst() -> Int {
        let place = head
        head = place &+ 1 == capacity ? 0 : place &+ 1
        return place
    }

    /// Sends what is in `parcel`, or waits for a place.
    @inline(never) @usableFromInline final func send(_ parcel: inout Parcel, _ wait: Wait) throws(KernelError) {
        var wakeUps = WakeUps()
        let key = lock.enter()
        try checkAlive(key)
        guard put(parcel, &wakeUps) else { return try block(key, wait, slot: &parcel) }
        lock.leave(key)
        wakeUps.perform()
    }

    /// Receives into `parcel`, or waits for an item.
    @inline(never) @usableFromInline final func receive(_ parcel: inout Parcel, _ wait: Wait) throws(KernelError) {
        var wakeUps = WakeUps()
        let key = lock.enter()
        try checkAlive(key)
        guard take(&parcel, &wakeUps) else { return try block(key, wait, slot: &parcel) }
        lock.leave(key)
        wakeUps.perform()
    }

    /// Gives every waiting receiver a copy of what is in `parcel`, or else sends it without waiting for a place.
    @usableFromInline final func sendAll(_ parcel: inout Parcel, copy: (UnsafeMutableRawPointer) -> Void)
        throws(KernelError) -> Bool
    {
        var wakeUps = WakeUps()
        let key = lock.enter()
        try checkAlive(key)
        if held == 0, !waiters.isEmpty {
            while let receiver = unsafe waiters.popFirst() {
                let destination = unsafe Self.parcel(of: receiver)
                unsafe copy(unsafe destination.pointee.bytes)
                unsafe destination.pointee.count = parcel.count
                unsafe wakeUps.add(receiver)
            }
            lock.leave(key)
            wakeUps.perform()
            return false
        }
        let isSent = put(parcel, &wakeUps)
        lock.leave(key)
        wakeUps.perform()
        guard isSent else { throw .wouldBlock }
        return true
    }

    /// Calls `discard` for each item that it holds; senders who wait for a place get one.
    @usableFromInline final func flush(_ discard: (UnsafeMutableRawPointer) -> Void) {
        var wakeUps = WakeUps()
        let key = lock.enter()
        // Of a queue that is not full, those who wait receive.
        let isFull = held == capacity
        while held > 0 { unsafe discard(place(popPlace())) }
        while isFull, held < capacity, let sender = unsafe waiters.popFirst() { unsafe admit(sender, &wakeUps) }
        lock.leave(key)
        wakeUps.perform()
    }

    /// Hands `parcel` to a receiver or a place; `false` if there is neither. Call it under the lock.
    final func put(_ parcel: Parcel, _ wakeUps: inout WakeUps) -> Bool {
        if held == 0, let receiver = unsafe waiters.popFirst() {
            let destination = unsafe Self.parcel(of: receiver)
            unsafe Self.copy(parcel.bytes, to: destination.pointee.bytes, count: parcel.count)
            unsafe destination.pointee.count = parcel.count
            unsafe wakeUps.add(receiver)
            return true
        }
        guard held < capacity else { return false }
        store(parcel)
        return true
    }

    /// Takes the first item into `parcel`, and lets the first sender who waits have its place; `false` if there is no item. Call it under
    /// the lock.
    final func take(_ parcel: inout Parcel, _ wakeUps: inout WakeUps) -> Bool {
        guard held > 0 else { return false }
        let number = popPlace()
        parcel.count = unsafe counts?[number] ?? itemBytes
        unsafe Self.copy(place(number), to: parcel.bytes, count: parcel.count)
        if let sender = unsafe waiters.popFirst() { unsafe admit(sender, &wakeUps) }
        return true
    }

    private final func admit(_ sender: WaiterPointer, _ wakeUps: inout WakeUps) {
        store(unsafe Self.parcel(of: sender).pointee)
        unsafe wakeUps.add(sender)
    }

    private final func store(_ parcel: Parcel) {
        let number = placeForNext(priority: parcel.priority)
        unsafe Self.copy(parcel.bytes, to: place(number), count: parcel.count)
        unsafe counts?[number] = parcel.count
        held &+= 1
    }

    private final func popPlace() -> Int {
        let number = placeOfFirst()
        held &-= 1
        return number
    }

    private final func place(_ number: Int) -> UnsafeMutableRawPointer { unsafe places + number &* itemBytes }

    /// What one who waits sends, or receives into.
    private static func parcel(of waiter: WaiterPointer) -> UnsafeMutablePointer<Parcel> {
        unsafe waiter.pointee.slot.unsafelyUnwrapped.assumingMemoryBound(to: Parcel.self)
    }

    /// Most items are a word.
    @inline(__always) private static func copy(
        _ source: UnsafeMutableRawPointer,
        to destination: UnsafeMutableRawPointer,
        count: Int
    ) {
        if count == MemoryLayout<Int>.size {
            unsafe destination.storeBytes(of: source.loadUnaligned(as: Int.self), as: Int.self)
        } else {
            unsafe destination.copyMemory(from: source, byteCount: count)
        }
    }
}
