// Messages of a type, as the bytes that they are: they are moved in and out of the queue.

extension BlockingQueue {
    @inlinable @inline(__always)
    final func send<Message>(_ message: Message, priority: UInt8, _ wait: Wait) throws(KernelError) {
        unsafe try withUnsafeTemporaryAllocation(of: Message.self, capacity: 1) { (place) throws(KernelError) in
            let address = unsafe place.baseAddress.unsafelyUnwrapped
            unsafe address.initialize(to: message)
            var parcel = unsafe Parcel(address, count: MemoryLayout<Message>.stride, priority: priority)
            do throws(KernelError) { try send(&parcel, wait) } catch {
                unsafe address.deinitialize(count: 1)
                throw error
            }
        }
    }

    @inlinable @inline(__always)
    final func receiveMessage<Message>(_ wait: Wait) throws(KernelError) -> sending Message {
        nonisolated(unsafe) let message = unsafe try withUnsafeTemporaryAllocation(of: Message.self, capacity: 1) {
            (place) throws(KernelError) in
            let address = unsafe place.baseAddress.unsafelyUnwrapped
            var parcel = unsafe Parcel(address, count: 0)
            try receive(&parcel, wait)
            return unsafe address.move()
        }
        return unsafe message
    }

    @inlinable
    final func sendAll<Message>(_ message: Message, priority: UInt8) throws(KernelError) {
        unsafe try withUnsafeTemporaryAllocation(of: Message.self, capacity: 1) { (place) throws(KernelError) in
            let address = unsafe place.baseAddress.unsafelyUnwrapped
            unsafe address.initialize(to: message)
            var isSent = false
            defer { if !isSent { unsafe address.deinitialize(count: 1) } }
            var parcel = unsafe Parcel(address, count: MemoryLayout<Message>.stride, priority: priority)
            isSent = unsafe try sendAll(&parcel) {
                unsafe $0.assumingMemoryBound(to: Message.self).initialize(to: message)
            }
        }
    }

    @inlinable
    final func flush<Message>(of _: Message.Type) {
        unsafe flush { unsafe $0.assumingMemoryBound(to: Message.self).deinitialize(count: 1) }
    }
}
