import Kernel
import MQTTClient
import ModemSimulator
import SAL
import Testing

@testable import HubSimulator

/// `apus pub`, `sub` and `rr`, beside the programs of Mosquitto that they are like.
@Suite(.timeLimit(.minutes(2))) struct MQTTCommandTests {
    private func apus(_ broker: TestBroker, _ arguments: [String]) throws -> TestProgram {
        try TestProgram(programBesideTests("apus"), [arguments[0], "-p", "\(broker.port)"] + arguments.dropFirst())
    }

    /// The output of a program that ends by itself, and its status.
    private func result(_ program: TestProgram) async -> (status: Int32, output: String) {
        (await program.wait(), program.output)
    }

    /// The same message, printed by both in all formats that do not tell the time.
    @Test func printsWhatMosquittoPrints() async throws {
        try await TestBroker.with(more: "sys_interval 1") { broker in
            let format = "%% %C|%D|%E|%F|%l|%P|%p|%q|%R|%r|%S|%t|%x|%X\\t\\\\@@"
            let arguments = [
                "-V", "5", "-q", "1", "-t", "a/#", "-C", "2", "-D", "subscribe", "subscription-identifier", "7",
            ]
            let theirs = try TestProgram("mosquitto_sub", ["-p", "\(broker.port)", "-F", format] + arguments)
            let ours = try apus(broker, ["sub", "-F", format] + arguments)
            try await subscribed(broker, 2)
            for (name, program) in [
                ("apus", try apus(broker, ["pub"] + message)), ("mosquitto_pub", try mosquitto(broker, message)),
            ] {
                #expect(await result(program) == (0, ""), "\(name)")
            }
            let (status, output) = await result(ours)
            #expect(status == 0)
            #expect(await result(theirs) == (0, output))
            let line =
                "% text/plain|id|100|1|7|key:value other:thing|hellö!|1|back|0|7|a/b|68656c6cc3b621|68656C6CC3B621\t\\@\n"
            // The expiry may have lost a second.
            #expect(output == line + line || output.contains("|99|"), "\(output)")
        }
    }

    /// `--modem` with `--dialect` and the other options of a modem.
    @Test(arguments: ModemDialect.allCases)
    func publishesThroughEveryModem(dialect: ModemDialect) async throws {
        try await TestBroker.with { broker in
            var configuration = ModemSimulatorConfiguration()
            (configuration.dialect, configuration.pin) = (dialect, dialect == .espat ? nil : "1234")
            let modem = try ModemSimulator(configuration)
            defer { modem.stop() }
            let way = ["--modem", modem.path, "--dialect", dialect.rawValue, "--apn", "cmnet", "--pin", "1234"]
            let message = ["pub", "-h", "127.0.0.1", "-q", "1", "-t", "a/b", "-m", "through \(dialect)"]
            #expect(await result(try apus(broker, message + way)) == (0, ""))
            #expect(modem.statistics.linksOpened == 1)
            let lost = await result(try apus(broker, message + ["--dialect", "quectel"]))
            #expect(lost.status != 0 && lost.output.contains("--modem says where"), "\(lost.output)")
        }
    }

    private let message = [
        "-V", "5", "-q", "2", "-t", "a/b", "-m", "hellö!", "-D", "publish", "user-property", "key", "value", "-D",
        "publish", "user-property", "other", "thing", "-D", "publish", "content-type", "text/plain", "-D", "publish",
        "correlation-data", "id", "-D", "publish", "response-topic", "back", "-D", "publish", "message-expiry-interval",
        "100", "-D", "publish", "payload-format-indicator", "1",
    ]

    private func mosquitto(_ broker: TestBroker, _ arguments: [String]) throws -> TestProgram {
        try TestProgram("mosquitto_pub", ["-p", "\(broker.port)"] + arguments)
    }

    /// Waits until so many clients are subscribed, as the broker says.
    private func subscribed(_ broker: TestBroker, _ count: Int) async throws {
        let watcher = try await broker.connect("watcher-\(count)")
        let counts = try await watcher.subscribe(to: "$SYS/broker/subscriptions/count")
        for await message in counts where (Int(message.text) ?? 0) >= count { break }
        await watcher.disconnect()
    }

    @Test func printsJSON() async throws {
        try await TestBroker.with(more: "sys_interval 1") { broker in
            let program = try apus(broker, ["sub", "-V", "5", "-t", "a/#", "-C", "2", "-q", "1", "-F", "%J"])
            try await subscribed(broker, 1)
            #expect(await result(try apus(broker, ["pub"] + message)).status == 0)
            #expect(await result(try apus(broker, ["pub", "-t", "a/json", "-m", "{\"x\": [1]}"])).status == 0)
            let (status, output) = await result(program)
            let lines = output.split(separator: "\n")
            #expect(status == 0 && lines.count == 2, "\(output)")
            #expect(lines[0].hasPrefix("{\"tst\":\"20"))
            #expect(
                lines[0].hasSuffix(
                    "\"properties\":{\"payload-format-indicator\":1,\"message-expiry-interval\":100,\"content-type\":\"text/plain\","
                        + "\"response-topic\":\"back\",\"correlation-data\":\"id\","
                        + "\"user-properties\":{\"key\":\"value\",\"other\":\"thing\"}},\"payload\":\"hellö!\"}"
                ),
                "\(lines[0])"
            )
            #expect(lines[1].hasSuffix("\"payload\":{\"x\":[1]}}"), "\(lines[1])")
        }
    }

    /// Lines, files, nothing at all, several times; retained and forgotten.
    @Test func publishesFromAllSources() async throws {
        try await TestBroker.with { broker in
            let reader = try await broker.connect("reader")
            let messages = try await reader.subscribe(to: "in/#")
            let lines = "\(broker.directory)/lines"
            try replaceFile(lines, with: Array("one\ntwo\n".utf8))
            // Lines are bytes, and the last one may have no end.
            let rawLines = "\(broker.directory)/raw-lines"
            try replaceFile(rawLines, with: [0xFF, 10, 10, 0x61])
            let program = programBesideTests("apus")
            for command in [
                "pub -t in/l -q 1 -l < \(lines)", "pub -t in/f -f \(lines)", "pub -t in/s -s < \(lines)",
                "pub -t in/n -q 2 -n",
                "pub -t in/r -m kept -r --repeat 2 --repeat-delay 0.1",
                "pub -L mqtt://127.0.0.1:\(broker.port)/in/url -m url -q 1",
                "pub -t in/raw -q 1 -M 1 -l < \(rawLines)",
            ] {
                let words = "\(program) \(command.prefix(3)) -h 127.0.0.1 -p \(broker.port) \(command.dropFirst(3))"
                #expect(await run("sh", ["-c", words]) == (0, ""), "\(words)")
            }
            var texts: [String] = []
            for await message in messages {
                let payload = message.topicText == "in/raw" ? "\(message.payload)" : message.text
                texts.append("\(message.topicText)=\(payload)")
                if texts.count == 11 { break }
            }
            #expect(
                texts == [
                    "in/l=one", "in/l=two", "in/f=one\ntwo\n", "in/s=one\ntwo\n", "in/n=", "in/r=kept", "in/r=kept",
                    "in/url=url", "in/raw=[255]", "in/raw=[]", "in/raw=[97]",
                ]
            )
            // What is kept is printed, then not, then forgotten.
            #expect(await result(try apus(broker, ["sub", "-t", "in/r", "-C", "1", "-v"])) == (0, "in/r kept\n"))
            #expect(await result(try apus(broker, ["sub", "-t", "in/r", "-R", "-W", "1"])) == (27, ""))
            #expect(await result(try apus(broker, ["sub", "-t", "in/#", "-T", "in/+", "-W", "1"])) == (27, ""))
            #expect(
                await result(try apus(broker, ["sub", "-t", "in/r", "--remove-retained", "-C", "1", "-N"])) == (
                    0, "kept"
                )
            )
            #expect(await result(try apus(broker, ["sub", "-t", "in/r", "-W", "1"])) == (27, ""))
        }
    }

    /// The reply comes to a topic of its own, or to the one that is named; in 3.1.1 too.
    @Test func asksAndIsAnswered() async throws {
        try await TestBroker.with { broker in
            var configuration = MQTTConfiguration(clientID: Array("server".utf8))
            configuration.version = .v5_0
            let server = MQTTClient(
                to: Endpoint(host: "127.0.0.1", port: broker.port),
                over: LinuxNetwork(loop: broker.loopForClients),
                configuration: configuration
            )
            try await server.connect()
            let serving = Task { try await server.serve("ask") { Array($0.payload.reversed()) } }
            defer { serving.cancel() }
            #expect(
                await result(try apus(broker, ["rr", "-t", "ask", "-m", "abc", "-q", "1", "-W", "10"])) == (0, "cba\n")
            )
            let named = ["rr", "-t", "ask", "-e", "reply/here", "-m", "abc", "-W", "10", "-v"]
            #expect(await result(try apus(broker, named)) == (0, "reply/here cba\n"))
            #expect(await result(try apus(broker, ["rr", "-t", "nobody", "-m", "abc", "-W", "1"])) == (27, ""))
            // One of 3.1.1 has no response topic to tell: who answers has to know it.
            await server.onMessage(matching: "old") { [server] _ in
                Task { try await server.publish("old answer", to: "old/reply") }
            }
            _ = try await server.requestSubscriptions([("old", MQTTSubscriptionOptions())])
            let old = ["rr", "-V", "311", "-t", "old", "-e", "old/reply", "-m", "x", "-W", "10"]
            #expect(await result(try apus(broker, old)) == (0, "old answer\n"))
        }
    }

    @Test(arguments: [
        (["pub", "-m", "x"], "-t TOPIC is missing"), (["pub", "-t", "a"], "one of -m, -f, -s, -l and -n"),
        (["pub", "-t", "a", "-m", "x", "-q", "3"], "--qos is a number from 0 to 2"),
        (["pub", "-t", "a", "-m", "x", "-V", "4"], "-V is 5 or 311"),
        (["pub", "-t", "a", "-m", "x", "-x", "5"], "-x needs MQTT 5.0"),
        (["pub", "-V", "5", "-t", "a", "-m", "x", "-D", "publish", "content-type"], "-D needs 3 words"),
        (["pub", "-V", "5", "-t", "a", "-m", "x", "-D", "publish", "topic-alias", "1"], "-D publish has no property"),
        (["pub", "-V", "5", "-t", "a", "-m", "x", "-D", "ping", "content-type", "1"], "-D has no command 'ping'"),
        (["pub", "-t", "a", "-m", "x", "-L", "http://x"], "-L is a URL like"),
        (["sub", "-t", "a", "-F", "%Z"], "has a wrong field"),
        (["sub", "-t", "a", "-c"], "-c needs a client identifier"),
        (["rr", "-V", "311", "-t", "a", "-m", "x"], "in MQTT 3.1.1 -e TOPIC is needed"),
    ])
    func saysWhatIsWrongWithTheOptions(arguments: [String], expected: String) async {
        let (status, output) = await run(programBesideTests("apus"), arguments)
        #expect(status == 2)
        #expect(output.contains(expected) && output.contains("apus \(arguments[0]) --help"), "\(output)")
    }
}
