import Kernel
import SAL
import Testing

@testable import ATAdapter

/// MQTT in a modem's firmware, with a scripted modem.
@Suite struct ModemMQTTTests {
    static let cuts = [Cut.whole, .bytes] + (0..<50).map { Cut.pieces(seed: $0) }

    /// Plays a transcript to a device that subscribes, publishes `first`, and when it is connected what `later` does.
    private func play(
        _ name: String,
        _ driver: ModemDriver,
        _ cut: Cut,
        _ configure: (inout ModemMQTTConfiguration) -> Void,
        first: String,
        later: @escaping (_ publish: (String, ModemMQTTQoS) -> Void) -> Void = { _ in },
        until count: Int
    ) throws -> MQTTProbe {
        let loop = EventLoop()
        let stream = TranscriptStream(try Transcript(fixture: name), loop: loop, cut: cut)
        let modem = Modem(driver, serial: stream, loop: loop)
        var configuration = ModemMQTTConfiguration()
        configure(&configuration)
        let mqtt = try ModemMQTT(on: modem, identity: .test(), configuration: configuration)
        let probe = MQTTProbe()
        func publish(_ text: String, _ qos: ModemMQTTQoS) {
            _ = try? mqtt.publish(topic: "CTQS08Y5LG/Dev01/event".utf8.span, payload: text.utf8.span, qos: qos)
        }
        mqtt.connect(handler: probe)
        _ = try mqtt.subscribe(to: "CTQS08Y5LG/Dev01/control".utf8.span)
        publish(first, .atLeastOnce)
        probe.whenConnected = {
            probe.whenConnected = {}
            later(publish)
        }
        let end = loop.now + .seconds(10)
        while probe.log.count < count, stream.deviation == nil, loop.now < end { loop.runOneTurn() }
        #expect(stream.deviation == nil)
        #expect(stream.isOver && mqtt.lostMessages == 0)
        modem.close()
        loop.runOneTurn()
        loop.stop()
        loop.run()
        return probe
    }

