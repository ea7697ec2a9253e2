import CLinux
import HubSimulator
import Kernel
import ModemSimulator
import Testing

/// The main job's image from its start to what the hub has acknowledged, through a modem that is simulated and a broker that is not.
@Suite(.timeLimit(.minutes(1))) struct MainJobTests {
    private static let product = "APUSDEMO01"
    private static let name = "firmware-test"

    @Test(arguments: ["main-job", "main-job-quectel", "main-job-tls"])
    func reportsAnswersControlAndComesBackAfterTheHubWasGone(image: String) async throws {
        try await offPool {
            try Self.withHub { hub in
                let device = try hub.addDevice(productID: Self.product, deviceName: Self.name)
                let events = Guarded<[String]>([])
                let number = hub.onMessage { message in
                    if message.topic == "\(Self.product)/\(Self.name)/event" {
                        events.withLock { $0.append(String(decoding: message.payload, as: UTF8.self)) }
                    }
                }
                defer { hub.removeHandler(number) }
                var settings = ModemSimulatorConfiguration()
                settings.dialect = image == "main-job-quectel" ? .quectel : .espat
                let modem = try ModemSimulator(listeningOn: 0, settings)
                defer { modem.stop() }
                let machine = try Machine(image, second: Self.second(of: modem))

                try machine.wait(for: "ready\n")
                machine.type("config host=nowhere")
                try machine.wait(for: "error=bad-config\n")
                machine.type(try Self.configuration(image, hub, secret: device.secret ?? "", interval: 300))
                try machine.wait(for: "state=connecting\n")
                try machine.wait(for: "state=connected\n")
                try machine.wait(for: "acknowledged=3 ")
                let report = try #require(events.withLock { $0.first })
                #expect(report.hasPrefix(#"{"seq":1,"ticks":"#), "\(report)")
                #expect(report.contains(#""freeHeap":"#), "\(report)")
                #expect(events.withLock { $0.contains { $0.contains(#""signal":-"#) } })

                let order = Array(#"{"token":"t-1","interval":200}"#.utf8)
                try hub.sendControl(to: Self.product, deviceName: Self.name, payload: order)
                try machine.wait(for: "received=1")
                let reply = #"{"type":"control_reply","token":"t-1","interval":200}"#
                #expect(Self.eventually { events.withLock { $0.contains(reply) } })

                try hub.stopBroker()
                try machine.wait(for: "state=reconnecting\n")
                try hub.startBroker()
                try machine.wait(for: "state=connected\n", seconds: 40)
                let before = events.withLock { $0.count }
                #expect(Self.eventually { events.withLock { $0.count >= before + 3 } })
                #expect(!machine.text.contains("fault="), "\(machine.text)")
            }
        }
    }

    @Test(arguments: ["main-job", "main-job-tls"]) func saysThatItsKeyIsWrong(image: String) async throws {
        try await offPool {
            try Self.withHub { hub in
                try hub.addDevice(productID: Self.product, deviceName: Self.name)
                let modem = try ModemSimulator(listeningOn: 0)
                defer { modem.stop() }
                let machine = try Machine(image, second: Self.second(of: modem))
                try machine.wait(for: "ready\n")
                machine.type(try Self.configuration(image, hub, secret: "bm90IHRoZSBrZXkgb2YgaXQ=", interval: 300))
                if image == "main-job" {
                    // MQTT 3.1.1, 3.2.2.3: 5 is "not authorized", 4 a bad user name or password.
                    try machine.wait(for: "error=refused-")
                    try machine.wait(for: "state=reconnecting\n")
                    #expect(Self.eventually { hub.refusals.contains { $0.reason == .badSignature } })
                } else {
                    // The handshake fails already.
                    try machine.wait(for: "error=transport\n")
                    try machine.wait(for: "state=reconnecting\n")
                    #expect(!machine.text.contains("state=connected"))
                }
            }
        }
    }

    private static func configuration(_ image: String, _ hub: HubSimulator, secret: String, interval: Int) throws
        -> String
    {
        let endpoints = try hub.endpoints
        let port = image == "main-job-tls" ? endpoints.pskPort : endpoints.mqttPort
        return "config host=\(endpoints.host) port=\(port) product=\(product) device=\(name) secret=\(secret) "
            + "interval=\(interval) seed=\(String(repeating: "5a", count: 32))"
    }

    /// Where the script finds `modem`, which says it in QEMU's own words.
    static func second(of modem: ModemSimulator) throws -> String {
        "tcp:" + String(try #require(modem.path.split(separator: ":").last))
    }

    private static func withHub(_ body: (HubSimulator) throws -> Void) throws {
        var path = Array("/tmp/apus-firmware-test-XXXXXX".utf8CString)
        try #require(mkdtemp(&path) != nil)
        let directory = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { removeTree(directory) }
        let hub = try HubSimulator(directory: directory)
        try hub.start()
        defer { hub.stop() }
        try body(hub)
    }

    private static func eventually(_ condition: () -> Bool) -> Bool {
        let deadline = clinux_monotonic_ns() + 15_000_000_000
        while !condition() {
            guard clinux_monotonic_ns() < deadline else { return false }
            usleep(5_000)
        }
        return true
    }

    private static func removeTree(_ path: String) {
        let words = ["/bin/rm", "-rf", path]
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var processID: pid_t = 0
        if posix_spawn(&processID, "/bin/rm", nil, nil, arguments, nil) == 0 { waitpid(processID, nil, 0) }
    }
}
