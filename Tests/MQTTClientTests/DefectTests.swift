import Kernel
import NetworkSimulator
import Testing

@testable import MQTTClient

/// What TencentOS-tiny's client does wrong, where no other test has it already (docs/mqtt-conformance.md).
@Suite(.timeLimit(.minutes(1))) struct DefectTests {
    /// M2.
    @Test(arguments: [1, 2, 3, 5, 17]) func whatTheTransportTakesInPartGoesOnThere(step: Int) throws {
        var whole = Driver()
        var pieces = Driver()
        func ask(_ driver: inout Driver) throws {
            try driver.connect()
            for number in 0..<20 { _ = try driver.publish(String(repeating: "x", count: number)) }
            _ = try driver.subscribe("a")
        }
        try ask(&whole)
        try ask(&pieces)
        let expected = whole.sent()
        var bytes: [UInt8] = []
        while bytes.count < expected.count { bytes += pieces.sent(atMost: step) }
        #expect(bytes == expected)
        #expect(!pieces.session.hasOutgoing == true)
    }

    /// M3: packets around the limit, whole and byte by byte.
    @Test func aPacketAsLongAsItMayBeIsDeliveredWhole() throws {
        for payloadBytes in [0, 1, 124, 125, 126, 127, 994] {
            let length = 3 + payloadBytes
            var packet: [UInt8] = [0x30]
            packet.appendVariableByteInteger(length)
            packet += [0, 1, 0x61] + [UInt8](repeating: 0x41, count: payloadBytes)
            for isWhole in [true, false] {
                var driver = Driver { $0.maximumPacketBytes = packet.count }
                try driver.connect()
                if isWhole { try driver.receive(packet) } else { for byte in packet { try driver.receive([byte]) } }
                #expect(driver.events.last == .message(message("a", String(repeating: "A", count: payloadBytes))))
                var smaller = Driver { $0.maximumPacketBytes = packet.count - 1 }
                try smaller.connect()
                #expect(throws: MQTTError.packetTooLarge(bytes: packet.count, limit: packet.count - 1)) {
                    try smaller.receive(packet)
                }
            }
        }
    }

    /// M6: seconds are seconds.
    @Test func aTimeoutIsAsLongAsItSays() async throws {
        // The transport does not come up; CONNACK does not come; a ping is not answered.
        let times = try await ScriptedPair.run(
            isVersion5: false,
            {
                $0.connectTimeout = .seconds(7)
                $0.acknowledgementTimeout = .seconds(5)
                $0.keepAliveSeconds = 40
                $0.pingTimeout = .seconds(11)
            }
        ) { pair in
            var times: [Int] = []
            func connect(isCut: Bool) async throws -> Int {
                pair.network.conditions.isCut = isCut
                let handler = NotingHandler()
                let start = pair.loop.now
                pair.connection.connect(handler: handler)
                while handler.error == nil { try await pair.loop.sleep(for: .milliseconds(10)) }
                return Int((pair.loop.now - start).components.seconds)
            }
            times.append(try await connect(isCut: true))
            pair.broker.script = { _, _ in }
            times.append(try await connect(isCut: false))
            pair.broker.script = { link, bytes in
                if bytes[0] == 0x10 { link.send([0x20, 2, 0, 0]) }
            }
            times.append(try await connect(isCut: false))
            return times
        }
        #expect(times == [7, 5, 51])
    }

    /// M7: what the caller does with its memory afterwards does not matter.
    @Test func aFilterIsTheSessionsOwn() throws {
        var driver = Driver()
        try driver.connect()
        var filter = Array("first".utf8)
        _ = try driver.session.subscribe(to: filter.span)
        for index in filter.indices { filter[index] = 0x78 }
        try driver.receive(Array([0x90, 3, 0, 1, 1]))
        _ = driver.sent()
        driver.session.transportClosed()
        try driver.connect()
        let again = driver.sent()
        #expect(Array(again.dropFirst(6)) == Array("first".utf8) + [1])
        _ = filter
    }
}
