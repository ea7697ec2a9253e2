import Testing

@testable import MQTTClient

/// The rules of delivery, one by one, in both versions where both have them.
@Suite struct DeliveryRuleTests {
    private func driver(
        isVersion5: Bool,
        _ change: (inout MQTTConfiguration) -> Void = { _ in }
    ) throws -> Driver {
        var driver = Driver {
            $0.version = isVersion5 ? .v5_0 : .v3_1_1
            $0.cleanStart = false
            $0.sessionExpirySeconds = 3_600
            change(&$0)
        }
        try driver.connect()
        return driver
    }

    /// The connection breaks; the next one finds the session.
    private func reconnect(_ driver: inout Driver) throws {
        driver.session.transportClosed()
        try driver.connect(sessionPresent: true)
    }

    @Test(arguments: [false, true]) func releasesComeInTheOrderOfTheReceipts(isVersion5: Bool) throws {
        var driver = try driver(isVersion5: isVersion5)
        for payload in ["1", "2", "3"] { _ = try driver.publish(payload, qos: .exactlyOnce) }
        _ = driver.sent()
        try driver.receive([0x50, 2, 0, 3, 0x50, 2, 0, 1])
        try driver.receive([0x50, 2, 0, 2])
        #expect(driver.sent() == [0x62, 2, 0, 3, 0x62, 2, 0, 1, 0x62, 2, 0, 2])
    }

    /// However long the server is silent: on the same connection nothing goes out twice.
    @Test(arguments: [false, true]) func nothingIsSentAgainOnTheSameConnection(isVersion5: Bool) throws {
        var driver = try driver(isVersion5: isVersion5) { $0.keepAliveSeconds = 0 }
        _ = try driver.publish("1")
        _ = try driver.publish("2", qos: .exactlyOnce)
        #expect(!driver.sent().isEmpty)
        for hours in 1...10 {
            try driver.session.handleTimeout(at: .seconds(3_600 * hours))
            #expect(driver.sent(at: .seconds(3_600 * hours)).isEmpty)
        }
    }

    /// After PUBACK, and after PUBCOMP, a packet identifier means a new message, whatever the DUP flag says.
    @Test(arguments: [false, true]) func anIdentifierThatWasGivenBackIsANewMessage(isVersion5: Bool) throws {
        var driver = try driver(isVersion5: isVersion5)
        let none: [UInt8] = isVersion5 ? [0] : []
        func publish(_ firstByte: UInt8, _ payload: UInt8) -> [UInt8] {
            [firstByte, UInt8(6 + none.count), 0, 1, 0x61, 0, 7] + none + [payload]
        }
        var count = 0
        for firstByte in [0x32, 0x3A, 0x34, 0x3C] as [UInt8] {
            count += 1
            try driver.receive(publish(firstByte, 0x30))
            let receipts = driver.receipts
            #expect(receipts.count == count)
            if let receipt = receipts.last { driver.session.acknowledge(receipt) }
            let isQoS2 = firstByte & 4 != 0
            #expect(driver.sent() == [isQoS2 ? 0x50 : 0x40, 2, 0, 7])
            if isQoS2 {
                try driver.receive([0x62, 2, 0, 7])
                #expect(driver.sent() == [0x70, 2, 0, 7])
            }
        }
    }

    /// What the server has refused is done with, and does not come again.
    @Test func whatIsRefusedIsNotSentAgain() throws {
        var driver = try driver(isVersion5: true)
        _ = try driver.publish("1")
        _ = try driver.publish("2", qos: .exactlyOnce)
        _ = driver.sent()
        try driver.receive([0x40, 3, 0, 1, 0x97, 0x50, 3, 0, 2, 0x87])
        #expect(driver.sent().isEmpty)
        try reconnect(&driver)
        #expect(driver.sent().isEmpty)
    }

