import Testing

@testable import MQTTClient

/// A session with what it has to say collected.
struct Driver: ~Copyable {
    var session: MQTTSession
    var events: [MQTTSession.Event] = []

    init(_ change: (inout MQTTConfiguration) -> Void = { _ in }) {
        var configuration = MQTTConfiguration(clientID: Array("c".utf8))
        change(&configuration)
        session = MQTTSession(configuration)
    }

    /// What the session sends now.
    mutating func sent(at now: Duration = .zero) -> [UInt8] {
        var bytes: [UInt8] = []
        session.withOutgoing(
            { span in
                for index in span.indices { bytes.append(span[index]) }
                return span.count
            },
            at: now
        )
        return bytes
    }

    /// What a transport takes that has room for `count` bytes.
    mutating func sent(atMost count: Int, at now: Duration = .zero) -> [UInt8] {
        var bytes: [UInt8] = []
        session.withOutgoing(
            { span in
                let taken = min(count - bytes.count, span.count)
                for index in 0..<taken { bytes.append(span[index]) }
                return taken
            },
            at: now
        )
        return bytes
    }

    mutating func receive(_ bytes: [UInt8], at now: Duration = .zero) throws(MQTTError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let (taken, event) = try session.receive(rest.span, at: now)
            rest = rest.dropFirst(taken)
            if event != .nothing { events.append(event) }
        }
        while let event = session.nextEvent() { events.append(event) }
    }

    mutating func connect(sessionPresent: Bool = false, at now: Duration = .zero) throws(MQTTError) {
        try session.connect(at: now)
        _ = sent(at: now)
        let isVersion5 = session.configuration.version == .v5_0
        try receive([0x20, isVersion5 ? 3 : 2, sessionPresent ? 1 : 0, 0] + (isVersion5 ? [0] : []), at: now)
    }

    mutating func publish(_ payload: String, qos: QoS = .atLeastOnce) throws(MQTTError) -> MQTTRequestID? {
        try session.publish(topic: [0x61].span, payload: Array(payload.utf8).span, qos: qos, isRetained: false)
    }

    mutating func subscribe(_ filter: String) throws(MQTTError) -> MQTTRequestID {
        try session.subscribe(to: Array(filter.utf8).span)
    }
}

extension Driver {
    /// The receipts of the messages so far.
    var receipts: [MQTTReceipt] {
        events.compactMap { if case .message(let message) = $0 { message.receipt } else { nil } }
    }
}

func message(_ topic: String, _ payload: String, qos: QoS = .atMostOnce) -> MQTTMessage {
    MQTTMessage(topic: Array(topic.utf8), payload: Array(payload.utf8), qos: qos)
}

