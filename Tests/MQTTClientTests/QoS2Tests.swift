import Testing

@testable import MQTTClient

/// Messages that arrive exactly once (MQTT 3.1.1, 4.3.3).
@Suite struct QoS2Tests {
    @Test func publishesInFourPackets() throws {
        var driver = Driver()
        try driver.connect()
        #expect(try driver.publish("x", qos: .exactlyOnce) == 1)
        #expect(driver.sent() == [0x34, 6, 0, 1, 0x61, 0, 1, 0x78])
        try driver.receive([0x50, 2, 0, 1])
        #expect(driver.sent() == [0x62, 2, 0, 1])
        #expect(driver.events.count == 1)
        try driver.receive([0x70, 2, 0, 1])
        #expect(driver.events.last == .published(1, .success))
        #expect(driver.session.waitingCount == 0)
    }

    @Test func goesOnWhereItWasAfterAReconnect() throws {
        var driver = Driver { $0.cleanStart = false }
        try driver.connect()
        for payload in ["1", "2", "3"] { _ = try driver.publish(payload, qos: .exactlyOnce) }
        _ = driver.sent()
        try driver.receive([0x50, 2, 0, 2])
        _ = driver.sent()
        driver.session.transportClosed()
        try driver.connect(sessionPresent: true)
        // What the server has had is released again, the rest is sent again, in the order of the publishes.
        #expect(
            driver.sent() == [0x3C, 6, 0, 1, 0x61, 0, 1, 0x31, 0x62, 2, 0, 2, 0x3C, 6, 0, 1, 0x61, 0, 3, 0x33]
        )
        try driver.receive([0x70, 2, 0, 2, 0x50, 2, 0, 1, 0x50, 2, 0, 3])
        #expect(driver.sent() == [0x62, 2, 0, 1, 0x62, 2, 0, 3])
        try driver.receive([0x70, 2, 0, 1, 0x70, 2, 0, 3])
        #expect(Array(driver.events.suffix(3)) == [2, 1, 3].map { .published($0, .success) })
    }

    @Test func withoutTheSessionWhatWasReceivedIsDoneAndTheRestIsNew() throws {
        var driver = Driver()
        try driver.connect()
        for payload in ["1", "2"] { _ = try driver.publish(payload, qos: .exactlyOnce) }
        _ = driver.sent()
        try driver.receive([0x50, 2, 0, 1])
        driver.session.transportClosed()
        try driver.connect()
        #expect(driver.events.last == .published(1, .success))
        #expect(driver.sent() == [0x34, 6, 0, 1, 0x61, 0, 3, 0x32])
    }

    @Test func withoutTheSessionItMayFailInstead() throws {
        var driver = Driver { $0.publishesAgainWithoutSession = false }
        try driver.connect()
        _ = try driver.publish("1", qos: .exactlyOnce)
        _ = driver.sent()
        driver.session.transportClosed()
        try driver.connect()
        #expect(driver.events.last == .failed(1, .disconnected))
        #expect(driver.sent().isEmpty)
    }

    @Test func answersWhatItDoesNotKnow() throws {
        var driver = Driver()
        try driver.connect()
        // PUBREC and PUBREL for nothing are answered, so that the server comes to an end; PUBACK and PUBCOMP are not.
        try driver.receive([0x50, 2, 0, 9, 0x62, 2, 0, 8, 0x40, 2, 0, 7, 0x70, 2, 0, 6])
        #expect(driver.sent() == [0x62, 2, 0, 9, 0x70, 2, 0, 8])
    }

    @Test func aWrongAcknowledgementIsAgainstTheStandard() throws {
        for (version, qos, packet) in [
            (.v3_1_1, .atLeastOnce, 0x50), (.v3_1_1, .atLeastOnce, 0x70), (.v5_0, .exactlyOnce, 0x40),
        ] as [(MQTTVersion, QoS, UInt8)] {
            var driver = Driver { $0.version = version }
            try driver.connect()
            _ = try driver.publish("x", qos: qos)
            _ = driver.sent()
            #expect(throws: MQTTError.protocolViolation(.unexpectedPacket(firstByte: packet))) {
                try driver.receive([packet, 2, 0, 1])
            }
        }
    }

    /// RabbitMQ up to 3.12 takes a message with QoS 2 as one with QoS 1, and cannot say so before.
    @Test func aServerOf311MayTakeItWithQoS1() throws {
        var driver = Driver()
        try driver.connect()
        _ = try driver.publish("x", qos: .exactlyOnce)
        _ = try driver.publish("y", qos: .exactlyOnce)
        _ = driver.sent()
        try driver.receive([0x40, 2, 0, 1])
        #expect(driver.events.last == .published(1, .success))
        // Not after it has begun with QoS 2.
        try driver.receive([0x50, 2, 0, 2])
        #expect(throws: MQTTError.protocolViolation(.unexpectedPacket(firstByte: 0x40))) {
            try driver.receive([0x40, 2, 0, 2])
        }
    }

    @Test func deliversOnceHoweverOftenItIsSent() throws {
        var driver = Driver()
        try driver.connect()
        try driver.receive([0x34, 6, 0, 1, 0x61, 0, 9, 0x68])
        #expect(driver.events.last == .message(message("a", "h", qos: .exactlyOnce)))
        // A duplicate before the user is through with it is not delivered, and not answered yet.
        try driver.receive([0x3C, 6, 0, 1, 0x61, 0, 9, 0x68])
        #expect(driver.events.count == 2)
        #expect(driver.sent().isEmpty)
        driver.session.acknowledge(try #require(driver.receipts.last))
        #expect(driver.sent() == [0x50, 2, 0, 9])
        // Nor after that; and what comes behind it is not held up by it.
        try driver.receive([0x3C, 6, 0, 1, 0x61, 0, 9, 0x68, 0x32, 6, 0, 1, 0x61, 0, 8, 0x68])
        #expect(driver.events.count == 3)
        driver.session.acknowledge(try #require(driver.receipts.last))
        #expect(driver.sent() == [0x50, 2, 0, 9, 0x40, 2, 0, 8])
        try driver.receive([0x62, 2, 0, 9])
        #expect(driver.sent() == [0x70, 2, 0, 9])
        // The identifier stands for another message now.
        try driver.receive([0x34, 6, 0, 1, 0x61, 0, 9, 0x69])
        #expect(driver.events.count == 4)
    }

    @Test func whatTheUserHasIsNotDeliveredAgainAfterAReconnect() throws {
        var driver = Driver { $0.cleanStart = false }
        try driver.connect()
        try driver.receive([0x34, 6, 0, 1, 0x61, 0, 9, 0x68])
        let receipt = try #require(driver.receipts.last)
        driver.session.transportClosed()
        try driver.connect(sessionPresent: true)
        try driver.receive([0x3C, 6, 0, 1, 0x61, 0, 9, 0x68])
        #expect(driver.receipts.count == 1)
        #expect(driver.sent().isEmpty)
        driver.session.acknowledge(receipt)
        #expect(driver.sent() == [0x50, 2, 0, 9])
    }

    @Test func aReceiptOfALostSessionMeansNothing() throws {
        var driver = Driver()
        try driver.connect()
        try driver.receive([0x34, 6, 0, 1, 0x61, 0, 9, 0x68, 0x32, 6, 0, 1, 0x61, 0, 8, 0x68])
        let receipts = driver.receipts
        driver.session.transportClosed()
        try driver.connect()
        try driver.receive([0x34, 6, 0, 1, 0x61, 0, 9, 0x69, 0x32, 6, 0, 1, 0x61, 0, 8, 0x69])
        #expect(driver.receipts.count == 4)
        for receipt in receipts { driver.session.acknowledge(receipt) }
        #expect(driver.sent().isEmpty)
        for receipt in driver.receipts.suffix(2) { driver.session.acknowledge(receipt) }
        #expect(driver.sent() == [0x50, 2, 0, 9, 0x40, 2, 0, 8])
    }

    /// A server of 3.1.1 does not know how many messages the user can have at a time; it is read from until then.
    @Test func holdsBackWhatTheUserIsNotThroughWith() throws {
        var driver = Driver { $0.receiveMaximum = 2 }
        try driver.connect()
        try driver.receive([0x34, 6, 0, 1, 0x61, 0, 1, 0x68, 0x34, 6, 0, 1, 0x61, 0, 2, 0x68])
        var isFull = driver.session.isFull
        #expect(isFull)
        for receipt in driver.receipts { driver.session.acknowledge(receipt) }
        // What the server has still to release holds nothing back: it would never be read.
        isFull = driver.session.isFull
        #expect(!isFull)
    }

    /// MQTT 3.1.1, 4.6: the acknowledgements go out in the order in which the messages came.
    @Test func acknowledgementsKeepTheOrderOfTheMessages() throws {
        var driver = Driver()
        try driver.connect()
        for packetID in 1...4 as ClosedRange<UInt8> {
            try driver.receive([packetID % 2 == 0 ? 0x34 : 0x32, 6, 0, 1, 0x61, 0, packetID, 0x68])
        }
        for index in [2, 1, 3] { driver.session.acknowledge(driver.receipts[index]) }
        #expect(driver.sent().isEmpty)
        driver.session.acknowledge(driver.receipts[0])
        #expect(driver.sent() == [0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x40, 2, 0, 3, 0x50, 2, 0, 4])
        // Once is enough.
        for receipt in driver.receipts { driver.session.acknowledge(receipt) }
        #expect(driver.sent().isEmpty)
    }
}