    /// A message expires while it waits, but not once it was sent (4.3.3).
    @Test(arguments: [QoS.atLeastOnce, .exactlyOnce]) func expiryDoesNotCountForWhatWasSent(qos: QoS) throws {
        var driver = try driver(isVersion5: true)
        var properties = MQTTProperties()
        properties.set(.messageExpiryInterval, to: 10)
        _ = try driver.session.publish(
            topic: [0x61].span,
            payload: [0x31].span,
            qos: qos,
            isRetained: false,
            properties: properties
        )
        _ = driver.sent()
        driver.session.transportClosed()
        try driver.connect(sessionPresent: true, at: .seconds(100))
        let again = driver.sent(at: .seconds(100))
        // It says that it has a second left.
        #expect(again == [qos == .atLeastOnce ? 0x3A : 0x3C, 12, 0, 1, 0x61, 0, 1, 5, 2, 0, 0, 0, 1, 0x31])
        #expect(!driver.events.contains(.failed(1, .expired)))
    }

    /// U+FEFF at the start of a topic is a character like others.
    @Test(arguments: [false, true]) func aByteOrderMarkStays(isVersion5: Bool) throws {
        var driver = try driver(isVersion5: isVersion5)
        let topic: [UInt8] = [0xEF, 0xBB, 0xBF, 0x61]
        let none: [UInt8] = isVersion5 ? [0] : []
        try driver.receive([0x30, UInt8(6 + none.count), 0, 4] + topic + none)
        guard case .message(let message)? = driver.events.last else {
            Issue.record("no message")
            return
        }
        #expect(Array(message.topic) == topic)
        let nothing: [UInt8] = []
        _ = try driver.session.publish(topic: topic.span, payload: nothing.span, qos: .atMostOnce, isRetained: false)
        #expect(driver.sent() == [0x30, UInt8(6 + none.count), 0, 4] + topic + none)
    }

