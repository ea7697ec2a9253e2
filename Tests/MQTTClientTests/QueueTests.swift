import Testing

@testable import MQTTClient

/// What waits for the server: its limits, and what is done about more (the policies).
@Suite struct QueueTests {
    private func full(_ policy: MQTTQueueLimits.Policy) throws -> Driver {
        var driver = Driver {
            $0.queue.requests = 3
            $0.queue.whenFull = policy
        }
        for payload in ["1", "2", "3"] { _ = try driver.publish(payload) }
        return driver
    }

    /// The payloads that go out at the next connection.
    private func payloads(_ driver: inout Driver) throws -> [UInt8] {
        try driver.connect()
        let bytes = driver.sent()
        return stride(from: 7, to: bytes.count, by: 8).map { bytes[$0] - 0x30 }
    }

    @Test(arguments: [MQTTQueueLimits.Policy.fail, .wait])
    func theNewOneFails(policy: MQTTQueueLimits.Policy) throws {
        var driver = try full(policy)
        #expect(throws: MQTTError.queueFull(limit: 3)) { _ = try driver.publish("4") }
        #expect(try payloads(&driver) == [1, 2, 3])
    }

    @Test func theOldestIsDropped() throws {
        var driver = try full(.dropOldest)
        #expect(try driver.publish("4") == 4)
        #expect(driver.session.droppedCount == 1)
        #expect(try payloads(&driver) == [2, 3, 4])
        #expect(driver.events.contains(.failed(1, .droppedFromQueue)))
        // What was sent is not dropped: the server may have it.
        #expect(throws: MQTTError.queueFull(limit: 3)) { _ = try driver.publish("5") }
    }

    @Test func theNewestIsDropped() throws {
        var driver = try full(.dropNewest)
        #expect(try driver.publish("4") == nil)
        #expect(driver.session.droppedCount == 1)
        #expect(try payloads(&driver) == [1, 2, 3])
    }

    @Test func bytesAreLimitedToo() throws {
        var driver = Driver { $0.queue.bytes = 2_000 }
        let text = String(repeating: "x", count: 900)
        _ = try driver.publish(text)
        _ = try driver.publish(text)
        #expect(throws: MQTTError.queueFull(limit: 2_000)) { _ = try driver.publish(text) }
        #expect(throws: MQTTError.packetTooLarge(bytes: 2_908, limit: 2_000)) {
            _ = try driver.publish(String(repeating: "x", count: 2_900))
        }
    }

    @Test func messagesWithoutAcknowledgementMayWaitToo() throws {
        var driver = Driver { $0.queue.keepsQoS0 = true }
        #expect(try driver.publish("1", qos: .atMostOnce) == nil)
        #expect(try driver.publish("2") == 2)
        #expect(driver.session.waitingCount == 2)
        try driver.connect()
        #expect(driver.sent() == [0x30, 4, 0, 1, 0x61, 0x31, 0x32, 6, 0, 1, 0x61, 0, 1, 0x32])
        #expect(driver.session.waitingCount == 1)
    }

    @Test func messagesMayBeHeldToAWindow() throws {
        var driver = Driver { $0.maximumInFlight = 2 }
        try driver.connect()
        for payload in ["1", "2", "3"] { _ = try driver.publish(payload) }
        #expect(driver.sent().count == 16)
        try driver.receive([0x40, 2, 0, 2])
        #expect(driver.sent() == [0x32, 6, 0, 1, 0x61, 0, 3, 0x33])
    }

    /// A server of 3.1.1 cannot say how many messages with QoS 2 it takes at a time.
    @Test func messagesWithQoS2AreHeldToTheirOwnWindow() throws {
        var driver = Driver { $0.maximumQoS2InFlight = 2 }
        try driver.connect()
        for payload in ["1", "2", "3"] { _ = try driver.publish(payload, qos: .exactlyOnce) }
        #expect(driver.sent().count == 16)
        try driver.receive([0x50, 2, 0, 1])
        #expect(driver.sent() == [0x62, 2, 0, 1])
        try driver.receive([0x70, 2, 0, 1])
        #expect(driver.sent() == [0x34, 6, 0, 1, 0x61, 0, 3, 0x33])
        // A subscription is not held up by them.
        _ = try driver.publish("4", qos: .exactlyOnce)
        _ = try driver.subscribe("s")
        #expect(driver.sent() == [0x82, 6, 0, 4, 0, 1, 0x73, 1])
        // The count begins anew with each connection.
        driver.session.transportClosed()
        try driver.connect()
        #expect(driver.sent().filter { $0 == 0x34 }.count == 2)
    }

    /// A message and a subscription that the server never answers hold up neither what comes after them, nor its memory, nor the packet identifiers.
    @Test func whatIsNeverAnsweredHoldsNothingUp() throws {
        var driver = Driver { $0.queue.requests = 10 }
        try driver.connect()
        _ = try driver.publish("stuck")
        _ = try driver.subscribe("stuck")
        _ = driver.sent()
        // Many messages later.
        (driver.session.lastNumber, driver.session.lastPacketID) = (63_000, 63_000)
        let payload = String(repeating: "x", count: 100)
        var seen: Set<UInt16> = []
        for _ in 0..<4_000 {
            _ = try driver.publish(payload)
            let bytes = driver.sent()
            seen.insert(UInt16(bytes[5]) << 8 | UInt16(bytes[6]))
            try driver.receive([0x40, 2, bytes[5], bytes[6]])
        }
        #expect(seen == Set(63_001...65_535).union(3...1_467))
        let memory = driver.session.publishes.end - driver.session.publishes.first
        #expect(memory < 100_000)
        #expect(driver.session.waitingCount == 2)
    }

    @Test func whoWaitsLongTakesNoMorePlaces() {
        var waiters = RequestWaiters()
        let group = RequestGroup(count: 2)
        waiters.add(1, .group(group, index: 0))
        for number in 2...10_000 as ClosedRange<MQTTRequestID> {
            waiters.add(number &+ 20_000, .group(RequestGroup(count: 1), index: 0))
            waiters.remove(number &+ 20_000).finish(.success(MQTTAnswer()))
        }
        #expect(waiters.placeCount <= 16)
        waiters.remove(1).finish(.success(MQTTAnswer(code: .noMatchingSubscribers)))
        #expect(group.results[0] == .success(.noMatchingSubscribers))
    }

    /// The memory of the queue is used again: it does not grow with what has gone through it.
    @Test func manyMessagesThroughASmallQueue() throws {
        var driver = Driver { $0.queue.requests = 10 }
        try driver.connect()
        var waiting: [UInt8] = []
        for number in 0..<3_000 {
            _ = try driver.publish("\(number)")
            let bytes = driver.sent()
            waiting += [0x40, 2, bytes[5], bytes[6]]
            if waiting.count == 40 {
                // In an order of its own.
                for index in [3, 1, 0, 2, 9, 8, 4, 5, 7, 6] {
                    try driver.receive(Array(waiting[(4 * index)..<(4 * index + 4)]))
                }
                waiting = []
                #expect(driver.session.waitingCount == 0)
            }
        }
        #expect(driver.session.outgoingBytes == 0)
    }
}
