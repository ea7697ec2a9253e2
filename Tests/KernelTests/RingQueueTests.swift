import Kernel
import Testing

@Suite struct RingQueueTests {
    @Test func refusesWhatIsOverTheLimit() {
        var queue = RingQueue<Int>(limit: 2)
        #expect(queue.enqueue(1) && queue.enqueue(2) && !queue.enqueue(3))
        #expect(queue.isFull && queue.count == 2)
        #expect(queue.dequeue() == 1 && queue.dequeue() == 2 && queue.dequeue() == nil)
    }

    @Test func aLimitOfZeroTakesNothing() {
        var queue = RingQueue<Int>(limit: 0)
        #expect(!queue.enqueue(1) && queue.dequeue() == nil && queue.isEmpty && queue.isFull)
    }

    /// Random operations give what an array gives, across growth and wrap-around at every offset.
    @Test(arguments: [1, 2, 3, 5, 8, 100], [1, 2] as [UInt64])
    func agreesWithAnArray(limit: Int, seed: UInt64) {
        var generator = Generator(state: seed)
        var queue = RingQueue<Int>(limit: limit)
        var model: [Int] = []
        for step in 0..<5_000 {
            if generator.next() % 2 == 0 {
                let fits = model.count < limit
                #expect(queue.enqueue(step) == fits)
                if fits { model.append(step) }
            } else {
                #expect(queue.dequeue() == (model.isEmpty ? nil : model.removeFirst()))
            }
            #expect(queue.count == model.count && queue.first == model.first)
            if !model.isEmpty {
                let index = Int(generator.next() % UInt64(model.count))
                #expect(queue[index] == model[index])
                queue[index] = -step
                model[index] = -step
            }
        }
    }
}
