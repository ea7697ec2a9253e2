import Testing

@testable import MQTTClient

/// What MQTT 5.0 has and 3.1.1 has not.
@Suite struct Version5Tests {
    /// A session of 5.0 that is connected; the server has said `properties`.
    private func connected(
        _ properties: [UInt8] = [],
        sessionPresent: Bool = false,
        _ change: (inout MQTTConfiguration) -> Void = { _ in }
    ) throws -> Driver {
        var driver = Driver {
            $0.version = .v5_0
            change(&$0)
        }
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        try driver.receive(connack(properties, sessionPresent: sessionPresent))
        return driver
    }

    private func connack(_ properties: [UInt8] = [], sessionPresent: Bool = false, code: UInt8 = 0) -> [UInt8] {
        [0x20, UInt8(3 + properties.count), sessionPresent ? 1 : 0, code, UInt8(properties.count)] + properties
    }

    private func text(_ text: String) -> [UInt8] { [0, UInt8(text.utf8.count)] + Array(text.utf8) }

    // MARK: CONNECT and CONNACK

    @Test func encodesConnect() throws {
        var driver = Driver {
            $0.version = .v5_0
            $0.sessionExpirySeconds = 3_600
            $0.receiveMaximum = 10
            $0.maximumPacketBytes = 1_000
            $0.topicAliasMaximum = 5
            $0.connectProperties.userProperties = [MQTTUserProperty("a", "b")]
            $0.will = .init(topic: [0x77], payload: [1], qos: .exactlyOnce)
            $0.will?.properties.willDelaySeconds = 7
            $0.password = [0x70]
        }
        try driver.session.connect(at: .zero)
        #expect(
            driver.sent() == [0x10, 52, 0, 4, 77, 81, 84, 84, 5, 0x56, 0, 60]
                + [
                    23, 0x11, 0, 0, 0x0E, 0x10, 0x21, 0, 10, 0x27, 0, 0, 3, 0xE8, 0x22, 0, 5, 0x26, 0, 1, 0x61, 0, 1,
                    0x62,
                ]
                + [0, 1, 99] + [5, 0x18, 0, 0, 0, 7] + [0, 1, 0x77] + [0, 1, 1] + [0, 1, 0x70]
        )
    }

    @Test func takesWhatTheServerSays() throws {
        let driver = try connected(
            [0x12] + text("given") + [0x13, 0, 30] + [0x1F] + text("hello") + [0x1C] + text("other") + [
                0x24, 1, 0x25, 0,
            ]
                + [0x28, 0, 0x29, 0, 0x2A, 0] + [0x26] + text("k") + text("v")
        ) { $0.clientID = [] }
        guard case .connected(let info) = driver.events.first else {
            Issue.record("\(driver.events)")
            return
        }
        let properties = info.properties
        #expect(properties.assignedClientIdentifier == "given" && properties.serverKeepAliveSeconds == 30)
        #expect(properties.reasonString == "hello" && properties.serverReference == "other")
        #expect(properties.maximumQoS == .atLeastOnce && properties.retainAvailable == false)
        #expect(properties.userProperties == [MQTTUserProperty("k", "v")])
        #expect(driver.session.configuration.clientID == Array("given".utf8))
        // The server's keep alive counts.
        #expect(driver.session.deadline == .seconds(30))
    }

    @Test func aServersKeepAliveOfZeroEndsThePings() throws {
        let driver = try connected([0x13, 0, 0])
        #expect(driver.session.deadline == nil)
    }

    @Test func reportsARefusalWithItsReason() throws {
        var driver = Driver { $0.version = .v5_0 }
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        let error = #expect(throws: MQTTError.self) {
            try driver.receive(connack([0x1F] + text("no"), code: 0x87))
        }
        guard case .connectionRefused(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.code == .notAuthorized && "\(reason)" == "not authorized (0x87): no")
        // No DISCONNECT to a server that has accepted nothing (3.14).
        #expect(driver.sent().isEmpty)
    }

    @Test func asksForItsSessionAtTheNextConnect() throws {
        var driver = try connected { $0.sessionExpirySeconds = 60 }
        driver.session.transportClosed()
        try driver.session.connect(at: .zero)
        #expect(driver.sent()[9] & 2 == 0)
        try driver.receive(connack(sessionPresent: true))
        var forgetful = try connected()
        forgetful.session.transportClosed()
        try forgetful.session.connect(at: .zero)
        #expect(forgetful.sent()[9] & 2 == 2)
        // A session that cannot be there.
        #expect(throws: MQTTError.protocolViolation(.malformedPacket(firstByte: 0x20))) {
            try forgetful.receive(connack(sessionPresent: true))
        }
    }

    // MARK: PUBLISH

    @Test func publishesWithProperties() throws {
        var driver = try connected()
        var properties = MQTTProperties()
        properties.payloadIsText = true
        properties.contentType = "t"
        properties.responseTopic = "r"
        properties.correlationData = [1, 2]
        properties.userProperties = [MQTTUserProperty("a", "1"), MQTTUserProperty("a", "2")]
        _ = try driver.session.publish(
            topic: [0x61].span,
            payload: [0x78].span,
            qos: .atLeastOnce,
            isRetained: true,
            properties: properties
        )
        let list: [UInt8] =
            [1, 1, 3, 0, 1, 0x74, 8, 0, 1, 0x72, 9, 0, 2, 1, 2, 0x26, 0, 1, 0x61, 0, 1, 0x31]
            + [0x26, 0, 1, 0x61, 0, 1, 0x32]
        #expect(driver.sent() == [0x33, UInt8(7 + list.count), 0, 1, 0x61, 0, 1, UInt8(list.count)] + list + [0x78])
        try driver.receive([0x40, 3, 0, 1, 0x10])
        #expect(driver.events.last == .published(1, .noMatchingSubscribers))
    }

    @Test func aMessageHasItsProperties() throws {
        var driver = try connected()
        let list = [1, 1, 2, 0, 0, 0, 9, 0x0B, 1, 0x0B, 0x80, 1, 8] + text("r")
        try driver.receive([0x30, UInt8(4 + list.count + 2), 0, 1, 0x61, UInt8(list.count)] + list + [0x68, 0x69])
        guard case .message(let message) = driver.events.last else {
            Issue.record("\(driver.events)")
            return
        }
        #expect(Array(message.topic) == [0x61] && Array(message.payload) == [0x68, 0x69])
        #expect(message.properties.messageExpirySeconds == 9 && message.properties.payloadIsText == true)
        #expect(message.properties.subscriptionIdentifiers == [1, 128] && message.properties.responseTopic == "r")
    }

    @Test func reportsAFailureWithItsReason() throws {
        var driver = try connected()
        _ = try driver.publish("x")
        _ = try driver.publish("y", qos: .exactlyOnce)
        _ = driver.sent()
        try driver.receive([0x40, 8, 0, 1, 0x97, 4, 0x1F, 0, 1, 0x71])
        guard case .failed(1, .publishRefused(let reason)) = driver.events.last else {
            Issue.record("\(driver.events)")
            return
        }
        #expect(reason.code == .quotaExceeded && reason.properties.reasonString == "q")
        // A message that PUBREC refuses is not released (4.3.3).
        try driver.receive([0x50, 3, 0, 2, 0x90])
        #expect(driver.events.last == .failed(2, .publishRefused(MQTTReason(.topicNameInvalid))))
        #expect(driver.sent().isEmpty && driver.session.waitingCount == 0)
    }

    @Test func noMoreAreUnderWayThanTheServerTakes() throws {
        var driver = try connected([0x21, 0, 2])
        for payload in ["1", "2", "3", "4"] { _ = try driver.publish(payload, qos: .exactlyOnce) }
        _ = try driver.publish("0", qos: .atMostOnce)
        #expect(driver.sent().filter { $0 == 0x34 }.count == 2)
        // A PUBREC makes no room, a PUBCOMP or a refusal does (4.9).
        try driver.receive([0x50, 2, 0, 1])
        #expect(driver.sent() == [0x62, 2, 0, 1])
        try driver.receive([0x70, 2, 0, 1])
        #expect(driver.sent() == [0x34, 7, 0, 1, 0x61, 0, 3, 0, 0x33])
        try driver.receive([0x50, 3, 0, 2, 0x80])
        #expect(driver.sent() == [0x34, 7, 0, 1, 0x61, 0, 4, 0, 0x34])
        // A subscription needs no room.
        _ = try driver.subscribe("s")
        #expect(driver.sent() == [0x82, 7, 0, 5, 0, 0, 1, 0x73, 1])
    }

    @Test func aServerThatSendsTooMuchIsTold() throws {
        var driver = try connected { $0.receiveMaximum = 2 }
        try driver.receive([0x32, 6, 0, 1, 0x61, 0, 1, 0, 0x34, 6, 0, 1, 0x61, 0, 2, 0])
        // A message without acknowledgement, and a duplicate, are not counted.
        try driver.receive([0x30, 4, 0, 1, 0x61, 0, 0x3C, 6, 0, 1, 0x61, 0, 2, 0])
        #expect(throws: MQTTError.protocolViolation(.receiveMaximumExceeded)) {
            try driver.receive([0x32, 6, 0, 1, 0x61, 0, 3, 0])
        }
        #expect(driver.sent() == [0xE0, 1, 0x93])
    }

    /// Mosquitto sends more as soon as it has the PUBREC.
    @Test func whatHasItsPubrecLeavesRoom() throws {
        var driver = try connected { $0.receiveMaximum = 2 }
        for packetID in 1...10 as ClosedRange<UInt8> {
            try driver.receive([0x34, 6, 0, 1, 0x61, 0, packetID, 0])
            driver.session.acknowledge(try #require(driver.receipts.last))
            #expect(driver.sent() == [0x50, 2, 0, packetID])
        }
        for packetID in 1...10 as ClosedRange<UInt8> {
            try driver.receive([0x62, 2, 0, packetID])
            #expect(driver.sent() == [0x70, 2, 0, packetID])
        }
    }

    @Test func topicAliasesOfTheServer() throws {
        var driver = try connected { $0.topicAliasMaximum = 2 }
        try driver.receive([0x30, 8, 0, 1, 0x61, 3, 0x23, 0, 2, 0x31])
        try driver.receive([0x30, 7, 0, 0, 3, 0x23, 0, 2, 0x32])
        try driver.receive([0x30, 8, 0, 1, 0x62, 3, 0x23, 0, 2, 0x33, 0x30, 7, 0, 0, 3, 0x23, 0, 2, 0x34])
        let topics = driver.events.compactMap {
            if case .message(let message) = $0 { message.topic.first } else { nil }
        }
        #expect(topics == [0x61, 0x61, 0x62, 0x62])
        #expect(throws: MQTTError.protocolViolation(.topicAliasInvalid)) {
            try driver.receive([0x30, 8, 0, 1, 0x61, 3, 0x23, 0, 3, 0x31])
        }
        #expect(driver.sent() == [0xE0, 1, 0x94])
        // They are good for one connection.
        driver.session.transportClosed()
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        try driver.receive(connack())
        #expect(throws: MQTTError.protocolViolation(.topicAliasInvalid)) {
            try driver.receive([0x30, 7, 0, 0, 3, 0x23, 0, 2, 0x32])
        }
    }

    @Test func topicAliasesOfItsOwn() throws {
        var driver = try connected([0x22, 0, 2]) { $0.outgoingTopicAliases = 10 }
        func publish(_ driver: inout Driver, _ topic: UInt8, _ qos: QoS) throws -> [UInt8] {
            _ = try driver.session.publish(topic: [topic].span, payload: [0x78].span, qos: qos, isRetained: false)
            return driver.sent()
        }
        #expect(try publish(&driver, 0x61, .atMostOnce) == [0x30, 8, 0, 1, 0x61, 3, 0x23, 0, 1, 0x78])
        #expect(try publish(&driver, 0x61, .atLeastOnce) == [0x32, 9, 0, 0, 0, 1, 3, 0x23, 0, 1, 0x78])
        #expect(try publish(&driver, 0x62, .atMostOnce) == [0x30, 8, 0, 1, 0x62, 3, 0x23, 0, 2, 0x78])
        // The third topic takes the place of the one that was used least lately.
        #expect(try publish(&driver, 0x61, .atMostOnce) == [0x30, 7, 0, 0, 3, 0x23, 0, 1, 0x78])
        #expect(try publish(&driver, 0x63, .atMostOnce) == [0x30, 8, 0, 1, 0x63, 3, 0x23, 0, 2, 0x78])
        // What was not acknowledged has its topic again on the next connection.
        driver.session.transportClosed()
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        try driver.receive(connack())
        #expect(driver.sent() == [0x32, 7, 0, 1, 0x61, 0, 2, 0, 0x78])
    }

    @Test func aMessageThatWaitedTooLongIsDropped() throws {
        var driver = Driver { $0.version = .v5_0 }
        var properties = MQTTProperties()
        properties.messageExpirySeconds = 10
        for payload in ["1", "2"] {
            _ = try driver.session.publish(
                topic: [0x61].span,
                payload: Array(payload.utf8).span,
                qos: .atLeastOnce,
                isRetained: false,
                properties: properties,
                at: payload == "1" ? .zero : .seconds(5)
            )
        }
        try driver.session.connect(at: .milliseconds(10_500))
        _ = driver.sent()
        try driver.receive(connack(), at: .milliseconds(10_500))
        // What is left of its time, rounded up.
        #expect(
            driver.sent(at: .milliseconds(10_500)) == [0x32, 12, 0, 1, 0x61, 0, 1, 5, 2, 0, 0, 0, 5, 0x32]
        )
        try driver.receive([], at: .seconds(11))
        #expect(driver.events.last == .failed(1, .expired))
        #expect(driver.session.droppedCount == 1)
    }

    @Test func whatTheServerDoesNotSupportIsRefusedHere() throws {
        var driver = try connected([0x24, 1, 0x25, 0, 0x28, 0, 0x29, 0, 0x2A, 0, 0x27, 0, 0, 0, 40])
        #expect(throws: MQTTError.unsupportedByServer(.qos(.exactlyOnce))) {
            _ = try driver.publish("x", qos: .exactlyOnce)
        }
        #expect(throws: MQTTError.unsupportedByServer(.retain)) {
            _ = try driver.session.publish(topic: [0x61].span, payload: [0x78].span, qos: .atMostOnce, isRetained: true)
        }
        #expect(throws: MQTTError.unsupportedByServer(.wildcardSubscriptions)) { _ = try driver.subscribe("a/#") }
        #expect(throws: MQTTError.unsupportedByServer(.sharedSubscriptions)) {
            _ = try driver.subscribe("$share/g/a")
        }
        var options = MQTTSubscriptionOptions()
        options.identifier = 1
        #expect(throws: MQTTError.unsupportedByServer(.subscriptionIdentifiers)) {
            _ = try driver.session.subscribe(to: [0x61].span, options: options)
        }
        #expect(throws: MQTTError.packetTooLarge(bytes: 106, limit: 40)) {
            _ = try driver.publish(String(repeating: "x", count: 100), qos: .atMostOnce)
        }
    }

    @Test func whatWaitedForAServerThatDoesNotSupportItFails() throws {
        var driver = Driver { $0.version = .v5_0 }
        _ = try driver.publish("x", qos: .exactlyOnce)
        _ = try driver.publish(String(repeating: "x", count: 100))
        _ = try driver.session.publish(topic: [0x61].span, payload: [0x78].span, qos: .atLeastOnce, isRetained: true)
        _ = try driver.publish("y")
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        try driver.receive(connack([0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 40]))
        #expect(driver.sent() == [0x32, 7, 0, 1, 0x61, 0, 1, 0, 0x79])
        try driver.receive([])
        #expect(
            Array(driver.events.suffix(3)) == [
                .failed(1, .unsupportedByServer(.qos(.exactlyOnce))),
                .failed(2, .packetTooLarge(bytes: 108, limit: 40)), .failed(3, .unsupportedByServer(.retain)),
            ]
        )
    }

    @Test func propertiesThatAPublishMayNotHave() throws {
        var driver = try connected()
        for property in [MQTTProperty.topicAlias, .subscriptionIdentifier, .receiveMaximum] {
            var properties = MQTTProperties()
            properties.set(property, to: 1)
            #expect(throws: MQTTError.invalidProperties) {
                _ = try driver.session.publish(
                    topic: [0x61].span,
                    payload: [0x78].span,
                    qos: .atMostOnce,
                    isRetained: false,
                    properties: properties
                )
            }
        }
    }

    @Test(arguments: [
        MQTTProperty.sessionExpiryInterval, .receiveMaximum, .maximumPacketSize, .topicAliasMaximum, .willDelayInterval,
    ])
    func propertiesThatConnectMayNotHaveTwiceOrAtAll(property: MQTTProperty) {
        var driver = Driver {
            $0.version = .v5_0
            $0.connectProperties.set(property, to: 1)
        }
        #expect(throws: MQTTError.invalidProperties) { try driver.session.connect(at: .zero) }
    }

    // MARK: SUBSCRIBE

    @Test func subscribesWithOptions() throws {
        var driver = try connected()
        var options = MQTTSubscriptionOptions(.exactlyOnce)
        options.noLocal = true
        options.retainAsPublished = true
        options.retainHandling = .doNotSend
        options.identifier = 300
        _ = try driver.session.subscribe(to: [0x61].span, options: options)
        #expect(driver.sent() == [0x82, 10, 0, 1, 3, 0x0B, 0xAC, 2, 0, 1, 0x61, 0x2E])
        try driver.receive([0x90, 4, 0, 1, 0, 2])
        // They are the same when the server has lost the session.
        driver.session.transportClosed()
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        try driver.receive(connack())
        #expect(driver.sent() == [0x82, 10, 0, 2, 3, 0x0B, 0xAC, 2, 0, 1, 0x61, 0x2E])
    }

    @Test func subscribesToSeveralAtOnce() throws {
        var driver = try connected()
        let number = try driver.session.subscribe(to: [
            ([0x61], MQTTSubscriptionOptions(.atMostOnce)), ([0x62], MQTTSubscriptionOptions(.exactlyOnce)),
        ])
        #expect(driver.sent() == [0x82, 11, 0, 1, 0, 0, 1, 0x61, 0, 0, 1, 0x62, 2])
        try driver.receive([0x90, 9, 0, 1, 4, 0x1F, 0, 1, 0x71, 0x87, 2])
        #expect(driver.events.last == .subscribed(number, codes: [0x87, 2]))
        #expect(throws: MQTTError.protocolViolation(.malformedPacket(firstByte: 0x90))) {
            _ = try driver.subscribe("c")
            _ = driver.sent()
            try driver.receive([0x90, 5, 0, 2, 0, 0, 0])
        }
    }

    @Test func unsubscribeHasAReason() throws {
        var driver = try connected()
        let number = try driver.session.unsubscribe(from: [0x61].span)
        #expect(driver.sent() == [0xA2, 6, 0, 1, 0, 0, 1, 0x61])
        try driver.receive([0xB0, 4, 0, 1, 0, 0x11])
        #expect(driver.events.last == .unsubscribed(number, codes: [0x11]))
    }

    /// User properties of SUBSCRIBE, also of the one after the server has lost the session; of UNSUBSCRIBE; and those of DISCONNECT.
    @Test func requestsHaveProperties() throws {
        var driver = try connected { $0.sessionExpirySeconds = 100 }
        var options = MQTTSubscriptionOptions()
        options.identifier = 5
        options.properties.userProperties = [MQTTUserProperty("k", "v")]
        let pair = [0x26] + text("k") + text("v")
        _ = try driver.session.subscribe(to: [0x61].span, options: options)
        let subscribe = [0x82, 16, 0, 1, 9] + pair + [0x0B, 5, 0, 1, 0x61, 1]
        #expect(driver.sent() == subscribe)
        try driver.receive([0x90, 4, 0, 1, 0, 1])
        driver.session.transportClosed()
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        try driver.receive(connack())
        #expect(driver.sent() == [0x82, 16, 0, 2, 9] + pair + [0x0B, 5, 0, 1, 0x61, 1])
        _ = try driver.session.unsubscribe(from: [0x61].span, properties: options.properties)
        #expect(driver.sent() == [0xA2, 13, 0, 3, 7] + pair + [0, 1, 0x61])
        options.properties.set(.subscriptionIdentifier, to: 3)
        #expect(throws: MQTTError.invalidProperties) {
            _ = try driver.session.subscribe(to: [0x61].span, options: options)
        }
        var properties = MQTTProperties()
        properties.sessionExpirySeconds = 7
        properties.reasonString = "q"
        try driver.session.disconnect(.success, properties: properties)
        #expect(driver.sent() == [0xE0, 11, 0, 9, 0x11, 0, 0, 0, 7, 0x1F] + text("q"))
    }

    /// A session that ends with its connection cannot be given more time by DISCONNECT (3.14.2.2.2).
    @Test func disconnectHasItsRules() throws {
        var driver = try connected()
        var properties = MQTTProperties()
        properties.sessionExpirySeconds = 7
        #expect(throws: MQTTError.invalidProperties) { try driver.session.disconnect(.success, properties: properties) }
        properties = MQTTProperties()
        properties.set(.serverReference, to: [0x61])
        #expect(throws: MQTTError.invalidProperties) { try driver.session.disconnect(.success, properties: properties) }
        #expect(driver.session.isConnected == true)
    }

    @Test func sharedSubscriptionsHaveTheirRules() throws {
        var driver = try connected()
        for filter in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a"] {
            let isValid = TopicFilter.isValid(Array(filter.utf8).span)
            #expect(isValid == (filter == "$share"), "\(filter)")
        }
        var options = MQTTSubscriptionOptions()
        options.noLocal = true
        #expect(throws: MQTTError.invalidProperties) {
            _ = try driver.session.subscribe(to: Array("$share/g/a".utf8).span, options: options)
        }
        let matches = TopicFilter.matches(Array("$share/g/a/+".utf8).span, topic: Array("a/b".utf8).span)
        #expect(matches)
        let matchesSystem = TopicFilter.matches(Array("$share/g/+".utf8).span, topic: Array("$SYS".utf8).span)
        #expect(!matchesSystem)
    }

    // MARK: DISCONNECT and AUTH

    @Test func theServersReasonIsTold() throws {
        var driver = try connected()
        let packet: [UInt8] = [0xE0, 8, 0x8E, 6, 0x1C, 0, 3, 0x61, 0x62, 0x63]
        let error = #expect(throws: MQTTError.self) { try driver.receive(packet) }
        guard case .disconnectedByServer(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.code == .sessionTakenOver && reason.properties.serverReference == "abc")
        #expect(driver.sent().isEmpty)
        var second = try connected()
        #expect(throws: MQTTError.disconnectedByServer(MQTTReason(.success))) { try second.receive([0xE0, 0]) }
    }

    @Test func saysGoodbyeWithAReason() throws {
        var driver = try connected()
        driver.session.disconnect(.disconnectWithWill)
        #expect(driver.sent() == [0xE0, 1, 4])
        var plain = try connected()
        plain.session.disconnect()
        #expect(plain.sent() == [0xE0, 0])
    }

    /// An authentication whose words are known.
    private final class Steps: MQTTAuthentication {
        let method = Array("STEPS".utf8)
        func initialData() -> [UInt8]? { [1] }
        func answer(_ data: [UInt8]?) -> [UInt8]? { data == [2] ? [3] : nil }
        func finish(_ data: [UInt8]?) -> Bool { data == [4] }
    }

    private func auth(_ code: UInt8, _ data: UInt8) -> [UInt8] {
        let list = [0x15] + text("STEPS") + [0x16, 0, 1, data]
        return [0xF0, UInt8(2 + list.count), code, UInt8(list.count)] + list
    }

    @Test func authenticatesInSteps() throws {
        var driver = Driver {
            $0.version = .v5_0
            $0.authentication = Steps()
        }
        try driver.session.connect(at: .zero)
        let list = [0x15] + text("STEPS") + [0x16, 0, 1, 1]
        let connect = driver.sent()
        #expect(connect.contains(0x15) && Array(connect.suffix(list.count + 3)) == list + [0, 1, 99])
        try driver.receive(auth(0x18, 2))
        #expect(driver.sent() == auth(0x18, 3))
        try driver.receive(connack([0x15] + text("STEPS") + [0x16, 0, 1, 4]))
        #expect(driver.session.isConnected == true)
        // And again.
        try driver.session.reauthenticate()
        #expect(driver.sent() == auth(0x19, 1))
        try driver.receive(auth(0x18, 2))
        #expect(driver.sent() == auth(0x18, 3))
        try driver.receive(auth(0x00, 4))
        #expect(driver.events.last == .reauthenticated)
        // One that was not asked for.
        #expect(throws: MQTTError.protocolViolation(.unexpectedPacket(firstByte: 0xF0))) {
            try driver.receive(auth(0x18, 2))
        }
        #expect(driver.sent() == [0xE0, 1, 0x82])
    }

    @Test func aServerThatCannotProveItselfIsLeft() throws {
        var driver = Driver {
            $0.version = .v5_0
            $0.authentication = Steps()
        }
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        #expect(throws: MQTTError.authenticationFailed) { try driver.receive(auth(0x18, 9)) }
        try driver.session.connect(at: .zero)
        _ = driver.sent()
        #expect(throws: MQTTError.authenticationFailed) {
            try driver.receive(connack([0x15] + text("STEPS") + [0x16, 0, 1, 9]))
        }
        // MQTT-4.12.1-2: one that fails later ends the connection with a reason.
        driver = Driver {
            $0.version = .v5_0
            $0.authentication = Steps()
        }
        try driver.session.connect(at: .zero)
        try driver.receive(connack([0x15] + text("STEPS") + [0x16, 0, 1, 4]))
        try driver.session.reauthenticate()
        _ = driver.sent()
        #expect(throws: MQTTError.authenticationFailed) { try driver.receive(auth(0x18, 9)) }
        #expect(driver.sent() == [0xE0, 1, 0x87])
    }

    // MARK: What a server may not send

    /// MQTT-3.1.2-29.
    @Test(
        arguments: [
            [0x40, 8, 0, 1, 0, 4, 0x1F, 0, 1, 0x71], [0x62, 8, 0, 1, 0, 4, 0x1F, 0, 1, 0x71],
            [0x90, 8, 0, 1, 4, 0x1F, 0, 1, 0x71, 0], [0xB0, 11, 0, 1, 7, 0x26, 0, 1, 0x61, 0, 1, 0x62, 0],
        ] as [[UInt8]]
    )
    func problemInformationThatIsNotWantedIsRefused(bytes: [UInt8]) throws {
        var driver = try connected { $0.connectProperties.set(.requestProblemInformation, to: 0) }
        #expect(throws: MQTTError.self) { try driver.receive(bytes) }
        #expect(driver.sent() == [0xE0, 1, 0x82])
        var patient = try connected()
        try patient.receive(bytes)
    }
}
