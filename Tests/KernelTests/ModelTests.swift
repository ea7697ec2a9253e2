import Testing

@testable import Kernel

/// Random operations that do not wait, against a few lines that do the same one after the other.
@Suite struct ModelTests {
    /// What a call that does not wait gave: its result, or its error.
    private func result<Value>(_ body: () throws(KernelError) -> Value) -> Result<Value, KernelError> {
        do throws(KernelError) { return .success(try body()) } catch { return .failure(error) }
    }

    @Test(arguments: [0, 1, 2, 7, 100], Stress.seeds)
    func aHeapAgreesWithASortedArray(limit: Int, seed: UInt64) {
        var generator = Generator(state: seed)
        var heap = BinaryHeap<Int>(limit: limit) { $0 < $1 }
        var model: [Int] = []
        for _ in 0..<3_000 {
            if generator.below(2) == 0 {
                let number = generator.below(50)
                let fits = model.count < limit
                #expect(heap.push(number) == fits)
                if fits { model.insert(number, at: model.firstIndex { $0 > number } ?? model.count) }
            } else {
                #expect(heap.pop() == (model.isEmpty ? nil : model.removeFirst()))
            }
            #expect(heap.count == model.count && heap.first == model.first)
            #expect(heap.isEmpty == model.isEmpty && heap.isFull == (model.count >= limit))
        }
    }

    @Test(arguments: [1, 2, 7, 100], Stress.seeds)
    func aPriorityQueueAgreesWithAStableSort(limit: Int, seed: UInt64) {
        var generator = Generator(state: seed)
        var queue = PriorityQueue<Int>(limit: limit)
        var model: [(element: Int, priority: UInt8)] = []
        for step in 0..<3_000 {
            if generator.below(2) == 0 {
                let priority = UInt8(generator.below(4))
                let fits = model.count < limit
                #expect(queue.insert(step, priority: Priority(rawValue: priority)) == fits)
                if fits {
                    model.insert((step, priority), at: model.firstIndex { $0.priority > priority } ?? model.count)
                }
            } else {
                let (got, wanted) = (queue.popFirst(), model.isEmpty ? nil : model.removeFirst())
                #expect(got?.element == wanted?.element && got?.priority.rawValue == wanted?.priority)
            }
            #expect(queue.count == model.count && queue.first?.element == model.first?.element)
        }
    }

