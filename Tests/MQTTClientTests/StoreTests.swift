import Glibc
import Testing

@testable import MQTTClient

/// Sessions that outlive their process, in SQLite.
@Suite struct StoreTests {
    /// The path of a file that is not there, in a folder of its own.
    private static func path() -> String {
        var path = Array("/tmp/apus-mqtt-store-XXXXXX".utf8CString)
        _ = mkdtemp(&path)
        return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) + "/session"
    }

    private static func driver(_ path: String, timeOfDay: Int64 = 0, version: MQTTVersion = .v3_1_1) throws -> Driver {
        var driver = Driver {
            $0.cleanStart = false
            $0.version = version
            $0.sessionExpirySeconds = version == .v5_0 ? 60 : 0
        }
        try driver.session.use(SQLiteStore(path: path, durability: .process), timeOfDay: timeOfDay)
        return driver
    }

    @Test func whatWasNotAcknowledgedIsSentByTheNextProcess() throws {
        let path = Self.path()
        do {
            var first = try Self.driver(path)
            try first.connect()
            for (payload, qos) in [
                ("1", QoS.atLeastOnce), ("2", .exactlyOnce), ("3", .exactlyOnce), ("4", .atLeastOnce),
            ] {
                _ = try first.publish(payload, qos: qos)
            }
            _ = first.sent()
            // One is acknowledged, one is received; a fifth was never sent.
            try first.receive([0x40, 2, 0, 1, 0x50, 2, 0, 2])
            _ = first.sent()
            first.session.transportClosed()
            _ = try first.publish("5")
            first.session.commit()
        }
        var second = try Self.driver(path)
        #expect(second.session.waitingCount == 4)
        try second.connect(sessionPresent: true)
        #expect(
            second.sent() == [
                0x62, 2, 0, 2, 0x3C, 6, 0, 1, 0x61, 0, 3, 0x33, 0x3A, 6, 0, 1, 0x61, 0, 4, 0x34, 0x32, 6, 0, 1, 0x61, 0,
                5,
                0x35,
            ]
        )
        // New requests have new numbers and packet identifiers.
        #expect(try second.publish("6") == 6)
        #expect(second.sent() == [0x32, 6, 0, 1, 0x61, 0, 6, 0x36])
    }

    @Test func whatWasDeliveredIsNotDeliveredByTheNextProcess() throws {
        let path = Self.path()
        do {
            var first = try Self.driver(path)
            try first.connect()
            try first.receive([0x34, 6, 0, 1, 0x61, 0, 9, 0x68, 0x34, 6, 0, 1, 0x61, 0, 8, 0x68])
            // The user has got the first of them.
            first.session.noteDelivery(first.receipts[0])
            first.session.commit()
        }
        var second = try Self.driver(path)
        try second.connect(sessionPresent: true)
        try second.receive([0x3C, 6, 0, 1, 0x61, 0, 9, 0x68])
        #expect(second.receipts.isEmpty)
        #expect(second.sent() == [0x50, 2, 0, 9])
        try second.receive([0x3C, 6, 0, 1, 0x61, 0, 8, 0x68])
        #expect(second.receipts.count == 1)
        try second.receive([0x62, 2, 0, 9])
        second.session.commit()
        _ = second.sent()
        try second.receive([0x34, 6, 0, 1, 0x61, 0, 9, 0x69])
        #expect(second.receipts.count == 2)
    }

    @Test func timeGoesOnWhileNoProcessRuns() throws {
        let path = Self.path()
        do {
            var first = try Self.driver(path, timeOfDay: 1_000_000, version: .v5_0)
            for seconds in [10, 100] as [UInt32] {
                var properties = MQTTProperties()
                properties.messageExpirySeconds = seconds
                _ = try first.session.publish(
                    topic: [0x61].span,
                    payload: [0x78].span,
                    qos: .atLeastOnce,
                    isRetained: false,
                    properties: properties,
                    at: .seconds(5)
                )
            }
            first.session.commit()
        }
        // Half a minute later, on a machine whose clock has started anew.
        var second = try Self.driver(path, timeOfDay: 1_035_000, version: .v5_0)
        try second.connect(sessionPresent: true)
        #expect(second.sent() == [0x32, 12, 0, 1, 0x61, 0, 1, 5, 2, 0, 0, 0, 70, 0x78])
        try second.receive([])
        #expect(second.events.contains(.failed(1, .expired)))
    }

    @Test func oneClientHasTheFileAtATime() throws {
        let path = Self.path()
        let store = try SQLiteStore(path: path)
        #expect(throws: MQTTError.store(code: 5)) { _ = try SQLiteStore(path: path) }
        withExtendedLifetime(store) {}
    }

    @Test func aFileThatIsSomethingElseIsRefused() throws {
        let path = Self.path()
        let file = fopen(path, "w")
        fputs(String(repeating: "this is no database\n", count: 100), file)
        fclose(file)
        #expect(throws: MQTTError.store(code: 26)) { _ = try SQLiteStore(path: path) }
        #expect(throws: MQTTError.store(code: 14)) { _ = try SQLiteStore(path: "/nowhere/at/all") }
    }

    /// Records that nobody has written like that: cut, empty, random.
    @Test func damagedRecordsAreLeftOut() throws {
        let path = Self.path()
        do {
            let store = try SQLiteStore(path: path, durability: .process)
            var random = SplitMix(seed: 7)
            for number in 1...300 as ClosedRange<UInt32> {
                let header = (0..<Int.random(in: 0...24, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                var packet = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                    UInt8.random(in: 0...9, using: &random)
                }
                if packet.count > 2 { (packet[0], packet[1]) = (0x32, UInt8(packet.count - 2)) }
                store.put(number, header: header.span, packet: packet.span)
            }
            // Whole messages, with any state: their packets count.
            for number in 301...600 as ClosedRange<UInt32> {
                let header = (0..<22).map { _ in UInt8.random(in: 0...5, using: &random) }
                let packet: [UInt8] =
                    switch number % 3 {
                    case 0: [0x30, 3, 0, 1, 0x61]
                    case 1: [0x32, 5, 0, 1, 0x61, 0, 0]
                    default: [0x34, 5, 0, 1, 0x61, 0, 0]
                    }
                store.put(number, header: header.span, packet: packet.span)
            }
            try store.commit()
        }
        var driver = try Self.driver(path)
        try driver.connect(sessionPresent: true)
        let sent = driver.sent()
        #expect(driver.session.droppedCount > 100)
        // Nothing goes out that a server could not take.
        var position = 0
        while position < sent.count {
            let end = position + 2 + Int(sent[position + 1])
            let qos = sent[position] >> 4 == 3 ? sent[position] >> 1 & 3 : 1
            if qos > 0 { #expect(sent[end - 2] != 0 || sent[end - 1] != 0, "\(sent[position..<end])") }
            position = end
        }
        #expect(position == sent.count)
    }
}
