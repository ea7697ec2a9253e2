import Glibc
import Jobs

/// All clients at the same server, in the same run, each job in a process of its own.
struct Comparison {
    private var isQuick = false
    /// The plugin of QEMU that counts instructions.
    private var plugin: String?
    private let own = ["apus", "apus-callbacks"]

    init(_ arguments: ArraySlice<String>) throws {
        var rest = arguments
        while let name = rest.popFirst() {
            switch name {
            case "--quick": isQuick = true
            case "--plugin":
                guard let file = rest.popFirst() else { throw BenchError(usage) }
                plugin = file
            default: throw BenchError("there is no option \(name)\n\(usage)")
            }
        }
    }

    func run() throws {
        let sink = try Sink.start()
        defer { kill(sink.pid, SIGKILL) }
        print(
            """
            Microseconds of CPU time (user and system) per operation, and operations a second; the best of \(isQuick ? 1 : 3). 'raw' has no library
            and a system call for each datagram; 'raw-batched' has one for as many as there are.
            """
        )
        let all = ["raw", "raw-batched"] + own + ["libcoap"]
        let (few, many) = isQuick ? (5_000, 50_000) : (50_000, 400_000)
        for (name, mode, window) in [("CON", "con", 1), ("CON", "con", 64), ("NON", "non", 64)] {
            var options = Options()
            (options.port, options.mode, options.inflight) = (sink.port, mode, window)
            options.count = window == 1 ? few : many
            row("\(name) GET, \(window) under way", options, all)
        }
        for (name, mode) in [("GET 1 MiB, Block2", "down"), ("PUT 1 MiB, Block1", "up")] {
            var options = Options()
            (options.port, options.mode, options.count) = (sink.port, mode, isQuick ? 10 : 100)
            row(name, options, ["raw"] + own + ["libcoap"])
        }
        print(
            "Bytes of heap for each of 1,000 confirmable requests under way; with Apus' async face, its task is among them:"
        )
        var options = Options()
        (options.port, options.mode, options.count) = (sink.port, "memory", 1_000)
        cells("memory", options, by: "bytes_per_request", own + ["libcoap"]) {
            rounded($0["bytes_per_request"] ?? 0, 0)
        }
        instructions(sink.port)
    }

    private func row(_ name: String, _ options: Options, _ clients: [String]) {
        cells(name, options, by: "cpu_us_per_op", clients) {
            "\(rounded($0["cpu_us_per_op"] ?? 0, 2)) (\(rounded($0["per_s"] ?? 0, 0))/s)"
        }
    }

    /// The best of several runs, in which the clients take turns: what others do on the machine only makes them slower.
    private func cells(
        _ name: String,
        _ options: Options,
        by field: String,
        _ clients: [String],
        _ text: ([String: Double]) -> String
    ) {
        var best: [String: [String: Double]] = [:]
        for _ in 0..<(isQuick ? 1 : 3) {
            for client in clients {
                var options = options
                options.client = client
                guard let result = Job.measure(options.arguments), let value = result[field] else { continue }
                if let old = best[client]?[field], old <= value { continue }
                best[client] = result
            }
        }
        let texts = clients.compactMap { client in best[client].map { "\(client) \(text($0))" } }
        print("\(name): \(texts.joined(separator: ", "))\(ratios(best.compactMapValues { $0[field] }))")
    }

    private func ratios(_ values: [String: Double]) -> String {
        var ratios: [String] = []
        for client in own {
            for peer in ["raw", "libcoap"] {
                guard let own = values[client], let other = values[peer], own > 0, other > 0 else { continue }
                ratios.append("\(client)/\(peer) \(rounded(own / other, 2))")
            }
        }
        return ratios.isEmpty ? "" : "; " + ratios.joined(separator: ", ")
    }

    /// User-space instructions per operation, counted by QEMU: what is left when a short run is taken from a long one.
    private func instructions(_ port: Int) {
        guard let plugin, Job.canCountInstructions else {
            return print("Instructions are not counted: install qemu-user for that.")
        }
        print("User-space instructions per operation:")
        let rows = [
            ("CON GET, 1 under way", "con", 1, 2_000, 20_000), ("CON GET, 64 under way", "con", 64, 2_000, 20_000),
            ("NON GET, 64 under way", "non", 64, 2_000, 20_000), ("GET 1 MiB, Block2", "down", 1, 1, 4),
            ("PUT 1 MiB, Block1", "up", 1, 1, 4),
        ]
        for (name, mode, window, few, more) in rows {
            var values: [String: Double] = [:]
            let clients = ["raw"] + own + ["libcoap"]
            for client in clients {
                var options = Options()
                (options.client, options.port, options.mode, options.inflight) = (client, port, mode, window)
                options.count = few
                guard let short = Job.instructions(options.arguments, plugin) else { continue }
                options.count = few + more
                guard let long = Job.instructions(options.arguments, plugin) else { continue }
                values[client] = Double(long - short) / Double(more)
            }
            let texts = clients.compactMap { client in values[client].map { "\(client) \(rounded($0, 0))" } }
            print("\(name): \(texts.joined(separator: ", "))\(ratios(values))")
        }
    }
}

/// The server that only answers, as a process of its own.
struct Sink {
    let pid: pid_t
    let port: Int

    static func start() throws -> Sink {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        guard isBound else { throw BenchError("there is no port for the server") }
        let pid = try Process.spawn(["/proc/self/exe", "sink", "\(descriptor)"], output: nil)
        return Sink(pid: pid, port: Int(UInt16(bigEndian: address.sin_port)))
    }
}
