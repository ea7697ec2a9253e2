#if os(Linux)
internal import CLinux
internal import Kernel

/// Receives several datagrams with one system call; the sockets of a loop share one.
@safe final class DatagramBatch {
    /// How many at once.
    static let maximumCount = 16
    /// The longest that UDP can carry. Memory that no datagram has reached is none.
    private static let slotBytes = 65_536

    private let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: maximumCount * slotBytes, alignment: 16)
    private let messages = UnsafeMutablePointer<clinux_message>.allocate(capacity: maximumCount)
    private let parts = UnsafeMutablePointer<iovec>.allocate(capacity: maximumCount)
    private let senders = UnsafeMutablePointer<sockaddr_storage>.allocate(capacity: maximumCount)
    /// What is prepared: how much room each has, and whether senders are asked for.
    private var room = 0
    private var hasSenders = false
    /// How many messages have had their fields written since.
    private var used = 0

    /// That of `loop`.
    static func of(_ loop: EventLoop) -> DatagramBatch {
        // Nobody else sets it.
        if let batch = loop.receiveBatch { return unsafe unsafeDowncast(batch, to: DatagramBatch.self) }
        let batch = DatagramBatch()
        loop.receiveBatch = batch
        return batch
    }

    private init() {
        unsafe messages.initialize(repeating: clinux_message(), count: Self.maximumCount)
        unsafe parts.initialize(repeating: iovec(), count: Self.maximumCount)
        unsafe senders.initialize(repeating: sockaddr_storage(), count: Self.maximumCount)
        for index in 0..<Self.maximumCount {
            unsafe parts[index].iov_base = bytes.baseAddress?.advanced(by: index * Self.slotBytes)
            unsafe messages[index].header.msg_iov = parts + index
            unsafe messages[index].header.msg_iovlen = 1
        }
    }

    deinit {
        unsafe bytes.deallocate()
        unsafe messages.deallocate()
        unsafe parts.deallocate()
        unsafe senders.deallocate()
    }

    /// Receives what waits, each datagram up to `room` bytes; `nil` if nothing came, for the reason in `errno`.
    func receive(from descriptor: Int32, room: Int, withSenders hasSenders: Bool) -> Int? {
        let room = min(max(1, room), Self.slotBytes)
        let isOther = room != self.room || hasSenders != self.hasSenders
        (self.room, self.hasSenders) = (room, hasSenders)
        for index in 0..<(isOther ? Self.maximumCount : used) {
            unsafe parts[index].iov_len = room
            unsafe messages[index].header.msg_name = hasSenders ? UnsafeMutableRawPointer(senders + index) : nil
            unsafe messages[index].header.msg_namelen =
                hasSenders ? socklen_t(MemoryLayout<sockaddr_storage>.size) : 0
        }
        let count = unsafe recvmmsg(descriptor, messages, UInt32(Self.maximumCount), Int32(MSG_TRUNC), nil)
        used = Int(max(0, count))
        return count > 0 ? used : nil
    }

    /// What has come of a datagram; it is there until the next ``receive(from:room:withSenders:)``.
    func datagram(_ index: Int) -> UnsafeBufferPointer<UInt8> {
        let start = index * Self.slotBytes
        let slot = unsafe UnsafeRawBufferPointer(
            rebasing: bytes[start..<start + min(Int(messages[index].length), room)]
        )
        return unsafe slot.assumingMemoryBound(to: UInt8.self)
    }

    /// Whether a datagram was longer than its room.
    func isTruncated(_ index: Int) -> Bool { unsafe Int(messages[index].length) > room }

    /// Who has sent a datagram; `nil` for who has no IP address.
    func sender(_ index: Int) -> SocketAddress? {
        unsafe SystemAddress(UnsafeRawPointer(senders + index).assumingMemoryBound(to: sockaddr.self))?.address?
            .withoutMapping
    }
}
#endif
