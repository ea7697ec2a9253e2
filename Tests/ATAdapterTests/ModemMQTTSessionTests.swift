import Kernel
import Testing

@testable import ATAdapter

/// The rules of MQTT in a modem's firmware, in virtual time.
@Suite struct ModemMQTTSessionTests {
    private func session(_ configure: (inout ModemMQTTConfiguration) -> Void = { _ in }) throws -> ModemMQTTSession {
        var configuration = ModemMQTTConfiguration()
        configure(&configuration)
        #expect(configuration.isValid)
        return ModemMQTTSession(try .test(), configuration, TencentCommandTests.l610)
    }

    /// Goes through the commands of an attempt; returns them.
    private func attempt(_ session: inout ModemMQTTSession, at now: Duration) -> [String] {
        var lines: [String] = []
        while session.phase != .up, let command = session.nextCommand(at: now) {
            let line = String(decoding: command.line, as: UTF8.self)
            lines.append(line)
            say("+\(line.dropFirst(3).prefix { $0 != "=" }): OK", to: &session, at: now)
            session.ended(nil, at: now)
        }
        return lines
    }

    private func say(_ line: String, to session: inout ModemMQTTSession, at now: Duration) {
        let line = Array(line.utf8)
        _ = session.notice(line.span, at: now)
    }

    private func outputs(_ session: inout ModemMQTTSession) -> [ModemMQTTSession.Output] {
        var outputs: [ModemMQTTSession.Output] = []
        while let output = session.nextOutput() { outputs.append(output) }
        return outputs
    }

    private func publish(_ session: inout ModemMQTTSession, qos: ModemMQTTQoS = .atLeastOnce) throws -> UInt32 {
        try session.publish(topic: "t".utf8.span, payload: "p".utf8.span, qos: qos)
    }

