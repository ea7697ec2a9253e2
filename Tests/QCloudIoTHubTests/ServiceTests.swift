import MQTTClient
import QCloudIoTHub
import Testing

/// One service behind a router that is connected.
struct ServiceBench {
    let services = HubServices()

    init(_ service: some HubService, connected: Bool = true) {
        services.add(service)
        services.granted(service.subscription.filter, at: .zero)
        if connected { services.connected(at: .zero) }
    }

    /// Gives it a message; whether it is of use.
    func hub(_ topic: String, _ payload: String, at now: Duration = .zero) -> Bool {
        let before = services.unusedMessages
        let (topic, payload) = (Array(topic.utf8), Array(payload.utf8))
        return services.receive(topic: topic.span, payload: payload.span, at: now) && services.unusedMessages == before
    }

    func sent() -> String? { services.nextPublish().map { "\(text($0.topic)) \(text($0.payload))" } }
}

@Suite struct ClockTests {
    private let down = "$sys/operation/result/Q7K2M9X4ZP/pump-01"
    private let answer = #"{"type":"get","time":1700000000,"ntptime1":1700000000500,"ntptime2":1700000000502}"#

    @Test func correctsByTheRoundTrip() throws {
        let clock = try HubClock(pump())
        let bench = ServiceBench(clock)
        // The specification's example: sent at …990100, received at …990400.
        let (sent, received) = (Duration.milliseconds(1_699_999_990_100), Duration.milliseconds(1_699_999_990_400))
        let id = try clock.ask(at: sent)
        #expect(bench.sent() == #"$sys/operation/Q7K2M9X4ZP/pump-01 {"type":"get","resource":["time"]}"#)
        #expect(bench.hub(down, answer, at: received))
        guard case .completed(id, let sample) = clock.nextEvent() else { return #expect(Bool(false)) }
        #expect(sample.milliseconds == 1_700_000_000_651)
        #expect(sample.roundTrip == .milliseconds(300))
        #expect(sample.time(at: received + .seconds(60)) == 1_700_000_060_651)
        #expect(!bench.hub(down, answer, at: received))
    }

    @Test(arguments: [
        (#"{"type":"get","time":1700000000}"#, 1_700_000_000_050),
        (#"{"type":"get","time":"1700000000"}"#, 1_700_000_000_050),
        (#"{"type":"get","time":1,"ntptime1":"1700000000500","ntptime2":"1700000000502"}"#, 1_700_000_000_551),
    ])
    func takesWhatThereIs(message: String, milliseconds: Int64) throws {
        let clock = try HubClock(pump())
        let bench = ServiceBench(clock)
        _ = try clock.ask(at: .zero)
        #expect(bench.hub(down, message, at: .milliseconds(100)))
        guard case .completed(_, let sample) = clock.nextEvent() else { return #expect(Bool(false)) }
        #expect(sample.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "{}", #"{"type":"get"}"#, #"{"type":"get","time":0}"#, #"{"type":"get","time":-5}"#,
        #"{"type":"set","time":1}"#,
        #"{"type":"get","ntptime1":1700000000502,"ntptime2":1700000000500}"#, #"{"type":"get","time":1e300}"#,
    ])
    func waitsOnForAnAnswerWithATime(message: String) throws {
        let clock = try HubClock(pump())
        let bench = ServiceBench(clock)
        _ = try clock.ask(at: .zero)
        #expect(!bench.hub(down, message))
        #expect(clock.nextEvent() == nil)
        #expect(bench.services.deadline == .seconds(2))
    }

    @Test func doesNotTakeALateAnswerForAnother() throws {
        let clock = try HubClock(pump())
        let bench = ServiceBench(clock)
        let id = try clock.ask(at: .zero)
        #expect(throws: HubServiceError.busy) { try clock.ask(at: .seconds(1)) }
        bench.services.handleTimeout(at: .seconds(2))
        #expect(clock.nextEvent() == .failed(id, .timedOut))
        #expect(!bench.hub(down, answer, at: .seconds(3)))
        #expect(throws: HubServiceError.busy) { try clock.ask(at: .seconds(11)) }
        _ = try clock.ask(at: .seconds(12))
        // An answer of another connection cannot come on this one.
        bench.services.handleTimeout(at: .seconds(14))
        bench.services.disconnected(at: .seconds(15))
        #expect(throws: HubServiceError.notConnected) { try clock.ask(at: .seconds(15)) }
        bench.services.connected(at: .seconds(16))
        let last = try clock.ask(at: .seconds(16))
        bench.services.disconnected(at: .seconds(17))
        _ = clock.nextEvent()
        #expect(clock.nextEvent() == .failed(last, .disconnected))
        #expect(bench.sent() == nil)
    }
}

@Suite struct RRPCTests {
    private let down = "$rrpc/rxd/Q7K2M9X4ZP/pump-01/"

    @Test func answersUnderTheNumberOfTheCall() throws {
        let rrpc = try HubRRPC(pump())
        let bench = ServiceBench(rrpc)
        #expect(text(rrpc.subscription.filter) == down + "+")
        #expect(bench.hub(down + "4711", #"{"cmd":"stop"}"#))
        #expect(bench.hub(down + "4712", "", at: .seconds(1)))
        let (first, second) = (try #require(rrpc.nextRequest()), try #require(rrpc.nextRequest()))
        #expect(text(first.payload) == #"{"cmd":"stop"}"#)
        #expect(bench.services.deadline == .seconds(4))
        // The later one first.
        try rrpc.answer(second, Array("2".utf8), at: .seconds(2))
        try rrpc.answer(first, Array(#"{"ok":true}"#.utf8), at: .milliseconds(3_999))
        #expect(bench.sent() == "$rrpc/txd/Q7K2M9X4ZP/pump-01/4712 2")
        #expect(bench.sent() == #"$rrpc/txd/Q7K2M9X4ZP/pump-01/4711 {"ok":true}"#)
        #expect(throws: HubServiceError.alreadyAnswered) { try rrpc.answer(second, [], at: .seconds(3)) }
        #expect(bench.services.deadline == nil)
    }

    @Test func answersNothingLate() throws {
        let rrpc = try HubRRPC(pump())
        let bench = ServiceBench(rrpc)
        #expect(bench.hub(down + "1", "x"))
        let call = try #require(rrpc.nextRequest())
        #expect(throws: HubServiceError.tooLate) { try rrpc.answer(call, [], at: .seconds(4)) }
        bench.services.handleTimeout(at: .seconds(4))
        #expect(rrpc.expiredCount == 1)
        #expect(bench.sent() == nil)
        // The number may be used again then.
        #expect(bench.hub(down + "1", "y", at: .seconds(4)))
    }

    @Test func takesOnlyWhatItCanAnswer() throws {
        let rrpc = try HubRRPC(pump(), limit: 2)
        let bench = ServiceBench(rrpc)
        #expect(bench.hub(down + "1", ""))
        #expect(!bench.hub(down + "1", ""))
        #expect(bench.hub(down + String(repeating: "9", count: 64), ""))
        #expect(!bench.hub(down + "3", ""))
        #expect(rrpc.refusedCount == 1)
        #expect(!bench.hub(down + String(repeating: "9", count: 65), "", at: .seconds(5)))
        #expect(!bench.hub(down, "", at: .seconds(5)))
        let call = try #require(rrpc.nextRequest())
        #expect(throws: HubServiceError.tooLarge(bytes: 16_385, limit: 16_384)) {
            try rrpc.answer(call, [UInt8](repeating: 0, count: 16_385), at: .zero)
        }
        bench.services.disconnected(at: .zero)
        #expect(throws: HubServiceError.notConnected) { try rrpc.answer(call, [], at: .zero) }
    }
}

@Suite struct RemoteConfigurationTests {
    private let down = "$config/operation/result/Q7K2M9X4ZP/pump-01"

    @Test(arguments: [
        #"{"type":"reply","result":0,"payload":{"baud":9600}}"#,
        #"{"type":"reply","result":"0","payload":"{\"baud\":9600}"}"#,
    ])
    func asks(reply: String) throws {
        let configuration = try HubRemoteConfiguration(pump())
        let bench = ServiceBench(configuration)
        let id = try configuration.get(at: .zero)
        #expect(bench.sent() == #"$config/operation/Q7K2M9X4ZP/pump-01 {"type":"get"}"#)
        #expect(throws: HubServiceError.busy) { try configuration.get(at: .zero) }
        #expect(bench.hub(down, reply))
        #expect(configuration.nextEvent() == .completed(id, ["baud": 9600]))
        #expect(!bench.hub(down, reply))
        #expect(configuration.nextEvent() == nil)
    }

    @Test(arguments: [
        (#"{"type":"reply","result":1001}"#, HubServiceError.rejected(.configurationDisabled)),
        (#"{"type":"reply","result":1002,"payload":{}}"#, .rejected(.configurationMissing)),
        (#"{"type":"reply","result":0,"payload":"{"}"#, .json(.malformed(at: 1))),
        (#"{"type":"reply","result":0,"payload":"7"}"#, .notAnObject), (#"{"type":"reply","result":0}"#, .notAnObject),
        (#"{"type":"reply","result":[]}"#, .json(.malformed(at: 0))),
    ])
    func saysWhyThereIsNone(reply: String, error: HubServiceError) throws {
        let configuration = try HubRemoteConfiguration(pump())
        let bench = ServiceBench(configuration)
        let id = try configuration.get(at: .zero)
        #expect(bench.hub(down, reply))
        #expect(configuration.nextEvent() == .failed(id, error))
    }

    @Test func hearsOfChanges() throws {
        let configuration = try HubRemoteConfiguration(pump())
        let bench = ServiceBench(configuration)
        #expect(bench.hub(down, #"{"type":"push","result":0,"payload":{"baud":115200}}"#))
        #expect(bench.hub(down, #"{"type":"push","payload":{"baud":1}}"#))
        for bad in [#"{"type":"push","result":1003,"payload":{}}"#, #"{"type":"push"}"#, #"{"payload":{}}"#, "x"] {
            #expect(!bench.hub(down, bad))
        }
        #expect(configuration.nextEvent() == .changed(["baud": 115200]))
        #expect(configuration.nextEvent() == .changed(["baud": 1]))
        // A push is no answer.
        let id = try configuration.get(at: .seconds(1))
        #expect(bench.hub(down, #"{"type":"push","payload":{"baud":2}}"#))
        #expect(configuration.nextEvent() == .changed(["baud": 2]))
        bench.services.handleTimeout(at: .seconds(6))
        #expect(configuration.nextEvent() == .failed(id, .timedOut))
    }
}

@Suite struct LogLevelTests {
    private let down = "$log/operation/result/A1B2C3D4E5/dev_0001"

    @Test func asksAfterEachConnect() throws {
        let levels = HubLogLevels(
            try DeviceIdentity(productID: "A1B2C3D4E5", deviceName: "dev_0001", secret: "AAECAwQFBgcICQoLDA0ODw==")
        )
        let bench = ServiceBench(levels)
        let topic = "$log/operation/A1B2C3D4E5/dev_0001"
        #expect(bench.sent() == topic + #" {"type":"get_log_level","clientToken":"A1B2C3D4E5-1"}"#)
        #expect(bench.services.deadline == .seconds(2))
        let answer =
            #"{"type":"get_log_level","clientToken":"A1B2C3D4E5-1","log_level":4,"result":0,"timestamp":1700000000}"#
        #expect(bench.hub(down, answer))
        #expect(bench.services.deadline == nil)
        #expect(levels.nextLevel() == .debug)
        // By an operator, as text; the same again is no news.
        #expect(bench.hub(down, #"{"type":"get_log_level","log_level":"0"}"#))
        #expect(bench.hub(down, #"{"type":"get_log_level","log_level":0}"#))
        #expect(levels.nextLevel() == .off)
        #expect(levels.nextLevel() == nil)
        for bad in [
            #"{"type":"get_log_level","log_level":5}"#, #"{"type":"get_log_level","log_level":-1}"#,
            #"{"type":"get_log_level","log_level":1,"result":1}"#, #"{"type":"get_log_level"}"#, #"{"log_level":1}"#,
            "",
        ] { #expect(!bench.hub(down, bad)) }
        #expect(levels.level == .off)
        bench.services.connected(at: .seconds(5))
        #expect(bench.sent() == topic + #" {"type":"get_log_level","clientToken":"A1B2C3D4E5-2"}"#)
        bench.services.handleTimeout(at: .seconds(7))
        #expect(levels.unansweredCount == 1)
        #expect(levels.level == .off)
    }
}

@Suite struct BroadcastTests {
    @Test func keepsTheNewest() throws {
        let broadcasts = try HubBroadcasts(pump(), limit: 2)
        #expect(broadcasts.subscription.qos == .atLeastOnce)
        let bench = ServiceBench(broadcasts)
        for payload in ["a", "b", "c"] { #expect(bench.hub("$broadcast/rxd/Q7K2M9X4ZP/pump-01", payload)) }
        #expect(!bench.hub("$broadcast/rxd/Q7K2M9X4ZP/pump-02", ""))
        #expect(broadcasts.nextMessage().map { text($0) } == "b")
        #expect(broadcasts.nextMessage().map { text($0) } == "c")
        #expect(broadcasts.nextMessage() == nil)
        #expect(broadcasts.droppedCount == 1)
        #expect(bench.sent() == nil)
    }
}