    /// Aliases belong to a connection, both ways.
    @Test func aliasesDoNotOutliveTheConnection() throws {
        var driver = try driver(isVersion5: true) { $0.outgoingTopicAliases = 4 }
        func accept(_ driver: inout Driver) throws {
            driver.session.transportClosed()
            try driver.session.connect(at: .zero)
            _ = driver.sent()
            try driver.receive([0x20, 6, 1, 0, 3, 0x22, 0, 4])
        }
        try accept(&driver)
        for _ in 0..<2 {
            // Each time the topic has to be told anew.
            _ = try driver.publish("1", qos: .atMostOnce)
            #expect(driver.sent() == [0x30, 8, 0, 1, 0x61, 3, 0x23, 0, 1, 0x31])
            _ = try driver.publish("2", qos: .atMostOnce)
            #expect(driver.sent() == [0x30, 7, 0, 0, 3, 0x23, 0, 1, 0x32])
            try driver.receive([0x30, 7, 0, 1, 0x62, 3, 0x23, 0, 1])
            try accept(&driver)
            #expect(throws: MQTTError.protocolViolation(.topicAliasInvalid)) {
                try driver.receive([0x30, 6, 0, 0, 3, 0x23, 0, 1])
            }
            try accept(&driver)
        }
    }

    /// Before CONNACK there is nothing but CONNECT and AUTH.
    @Test(arguments: [false, true]) func nothingGoesOutBeforeConnack(isVersion5: Bool) throws {
        var driver = Driver { $0.version = isVersion5 ? .v5_0 : .v3_1_1 }
        _ = try driver.publish("1")
        _ = try driver.subscribe("a")
        try driver.session.connect(at: .zero)
        let packets = driver.sent()
        #expect(packets.first == 0x10 && packets.count == Int(packets[1]) + 2)
        _ = try driver.publish("2")
        #expect(throws: MQTTError.notConnected) { _ = try driver.publish("3", qos: .atMostOnce) }
        #expect(driver.sent().isEmpty)
        try driver.receive([0x20, isVersion5 ? 3 : 2, 0, 0] + (isVersion5 ? [0] : []))
        #expect(!driver.sent().isEmpty)
    }

    // MARK: Large messages

    /// One that goes out from where it is kept keeps its place among the others, whatever the transport takes at a time.
    @Test(arguments: [1_000, 65_536, 1_000_000], [QoS.atLeastOnce, .exactlyOnce])
    func aLargeMessageKeepsItsPlace(step: Int, qos: QoS) throws {
        var driver = try driver(isVersion5: true) { $0.queue.bytes = 2_000_000 }
        let payload = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        _ = try driver.publish("before", qos: .atMostOnce)
        var properties = MQTTProperties()
        properties.set(.messageExpiryInterval, to: 100)
        _ = try driver.session.publish(
            topic: [0x61].span,
            payload: payload.span,
            qos: qos,
            isRetained: false,
            properties: properties
        )
        _ = try driver.publish("after", qos: .atLeastOnce)
        _ = try driver.subscribe("s")
        let large =
            [qos == .atLeastOnce ? 0x32 : 0x34, 0xCB, 0x9A, 0x0C, 0, 1, 0x61, 0, 1, 5, 2, 0, 0, 0, 100] + payload
        var bytes: [UInt8] = []
        var rounds = 0
        while driver.session.hasOutgoing == true {
            bytes += driver.sent(atMost: step)
            rounds += 1
            // In its midst a message comes, whose acknowledgement must wait for its end.
            if rounds == 3, bytes.count < large.count {
                try driver.receive([0x32, 6, 0, 1, 0x61, 0, 9, 0])
                driver.session.acknowledge(driver.receipts[0])
            }
        }
        let before: [UInt8] = [0x30, 10, 0, 1, 0x61, 0] + Array("before".utf8)
        #expect(Array(bytes.prefix(before.count)) == before)
        #expect(Array(bytes.dropFirst(before.count).prefix(large.count)) == large)
        let rest = Array(bytes.dropFirst(before.count + large.count))
        let after: [UInt8] = [0x32, 11, 0, 1, 0x61, 0, 2, 0] + Array("after".utf8) + [0x82, 7, 0, 3, 0, 0, 1, 0x73, 1]
        #expect(rest == (driver.receipts.isEmpty ? [] : [0x40, 2, 0, 9]) + after)
    }

    /// It begins anew on a new connection, with what is left of its time; and nobody can have acknowledged what has not gone out.
    @Test func aLargeMessageThatIsCutOffBeginsAnew() throws {
        var driver = try driver(isVersion5: true) { $0.queue.bytes = 2_000_000 }
        let payload = [UInt8](repeating: 0x78, count: 100_000)
        var properties = MQTTProperties()
        properties.set(.messageExpiryInterval, to: 100)
        _ = try driver.session.publish(
            topic: [0x61].span,
            payload: payload.span,
            qos: .atLeastOnce,
            isRetained: false,
            properties: properties
        )
        #expect(driver.sent(atMost: 1_000).count == 1_000)
        driver.session.transportClosed()
        try driver.connect(sessionPresent: true, at: .seconds(40))
        let again = driver.sent(at: .seconds(40))
        #expect(again.count == 100_000 + 15 && Array(again.prefix(15).suffix(6)) == [5, 2, 0, 0, 0, 60])
        #expect(again[0] == 0x3A)
        try driver.receive([0x40, 2, 0, 1])
        #expect(driver.events.last == .published(1, .success) && driver.session.waitingCount == 0)
        // Too early.
        _ = try driver.session.publish(topic: [0x61].span, payload: payload.span, qos: .atLeastOnce, isRetained: false)
        _ = driver.sent(atMost: 1_000)
        #expect(throws: MQTTError.protocolViolation(.unexpectedPacket(firstByte: 0x40))) {
            try driver.receive([0x40, 2, 0, 2])
        }
    }

    /// A ping that stands behind a large message is waited for as long as that goes on.
    @Test func aLargeMessageOverASlowLinkIsNoDeadLink() throws {
        var driver = try driver(isVersion5: false) {
            $0.queue.bytes = 2_000_000
            $0.keepAliveSeconds = 10
        }
        let payload = [UInt8](repeating: 0x78, count: 100_000)
        _ = try driver.session.publish(topic: [0x61].span, payload: payload.span, qos: .atLeastOnce, isRetained: false)
        for second in 0..<40 {
            let now = Duration.seconds(second)
            if let deadline = driver.session.deadline, deadline <= now { try driver.session.handleTimeout(at: now) }
            _ = driver.sent(atMost: 1_000, at: now)
        }
        #expect(driver.session.isConnected == true)
        // It stands still: half of the keep alive later the link is dead.
        #expect(throws: MQTTError.keepAliveTimedOut) {
            for second in 40..<60 {
                if let deadline = driver.session.deadline, deadline <= .seconds(second) {
                    try driver.session.handleTimeout(at: .seconds(second))
                }
            }
        }
    }
}
