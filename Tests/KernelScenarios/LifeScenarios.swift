import Kernel

extension Scenario {
    /// That objects come and go: on a Cortex-M, whatever one leaves behind is missing before the last.
    static var lives: [Scenario] {
        [
            Scenario("K19: queues are made and dropped ten thousand times, full as they are") {
                (checks) throws(KernelError) in
                let mail = [UInt8](repeating: 7, count: 64)
                for number in 0..<2_500 {
                    let messages = MessageQueue<[UInt8]>(capacity: 3)
                    try messages.send(mail, .noWait)
                    let urgent = PriorityMessageQueue<[UInt8]>(capacity: 3)
                    try urgent.send(mail, priority: .highest, .noWait)
                    let mails = MailQueue(capacity: 2, mailBytes: 64)
                    try mails.send(mail.span, .noWait)
                    let urgentMails = PriorityMailQueue(capacity: 2, mailBytes: 64)
                    try urgentMails.send(mail.span, priority: .lowest, .noWait)
                    if number % 2 == 0 { for queue in [messages, urgent, mails, urgentMails] { queue.destroy() } }
                    checks.expect(messages.count == 1 && urgent.count == 1)
                    checks.expect(mails.count == 1 && urgentMails.count == 1)
                }
            },
            Scenario("K23: ten thousand tasks, a few at a time, leave nothing") { (checks) throws(KernelError) in
                let count = Semaphore()
                for _ in 0..<2_500 {
                    var tasks: [KernelTask] = []
                    for priority in [UInt8(5), 9, 10, 12] {
                        tasks.append(
                            try KernelTask(priority: Priority(rawValue: priority)) {
                                do throws(KernelError) { try count.post() } catch {}
                            }
                        )
                    }
                    for task in tasks { try task.join(.seconds(5)) }
                }
                checks.expect(count.count == 10_000)
            },
            Scenario("K21: of all 32 priorities, each goes before those that are less urgent") {
                (checks) throws(KernelError) in
                for first in 0..<4 {
                    let semaphore = Semaphore()
                    let notes = Notes()
                    var workers: [Worker] = []
                    for step in 0..<8 {
                        let priority = UInt8(first + step * 12 % 32)
                        workers.append(
                            try Worker(priority) { () throws(KernelError) in
                                try semaphore.wait()
                                try notes.add(Int(priority) * 100 + step)
                            }.settled()
                        )
                    }
                    for count in 1...8 {
                        try semaphore.post()
                        _ = try notes.wait(for: count)
                    }
                    let all = try notes.all()
                    for index in 1..<8 { checks.expect(all[index - 1] < all[index]) }
                    for worker in workers { checks.expect(try worker.succeeds()) }
                }
            },
            Scenario("K21: the last block of a pool is as good as the others, at any size") {
                (checks) throws(KernelError) in
                for blocks in [1, 2, 31, 32, 33, 63, 64, 65] {
                    let pool = MemoryPool(blocks: blocks, blockBytes: 16)
                    for _ in 0..<2 {
                        var taken: [UnsafeMutableRawBufferPointer] = unsafe []
                        for _ in 0..<blocks { unsafe taken.append(try pool.allocate()) }
                        checks.expect(.wouldBlock) { () throws(KernelError) in _ = try unsafe pool.allocate() }
                        for index in 0..<blocks {
                            for other in 0..<index {
                                unsafe checks.expect(taken[index].baseAddress != taken[other].baseAddress)
                            }
                        }
                        for index in 0..<blocks { try unsafe pool.free(taken[blocks - 1 - index]) }
                        checks.expect(pool.available == blocks)
                    }
                }
            },
            Scenario("the memory of others is no block, nor is that behind the last") { (checks) throws(KernelError) in
                let pool = MemoryPool(blocks: 2, blockBytes: 32)
                let block = try unsafe pool.allocate()
                let next = try unsafe pool.allocate()
                let last =
                    unsafe block.baseAddress.unsafelyUnwrapped > next.baseAddress.unsafelyUnwrapped ? block : next
                let behind = unsafe UnsafeMutableRawBufferPointer(
                    start: last.baseAddress.unsafelyUnwrapped + 32,
                    count: 32
                )
                let none = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
                checks.expect(.wrongState) { () throws(KernelError) in try unsafe pool.free(behind) }
                checks.expect(.wrongState) { () throws(KernelError) in try unsafe pool.free(none) }
                try unsafe pool.free(block)
                try unsafe pool.free(next)
                checks.expect(pool.available == 2)
            },
        ]
    }
}
