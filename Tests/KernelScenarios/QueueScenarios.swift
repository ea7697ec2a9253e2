import Kernel

extension Scenario {
    static var messageQueues: [Scenario] {
        [
            Scenario("a message queue gives back in order, from every offset") { (checks) throws(KernelError) in
                for capacity in 1...5 {
                    let queue = MessageQueue<Int>(capacity: capacity)
                    for offset in 0...capacity {
                        for number in 0..<capacity { try queue.send(offset * 100 + number, .noWait) }
                        checks.expect(.wouldBlock) { () throws(KernelError) in try queue.send(-1, .noWait) }
                        checks.expect(queue.count == capacity)
                        for number in 0..<capacity {
                            checks.expect(try queue.receive(.noWait) == offset * 100 + number)
                        }
                        checks.expect(.wouldBlock) { () throws(KernelError) in _ = try queue.receive(.noWait) }
                        try queue.send(0, .noWait)
                        _ = try queue.receive(.noWait)
                    }
                }
            },
            Scenario("a message goes straight to the most urgent who waits") { (checks) throws(KernelError) in
                let queue = MessageQueue<Int>(capacity: 1)
                let notes = Notes()
                for priority in [UInt8(9), 4, 7] {
                    _ = try Worker(priority) { () throws(KernelError) in
                        try notes.add(Int(priority) * 10 + queue.receive())
                    }.settled()
                }
                for message in 1...3 {
                    try queue.send(message, .noWait)
                    checks.expect(queue.count == 0)
                    _ = try notes.wait(for: message)
                }
                checks.expect(try notes.all() == [41, 72, 93])
            },
            Scenario("who sends to a full queue waits for a place, in turn") { (checks) throws(KernelError) in
                let queue = MessageQueue<Int>(capacity: 2)
                try queue.send(1)
                try queue.send(2)
                let third = try Worker { () throws(KernelError) in try queue.send(3) }.settled()
                let fourth = try Worker { () throws(KernelError) in try queue.send(4) }.settled()
                checks.expect(.timedOut) { () throws(KernelError) in try queue.send(5, .milliseconds(3)) }
                for message in 1...4 { checks.expect(try queue.receive(.noWait) == message) }
                checks.expect(try third.succeeds())
                checks.expect(try fourth.succeeds())
                checks.expect(queue.count == 0)
            },
            Scenario("a message for all: a copy for each who waits, or one in the queue") {
                (checks) throws(KernelError) in
                let queue = MessageQueue<Int>(capacity: 1)
                try queue.sendAll(7)
                checks.expect(.wouldBlock) { () throws(KernelError) in try queue.sendAll(8) }
                checks.expect(try queue.receive(.noWait) == 7)
                for count in [1, 3] {
                    var waiters: [Worker] = []
                    for _ in 0..<count {
                        waiters.append(
                            try Worker { () throws(KernelError) in if try queue.receive() != 9 { throw .wrongState } }
                                .settled()
                        )
                    }
                    try queue.sendAll(9)
                    for waiter in waiters { checks.expect(try waiter.succeeds()) }
                    checks.expect(queue.count == 0)
                }
            },
            Scenario("flushing a queue drops its messages and wakes no receiver") { (checks) throws(KernelError) in
                let queue = MessageQueue<Int>(capacity: 2)
                try queue.send(1)
                try queue.send(2)
                let sender = try Worker { () throws(KernelError) in try queue.send(3) }.settled()
                queue.flush()
                checks.expect(try sender.succeeds())
                checks.expect(try queue.receive(.noWait) == 3)
                let receiver = try Worker { () throws(KernelError) in _ = try queue.receive() }.settled()
                queue.flush()
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!receiver.hasEnded)
                try queue.send(4)
                checks.expect(try receiver.succeeds())
            },
            Scenario("destroying a queue wakes who receives and who sends") { (checks) throws(KernelError) in
                let empty = MessageQueue<Int>(capacity: 1)
                let receiver = try Worker { () throws(KernelError) in _ = try empty.receive() }.settled()
                empty.destroy()
                checks.expect(try receiver.outcome() == .destroyed)
                let full = MessageQueue<Int>(capacity: 1)
                try full.send(1)
                let sender = try Worker { () throws(KernelError) in try full.send(2) }.settled()
                full.destroy()
                checks.expect(try sender.outcome() == .destroyed)
                checks.expect(.destroyed) { () throws(KernelError) in _ = try full.receive(.noWait) }
            },
            Scenario("messages that are objects are released once, wherever they end") { (checks) throws(KernelError) in
                let counter = Semaphore()
                var queue: MessageQueue<Counted>? = MessageQueue(capacity: 3)
                for _ in 0..<3 { try queue?.send(Counted(counter)) }
                do throws(KernelError) { try queue?.send(Counted(counter), .noWait) } catch {
                    checks.expect(error == .wouldBlock)
                }
                checks.expect(counter.count == 1)
                _ = try queue?.receive()
                checks.expect(counter.count == 2)
                queue?.flush()
                checks.expect(counter.count == 4)
                try queue?.send(Counted(counter))
                queue = nil
                checks.expect(counter.count == 5)
            },
        ]
    }

    static var priorityMessageQueues: [Scenario] {
        [
            Scenario("K12: of equally urgent messages the first goes first") { (checks) throws(KernelError) in
                let queue = PriorityMessageQueue<Int>(capacity: 16)
                for message in 1...5 { try queue.send(message, priority: .normal) }
                for message in 1...5 { checks.expect(try queue.receive(.noWait) == message) }
            },
            Scenario("the most urgent message goes first, of all 32 priorities") { (checks) throws(KernelError) in
                let queue = PriorityMessageQueue<Int>(capacity: 64)
                for step in 0..<64 {
                    let priority = step * 7 % 32
                    try queue.send(priority * 100 + step, priority: Priority(rawValue: UInt8(priority)))
                }
                checks.expect(.wouldBlock) { () throws(KernelError) in try queue.send(0, priority: .highest, .noWait) }
                var last = -1
                for _ in 0..<64 {
                    let message = try queue.receive(.noWait)
                    checks.expect(message > last)
                    last = message
                }
            },
            Scenario("who waits to send keeps the priority of its message") { (checks) throws(KernelError) in
                let queue = PriorityMessageQueue<Int>(capacity: 2)
                try queue.send(5, priority: Priority(rawValue: 5))
                try queue.send(9, priority: Priority(rawValue: 9))
                let sender = try Worker { () throws(KernelError) in try queue.send(1, priority: .highest) }.settled()
                checks.expect(try queue.receive() == 5)
                checks.expect(try sender.succeeds())
                checks.expect(try queue.receive() == 1)
                checks.expect(try queue.receive() == 9)
            },
        ]
    }

    static var mailQueues: [Scenario] {
        [
            Scenario("K7: a mail of the wrong size is refused, with and without one who waits") {
                (checks) throws(KernelError) in
                let queue = MailQueue(capacity: 2, mailBytes: 8)
                let long = [UInt8](repeating: 0xAA, count: 16)
                checks.expect(.wrongSize) { () throws(KernelError) in try queue.send(long.span, .noWait) }
                let receiver = try Worker { () throws(KernelError) in
                    var buffer = [UInt8](repeating: 0x55, count: 12)
                    var space = buffer.mutableSpan
                    guard try queue.receive(into: &space) == 3 else { throw .wrongSize }
                    guard buffer[0] == 1, buffer[1] == 2, buffer[2] == 3, buffer[3] == 0x55, buffer[8] == 0x55 else {
                        throw .wrongState
                    }
                }.settled()
                checks.expect(.wrongSize) { () throws(KernelError) in try queue.send(long.span, .noWait) }
                checks.expect(!receiver.hasEnded)
                let mail: [UInt8] = [1, 2, 3]
                try queue.send(mail.span)
                checks.expect(try receiver.succeeds())
                var short = [UInt8](repeating: 0, count: 7)
                checks.expect(.wrongSize) { () throws(KernelError) in
                    var space = short.mutableSpan
                    _ = try queue.receive(into: &space, .noWait)
                }
            },
            Scenario("mails keep their bytes and their lengths, the empty one too") { (checks) throws(KernelError) in
                let queue = MailQueue(capacity: 3, mailBytes: 4)
                let mails: [[UInt8]] = [[1, 2, 3, 4], [], [9]]
                for _ in 0..<4 {
                    for mail in mails { try queue.send(mail.span, .noWait) }
                    for mail in mails {
                        var buffer = [UInt8](repeating: 0, count: 4)
                        var space = buffer.mutableSpan
                        let count = try queue.receive(into: &space, .noWait)
                        checks.expect(count == mail.count)
                        for index in 0..<count { checks.expect(buffer[index] == mail[index]) }
                    }
                    let mail = mails[2]
                    try queue.send(mail.span, .noWait)
                    queue.flush()
                    checks.expect(queue.count == 0)
                }
            },
            Scenario("a mail for all is copied to each who waits") { (checks) throws(KernelError) in
                let queue = PriorityMailQueue(capacity: 2, mailBytes: 4)
                var waiters: [Worker] = []
                for _ in 0..<3 {
                    waiters.append(
                        try Worker { () throws(KernelError) in
                            var buffer = [UInt8](repeating: 0, count: 4)
                            var space = buffer.mutableSpan
                            guard try queue.receive(into: &space) == 2, buffer[1] == 6 else { throw .wrongState }
                        }.settled()
                    )
                }
                let mail: [UInt8] = [5, 6]
                try queue.sendAll(mail.span, priority: .normal)
                for waiter in waiters { checks.expect(try waiter.succeeds()) }
                let urgent: [UInt8] = [7]
                try queue.send(mail.span, priority: .normal)
                try queue.send(urgent.span, priority: .highest)
                var buffer = [UInt8](repeating: 0, count: 4)
                var space = buffer.mutableSpan
                checks.expect(try queue.receive(into: &space, .noWait) == 1)
            },
        ]
    }
}

/// Posts to its counter when it is released.
private final class Counted: Sendable {
    private let counter: Semaphore

    init(_ counter: Semaphore) { self.counter = counter }

    deinit { do throws(KernelError) { try counter.post() } catch {} }
}