@Suite struct SessionTests {
    /// The bytes of the hub's specification for the login of `pump-01` (127 bytes, HMAC-SHA1 password).
    @Test func encodesConnectAsTheVectorSays() throws {
        var driver = Driver {
            $0.clientID = Array("Q7K2M9X4ZPpump-01".utf8)
            $0.userName = Array("Q7K2M9X4ZPpump-01;21010406;aB3dE;1893456000".utf8)
            $0.password = Array("ad1c8bab309e19c48b366d5d08aeda8653ae1107;hmacsha1".utf8)
            $0.keepAliveSeconds = 120
        }
        try driver.session.connect(at: .zero)
        #expect(
            driver.sent().map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
                == "107d00044d51545404c20078001151374b324d3958345a5070756d702d3031002b51374b324d3958345a5070756d702d30313b"
                + "32313031303430363b61423364453b313839333435363030300031616431633862616233303965313963343862333636643564"
                + "303861656461383635336165313130373b686d616373686131"
        )
    }

    @Test func encodesAWill() throws {
        var driver = Driver { $0.will = .init(topic: [0x77], payload: [1, 2], qos: .atLeastOnce, isRetained: true) }
        try driver.session.connect(at: .zero)
        #expect(
            driver.sent() == [0x10, 20, 0, 4, 77, 81, 84, 84, 4, 0x2E, 0, 60, 0, 1, 99, 0, 1, 0x77, 0, 2, 1, 2]
        )
    }

    @Test func refusesConnectOptionsThatTheStandardForbids() {
        let changes: [((inout MQTTConfiguration) -> Void, MQTTError)] = [
            ({ $0.password = [1] }, .invalidConnectOptions),
            (
                {
                    $0.clientID = []
                    $0.cleanStart = false
                }, .invalidConnectOptions
            ),
        ]
        for (change, expected) in changes {
            var driver = Driver(change)
            #expect(throws: expected) { try driver.session.connect(at: .zero) }
        }
    }

    /// Text in CONNECT is UTF-8 without null characters, and not longer than its length can say; the will's topic has no wildcards.
    @Test(arguments: [MQTTVersion.v3_1_1, .v5_0]) func refusesTextInConnectThatIsNone(version: MQTTVersion) {
        for text in [[0xFF], [0xED, 0xA0, 0x80], [0x61, 0], [UInt8](repeating: 0x61, count: 65_536)] as [[UInt8]] {
            let changes: [((inout MQTTConfiguration) -> Void, MQTTError)] = [
                ({ $0.clientID = text }, .invalidConnectOptions), ({ $0.userName = text }, .invalidConnectOptions),
                ({ $0.will = .init(topic: text, payload: []) }, .invalidTopicName),
            ]
            for (change, expected) in changes {
                var driver = Driver {
                    $0.version = version
                    change(&$0)
                }
                #expect(throws: expected) { try driver.session.connect(at: .zero) }
            }
        }
        var driver = Driver { $0.will = .init(topic: Array("a/#".utf8), payload: []) }
        #expect(throws: MQTTError.invalidTopicName) { try driver.session.connect(at: .zero) }
    }

    @Test(
        arguments: [
            (1, .unsupportedProtocolVersion), (2, .clientIdentifierNotValid), (3, .serverUnavailable),
            (4, .badUserNameOrPassword), (5, .notAuthorized), (99, MQTTReasonCode(rawValue: 99)),
        ] as [(UInt8, MQTTReasonCode)]
    )
    func reportsARefusal(code: UInt8, reason: MQTTReasonCode) throws {
        var driver = Driver()
        try driver.session.connect(at: .zero)
        #expect(throws: MQTTError.connectionRefused(MQTTReason(reason))) {
            try driver.receive([0x20, 2, 0, code])
        }
    }

    @Test func givesUpWithoutConnack() throws {
        var driver = Driver { $0.acknowledgementTimeout = .seconds(7) }
        try driver.session.connect(at: .seconds(1))
        #expect(driver.session.deadline == .seconds(8))
        try driver.session.handleTimeout(at: .seconds(7))
        #expect(throws: MQTTError.connectTimedOut) { try driver.session.handleTimeout(at: .seconds(8)) }
    }

    @Test func publishesWithBothGuarantees() throws {
        var driver = Driver()
        try driver.connect()
        #expect(try driver.publish("x", qos: .atMostOnce) == nil)
        #expect(driver.sent() == [0x30, 4, 0, 1, 0x61, 0x78])
        #expect(try driver.publish("x") == 1)
        #expect(driver.sent() == [0x32, 6, 0, 1, 0x61, 0, 1, 0x78])
        try driver.receive([0x40, 2, 0, 1])
        #expect(driver.events.last == .published(1, .success))
        #expect(driver.session.waitingCount == 0)
    }

    @Test func acknowledgesAMessageOnlyWhenItWasTaken() throws {
        var driver = Driver()
        try driver.connect()
        try driver.receive([0x32, 7, 0, 1, 0x61, 0, 9, 0x68, 0x69])
        #expect(driver.events.last == .message(message("a", "hi", qos: .atLeastOnce)))
        #expect(driver.sent().isEmpty)
        driver.session.acknowledge(try #require(driver.receipts.last))
        #expect(driver.sent() == [0x40, 2, 0, 9])
    }

    @Test func subscribesAndReportsTheRefusal() throws {
        var driver = Driver()
        try driver.connect()
        #expect(try driver.subscribe("a/b") == 1)
        #expect(driver.sent() == [0x82, 8, 0, 1, 0, 3, 0x61, 0x2F, 0x62, 1])
        try driver.receive([0x90, 3, 0, 1, 0x80])
        #expect(driver.events.last == .subscribed(1, codes: [0x80]))
        _ = try driver.subscribe("c")
        _ = driver.sent()
        try driver.receive([0x90, 3, 0, 2, 0])
        #expect(driver.events.last == .subscribed(2, codes: [0]))
        let number = try driver.session.unsubscribe(from: ([0x63] as [UInt8]).span)
        #expect(number == 3)
        #expect(driver.sent() == [0xA2, 5, 0, 3, 0, 1, 0x63])
        try driver.receive([0xB0, 2, 0, 3])
        #expect(driver.events.last == .unsubscribed(3, codes: []))
    }

    @Test func pingsWhenItWasSilentAndGivesUpWithoutAnAnswer() throws {
        var driver = Driver()
        try driver.connect(at: .zero)
        #expect(driver.session.deadline == .seconds(60))
        _ = try driver.publish("x", qos: .atMostOnce)
        _ = driver.sent(at: .seconds(30))
        // What the server sends does not put off our own ping.
        try driver.receive([0x30, 4, 0, 1, 0x61, 0x78], at: .seconds(80))
        try driver.session.handleTimeout(at: .seconds(60))
        #expect(driver.sent(at: .seconds(60)).isEmpty)
        #expect(driver.session.deadline == .seconds(90))
        try driver.session.handleTimeout(at: .seconds(90))
        #expect(driver.sent(at: .seconds(90)) == [0xC0, 0])
        try driver.receive([0xD0, 0], at: .seconds(91))
        #expect(driver.session.deadline == .seconds(150))
        try driver.session.handleTimeout(at: .seconds(150))
        #expect(driver.sent(at: .seconds(150)) == [0xC0, 0])
        #expect(throws: MQTTError.keepAliveTimedOut) { try driver.session.handleTimeout(at: .seconds(160)) }
    }

    /// A link that is open on this side only is found within one and a half times the keep alive, though something is sent all the time.
    @Test func findsASilentServerWhileItSends() throws {
        var driver = Driver { $0.pingTimeout = .seconds(100) }
        try driver.connect(at: .zero)
        var now = Duration.zero
        var end: Duration?
        while end == nil, now < .seconds(200) {
            now += .seconds(1)
            _ = try driver.publish("x", qos: .atMostOnce)
            _ = driver.sent(at: now)
            do throws(MQTTError) { try driver.session.handleTimeout(at: now) } catch {
                #expect(error == .keepAliveTimedOut)
                end = now
            }
        }
        #expect(end == .seconds(90))
    }

    @Test func neverPingsWithoutKeepAlive() throws {
        var driver = Driver { $0.keepAliveSeconds = 0 }
        try driver.connect()
        #expect(driver.session.deadline == nil)
    }

    @Test func sendsAgainWhatWasNotAcknowledged() throws {
        var driver = Driver { $0.cleanStart = false }
        try driver.connect()
        _ = try driver.publish("1")
        _ = try driver.publish("2")
        _ = driver.sent()
        try driver.receive([0x40, 2, 0, 1])
        driver.session.transportClosed()
        _ = try driver.publish("3")
        try driver.connect(sessionPresent: true)
        // The second is a duplicate, the third goes out for the first time.
        #expect(driver.sent() == [0x3A, 6, 0, 1, 0x61, 0, 2, 0x32, 0x32, 6, 0, 1, 0x61, 0, 3, 0x33])
    }

    @Test func subscribesAgainWhenTheServerHasLostTheSession() throws {
        var driver = Driver { $0.cleanStart = false }
        try driver.connect()
        _ = try driver.subscribe("c")
        _ = driver.sent()
        try driver.receive([0x90, 3, 0, 1, 1])
        _ = try driver.publish("1")
        _ = driver.sent()
        driver.session.transportClosed()
        try driver.connect(sessionPresent: false)
        // A new session has seen no first delivery, so the publish is no duplicate there.
        // The subscription goes first, so that nothing is missed. A new session has seen no first delivery, so the publish is no duplicate there.
        #expect(driver.sent() == [0x82, 6, 0, 3, 0, 1, 0x63, 1, 0x32, 6, 0, 1, 0x61, 0, 4, 0x31])
        try driver.receive([0x90, 3, 0, 3, 0x80])
        #expect(driver.events.last == .subscriptionLost(filter: [0x63], .unspecifiedError))
    }

    @Test func acknowledgementsInAnyOrderFreeTheQueue() throws {
        var driver = Driver { $0.queue.requests = 3 }
        try driver.connect()
        for payload in ["1", "2", "3"] { _ = try driver.publish(payload) }
        #expect(throws: MQTTError.queueFull(limit: 3)) { _ = try driver.publish("4") }
        _ = driver.sent()
        try driver.receive([0x40, 2, 0, 3, 0x40, 2, 0, 2, 0x40, 2, 0, 2, 0x40, 2, 0, 1])
        let expected: [MQTTSession.Event] = [3, 2, 1].map { .published($0, .success) }
        #expect(Array(driver.events.suffix(3)) == expected)
        #expect(driver.session.waitingCount == 0)
    }

    @Test func packetIdentifiersWrapAroundWithoutZero() throws {
        var driver = Driver()
        try driver.connect()
        for expected in [1, 2, 65_534, 65_535, 1, 2] as [UInt16] {
            if expected == 65_534 { driver.session.lastPacketID = 65_533 }
            _ = try driver.publish("x")
            #expect(driver.sent() == [0x32, 6, 0, 1, 0x61, UInt8(expected >> 8), UInt8(expected & 255), 0x78])
            try driver.receive([0x40, 2, UInt8(expected >> 8), UInt8(expected & 255)])
        }
    }

    @Test func holdsRequestsUntilThereIsAConnection() throws {
        var driver = Driver()
        #expect(throws: MQTTError.notConnected) { _ = try driver.publish("x", qos: .atMostOnce) }
        _ = try driver.publish("x")
        #expect(driver.sent().isEmpty)
        try driver.session.connect(at: .zero)
        let connect = driver.sent()
        #expect(connect.first == 0x10 && connect.count == 15)
        try driver.receive([0x20, 2, 0, 0])
        #expect(driver.sent() == [0x32, 6, 0, 1, 0x61, 0, 1, 0x78])
    }

    /// What 3.1.1 does not have is refused, and not left out; a shared subscription, unless the server is known to have them.
    @Test func refusesOptionsOf5() throws {
        var driver = Driver()
        try driver.connect()
        let changes: [(inout MQTTSubscriptionOptions) -> Void] = [
            { $0.noLocal = true }, { $0.retainAsPublished = true }, { $0.retainHandling = .doNotSend },
            { $0.identifier = 1 },
        ]
        for change in changes {
            var options = MQTTSubscriptionOptions()
            change(&options)
            #expect(throws: MQTTError.invalidProperties) {
                _ = try driver.session.subscribe(to: [0x61].span, options: options)
            }
        }
        #expect(throws: MQTTError.unsupportedByServer(.sharedSubscriptions)) { _ = try driver.subscribe("$share/g/a") }
        driver.session.configuration.hasSharedSubscriptions = true
        _ = try driver.subscribe("$share/g/a")
        let packet = driver.sent()
        #expect(packet == [0x82, 15, 0, 1, 0, 10] + Array("$share/g/a".utf8) + [1])
    }

    @Test func refusesRequestsThatTheStandardForbids() throws {
        var driver = Driver { $0.queue.bytes = 100 }
        try driver.connect()
        #expect(throws: MQTTError.invalidTopicName) {
            _ = try driver.session.publish(topic: [0x2B].span, payload: [0].span, qos: .atMostOnce, isRetained: false)
        }
        #expect(throws: MQTTError.invalidTopicFilter) { _ = try driver.subscribe("a#") }
        #expect(throws: MQTTError.packetTooLarge(bytes: 107, limit: 100)) {
            _ = try driver.publish(String(repeating: "x", count: 100))
        }
    }

    @Test func takesInputCutAnywhere() throws {
        let input: [UInt8] =
            [0x20, 2, 0, 0, 0x30, 0x84, 0x01, 0, 1, 0x61] + [UInt8](repeating: 7, count: 129)
            + [0xD0, 0, 0x32, 5, 0, 1, 0x61, 0, 9]
        var whole = Driver()
        try whole.session.connect(at: .zero)
        try whole.receive(input)
        #expect(whole.events.count == 3)
        for first in 0..<input.count {
            for second in [first, (first + input.count) / 2] {
                var cut = Driver()
                try cut.session.connect(at: .zero)
                try cut.receive(Array(input[..<first]))
                try cut.receive(Array(input[first..<second]))
                for byte in input[second...] { try cut.receive([byte]) }
                #expect(cut.events == whole.events, "cut at \(first) and \(second)")
            }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] as [UInt64])
    func survivesRandomBytes(seed: UInt64) throws {
        var generator = SplitMix(seed: seed)
        for _ in 0..<500 {
            let isVersion5 = Bool.random(using: &generator)
            var driver = Driver { $0.version = isVersion5 ? .v5_0 : .v3_1_1 }
            try driver.connect()
            let types: [UInt8] = [0x20, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0x3A, 0xE0, 0xF0]
            var bytes = (0..<Int.random(in: 1...40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            if Bool.random(using: &generator) {
                bytes[0] = types[Int.random(in: 0..<types.count, using: &generator)]
                if bytes.count > 1 { bytes[1] = UInt8(bytes.count - 2) }
            }
            _ = try? driver.publish("x")
            _ = driver.sent()
            do throws(MQTTError) { try driver.receive(bytes) } catch {}
        }
    }

    @Test func backOffDoublesWithJitterUpToItsLimit() {
        let policy = ReconnectPolicy()
        #expect(policy.delay(afterFailures: 1, random: 0) == .milliseconds(10))
        #expect(policy.delay(afterFailures: 1, random: .max) == .seconds(1))
        #expect(policy.delay(afterFailures: 4, random: .max) == .seconds(8))
        #expect(policy.delay(afterFailures: 100, random: .max) == .seconds(60))
        #expect(policy.delay(afterFailures: 100, random: 0) == .milliseconds(10))
        #expect(policy.delay(afterFailures: 100, random: .max / 2) == .milliseconds(30_000))
    }
}
