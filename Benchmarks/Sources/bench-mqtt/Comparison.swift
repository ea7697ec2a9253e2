import Glibc
import Jobs

/// All clients at the same sink, in the same run, each job in a process of its own.
struct Comparison {
    private let isQuick: Bool
    private let certificates: String?
    /// The plugin of QEMU that counts instructions.
    private let plugin: String?
    private let clients = ["raw", "apus", "apus-callbacks", "libmosquitto", "paho"]

    init(_ arguments: ArraySlice<String>) throws {
        isQuick = arguments.contains("--quick")
        func value(_ name: String) throws -> String? {
            guard let index = arguments.firstIndex(of: name) else { return nil }
            guard index + 1 < arguments.endIndex else { throw BenchError(usage) }
            return arguments[index + 1]
        }
        certificates = try value("--certificates")
        plugin = try value("--plugin")
    }

    /// The best of several runs: what others do on the machine only makes it slower.
    private func best(_ options: Options, by field: String, runs: Int) -> [String: Double]? {
        var best: [String: Double]?
        for _ in 0..<runs {
            guard let result = Job.measure(options.arguments), let value = result[field] else { return best }
            if let old = best?[field], old <= value { continue }
            best = result
        }
        return best
    }

    func run() throws {
        let sink = try Sink.start(certificates: nil)
        defer { kill(sink.pid, SIGKILL) }
        print(
            "Microseconds of CPU time (user and system) per message, and thousand messages a second. 'raw' has no library."
        )
        let (few, many) = isQuick ? (2_000, 50_000) : (20_000, 400_000)
        for (mode, qoss) in [("pub", [0, 1, 2]), ("sub", [0, 1, 2])] {
            for qos in qoss {
                for size in [64, 1_024] {
                    for window in mode == "pub" ? [1, 20, 100] : [100] {
                        var options = Options()
                        options.port = sink.port
                        (options.mode, options.qos, options.size, options.inflight) = (mode, qos, size, window)
                        options.count = window == 1 && qos > 0 ? few : many
                        row("\(mode) QoS \(qos) \(size) B window \(window)", options)
                    }
                }
            }
        }
        print("MQTT 5.0:")
        for qos in [0, 1] {
            var options = Options()
            (options.port, options.qos, options.version, options.count) = (sink.port, qos, 5, many)
            row("pub QoS \(qos) 64 B window 100", options)
        }
        print("Round trips of an own message, microseconds, median and 99 of 100, and CPU time:")
        for qos in [0, 1] {
            var options = Options()
            (options.port, options.mode, options.qos, options.count) = (sink.port, "rtt", qos, few)
            cells("rtt QoS \(qos) 64 B", options, by: "p50_us", clients) {
                "\(rounded($0["p50_us"] ?? 0, 0))/\(rounded($0["p99_us"] ?? 0, 0)) \(rounded($0["cpu_us_per_op"] ?? 0, 1))"
            }
        }
        print("Connections in one process: seconds for all, kilobytes and microseconds of CPU time for each:")
        for conns in isQuick ? [5_000] : [1_000, 5_000, 10_000] {
            var options = Options()
            (options.port, options.mode, options.conns) = (sink.port, "conns", conns)
            // libmosquitto has three descriptors for each connection; Paho's threads are not made for so many.
            let clients = ["raw", "apus"] + (conns <= 5_000 ? ["libmosquitto"] : [])
            cells("\(conns) connections", options, by: "kb_per_conn", clients) {
                "\(rounded($0["wall_s"] ?? 0, 2)) s \(rounded($0["kb_per_conn"] ?? 0, 2)) KB \(rounded($0["cpu_us_per_op"] ?? 0, 0))"
            }
        }
        var options = Options()
        (options.port, options.mode, options.count) = (sink.port, "connect", few / 10)
        cells("connect and disconnect", options, by: "p50_us", clients) { "\(rounded($0["p50_us"] ?? 0, 0)) us" }
        instructions(sink.port)
        try throughMosquitto(many / 4)
        if let certificates { try secure(certificates, many) }
    }

    private func row(_ name: String, _ options: Options, _ clients: [String]? = nil) {
        cells(name, options, by: "cpu_us_per_op", clients ?? self.clients) {
            "\(rounded($0["cpu_us_per_op"] ?? 0, 2)) (\(rounded(($0["per_s"] ?? 0) / 1_000, 0)))"
        }
    }

    private func cells(
        _ name: String,
        _ options: Options,
        by field: String,
        _ clients: [String],
        _ text: ([String: Double]) -> String
    ) {
        var values: [String: Double] = [:]
        var cells: [String] = []
        for client in clients {
            var options = options
            options.client = client
            guard let result = best(options, by: field, runs: isQuick ? 1 : 3) else { continue }
            values[client] = result[field]
            cells.append("\(client) \(text(result))")
        }
        var ratios: [String] = []
        for (client, peer) in [("apus", "raw"), ("apus", "libmosquitto"), ("apus", "paho"), ("apus-callbacks", "raw")] {
            if let own = values[client], let other = values[peer], other > 0, own > 0 {
                ratios.append("\(client)/\(peer) \(rounded(own / other, 2))")
            }
        }
        print("\(name): \(cells.joined(separator: ", ")); \(ratios.joined(separator: ", "))")
    }