    /// One model for all blocking queues: items in the order of priority, and of equals in that of arrival.
    @Test(arguments: [1, 2, 3, 8], Stress.seeds)
    func theBlockingQueuesAgreeWithAnArray(capacity: Int, seed: UInt64) {
        var generator = Generator(state: seed)
        let messages = MessageQueue<Int>(capacity: capacity)
        let urgent = PriorityMessageQueue<[Int]>(capacity: capacity)
        let mails = PriorityMailQueue(capacity: capacity, mailBytes: 3)
        var arrivals: [Int] = []
        var model: [(item: Int, priority: UInt8)] = []
        for step in 0..<2_000 {
            let priority = UInt8(generator.below(4))
            let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: step % 4)
            switch generator.below(8) {
            case 0...2:
                let expected: KernelError? = model.count < capacity ? nil : .wouldBlock
                #expect(result { () throws(KernelError) in try messages.send(step, .noWait) }.failure == expected)
                #expect(
                    result { () throws(KernelError) in
                        try urgent.send([step], priority: Priority(rawValue: priority), .noWait)
                    }.failure == expected
                )
                #expect(
                    result { () throws(KernelError) in
                        try mails.send(bytes.span, priority: Priority(rawValue: priority), .noWait)
                    }.failure == expected
                )
                if expected != nil { continue }
            case 3:
                // Nobody waits: as much as one to each.
                let expected: KernelError? = model.count < capacity ? nil : .wouldBlock
                #expect(result { () throws(KernelError) in try messages.sendAll(step) }.failure == expected)
                #expect(
                    result { () throws(KernelError) in
                        try urgent.sendAll([step], priority: Priority(rawValue: priority))
                    }.failure == expected
                )
                #expect(
                    result { () throws(KernelError) in
                        try mails.sendAll(bytes.span, priority: Priority(rawValue: priority))
                    }.failure == expected
                )
                if expected != nil { continue }
            case 4 where generator.below(10) == 0:
                messages.flush()
                urgent.flush()
                mails.flush()
                model = []
                arrivals = []
                continue
            default:
                var buffer: [UInt8] = [0xFF, 0xFF, 0xFF]
                let mail = result { () throws(KernelError) in
                    var space = buffer.mutableSpan
                    return try mails.receive(into: &space, .noWait)
                }
                let message = result { () throws(KernelError) in try messages.receive(.noWait) }
                let first = result { () throws(KernelError) in try urgent.receive(.noWait) }
                if model.isEmpty {
                    #expect(mail.failure == .wouldBlock && message.failure == .wouldBlock)
                    #expect(first.failure == .wouldBlock)
                } else {
                    let item = model.removeFirst().item
                    #expect(message == .success(arrivals.removeFirst()) && first == .success([item]))
                    #expect(mail == .success(item % 4))
                    #expect(buffer.prefix(item % 4).allSatisfy { $0 == UInt8(truncatingIfNeeded: item) })
                    #expect(buffer.dropFirst(item % 4).allSatisfy { $0 == 0xFF })
                }
                continue
            }
            arrivals.append(step)
            model.insert((step, priority), at: model.firstIndex { $0.priority > priority } ?? model.count)
            #expect(messages.count == model.count && urgent.count == model.count && mails.count == model.count)
        }
    }

    @Test(arguments: Stress.seeds) func countersAgreeWithNumbers(seed: UInt64) {
        var generator = Generator(state: seed)
        let (semaphore, latch, flags) = (Semaphore(1, limit: 3), CountdownLatch(2), EventFlags())
        var (units, left, word) = (1, 2, UInt32(0))
        for _ in 0..<3_000 {
            let bits = UInt32(truncatingIfNeeded: generator.next()) & 0x8000_000F
            switch generator.below(10) {
            case 0, 1:
                let error = result { () throws(KernelError) in try semaphore.post() }.failure
                #expect(error == (units < 3 ? nil : .overflow))
                units = min(3, units + 1)
            case 2:
                let error = result { () throws(KernelError) in try semaphore.postAll() }.failure
                #expect(error == (units < 3 ? nil : .overflow))
                units = min(3, units + 1)
            case 3, 4:
                let error = result { () throws(KernelError) in try semaphore.wait(.noWait) }.failure
                #expect(error == (units > 0 ? nil : .wouldBlock))
                units = max(0, units - 1)
            case 5:
                let error = result { () throws(KernelError) in try latch.countDown() }.failure
                #expect(error == (left > 0 ? nil : .overflow))
                left = max(0, left - 1)
            case 6:
                let error = result { () throws(KernelError) in try latch.wait(.noWait) }.failure
                #expect(error == (left == 0 ? nil : .wouldBlock))
                guard left == 0 else { break }
                left = generator.below(4)
                #expect(result { () throws(KernelError) in try latch.reset(UInt32(left)) }.failure == nil)
            case 7:
                let (change, expected) = [
                    (flags.set, word | bits), (flags.replace, bits), (flags.clear, word & ~bits),
                ][generator.below(3)]
                #expect(result { () throws(KernelError) in try change(bits) }.failure == nil)
                word = expected
            default:
                let (match, clearing) = (generator.below(2) == 0 ? EventFlags.Match.any : .all, generator.below(3) == 0)
                let isMet = match == .any ? word & bits != 0 : word & bits == bits
                let got = result { () throws(KernelError) in
                    try flags.wait(for: bits, match, clearing: clearing, .noWait)
                }
                #expect(got == (isMet ? .success(word & bits) : .failure(.wouldBlock)))
                if isMet && clearing { word = 0 }
            }
            #expect(semaphore.count == units && latch.count == left && flags.current == word)
        }
    }
}

extension Result {
    /// The error, if it is one.
    fileprivate var failure: Failure? {
        switch self {
        case .success: nil
        case .failure(let error): error
        }
    }
}
