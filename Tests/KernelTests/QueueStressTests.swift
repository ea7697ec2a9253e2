import Testing

@testable import Kernel

/// The queues under load: each item arrives once, whole, and behind those that its sender sent before.
@Suite(.timeLimit(.minutes(1))) struct QueueStressTests {
    /// A way to send and receive numbers.
    struct Queue: Sendable {
        let object: BlockingQueue
        let send: @Sendable (Int, Wait) throws(KernelError) -> Void
        let sendAsync: @Sendable (Int, Wait) async throws(KernelError) -> Void
        let receive: @Sendable (Wait) throws(KernelError) -> Int
        let receiveAsync: @Sendable (Wait) async throws(KernelError) -> Int
    }

    enum Kind: CaseIterable {
        case messages, objects, urgentMessages, mails, urgentMails

        func make(capacity: Int) -> Queue {
            switch self {
            case .messages: .messages(capacity)
            case .objects: .objects(capacity)
            case .urgentMessages: .urgentMessages(capacity)
            case .mails: .mails(capacity)
            case .urgentMails: .urgentMails(capacity)
            }
        }
    }

    /// What was sent and received, sender by sender.
    private final class Ledger: Sendable {
        let sent = Guarded(Array(repeating: 0, count: 6))
        let received = Guarded(Array(repeating: [Int](), count: 6))

        func next(from sender: Int) -> Int { sent.withLock { sender * 1_000_000 + $0[sender] } }
        func sent(from sender: Int) { sent.withLock { $0[sender] += 1 } }
    }

    /// Four send and two receive, threads and tasks of both; some give up now and then. Each receiver has what came to it in a list of its own.
    @Test(arguments: Kind.allCases, Stress.seeds)
    func losesAndDoublesNothing(kind: Kind, seed: UInt64) async throws {
        let queue = kind.make(capacity: 1 + Int(seed % 4))
        let ledger = Ledger()
        let end = -1
        let stress = Stress(seed: seed, threads: 2, tasks: 2, rounds: 150)
        let receiver = try KernelTask {
            var generator = Generator(state: seed)
            do throws(KernelError) {
                while true {
                    do throws(KernelError) {
                        let number = try queue.receive(generator.below(2) == 0 ? .forever : generator.impatientWait())
                        if number == end { break }
                        ledger.received.withLock { $0[0].append(number) }
                    } catch { guard error == .wouldBlock || error == .timedOut else { throw error } }
                }
            } catch { Issue.record(error) }
        }
        let other = Task {
            var generator = Generator(state: seed &+ 7)
            while true {
                do throws(KernelError) {
                    let wait = generator.below(2) == 0 ? .forever : generator.impatientWait()
                    let number = try await queue.receiveAsync(wait)
                    if number == end { return }
                    ledger.received.withLock { $0[1].append(number) }
                } catch {
                    guard error == .wouldBlock || error == .timedOut else { throw error }
                    await Task.yield()
                }
            }
        }
        try await stress.run { (number, _, generator) throws(KernelError) in
            let item = ledger.next(from: number)
            do throws(KernelError) {
                try queue.send(item, generator.below(2) == 0 ? .forever : generator.impatientWait())
                ledger.sent(from: number)
            } catch { guard error == .wouldBlock || error == .timedOut else { throw error } }
        } task: { (number, _, generator) async throws(KernelError) in
            let item = ledger.next(from: number)
            do throws(KernelError) {
                try await queue.sendAsync(item, generator.below(2) == 0 ? .forever : generator.impatientWait())
                ledger.sent(from: number)
            } catch { guard error == .wouldBlock || error == .timedOut else { throw error } }
        }
        // Both receivers are to end, and what is urgent may come before the rest.
        #expect(try await eventually { queue.object.count == 0 })
        for _ in 0..<2 { try await queue.sendAsync(end, .forever) }
        try await receiver.join()
        try await other.value
        let sent = ledger.sent.withLock { $0 }
        let received = ledger.received.withLock { $0 }
        let expected = (0..<4).flatMap { sender in (0..<sent[sender]).map { sender * 1_000_000 + $0 } }
        #expect((received[0] + received[1]).sorted() == expected)
        for list in received {
            for sender in 0..<4 {
                let numbers = list.filter { $0 / 1_000_000 == sender }
                #expect(numbers == numbers.sorted(), "of sender \(sender)")
            }
        }
        #expect(queue.object.count == 0 && queue.object.waiting == 0)
    }
}