    /// At a real broker, which is what limits the rate.
    private func throughMosquitto(_ count: Int) throws {
        guard let broker = try Sink.mosquitto() else { return print("There is no mosquitto to publish through.") }
        defer { kill(broker.pid, SIGKILL) }
        print("Through Mosquitto:")
        for (qos, window) in [(0, 100), (1, 20), (1, 100), (2, 20)] {
            var options = Options()
            (options.port, options.qos, options.inflight, options.count) = (broker.port, qos, window, count)
            row("pub QoS \(qos) 64 B window \(window)", options, ["apus", "apus-callbacks", "libmosquitto", "paho"])
        }
    }

    /// User-space instructions per message, counted by QEMU: what is left when a short run is taken from a long one.
    private func instructions(_ port: Int) {
        guard let plugin, Job.canCountInstructions else {
            return print("Instructions are not counted: install qemu-user for that.")
        }
        print("User-space instructions per message:")
        for (mode, qos) in [("pub", 0), ("pub", 1), ("pub", 2), ("sub", 0), ("sub", 1)] {
            var cells: [String] = []
            for client in ["apus", "apus-callbacks", "libmosquitto"] {
                var options = Options()
                (options.client, options.port, options.mode, options.qos, options.inflight) = (
                    client, port, mode, qos, 20
                )
                options.count = 2_000
                guard let short = Job.instructions(options.arguments, plugin) else { continue }
                options.count = 22_000
                guard let long = Job.instructions(options.arguments, plugin) else { continue }
                cells.append("\(client) \((long - short) / 20_000)")
            }
            print("\(mode) QoS \(qos) 64 B window 20: \(cells.joined(separator: ", "))")
        }
    }

    private func secure(_ certificates: String, _ count: Int) throws {
        let sink = try Sink.start(certificates: certificates)
        defer { kill(sink.pid, SIGKILL) }
        print("TLS 1.2:")
        let clients = ["apus", "libmosquitto", "paho"]
        for qos in [0, 1] {
            var options = Options()
            (options.port, options.qos, options.inflight, options.count) = (sink.port, qos, 20, count / 2)
            options.tlsCA = "\(certificates)/root.crt"
            options.host = "localhost"
            row("pub TLS QoS \(qos) 64 B window 20", options)
        }
        var options = Options()
        (options.port, options.mode, options.conns, options.host) = (
            sink.port, "conns", isQuick ? 100 : 1_000, "localhost"
        )
        options.tlsCA = "\(certificates)/root.crt"
        cells("\(options.conns) connections TLS", options, by: "kb_per_conn", clients) {
            "\(rounded($0["wall_s"] ?? 0, 2)) s \(rounded($0["kb_per_conn"] ?? 0, 1)) KB \(rounded($0["cpu_us_per_op"] ?? 0, 0))"
        }
    }
}

/// The broker that only answers, as a process of its own.
struct Sink {
    let pid: pid_t
    let port: Int

    /// A Mosquitto that takes all that it is given; `nil` if there is none.
    static func mosquitto() throws -> Sink? {
        let (listener, port) = listening()
        close(listener)
        let path = "/tmp/bench-mqtt-\(getpid()).conf"
        guard let file = fopen(path, "w") else { return nil }
        fputs(
            "listener \(port) 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n",
            file
        )
        fclose(file)
        let null = open("/dev/null", O_WRONLY)
        defer { close(null) }
        guard let pid = try? Process.spawn(["/usr/sbin/mosquitto", "-c", path], output: null, errors: null) else {
            return nil
        }
        // Until it listens, and so has read its file.
        for _ in 0..<500 {
            if isListening(port) { break }
            usleep(10_000)
        }
        unlink(path)
        return Sink(pid: pid, port: port)
    }

    static func start(certificates: String?) throws -> Sink {
        let (listener, port) = listening()
        var command = ["/proc/self/exe", "sink", "\(listener)"]
        if let certificates { command += ["\(certificates)/good-ec.crt", "\(certificates)/good-ec.key"] }
        let pid = try Process.spawn(command, output: nil)
        close(listener)
        return Sink(pid: pid, port: port)
    }

    private static func isListening(_ port: Int) -> Bool {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(connection) }
        var address = local(port)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static func local(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = UInt16(port).bigEndian
        return address
    }

    /// A socket that listens on a free port.
    private static func listening() -> (descriptor: Int32, port: Int) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = local(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, size)
                _ = getsockname(listener, $0, &size)
            }
        }
        listen(listener, 4_096)
        return (listener, Int(UInt16(bigEndian: address.sin_port)))
    }
}
