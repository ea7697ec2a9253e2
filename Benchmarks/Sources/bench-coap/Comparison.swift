import CCoAPPeers
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
        defer { sink.stop() }
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
        try overDTLS()
        instructions(sink.port)
    }

    private func overDTLS() throws {
        let sink = try Sink.start(isSecure: true)
        defer { sink.stop() }
        print(
            """
            Over DTLS 1.2 with a pre-shared key, TLS_PSK_WITH_AES_128_CCM_8, at a server that only answers, on OpenSSL. libcoap is Debian's on OpenSSL too;
            it resumes no sessions. There is no raw client. A session is a handshake, a CON GET and the end.
            """
        )
        var options = Options()
        (options.port, options.isSecure, options.inflight) = (sink.port, true, 1)
        options.count = isQuick ? 300 : 3_000
        options.mode = "session"
        row("new session", options, own + ["libcoap"])
        options.mode = "resumed"
        row("resumed session", options, own)
        try roundTrips(sink, options)
        options.mode = "con"
        for (window, count) in [(1, isQuick ? 5_000 : 50_000), (64, isQuick ? 20_000 : 200_000)] {
            (options.inflight, options.count) = (window, count)
            row("CON GET, \(window) under way", options, own + ["libcoap"])
        }
        for (name, mode) in [("GET 1 MiB, Block2", "down"), ("PUT 1 MiB, Block1", "up")] {
            (options.mode, options.inflight, options.count) = (mode, 1, isQuick ? 10 : 100)
            row(name, options, own + ["libcoap"])
        }
    }

    /// What the last session of each took, the GET's round trip among them.
    private func roundTrips(_ sink: Sink, _ options: Options) throws {
        let relay = try Sink.relay(to: sink)
        defer { relay.stop() }
        var texts: [String] = []
        for (name, client, mode) in [
            ("apus new", "apus", "session"), ("apus resumed", "apus", "resumed"), ("libcoap new", "libcoap", "session"),
        ] {
            var options = options
            (options.port, options.client, options.mode, options.count) = (relay.port, client, mode, 1)
            guard Job.measure(options.arguments) != nil else { continue }
            let trips = coap_relay_trips(Int32(relay.port))
            if trips > 0 { texts.append("\(name) \(trips)") }
        }
        print("round trips of a session: \(texts.joined(separator: ", "))")
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
