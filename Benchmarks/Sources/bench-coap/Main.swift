import CCoAPPeers
import Glibc
import Jobs

let usage = """
    usage: bench-coap [--quick] [--plugin FILE]
               Compares Apus with libcoap, and a C program without any library, at a server that only answers. --plugin is QEMU's to count
               instructions (Sources/instructions.c).
           bench-coap --peer HOST:PORT [--client apus|apus-callbacks|libcoap|raw|raw-batched] [--mode con|non|down|up|memory] [--inflight N]
                      [--count N] [--dtls]
               Does one job at a server, and prints what it took as a line of JSON: `count` GETs of bench/small, confirmable or not, of which
               `inflight` are under way; or as many transfers of 1 MiB from or to bench/large; or the heap that each of `count` requests to
               bench/silent takes while it waits. With --dtls it is over DTLS, with a pre-shared key; then there are the modes 'session', `count` times a
               handshake, a GET and the end, and 'resumed', the same with the session before.
           bench-coap sink DESCRIPTOR [dtls]
               Is that server, at a bound UDP socket.
           bench-coap relay DESCRIPTOR PORT
               Stands before it, and counts the round trips.
    """

/// One job of one client, as the options say.
struct Options {
    var client = "apus"
    var host = "127.0.0.1"
    var port = 0
    var mode = "con"
    var inflight = 64
    var count = 100_000
    var isSecure = false

    init() {}

    init(_ arguments: ArraySlice<String>) throws {
        var rest = arguments
        func value() throws -> String {
            guard let value = rest.popFirst() else { throw BenchError(usage) }
            return value
        }
        func number(_ limit: Int) throws -> Int {
            guard let number = Int(try value()), (1...limit).contains(number) else { throw BenchError(usage) }
            return number
        }
        while let name = rest.popFirst() {
            switch name {
            case "--client": client = try value()
            case "--peer":
                let peer = try value()
                guard let colon = peer.lastIndex(of: ":"), let port = UInt16(peer[peer.index(after: colon)...]) else {
                    throw BenchError("--peer wants HOST:PORT")
                }
                host = peer[..<colon] == "localhost" ? "127.0.0.1" : String(peer[..<colon])
                self.port = Int(port)
            case "--mode": mode = try value()
            case "--inflight": inflight = try number(1_024)
            case "--count": count = try number(1_000_000_000)
            case "--dtls": isSecure = true
            default: throw BenchError("there is no option \(name)\n\(usage)")
            }
        }
        let modes = ["con", "non", "down", "up", "memory"] + (isSecure ? ["session", "resumed"] : [])
        guard port > 0, modes.contains(mode) else { throw BenchError(usage) }
        guard mode != "memory" || count <= 32_768 else { throw BenchError("at most 32,768 requests are under way") }
    }

    var arguments: [String] {
        [
            "--client", client, "--peer", "\(host):\(port)", "--mode", mode, "--inflight", "\(inflight)",
            "--count", "\(count)",
        ] + (isSecure ? ["--dtls"] : [])
    }

    /// Does the job in this process, and prints what it took.
    func run() async throws {
        let job = UnsafeMutablePointer<coap_job>.allocate(capacity: 1)
        job.initialize(to: coap_job())
        job.pointee.host = UnsafePointer(strdup(host))
        job.pointee.mode = UnsafePointer(strdup(mode))
        job.pointee.port = Int32(port)
        job.pointee.inflight = Int32(inflight)
        job.pointee.count = Int32(count)
        job.pointee.is_secure = isSecure ? 1 : 0
        let status: Int32
        switch client {
        case "raw" where !isSecure, "raw-batched" where !isSecure:
            status = coap_raw(job, client == "raw" ? 0 : 1)
        case "libcoap": status = coap_libcoap(job)
        case "apus", "apus-callbacks":
            try await ApusJob(job: job, usesCallbacks: client == "apus-callbacks").run()
            status = 0
        default: throw BenchError("there is no client \(client)")
        }
        guard status == 0 else { throw BenchError("\(client) cannot do \(mode)") }
        print(line(job.pointee))
    }

    private func line(_ job: coap_job) -> String {
        let cpu = (job.cpu_user_s + job.cpu_sys_s) * 1e6 / Double(count)
        var fields = [
            "\"client\":\"\(client)\"", "\"mode\":\"\(mode)\"",
            "\"inflight\":\(mode == "memory" ? count : mode == "con" || mode == "non" ? inflight : 1)",
            "\"count\":\(count)", "\"wall_s\":\(rounded(job.wall_s, 6))",
            "\"per_s\":\(rounded(Double(count) / job.wall_s, 1))", "\"cpu_user_s\":\(rounded(job.cpu_user_s, 6))",
            "\"cpu_sys_s\":\(rounded(job.cpu_sys_s, 6))", "\"cpu_us_per_op\":\(rounded(cpu, 4))",
            "\"rss_kb\":\(coap_rss_kb())",
        ]
        if mode == "memory" { fields.append("\"bytes_per_request\":\(rounded(job.bytes_per_request, 1))") }
        return "{\(fields.joined(separator: ","))}"
    }
}

@main struct Bench {
    static func main() async {
        coap_line_buffer()
        let arguments = CommandLine.arguments
        do {
            if arguments.count == 3, arguments[1] == "sink" {
                coap_sink_run(Int32(arguments[2]) ?? -1)
            } else if arguments.count == 4, arguments[1] == "sink", arguments[3] == "dtls" {
                coap_dtls_sink_run(Int32(arguments[2]) ?? -1)
            } else if arguments.count == 4, arguments[1] == "relay" {
                coap_relay_run(Int32(arguments[2]) ?? -1, Int32(arguments[3]) ?? -1)
            } else if arguments.contains("--help") || arguments.contains("-h") {
                print(usage)
            } else if arguments.contains("--peer") {
                try await Options(arguments.dropFirst()).run()
            } else {
                try Comparison(arguments.dropFirst()).run()
            }
        } catch {
            let text = Array("bench-coap: \(error)\n".utf8)
            _ = write(2, text, text.count)
            exit(1)
        }
    }
}