    @Test(arguments: cuts)
    func goesThroughTheTranscriptOfESP8266(cut: Cut) throws {
        let probe = try play(
            "tencent-esp8266",
            .tencentESP8266,
            cut,
            { $0.attempts = 1 },
            first: "{\"action\":\"test\",\"path\":\"a\\\\b\"}",
            later: { publish in
                publish("line 1\nl,2", .atMostOnce)
                publish("[\"\\\"\",\"a\nb\"]", .atLeastOnce)
            },
            until: 6
        )
        #expect(
            probe.log.prefix(6) == [
                "connected", "subscribed 1", "message", "published 2", "published 3",
                "failed 4 failed(command timed out (202))",
            ]
        )
        #expect(probe.messages.first?.topic == "CTQS08Y5LG/Dev01/control")
        #expect(probe.messages.first?.payload == Array("\r\nOK\r\n+TCMQTTPUB:OK\r\n\",5,\"x\"\r\n".utf8))
    }

    @Test(arguments: cuts)
    func goesThroughTheTranscriptOfL610(cut: Cut) throws {
        let probe = try play(
            "tencent-l610",
            .tencentL610,
            cut,
            { ($0.commandTimeoutMilliseconds, $0.firmwareReconnects) = (20_000, true) },
            first: "a\\b\ncd",
            until: 6
        )
        #expect(
            probe.log.prefix(6) == [
                "connected", "subscribed 1", "message", "published 2",
                "waits connectionLost(no connection (-103))", "connected",
            ]
        )
        #expect(probe.messages.first?.payload == Array("a\",6,\"".utf8))
    }

    @Test func refusesAModemWithoutIt() throws {
        let bench = ModemBench()
        #expect(throws: ModemMQTTError.notInFirmware) { try ModemMQTT(on: bench.modem, identity: .test()) }
        // The line that tells of a message would not fit.
        #expect(throws: ModemMQTTError.invalidConfiguration) { try MQTTBench(lineBytes: 128) }
    }

    @Test func publishesWhatWaitedWhenItIsConnected() throws {
        let bench = try MQTTBench()
        try bench.publish("early")
        #expect(throws: ModemMQTTError.notConnected) { try bench.publish("now", qos: .atMostOnce) }
        bench.mqtt.connect(handler: bench.probe)
        #expect(bench.hears("published 1"))
        #expect(
            bench.commands == [
                "TCMQTTDISCONN", "TCDEVINFOSET=1,\"CTQS08Y5LG\",\"Dev01\",\"ZHNkIGRzZCA=\"",
                "TCMQTTCONN=1,1000,240,1,0", "TCMQTTPUB=\"CTQS08Y5LG/Dev01/event\",1,\"early\"",
            ]
        )
    }

    @Test func repeatsQoS1AfterATimeoutOfTheFirmware() throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        bench.answers["+TCMQTTPUB"] = "OK\r\n+TCMQTTPUB:FAIL,202\r\n"
        let id = try bench.publish("x")
        #expect(bench.hears("failed \(id) failed(command timed out (202))"))
        #expect(bench.commands.count == 3)
        // What the server has refused is not asked for again.
        bench.answers["+TCMQTTSUB"] = "OK\r\n+TCMQTTSUB:FAIL,-108\r\n"
        let refused = try bench.subscribe()
        #expect(bench.hears("failed \(refused) failed(subscription refused (-108))"))
        #expect(bench.commands.count == 4)
    }

    @Test func takesTheFirmwaresWordWhenAnOKIsLost() throws {
        let bench = try MQTTBench { $0.attempts = 2 }
        #expect(bench.connect())
        bench.answers["+TCMQTTPUB"] = "+TCMQTTPUB:OK\r\n"
        let id = try bench.publish("x")
        // The command is over only when the time for its OK is, but it was done.
        #expect(bench.hears("published \(id)"))
        #expect(bench.commands.count == 1)
    }

    @Test func connectsAndSubscribesAgainAfterALoss() throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        let id = try bench.subscribe()
        #expect(bench.hears("subscribed \(id)"))
        bench.bench.stream.lines = []
        bench.bench.stream.say("+TCMQTTDISCON,-103\r\n")
        #expect(bench.hears("waits connectionLost(no connection (-103))"))
        #expect(bench.hears("connected"))
        bench.bench.run(until: { bench.commands.count >= 4 })
        #expect(
            bench.commands.map { $0.prefix { $0 != "=" } } == [
                "TCMQTTDISCONN", "TCDEVINFOSET", "TCMQTTCONN", "TCMQTTSUB",
            ]
        )
        bench.answers["+TCMQTTSUB"] = "OK\r\n+TCMQTTSUB:FAIL,-108\r\n"
        bench.bench.stream.say("+TCMQTTDISCON,-103\r\n")
        #expect(bench.hears("subscription lost CTQS08Y5LG/Dev01/control failed(subscription refused (-108))"))
    }

    @Test func leavesReconnectingToTheFirmwareThatDoesIt() throws {
        let bench = try MQTTBench { $0.firmwareReconnects = true }
        #expect(bench.connect())
        bench.bench.stream.say("+TCMQTTDISCON,-103\r\n+TCMQTTRECONNECTING\r\n")
        #expect(bench.hears("waits connectionLost(no connection (-103))"))
        let id = try bench.publish("x")
        bench.bench.settle()
        #expect(bench.commands.isEmpty)
        bench.bench.stream.say("+TCMQTTRECONNECTED\r\n")
        #expect(bench.hears("published \(id)"))
        // It has given up.
        bench.bench.stream.say("+TCMQTTDISCON,-103\r\n+TCMQTTDISCON,-106\r\n")
        #expect(bench.bench.run(until: { bench.commands.contains("TCMQTTCONN=1,1000,240,1,1") }))
    }

    @Test func findsALossThatItWasNotToldOf() throws {
        let bench = try MQTTBench { $0.stateInterval = .milliseconds(50) }
        #expect(bench.connect())
        bench.answers["+TCMQTTSTATE"] = "+TCMQTTSTATE:0\r\nOK\r\n"
        #expect(bench.hears("waits connectionLost(no reason given (0))"))
    }

    @Test func survivesARestartOfTheModem() throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        bench.answers["+TCMQTTPUB"] = "OK\r\n"
        let id = try bench.publish("x")
        #expect(bench.bench.run(until: { bench.commands.count == 1 }))
        bench.answers["+TCMQTTPUB"] = nil
        bench.bench.stream.say("\r\nready\r\n")
        #expect(bench.hears("waits modemDetached"))
        #expect(bench.hears("published \(id)"))
        #expect(bench.commands.count { $0.hasPrefix("TCMQTTPUB=") } == 2)
    }

    @Test func endsForGoodWhenItIsToldTo() throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        bench.answers["+TCMQTTPUB"] = "OK\r\n"
        bench.answers["+TCMQTTDISCONN"] = "+TCMQTTDISCON,2\r\n\r\nOK\r\n"
        let id = try bench.publish("x")
        bench.bench.settle()
        bench.mqtt.disconnect()
        #expect(throws: ModemMQTTError.disconnected) { try bench.publish("late") }
        // The command that is under way is waited for.
        #expect(bench.hears("failed \(id) disconnected"))
        bench.bench.stream.say("+TCMQTTPUB:OK\r\n")
        #expect(bench.hears("over disconnected"))
        #expect(bench.probe.log == ["failed \(id) disconnected", "over disconnected"])
        #expect(bench.bench.modem.service == nil)
    }

    @Test func doesNotTryAgainUnlessItMay() throws {
        let bench = try MQTTBench { $0.reconnects = false }
        try bench.publish("waits")
        bench.answers["+TCMQTTCONN"] = "OK\r\n+TCMQTTCONN:FAIL,-117\r\n"
        bench.mqtt.connect(handler: bench.probe)
        #expect(bench.hears("over failed(not authorized (-117))"))
        #expect(bench.probe.log.first == "failed 1 failed(not authorized (-117))")
    }

    /// A length that is too large or too small, a zero that the firmware takes for the end of its text, a line that is none: each message is told
    /// of as lost, and what follows is understood again.
    @Test(arguments: [
        "+TCMQTTRCVPUB:\"a/b\",9,\"hello\"\r\n", "+TCMQTTRCVPUB:\"a/b\",3,\"hello\"\r\n",
        "+TCMQTTRCVPUB:\"a/b\",5,\"he", "+TCMQTTRCVPUB:\"a/b\",99999,\"hello\"\r\n", "+TCMQTTRCVPUB:\"a/b\"\r\n",
        "+TCMQTTRCVPUB:\"a/b\",1,\"{\"a\":1}\"\r\n",
    ])
    func tellsOfAMessageThatIsNotWhole(line: String) throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        bench.bench.stream.say(line)
        #expect(bench.hears("message lost"))
        let id = try bench.publish("x")
        #expect(bench.hears("published \(id)"))
        bench.bench.stream.say("+TCMQTTRCVPUB:\"a/b\",5,\"hello\"\r\n")
        #expect(bench.bench.run(until: { !bench.probe.messages.isEmpty }))
        #expect(bench.probe.messages.map(\.payload) == [Array("hello".utf8)])
        #expect(bench.mqtt.lostMessages == 1)
    }

    @Test func takesMessagesUpToItsLimit() throws {
        let bench = try MQTTBench(cut: .pieces(seed: 3)) { $0.messageBytes = 1_000 }
        #expect(bench.connect())
        let payload = String(repeating: "\"x\",\r\n", count: 166)
        bench.bench.stream.say("+TCMQTTRCVPUB:\"t\",\(payload.utf8.count),\"\(payload)\"\r\n")
        bench.bench.stream.say("+TCMQTTRCVPUB:\"t\",1001,\"\(String(repeating: "y", count: 1_001))\"\r\n")
        bench.bench.stream.say("+TCMQTTRCVPUB:\"t\",0,\"\"\r\n")
        #expect(bench.bench.run(until: { bench.probe.log.count == 3 }))
        #expect(bench.probe.log == ["message", "message lost", "message"])
        #expect(bench.probe.messages.map(\.payload) == [Array(payload.utf8), []])
    }

    @Test func publishesLongPayloadsBehindAPrompt() throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        let long = String(repeating: "a,b ", count: 512)
        let id = try bench.publish(long)
        #expect(bench.hears("published \(id)"))
        #expect(bench.commands == ["TCMQTTPUBL=\"CTQS08Y5LG/Dev01/event\",1,2048", "<2050 bytes>"])
        #expect(bench.bench.stream.payloads == [Array((long + "\r\n").utf8)])
    }

    @Test func getsOverALostPrompt() throws {
        let bench = try MQTTBench { $0.attempts = 1 }
        #expect(bench.connect())
        bench.answers["+TCMQTTPUBL"] = "OK\r\n"
        let id = try bench.publish("a\nb")
        // The prompt has five seconds, and the modem is asked whether it still makes sense.
        #expect(bench.bench.run(for: .seconds(20), until: { bench.probe.log.contains("failed \(id) unanswered") }))
        bench.answers["+TCMQTTPUBL"] = nil
        let next = try bench.publish("c\nd")
        #expect(bench.bench.run(for: .seconds(20), until: { bench.probe.log.contains("published \(next)") }))
    }

    @Test func readsImagesForTheDevice() throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        let version = Array("1.0.0".utf8)
        _ = try bench.mqtt.listenForFirmware(version: version.span)
        #expect(bench.hears("listens 1"))
        bench.bench.stream.say(
            "+TCOTASTATUS:ENTERUPDATE\r\n+TCOTASTATUS: UPDATEFAIL,-8\r\n+TCOTASTATUS:UPDATESUCCESS\r\n"
        )
        #expect(bench.hears("firmware ready"))
        #expect(bench.probe.log.contains("firmware failed(failure (-8))"))
        bench.answers["+TCFWINFO"] = "OK\r\n+TCFWINFO:\"2.0.0\",12,\"93412d9ab8f3039caed9667a1d151e86\",716800\r\n"
        bench.answers["+TCREADFWDATA"] = "OK\r\n+TCREADFWDATA:12,\r\nOK\r\nERROR\r\n"
        _ = try bench.mqtt.askFirmwareInfo()
        #expect(bench.hears("info 2 2.0.0 12"))
        _ = try bench.mqtt.readFirmware(4_096)
        #expect(bench.bench.run(until: { bench.mqtt.waitingCount == 0 }))
        #expect(bench.probe.firmware == Array("\r\nOK\r\nERROR\r".utf8.prefix(12)))
        #expect(bench.commands.last == "TCREADFWDATA=4096")
    }

    @Test func hasOneConnectionPerModem() throws {
        let bench = try MQTTBench()
        #expect(bench.connect())
        let other = try ModemMQTT(on: bench.bench.modem, identity: .test())
        let probe = MQTTProbe()
        other.connect(handler: probe)
        #expect(bench.hears("over disconnected"))
        #expect(bench.bench.run(until: { other.isConnected }))
        #expect(!bench.mqtt.isConnected)
    }

    @Test func showsNoSecretInItsTrace() throws {
        let bench = try MQTTBench()
        var lines: [String] = []
        bench.bench.modem.trace = { lines.append($0.description) }
        #expect(bench.connect())
        #expect(lines.contains("> AT+TCDEVINFOSET=1,\"CTQS08Y5LG\",\"Dev01\",\"***\""))
        #expect(lines.contains("< +TCMQTTCONN:OK"))
        #expect(!lines.joined().contains("ZHNk"))
    }

    @Test(arguments: [
        ("AT+CWJAP=\"my \\\"net\",\"pa\\\"ss\"", "AT+CWJAP=\"my \\\"net\",\"***\""),
        ("AT+CPIN=\"1234\"", "AT+CPIN=\"***\""), ("AT+CPIN=1234", "AT+CPIN=***"),
        ("AT+CGAUTH=1,1,\"pass\",\"user\"", "AT+CGAUTH=1,1,\"***\",\"***\""),
        ("AT+QICSGP=1,1,\"apn\",\"u\",\"p\",1", "AT+QICSGP=1,1,\"apn\",\"u\",\"***\",1"),
        ("AT+UPSD=0,3,\"p\"", "AT+UPSD=0,3,\"***\""), ("AT+UPSD=0,2,\"u\"", "AT+UPSD=0,2,\"u\""),
        ("AT+CWJAP?", "AT+CWJAP?"),
    ])
    func masksSecrets(line: String, shown: String) {
        #expect(String(decoding: Modem.masked(Array(line.utf8)), as: UTF8.self) == shown)
    }
}
