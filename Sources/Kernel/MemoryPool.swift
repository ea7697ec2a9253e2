internal import CKernel

/// Blocks of memory of one size, taken and given back in constant time, by interrupt handlers too.
@safe
public final class MemoryPool: KernelObject, @unchecked Sendable {
    /// How many bytes a block has at least: what was asked for, rounded up to a multiple of 16.
    public let blockBytes: Int
    /// How many blocks there are.
    public let blocks: Int
    private let memory: UnsafeMutableRawPointer
    /// The number of the first free block, each of which has that of the next in its first bytes; `blocks` at the end.
    private var free = 0
    private var freeCount: Int
    /// A bit per block: whether it is taken.
    private let taken: UnsafeMutablePointer<UInt32>

    /// A pool of `blocks` blocks of `blockBytes` bytes, at least one of each.
    public init(blocks: Int, blockBytes: Int) {
        precondition(blocks > 0 && blockBytes > 0, "a pool of one block of one byte at least")
        self.blocks = blocks
        self.blockBytes = (blockBytes + 15) & ~15
        freeCount = blocks
        unsafe memory = .allocate(byteCount: blocks * self.blockBytes, alignment: 16)
        let words = (blocks + 31) / 32
        unsafe taken = .allocate(capacity: words)
        unsafe taken.initialize(repeating: 0, count: words)
        super.init()
        for number in 0..<blocks { unsafe start(of: number).storeBytes(of: number + 1, as: Int.self) }
    }

    deinit {
        unsafe memory.deallocate()
        unsafe taken.deallocate()
    }

    /// How many blocks are free.
    public var available: Int { lock.withLock { freeCount } }

    /// Takes a block; waits for one, if told to. What it contains is undefined.
    #if !hasFeature(Embedded)
    @available(*, noasync, message: "await it in async code")
    #endif
    public func allocate(_ wait: Wait = .noWait) throws(KernelError) -> UnsafeMutableRawBufferPointer {
        var block: UnsafeMutableRawPointer?
        let key = lock.enter()
        try checkAlive(key)
        if let free = unsafe take() {
            lock.leave(key)
            unsafe block = free
        } else {
            try self.block(key, wait, slot: &block)
        }
        return unsafe UnsafeMutableRawBufferPointer(start: block, count: blockBytes)
    }

    /// Gives a block back: to the first who waits for one, or to the pool. Throws ``KernelError/wrongState`` if the memory is no block of
    /// this pool, or one that is free already; nothing has happened then.
    public func free(_ block: UnsafeMutableRawBufferPointer) throws(KernelError) {
        guard let address = block.baseAddress else { throw .wrongState }
        let offset = unsafe address - memory
        let number = offset / blockBytes
        guard offset >= 0, number < blocks, offset == number * blockBytes else { throw .wrongState }
        var wakeUps = WakeUps()
        let key = lock.enter()
        guard unsafe taken[number / 32] & (1 << UInt32(number % 32)) != 0 else {
            lock.leave(key)
            throw .wrongState
        }
        if let waiter = unsafe waiters.popFirst() {
            unsafe waiter.pointee.slot?.storeBytes(of: address, as: UnsafeMutableRawPointer?.self)
            unsafe wakeUps.add(waiter)
        } else {
            unsafe taken[number / 32] &= ~(1 << UInt32(number % 32))
            unsafe address.storeBytes(of: free, as: Int.self)
            free = number
            freeCount += 1
        }
        lock.leave(key)
        wakeUps.perform()
    }

    private func start(of number: Int) -> UnsafeMutableRawPointer { unsafe memory + number * blockBytes }

    private func take() -> UnsafeMutableRawPointer? {
        guard freeCount > 0 else { return nil }
        let number = free
        let block = unsafe start(of: number)
        free = unsafe block.load(as: Int.self)
        freeCount -= 1
        unsafe taken[number / 32] |= 1 << UInt32(number % 32)
        return unsafe block
    }
}

#if !hasFeature(Embedded)
extension MemoryPool {
    /// As the `allocate(_:)` that blocks; awaits a block.
    public nonisolated(nonsending) func allocate(
        _ wait: Wait = .noWait
    ) async throws(KernelError) -> UnsafeMutableRawBufferPointer {
        let block = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(capacity: 1)
        unsafe block.initialize(to: nil)
        defer { unsafe block.deallocate() }
        try await suspend(wait, slot: block) { _ in
            unsafe block.pointee = take()
            return unsafe block.pointee != nil
        }
        return unsafe UnsafeMutableRawBufferPointer(start: block.pointee, count: blockBytes)
    }
}
#endif
