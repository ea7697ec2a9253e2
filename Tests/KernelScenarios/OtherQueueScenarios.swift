import Kernel

extension Scenario {
    /// What the four kinds of queues have in common, for those that QueueScenarios.swift leaves out.
    static var otherQueues: [Scenario] {
        [
            Scenario("an urgent message for all: none, one or three who wait") { (checks) throws(KernelError) in
                let queue = PriorityMessageQueue<Int>(capacity: 1)
                try queue.sendAll(1, priority: .lowest)
                checks.expect(queue.count == 1)
                checks.expect(.wouldBlock) { () throws(KernelError) in try queue.sendAll(2, priority: .highest) }
                checks.expect(try queue.receive(.noWait) == 1)
                for count in [1, 3] {
                    var waiters: [Worker] = []
                    for _ in 0..<count {
                        waiters.append(
                            try Worker { () throws(KernelError) in if try queue.receive() != 3 { throw .wrongState } }
                                .settled()
                        )
                    }
                    try queue.sendAll(3, priority: .normal)
                    for waiter in waiters { checks.expect(try waiter.succeeds()) }
                    checks.expect(queue.count == 0)
                }
            },
            Scenario("an urgent message goes straight to the most urgent who waits") { (checks) throws(KernelError) in
                let queue = PriorityMessageQueue<Int>(capacity: 1)
                let notes = Notes()
                for priority in [UInt8(9), 4, 7, 4] {
                    _ = try Worker(priority) { () throws(KernelError) in
                        try notes.add(Int(priority) * 10 + queue.receive())
                    }.settled()
                }
                for message in 1...4 {
                    try queue.send(message, priority: .lowest, .noWait)
                    checks.expect(queue.count == 0)
                    _ = try notes.wait(for: message)
                }
                checks.expect(try notes.all() == [41, 42, 73, 94])
            },
            Scenario("a queue of urgent messages is flushed and destroyed with those who wait") {
                (checks) throws(KernelError) in
                let queue = PriorityMessageQueue<Int>(capacity: 1)
                let receiver = try Worker { () throws(KernelError) in _ = try queue.receive() }.settled()
                queue.flush()
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!receiver.hasEnded)
                try queue.send(1, priority: .normal)
                checks.expect(try receiver.succeeds())
                try queue.send(2, priority: .normal)
                let sender = try Worker { () throws(KernelError) in try queue.send(3, priority: .normal) }.settled()
                let other = try Worker { () throws(KernelError) in try queue.send(4, priority: .normal) }.settled()
                queue.flush()
                checks.expect(try sender.succeeds())
                checks.expect(try queue.receive(.noWait) == 3)
                checks.expect(try other.succeeds())
                let last = try Worker { () throws(KernelError) in try queue.send(5, priority: .normal) }.settled()
                queue.destroy()
                checks.expect(try last.outcome() == .destroyed)
                checks.expect(.destroyed) { () throws(KernelError) in try queue.send(6, priority: .normal, .noWait) }
                checks.expect(.destroyed) { () throws(KernelError) in try queue.sendAll(6, priority: .normal) }
            },
            Scenario("priorities and order of arrival hold while a queue fills and empties") {
                (checks) throws(KernelError) in
                let queue = PriorityMessageQueue<Int>(capacity: 7)
                var next = 0
                for round in 0..<40 {
                    for step in 0..<(3 + round % 5) where queue.count < 7 {
                        let priority = (round * 5 + step * 3) % 4
                        try queue.send(priority * 10_000 + next, priority: Priority(rawValue: UInt8(priority)), .noWait)
                        next += 1
                    }
                    var last = -1
                    for _ in 0..<queue.count {
                        let message = try queue.receive(.noWait)
                        checks.expect(message > last)
                        last = message
                    }
                }
            },
            Scenario("who sends a mail to a full queue waits for a place, in turn, and it is whole") {
                (checks) throws(KernelError) in
                let queue = MailQueue(capacity: 1, mailBytes: 8)
                try queue.send(1, count: 8)
                var senders: [Worker] = []
                for number in [UInt8(2), 3] {
                    senders.append(
                        try Worker { () throws(KernelError) in try queue.send(number, count: Int(number)) }
                            .settled()
                    )
                }
                checks.expect(.timedOut) { () throws(KernelError) in try queue.send(9, count: 1, .milliseconds(3)) }
                checks.expect(.wouldBlock) { () throws(KernelError) in try queue.send(9, count: 1, .noWait) }
                checks.expect(.wouldBlock) { () throws(KernelError) in try queue.sendAll(9, count: 1) }
                for number in [UInt8(1), 2, 3] {
                    let mail = try queue.receiveBytes(.noWait)
                    checks.expect(mail.count == (number == 1 ? 8 : Int(number)))
                    for byte in mail { checks.expect(byte == number) }
                }
                for sender in senders { checks.expect(try sender.succeeds()) }
            },
            Scenario("a mail for all where none, one or three wait; flushing wakes none of them") {
                (checks) throws(KernelError) in
                let queue = MailQueue(capacity: 2, mailBytes: 4)
                try queue.sendAll(6, count: 2)
                checks.expect(queue.count == 1)
                checks.expect(try queue.receiveBytes(.noWait) == [6, 6])
                for count in [1, 3] {
                    var waiters: [Worker] = []
                    for _ in 0..<count {
                        waiters.append(
                            try Worker { () throws(KernelError) in
                                if try queue.receiveBytes() != [5, 5, 5] { throw .wrongState }
                            }.settled()
                        )
                    }
                    queue.flush()
                    try KernelTask.delay(.milliseconds(3))
                    for waiter in waiters { checks.expect(!waiter.hasEnded) }
                    checks.expect(.wrongSize) { () throws(KernelError) in try queue.sendAll(5, count: 5) }
                    try queue.sendAll(5, count: 3)
                    for waiter in waiters { checks.expect(try waiter.succeeds()) }
                }
                let waiter = try Worker { () throws(KernelError) in _ = try queue.receiveBytes() }.settled()
                queue.destroy()
                checks.expect(try waiter.outcome() == .destroyed)
                checks.expect(.destroyed) { () throws(KernelError) in try queue.send(1, count: 1, .noWait) }
            },
            Scenario("K7: an urgent mail of 16 bytes is refused by a queue of 8, with and without one who waits") {
                (checks) throws(KernelError) in
                let queue = PriorityMailQueue(capacity: 3, mailBytes: 8)
                checks.expect(.wrongSize) { () throws(KernelError) in
                    try queue.send(1, count: 16, priority: .highest, .noWait)
                }
                let waiter = try Worker { () throws(KernelError) in
                    var buffer = [UInt8](repeating: 0x55, count: 16)
                    var space = buffer.mutableSpan
                    guard try queue.receive(into: &space) == 8 else { throw .wrongSize }
                    for index in 0..<16 where buffer[index] != (index < 8 ? 2 : 0x55) { throw .wrongState }
                }.settled()
                checks.expect(.wrongSize) { () throws(KernelError) in
                    try queue.send(1, count: 16, priority: .highest)
                }
                checks.expect(.wrongSize) { () throws(KernelError) in
                    try queue.sendAll(1, count: 9, priority: .highest)
                }
                try queue.send(2, count: 8, priority: .lowest)
                checks.expect(try waiter.succeeds())
            },
            Scenario("K12: of equally urgent mails the first goes first") { (checks) throws(KernelError) in
                let queue = PriorityMailQueue(capacity: 8, mailBytes: 8)
                for number in 1...5 as ClosedRange<UInt8> {
                    try queue.send(number, count: Int(number), priority: .normal)
                }
                try queue.send(6, count: 6, priority: .highest)
                for number in [6, 1, 2, 3, 4, 5] as [UInt8] {
                    var buffer = [UInt8](repeating: 0, count: 8)
                    var space = buffer.mutableSpan
                    checks.expect(try queue.receive(into: &space, .noWait) == Int(number))
                    checks.expect(buffer[0] == number)
                }
            },
        ]
    }
}

// Mails of a number of equal bytes.

extension MailQueue {
    fileprivate func send(_ byte: UInt8, count: Int, _ wait: Wait = .forever) throws(KernelError) {
        let mail = [UInt8](repeating: byte, count: count)
        try send(mail.span, wait)
    }

    fileprivate func sendAll(_ byte: UInt8, count: Int) throws(KernelError) {
        let mail = [UInt8](repeating: byte, count: count)
        try sendAll(mail.span)
    }

    fileprivate func receiveBytes(_ wait: Wait = .forever) throws(KernelError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: mailBytes)
        var space = buffer.mutableSpan
        let count = try receive(into: &space, wait)
        while buffer.count > count { buffer.removeLast() }
        return buffer
    }
}

extension PriorityMailQueue {
    fileprivate func send(
        _ byte: UInt8,
        count: Int,
        priority: Priority,
        _ wait: Wait = .forever
    ) throws(KernelError) {
        let mail = [UInt8](repeating: byte, count: count)
        try send(mail.span, priority: priority, wait)
    }

    fileprivate func sendAll(_ byte: UInt8, count: Int, priority: Priority) throws(KernelError) {
        let mail = [UInt8](repeating: byte, count: count)
        try sendAll(mail.span, priority: priority)
    }
}