    @Test func saysNothingUntilTheModemHasItsNetwork() throws {
        var session = try session { $0.server = Array("hub.example".utf8) }
        session.connect()
        #expect(session.nextCommand(at: .zero) == nil && session.deadline(at: .zero) == ATEngine.never)
        session.modemChanged(isAttached: true, at: .zero)
        #expect(
            attempt(&session, at: .zero) == [
                "AT+TCMQTTDISCONN", "AT+TCMQTTSRV=\"hub.example\"",
                "AT+TCDEVINFOSET=1,\"CTQS08Y5LG\",\"Dev01\",\"ZHNkIGRzZCA=\"", "AT+TCMQTTCONN=1,5000,240,1,0",
            ]
        )
        #expect(outputs(&session) == [.connected])
        #expect(session.deadline(at: .zero) == .seconds(30))
    }

    @Test func waitsLongerAfterEachFailure() throws {
        var session = try session { $0.longestDelayMilliseconds = 3_000 }
        session.modemChanged(isAttached: true, at: .zero)
        session.connect()
        var now = Duration.zero
        for delay in [1, 2, 3, 3] {
            while session.phase != .connecting {
                _ = session.nextCommand(at: now)
                session.outcome = .done
                session.ended(nil, at: now)
            }
            #expect(session.nextCommand(at: now) != nil)
            session.ended(.timedOut, at: now)
            #expect(outputs(&session) == [.disconnected(.unanswered, retryAt: now + .seconds(delay))])
            #expect(session.nextCommand(at: now + .seconds(delay) - .milliseconds(1)) == nil)
            now += .seconds(delay)
            #expect(session.deadline(at: now) == now)
        }
    }

    @Test func keepsQoS1AndFailsQoS0WhenTheConnectionIsLost() throws {
        var session = try session()
        session.modemChanged(isAttached: true, at: .zero)
        session.connect()
        _ = attempt(&session, at: .zero)
        let first = try publish(&session, qos: .atMostOnce)
        let second = try publish(&session)
        let third = try publish(&session, qos: .atMostOnce)
        #expect(session.nextCommand(at: .zero) != nil)
        say("+TCMQTTDISCON,-103", to: &session, at: .zero)
        #expect(
            outputs(&session) == [
                .connected, .failed(third, .notConnected),
                .disconnected(.connectionLost(.noConnection), retryAt: .seconds(1)),
            ]
        )
        // The firmware says what became of the one in flight.
        say("+TCMQTTPUB: FAIL,-103", to: &session, at: .zero)
        session.ended(nil, at: .zero)
        #expect(outputs(&session) == [.failed(first, .failed(.noConnection))])
        _ = attempt(&session, at: .seconds(1))
        #expect(session.nextCommand(at: .seconds(1)) != nil)
        say("+TCMQTTPUB: OK", to: &session, at: .seconds(1))
        session.ended(nil, at: .seconds(1))
        #expect(outputs(&session) == [.connected, .published(second)])
    }

    @Test(arguments: [208, -706, -607, -103])
    func asksForTheStateWhenTheFirmwareKnowsOfNoConnection(code: Int) throws {
        var session = try session()
        session.modemChanged(isAttached: true, at: .zero)
        session.connect()
        _ = attempt(&session, at: .zero)
        _ = try publish(&session)
        #expect(session.nextCommand(at: .zero) != nil)
        if code < 0 { say("+TCMQTTPUB: FAIL,\(code)", to: &session, at: .zero) }
        session.ended(code > 0 ? .equipment(code: Int32(code)) : .refused, at: .zero)
        let line = session.nextCommand(at: .zero)?.line ?? []
        #expect(String(decoding: line, as: UTF8.self) == "AT+TCMQTTSTATE?")
        say("+TCMQTTSTATE: 0", to: &session, at: .zero)
        session.ended(nil, at: .zero)
        #expect(
            outputs(&session) == [.connected, .disconnected(.connectionLost(.unknown), retryAt: .seconds(1))]
        )
        #expect(session.requests.count == 1)
    }

    @Test func hasLimits() throws {
        var session = try session { $0.requests = 12 }
        for number in 0..<10 { _ = try session.subscribe(to: "t/\(number)".utf8.span, qos: .atLeastOnce) }
        #expect(throws: ModemMQTTError.tooManySubscriptions(limit: 10)) {
            try session.subscribe(to: "t/10".utf8.span, qos: .atLeastOnce)
        }
        // The same once more is none more.
        _ = try session.subscribe(to: "t/9".utf8.span, qos: .atMostOnce)
        _ = try publish(&session)
        #expect(throws: ModemMQTTError.queueFull(limit: 12)) { try publish(&session) }
    }

    @Test(arguments: [
        ("+TCMQTTPUB:OK", ModemMQTTSession.Outcome.done), ("+TCMQTTPUB: FAIL,202", .failed(.commandTimedOut)),
        ("+TCMQTTPUB:FAIL-103", .failed(.noConnection)), ("+TCMQTTPUBL:OK", .none), ("+TCMQTTPU:OK", .none),
        ("+TCMQTTSUB:OK", .none), ("+TCMQTTPUB", .none), ("+TCMQTTPUB:", .none),
    ])
    func tellsItsOwnResultsFromOthers(line: String, outcome: ModemMQTTSession.Outcome) throws {
        var session = try session()
        session.modemChanged(isAttached: true, at: .zero)
        session.connect()
        _ = attempt(&session, at: .zero)
        _ = try publish(&session)
        _ = session.nextCommand(at: .zero)
        say(line, to: &session, at: .zero)
        #expect(session.outcome == outcome)
    }

    /// Whatever comes in whatever order, each request ends exactly once, and the last word comes last.
    @Test(arguments: UInt64(0)..<200)
    func endsEachRequestOnce(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        var session = try session { $0.firmwareReconnects = seed % 2 == 0 }
        var now = Duration.zero
        var asked: [UInt32] = []
        var ended: [UInt32: Int] = [:]
        var isOver = false
        func drain() {
            while let output = session.nextOutput() {
                #expect(!isOver, "seed \(seed)")
                switch output {
                case .published(let id), .subscribed(let id), .failed(let id, _): ended[id, default: 0] += 1
                case .disconnected(_, nil): isOver = true
                default: break
                }
            }
        }
        session.connect()
        for _ in 0..<300 {
            now += .milliseconds(Int(random.next() % 2_000))
            switch random.next() % 10 {
            case 0: session.modemChanged(isAttached: true, at: now)
            case 1 where random.next() % 8 == 0: session.modemChanged(isAttached: false, at: now)
            case 2: if let id = try? publish(&session) { asked.append(id) }
            case 3: if let id = try? publish(&session, qos: .atMostOnce) { asked.append(id) }
            case 4:
                let id = try? session.subscribe(to: "t/\(random.next() % 12)".utf8.span, qos: .atLeastOnce)
                if let id { asked.append(id) }
            case 5 where random.next() % 8 == 0: say("+TCMQTTDISCON,-103", to: &session, at: now)
            case 6 where random.next() % 4 == 0: say("+TCMQTTRECONNECTED", to: &session, at: now)
            case 7 where session.work != nil && random.next() % 4 == 0: session.ended(.timedOut, at: now)
            default:
                if session.work != nil {
                    session.outcome = random.next() % 8 == 0 ? .failed(.commandTimedOut) : .done
                    session.ended(nil, at: now)
                } else {
                    _ = session.nextCommand(at: now)
                }
            }
            drain()
        }
        session.disconnect()
        if session.work != nil { session.ended(nil, at: now) }
        session.modemChanged(isAttached: true, at: now)
        if session.nextCommand(at: now) != nil { session.ended(nil, at: now) }
        drain()
        #expect(isOver && session.phase == .off, "seed \(seed)")
        for id in asked { #expect(ended[id] == 1, "request \(id), seed \(seed)") }
    }
}
