import CMQTTPeers
import Glibc
import Jobs

let usage = """
    usage: bench-mqtt [--quick] [--certificates DIR] [--plugin FILE]
               Compares Apus with libmosquitto, Paho, and a C program without any library, at a broker that only answers. With --certificates, over
               TLS too (DIR has root.crt, and good-ec.crt with its key). --plugin is QEMU's to count instructions (Sources/instructions.c).
           bench-mqtt --peer HOST:PORT [--client apus|apus-callbacks|libmosquitto|paho|raw] [--mode pub|rtt|sub|conns|connect] [--qos N]
                      [--size N] [--inflight N] [--count N] [--conns N] [--version 4|5] [--tls-ca FILE]
               Does one job at a broker, and prints what it took as a line of JSON.
           bench-mqtt sink DESCRIPTOR [CERTIFICATE KEY]
               Is that broker, at a listening socket.
    """

/// One job of one client, as the options say.
struct Options {
    var client = "apus"
    var host = "127.0.0.1"
    var port = 0
    var mode = "pub"
    var qos = 1
    var size = 64
    var inflight = 100
    var count = 100_000
    var conns = 1_000
    var version = 4
    var tlsCA: String?

    init() {}

    init(_ arguments: ArraySlice<String>) throws {
        var rest = arguments
        func value() throws -> String {
            guard let value = rest.popFirst() else { throw BenchError(usage) }
            return value
        }
        func number() throws -> Int {
            guard let number = Int(try value()), number >= 0 else { throw BenchError(usage) }
            return number
        }
        while let name = rest.popFirst() {
            switch name {
            case "--client": client = try value()
            case "--peer":
                let peer = try value()
                guard let colon = peer.lastIndex(of: ":"), let port = Int(peer[peer.index(after: colon)...]) else {
                    throw BenchError("--peer wants HOST:PORT")
                }
                host = peer[..<colon] == "localhost" ? "127.0.0.1" : String(peer[..<colon])
                self.port = port
            case "--mode": mode = try value()
            case "--qos": qos = try number()
            case "--size": size = try number()
            case "--inflight": inflight = max(1, try number())
            case "--count": count = try number()
            case "--conns": conns = try number()
            case "--version": version = try number()
            case "--tls-ca": tlsCA = try value()
            default: throw BenchError("there is no option \(name)\n\(usage)")
            }
        }
        guard port > 0, qos <= 2, size <= 65_536, version == 4 || version == 5 else { throw BenchError(usage) }
    }

    var arguments: [String] {
        [
            "--client", client, "--peer", "\(host):\(port)", "--mode", mode, "--qos", "\(qos)", "--size", "\(size)",
            "--inflight",
            "\(inflight)", "--count", "\(count)", "--conns", "\(conns)", "--version", "\(version)",
        ] + (tlsCA.map { ["--tls-ca", $0] } ?? [])
    }

    /// Does the job in this process, and prints what it took.
    func run() async throws {
        var limit = rlimit(rlim_cur: 65_536, rlim_max: 65_536)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let job = UnsafeMutablePointer<mqtt_job>.allocate(capacity: 1)
        job.initialize(to: mqtt_job())
        job.pointee.host = UnsafePointer(strdup(host))
        job.pointee.mode = UnsafePointer(strdup(mode))
        job.pointee.tls_ca = UnsafePointer(tlsCA.map { strdup($0) } ?? nil)
        job.pointee.port = Int32(port)
        job.pointee.qos = Int32(qos)
        job.pointee.size = Int32(size)
        job.pointee.inflight = Int32(inflight)
        job.pointee.count = Int32(count)
        job.pointee.conns = Int32(conns)
        job.pointee.version = Int32(version)
        let status: Int32
        switch client {
        case "raw": status = mqtt_raw(job)
        case "libmosquitto": status = mqtt_mosquitto(job)
        case "paho": status = mqtt_paho(job)
        case "apus", "apus-callbacks":
            try await ApusJob(job: job, usesCallbacks: client == "apus-callbacks").run()
            status = 0
        default: throw BenchError("there is no client \(client)")
        }
        guard status == 0 else { throw BenchError("\(client) cannot do \(mode)") }
        print(line(job.pointee))
    }

    private func line(_ job: mqtt_job) -> String {
        let done = mode == "conns" ? conns : count
        let cpu = (job.cpu_user_s + job.cpu_sys_s) * 1e6 / Double(done)
        var fields = [
            "\"client\":\"\(client)\"", "\"mode\":\"\(mode)\"", "\"version\":\(version)", "\"qos\":\(qos)",
            "\"size\":\(size)",
            "\"inflight\":\(inflight)", "\"count\":\(count)", "\"tls\":\(tlsCA != nil)",
            "\"wall_s\":\(rounded(job.wall_s, 6))",
            "\"per_s\":\(rounded(Double(done) / job.wall_s, 1))", "\"cpu_user_s\":\(rounded(job.cpu_user_s, 6))",
            "\"cpu_sys_s\":\(rounded(job.cpu_sys_s, 6))", "\"cpu_us_per_op\":\(rounded(cpu, 4))",
            "\"rss_kb\":\(mqtt_rss_kb())",
        ]
        if mode == "rtt" || mode == "connect" {
            fields += ["\"p50_us\":\(rounded(job.p50_us, 2))", "\"p99_us\":\(rounded(job.p99_us, 2))"]
        }
        if mode == "conns" { fields += ["\"conns\":\(conns)", "\"kb_per_conn\":\(rounded(job.kb_per_conn, 3))"] }
        return "{\(fields.joined(separator: ","))}"
    }
}

@main struct Bench {
    static func main() async {
        mqtt_line_buffer()
        let arguments = CommandLine.arguments
        do {
            if arguments.count >= 3, arguments[1] == "sink" {
                mqtt_sink_run(
                    Int32(arguments[2]) ?? -1,
                    arguments.count > 3 ? arguments[3] : nil,
                    arguments.count > 4 ? arguments[4] : nil
                )
            } else if arguments.contains("--help") || arguments.contains("-h") {
                print(usage)
            } else if arguments.contains("--peer") {
                try await Options(arguments.dropFirst()).run()
            } else {
                try Comparison(arguments.dropFirst()).run()
            }
        } catch {
            let text = Array("bench-mqtt: \(error)\n".utf8)
            _ = write(2, text, text.count)
            exit(1)
        }
    }
}
