internal import CLinux
internal import HubSimulator
internal import ModemSimulator

/// The firmware image in QEMU, its second UART at a modem simulator.
///
/// The image is told its identity on its first UART, and says there how it is doing, in lines of `name=value` words.
struct FirmwareDevice: DemoDevice {
    let status: DeviceStatus
    private let image: String?

    init(name: String, way: String, image: String?) {
        status = DeviceStatus(name: name, way: way)
        self.image = image
    }

    func run(on hub: HubSimulator) async throws {
        let image = try image ?? Self.builtImage()
        guard let secret = try registered(at: hub).secret else { throw Failure("\(status.name) has no key") }
        var configuration = ModemSimulatorConfiguration()
        configuration.signal = -61
        let modem = try ModemSimulator(listeningOn: 0, configuration)
        defer { modem.stop() }
        let machine = try ChildProcess([
            "qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-kernel", image,
            "-serial", "stdio", "-serial", modem.path + ",nodelay=on",
        ])
        defer { machine.stop() }
        let endpoints = try hub.endpoints
        machine.write(
            "config host=\(endpoints.host) port=\(endpoints.pskPort) product=\(demoProductID) device=\(status.name) "
                + "secret=\(secret) interval=1000 seed=\(Self.seed())\n"
        )
        status.update { $0.login = "booting" }
        await withTaskCancellationHandler {
            for await line in machine.lines { note(line) }
        } onCancel: {
            machine.stop()
        }
        if !Task.isCancelled { throw Failure("the machine ended: \(status.snapshot.lastError ?? "no reason given")") }
    }

    /// Takes what the image says.
    private func note(_ line: String) {
        for word in line.split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { continue }
            status.update { counters in
                switch (parts[0], Int(parts[1])) {
                case ("state", _):
                    counters.login = parts[1] == "connected" ? "ok" : parts[1]
                    if parts[1] == "connected" { counters.hasLoggedIn = true }
                case ("published", let number?): counters.published = number
                case ("acknowledged", let number?):
                    // The image sends its reports in order, and has them acknowledged in order.
                    for sequence in counters.acknowledged..<max(number, counters.acknowledged) {
                        counters.acknowledgedSequences.insert(sequence + 1)
                    }
                    counters.acknowledged = number
                case ("received", let number?): counters.received = number
                case ("rtt", let number?): counters.roundTrip = .milliseconds(number)
                case ("error", _): counters.lastError = parts[1]
                case ("fault", _): counters.lastError = "the image faulted: \(line)"
                default: break
                }
            }
        }
    }

    /// What the image makes its random numbers from: QEMU's board has no generator of its own.
    private static func seed() -> String {
        (0..<32).reduce("") { text, _ in
            let byte = UInt8.random(in: 0...255)
            return text + String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
    }

    /// The image that `make firmware` has built, in the package that this program was built in.
    private static func builtImage() throws -> String {
        var path = [CChar](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &path, path.count)
        var parts = String(decoding: path.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .split(separator: "/").map(String.init)
        while !parts.isEmpty {
            parts.removeLast()
            let image = "/" + (parts + ["Firmware/.build/images/main-job-tls.elf"]).joined(separator: "/")
            if access(image, R_OK) == 0 { return image }
        }
        throw Failure("the firmware image is not built; build it with 'make firmware'")
    }
}
