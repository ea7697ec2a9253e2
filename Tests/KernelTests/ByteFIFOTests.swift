import Kernel
import Testing

@Suite struct ByteFIFOTests {
    @Test func takesBytesUntilItIsFullAndGivesThemBackInOrder() {
        let queue = ByteFIFO(capacity: 3)
        #expect(queue.isEmpty && queue.count == 0 && queue.capacity == 3)
        for byte in 1...3 as ClosedRange<UInt8> { #expect(queue.push(byte)) }
        #expect(queue.isFull && queue.count == 3)
        #expect(!queue.push(4))
        #expect(queue.dropped == 1)
        #expect([queue.pop(), queue.pop(), queue.pop(), queue.pop()] == [1, 2, 3, nil])
        #expect(queue.isEmpty)
    }

    @Test func countsOnlySingleBytesAsDropped() {
        let queue = ByteFIFO(capacity: 4)
        #expect(push([1, 2, 3, 4, 5, 6], to: queue) == 4)
        #expect(push([7], to: queue) == 0)
        #expect(queue.dropped == 0)
        #expect(!queue.push(8))
        #expect(!queue.push(9))
        #expect(queue.dropped == 2)
        #expect(drain(queue) == [1, 2, 3, 4])
    }

    @Test func takesNothingOfNothing() {
        let queue = ByteFIFO(capacity: 2)
        #expect(push([], to: queue) == 0)
        #expect(queue.withOldest { $0.count } == 0)
        queue.removeFirst(0)
        #expect(queue.isEmpty)
    }

    @Test func worksWithRoomForOneByte() {
        let queue = ByteFIFO(capacity: 1)
        for byte in 0...9 as ClosedRange<UInt8> {
            #expect(queue.push(byte))
            #expect(queue.isFull)
            #expect(!queue.push(0xFF))
            #expect(queue.withOldest { $0.count } == 1)
            #expect(queue.pop() == byte)
            #expect(queue.pop() == nil)
        }
        #expect(queue.dropped == 10)
    }

    /// Every capacity, every offset and every length: what goes in comes out, in order.
    @Test(arguments: 1...9)
    func wrapsAroundAtEveryOffset(capacity: Int) {
        for offset in 0..<(2 * capacity) {
            for length in 0...(capacity + 2) {
                let queue = ByteFIFO(capacity: capacity)
                for _ in 0..<offset {
                    #expect(queue.push(0xEE))
                    #expect(queue.pop() == 0xEE)
                }
                let bytes = (0..<length).map { UInt8($0) }
                let taken = push(bytes, to: queue)
                #expect(taken == min(length, capacity))
                #expect(queue.count == taken && queue.isEmpty == (taken == 0) && queue.isFull == (taken == capacity))
                #expect(drain(queue) == Array(bytes.prefix(taken)))
                #expect(queue.isEmpty)
            }
        }
    }

    @Test(arguments: 0..<10)
    func showsTheOldestBytesInAtMostTwoPieces(offset: Int) {
        let queue = ByteFIFO(capacity: 5)
        for _ in 0..<offset {
            _ = queue.push(0xEE)
            _ = queue.pop()
        }
        #expect(push([1, 2, 3, 4, 5], to: queue) == 5)
        let first = queue.withOldest { copy($0) }
        #expect(first.count == 5 - offset % 5)
        #expect(queue.count == 5, "showing bytes leaves them in the queue")
        queue.removeFirst(first.count)
        let second = queue.withOldest { copy($0) }
        queue.removeFirst(second.count)
        #expect(first + second == [1, 2, 3, 4, 5])
        #expect(queue.isEmpty)
    }

    @Test func keepsWhatIsNotRemoved() {
        let queue = ByteFIFO(capacity: 4)
        #expect(push([1, 2, 3], to: queue) == 3)
        queue.removeFirst(2)
        #expect(queue.withOldest { copy($0) } == [3])
        #expect(push([4, 5, 6, 7], to: queue) == 3)
        #expect(drain(queue) == [3, 4, 5, 6])
    }

    @Test func refusesToRemoveMoreThanItHolds() async {
        await #expect(processExitsWith: .failure) {
            let queue = ByteFIFO(capacity: 4)
            _ = queue.push(1)
            queue.removeFirst(2)
        }
    }

    @Test func refusesACapacityOfNothing() async {
        await #expect(processExitsWith: .failure) { _ = ByteFIFO(capacity: 0) }
    }

    /// A producer and a consumer on threads of their own; each uses both of its ways. Nothing is lost, doubled or reordered.
    @Test(.timeLimit(.minutes(1)), arguments: [1, 2, 7, 64, 1_000])
    func carriesBytesBetweenThreads(capacity: Int) async {
        let queue = ByteFIFO(capacity: capacity)
        let total = 100_000
        async let sum = consume(total, from: queue)
        var next = 0
        while next < total {
            let before = next
            if next % 3 == 0 {
                let piece = (next..<min(next + 5, total)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                next += push(piece, to: queue)
            } else if !queue.isFull {
                // Only the consumer changes it now, and only makes room.
                #expect(queue.push(UInt8(truncatingIfNeeded: next &* 31)))
                next += 1
            }
            if next == before { await Task.yield() }
        }
        #expect(await sum == nil)
        #expect(queue.isEmpty && queue.dropped == 0)
    }

    /// Takes `total` bytes, and returns the number of the first that is wrong.
    private func consume(_ total: Int, from queue: ByteFIFO) async -> Int? {
        var next = 0
        while next < total {
            let before = next
            if next % 2 == 0 {
                if let byte = queue.pop() {
                    if byte != UInt8(truncatingIfNeeded: next &* 31) { return next }
                    next += 1
                }
            } else {
                let bytes = queue.withOldest { copy($0) }
                for byte in bytes {
                    if byte != UInt8(truncatingIfNeeded: next &* 31) { return next }
                    next += 1
                }
                queue.removeFirst(bytes.count)
            }
            if next == before { await Task.yield() }
        }
        return nil
    }

    private func push(_ bytes: [UInt8], to queue: ByteFIFO) -> Int { queue.push(bytes.span) }

    private func drain(_ queue: ByteFIFO) -> [UInt8] {
        var bytes: [UInt8] = []
        while let byte = queue.pop() { bytes.append(byte) }
        return bytes
    }
}

private func copy(_ bytes: Span<UInt8>) -> [UInt8] { bytes.indices.map { bytes[$0] } }