extension QueueStressTests.Queue {
    fileprivate static func messages(_ capacity: Int) -> Self {
        let queue = MessageQueue<Int>(capacity: capacity)
        return Self(
            object: queue,
            send: { (item, wait) throws(KernelError) in try queue.send(item, wait) },
            sendAsync: { (item, wait) async throws(KernelError) in try await queue.send(item, wait) },
            receive: { wait throws(KernelError) in try queue.receive(wait) },
            receiveAsync: { wait async throws(KernelError) in try await queue.receive(wait) }
        )
    }

    /// Messages that are counted references, and larger than a word.
    fileprivate static func objects(_ capacity: Int) -> Self {
        struct Message: Sendable {
            let text: [Int]
            let number: Int
            let copy: Int
            init(_ number: Int) { (text, self.number, copy) = ([number, number], number, number) }
            var value: Int {
                #expect(text == [number, copy])
                return number
            }
        }
        let queue = MessageQueue<Message>(capacity: capacity)
        return Self(
            object: queue,
            send: { (item, wait) throws(KernelError) in try queue.send(Message(item), wait) },
            sendAsync: { (item, wait) async throws(KernelError) in try await queue.send(Message(item), wait) },
            receive: { wait throws(KernelError) in try queue.receive(wait).value },
            receiveAsync: { wait async throws(KernelError) in try await queue.receive(wait).value }
        )
    }

    /// The priority is the sender's, so that its own items stay in their order.
    fileprivate static func urgentMessages(_ capacity: Int) -> Self {
        let queue = PriorityMessageQueue<Int>(capacity: capacity)
        return Self(
            object: queue,
            send: { (item, wait) throws(KernelError) in try queue.send(item, priority: priority(of: item), wait) },
            sendAsync: { (item, wait) async throws(KernelError) in
                try await queue.send(item, priority: priority(of: item), wait)
            },
            receive: { wait throws(KernelError) in try queue.receive(wait) },
            receiveAsync: { wait async throws(KernelError) in try await queue.receive(wait) }
        )
    }

    fileprivate static func mails(_ capacity: Int) -> Self {
        let queue = MailQueue(capacity: capacity, mailBytes: 40)
        return Self(
            object: queue,
            send: { (item, wait) throws(KernelError) in try queue.send(mail(item).span, wait) },
            sendAsync: { (item, wait) async throws(KernelError) in try await queue.send(mail(item), wait) },
            receive: { wait throws(KernelError) in
                var buffer = [UInt8](repeating: 0, count: 40)
                var space = buffer.mutableSpan
                let count = try queue.receive(into: &space, wait)
                return item(Array(buffer[..<count]))
            },
            receiveAsync: { wait async throws(KernelError) in item(try await queue.receive(wait)) }
        )
    }

    fileprivate static func urgentMails(_ capacity: Int) -> Self {
        let queue = PriorityMailQueue(capacity: capacity, mailBytes: 40)
        return Self(
            object: queue,
            send: { (item, wait) throws(KernelError) in
                try queue.send(mail(item).span, priority: priority(of: item), wait)
            },
            sendAsync: { (item, wait) async throws(KernelError) in
                try await queue.send(mail(item), priority: priority(of: item), wait)
            },
            receive: { wait throws(KernelError) in
                var buffer = [UInt8](repeating: 0, count: 40)
                var space = buffer.mutableSpan
                let count = try queue.receive(into: &space, wait)
                return item(Array(buffer[..<count]))
            },
            receiveAsync: { wait async throws(KernelError) in item(try await queue.receive(wait)) }
        )
    }
}

private func priority(of item: Int) -> Priority { Priority(rawValue: UInt8(max(0, item) / 1_000_000 % 3)) }

/// A number, and as many equal bytes as it likes.
private func mail(_ item: Int) -> [UInt8] {
    withUnsafeBytes(of: item) { Array($0) }
        + [UInt8](repeating: UInt8(truncatingIfNeeded: item), count: item < 0 ? 0 : item % 33)
}

private func item(_ mail: [UInt8]) -> Int {
    guard mail.count >= 8 else { return .min }
    let item = mail.withUnsafeBytes { $0.loadUnaligned(as: Int.self) }
    #expect(mail.count == (item < 0 ? 8 : 8 + item % 33))
    #expect(mail.dropFirst(8).allSatisfy { $0 == UInt8(truncatingIfNeeded: item) })
    return item
}
